"""Draft of a study from a form: checked, planned by a dry run, and written into the study's own folder."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tombola.foundations.atomic_files import temporary_folder, write_bytes, write_text
from tombola.foundations.errors import TombolaError
from tombola.foundations.parsing import read_yaml
from tombola.study.study_file import StudyFile

STUDY_FILE = "study.yaml"
"""File of the settings, in the study's folder."""
_DATA = "data"


@dataclass(frozen=True)
class Planned:
    """Plan of a draft, see `tombola.study.estimates.Plan`.

    Attributes:
        folder: of the study.
        steps: that it would run.
        done: steps that are done.
        seconds: that it takes.
        bytes: of the models that it writes, at most.
    """

    folder: Path
    steps: int
    done: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class StudyDraft:
    """Draft of a study, as a form has it.

    Attributes:
        model: name or folder.
        task: name, or path of one's own data; empty where the data file is the task.
        preset: of the settings that are not named.
        seeds: as `tombola study --seeds` takes them.
        more: further settings, as lines of `study.yaml`.
        data: file of one's own data.
        out: folder of studies.
    """

    model: str
    task: str
    preset: str = "quick"
    seeds: str = "0"
    more: str = ""
    data: Path | None = None
    out: Path = field(default=Path("runs"))

    def values(self, data: Path | None) -> dict[str, Any]:
        """Keys of `study.yaml`, with the data file where it lies.

        Raises:
            TombolaError: a field is empty, or the further settings are none.
        """
        if not self.model.strip():
            raise TombolaError("type a model: a name such as distilbert-base-uncased, or a folder")
        task = self.task.strip()
        if task and data is not None:
            raise TombolaError(f"{task} has data of its own; leave the task empty to study your file")
        if not task and data is None:
            raise TombolaError("type a task, such as cola, or give a data file")
        own = {"model": self.model.strip(), "task": task or str(data), "preset": self.preset, "seeds": self.seeds}
        return {**self._more(), **own}

    def _more(self) -> Mapping[Any, Any]:
        if not self.more.strip():
            return {}
        with temporary_folder("tombola-form-") as place:
            write_text(place / STUDY_FILE, self.more)
            try:
                found = read_yaml(place / STUDY_FILE, "write one `name: value` a line")
            except TombolaError as error:
                raise TombolaError(str(error).replace(str(place / STUDY_FILE), "further settings")) from None
        if not isinstance(found, dict):
            raise TombolaError("further settings: write one `name: value` a line, such as `epochs: 2`")
        return found

    def check(self) -> None:
        """Check all that needs no model, at once.

        Raises:
            TombolaError: a setting, a name, or a path is wrong.
        """
        asked = StudyFile.of(self.values(self.data), "the form")
        asked.config.check_names(asked.seeds)

    def plan(self) -> Planned:
        """Check the draft and run `tombola study --dry-run` in a process of its own, which loads the model.

        Raises:
            TombolaError: what the command says is wrong.
        """
        self.check()
        with temporary_folder("tombola-plan-") as place:
            _write(place / STUDY_FILE, self.values(self.data))
            given = (str(place / STUDY_FILE), "--out", str(self.out), "--dry-run", "--json")
            done = subprocess.run(study_command(*given), capture_output=True, text=True, check=False)
        if done.returncode:
            reason = reason_in(done.stderr).replace(f"{place / STUDY_FILE}: ", "")
            raise TombolaError(reason if self.data is None else reason.replace(f"{self.data.parent}/", ""))
        found = json.loads(done.stdout)
        return Planned(
            Path(found["folder"]), len(found["steps"]), int(found["done"]), float(found["seconds"]), int(found["bytes"])
        )

    def write(self, folder: Path) -> None:
        """Write settings and data file into the study's folder, of which `plan` told the name.

        Its name is of the data's content, so that it stays the same wherever the data lie.
        """
        data = None
        if self.data is not None:
            data = folder.resolve() / _DATA / self.data.name
            data.parent.mkdir(parents=True, exist_ok=True)
            if not data.is_file():
                write_bytes(data, self.data.read_bytes())
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / STUDY_FILE, self.values(data))


def study_command(*arguments: str) -> list[str]:
    """Command line of `tombola study`, of this installation."""
    return [sys.executable, "-m", "tombola", "study", *arguments]


def reason_in(log: str) -> str:
    """The last line of a log of the command, which says why it ended."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    last = lines[-1] if lines else "the command said nothing"
    for begin in ("tombola: error: ", "tombola: failed: "):
        last = last.removeprefix(begin)
    return last


def _write(path: Path, values: Mapping[str, Any]) -> None:
    # JSON values are YAML too.
    write_text(path, "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items()))
