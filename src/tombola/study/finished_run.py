"""Finished run of a study: what it printed, as long as every file of its folder is as it was. Takes no PyTorch."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

from tombola.foundations.errors import TombolaError
from tombola.foundations.fingerprint import fingerprint
from tombola.foundations.json_dataclasses import JsonRecord
from tombola.foundations.plain_table import TableEntry
from tombola.study.config import StudyConfig
from tombola.study.folder_layout import SeedFolder
from tombola.study.step_record import StepRecord

NAME = ".finished.json"


@dataclass(frozen=True)
class FinishedRun(JsonRecord):
    """Finished run of a study, as a later one finds it in the folder.

    Attributes:
        version: of Tombola.
        hash, analyses: of the configuration.
        seeds: that were asked for.
        save: which models were asked for.
        steps: number of steps of the run.
        tables: that were printed.
        lines: that were printed after them.
        files: of the folder: path → size in bytes, and time of the last change in nanoseconds.
    """

    version: str
    hash: str
    analyses: list[str]
    seeds: list[int]
    save: str
    steps: int
    tables: list[TableEntry]
    lines: list[str]
    files: Mapping[str, tuple[int, int]]

    @classmethod
    def record(
        cls,
        folder: Path,
        hash: str,
        analyses: Sequence[str],
        seeds: Sequence[int],
        save: str,
        steps: int,
        tables: Sequence[TableEntry],
        lines: Sequence[str],
    ) -> None:
        """Record in a study's folder that the study of a configuration, by its hash, is finished, with its report."""
        printed = [*tables], [*lines]
        made = cls(version("tombola"), hash, [*analyses], [*seeds], save, steps, *printed, _files(folder))
        made.write(folder / NAME)

    @classmethod
    def find(cls, config: StudyConfig, out: Path, seeds: Sequence[int], save: str) -> tuple[Path, Self] | None:
        """Folder and record of the run that a call asks for; None where there is none, or any file is another now.

        Where device or precision are `auto`, any will do that there is one finished run of.
        """
        identity = config.identity()
        kinds = ("cpu", "cuda", "mps") if config.device == "auto" else (config.device.partition(":")[0],)
        precisions = ("fp32", "bf16") if config.precision == "auto" else (config.precision,)
        hashes = [
            config.hash(identity | {"device": device, "precision": precision})
            for device, precision in itertools.product(kinds, precisions)
        ]
        own = (out / "study.json").is_file()
        folders = [(out if own else out / f"{config.name}-{one}", one) for one in hashes]
        found = [
            (folder, run)
            for folder, one in folders
            if (folder / NAME).is_file() and (run := cls._of(folder)) is not None and run.hash == one
        ]
        if len(found) != 1:
            return None
        folder, run = found[0]
        asked = (version("tombola"), list(config.analyses), save)
        same = (
            (run.version, run.analyses, run.save) == asked and {*seeds} <= {*run.seeds} and run.files == _files(folder)
        )
        return (folder, run) if same and all(_has_full(folder, config, seed) for seed in seeds) else None

    @classmethod
    def _of(cls, folder: Path) -> Self | None:
        try:
            return cls.read(folder / NAME)
        except TombolaError:
            # Written again by the next run.
            return None


def _has_full(folder: Path, config: StudyConfig, seed: int) -> bool:
    """True if a seed's full model is what `full` names now: of models by a pattern, the hash has the pattern alone."""
    if config.full is None or not config.full_varies:
        return True
    record = StepRecord.of(SeedFolder(seed, folder / config.task_name / f"seed-{seed}").full)
    return record is not None and record.settings.get("full") == fingerprint(config.full_of(seed))


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Files of a study's folder with size and time, without those that say nothing of it: locks and this record."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name not in (NAME, ".lock"):
            stat = file.stat()
            found[file.relative_to(folder).as_posix()] = (stat.st_size, stat.st_mtime_ns)
    return found
