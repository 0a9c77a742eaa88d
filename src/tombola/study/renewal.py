"""Renewal of a study's folder: results that were made from other settings are set aside, and come back with these.

What a study beside it made from the same settings is copied.
"""

import contextlib
import itertools
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tombola.foundations.atomic_files import disk_errors, read_json, write_json
from tombola.foundations.errors import TombolaError
from tombola.study.folder_layout import RENEWED, TRANSFER
from tombola.study.step import StudyStep
from tombola.study.step_record import MENDED, SCORED, FileStamp, StepRecord
from tombola.study.training_folder import training_folder

SET_ASIDE = ".set-aside"
"""Folder in a study's with what was made from settings that it has no more. Nothing reads it but a renewal."""

COPYING = ".copying"
"""Name of the folder that a result from another study is copied into."""

_KINDS = {
    "fine-tune": ("fine-tuning", "fine-tunings"),
    "search": ("search", "searches"),
    "retrain": ("training", "trainings"),
    "analysis": ("analysis", "analyses"),
}


@dataclass
class Renewal:
    """Renewal of a study's folder.

    Attributes:
        folder: of the study.
        others: folders of other studies, where the same results may be.
        changed: settings that results were made from and that are others now.
        before: results that were there.
        stale: steps whose result was set aside, with what lies in it.
        back: steps whose result was made with these settings before, and is back.
        mended: steps whose intervals are written anew.
        copied: steps whose result another study's folder had → that folder.
        trained: results whose model is there as their steps would train it, and is to be scored anew.
        dropped: number of results that belong to no step any more.
    """

    folder: Path
    others: Sequence[Path] = ()
    changed: set[str] = field(default_factory=set)
    before: set[Path] = field(default_factory=set)
    stale: list[StudyStep] = field(default_factory=list)
    back: list[StudyStep] = field(default_factory=list)
    mended: list[StudyStep] = field(default_factory=list)
    copied: dict[Path, Path] = field(default_factory=dict)
    trained: set[Path] = field(default_factory=set)
    dropped: int = 0
    _forgotten: bool = field(default=False, repr=False)
    _elsewhere: dict[Path, StepRecord | None] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.stale or self.back or self.mended or self.copied or self.trained or self.dropped)

    def keep_only(self, homes: Iterable[Path], results: Iterable[Path], scored: Iterable[Path]) -> None:
        """Set aside what steps made in the folders of these seeds that is none of these results.

        Of what was `scored` also where the record is lost: it would have rows.
        """
        known = {*results}
        records = sorted(record for home in homes for record in home.rglob(".*.files.json"))
        # A result takes along what lies in it, so that the outer come first.
        for record in sorted(records, key=lambda path: len(path.parts)):
            result = record.with_name(record.name.removeprefix(".").removesuffix(".files.json"))
            if result not in known and record.is_file():
                self._put(result)
                self.dropped += 1
        for place in scored:
            if place not in known and place.is_dir():
                self._put(place)
                self.dropped += 1

    def check(self, steps: Sequence[StudyStep]) -> None:
        """Set aside what these steps, each after those that it needs, did not make from what there is now.

        What they did make from that once is back, with what lies in it, which is looked at in its turn.
        """
        shutil.rmtree(self.folder / COPYING, ignore_errors=True)
        self.before |= {step.result for step in steps if step.there()}
        for step in steps:
            record, needs = StepRecord.of(step.result), step.needs_made()
            if record is None and step.there() and not step.in_passing:
                self._stale(step, set())
            elif record is not None and (changed := step.unlike(record, needs)) is not None:
                self._stale(step, changed)
            if not step.there() and self._take(step, needs):
                self.back.append(step)
            if not step.there() and (home := self._copy(step, needs)) is not None:
                self.copied[step.result] = home
            if step.trained is not None:
                shutil.rmtree(step.trained, ignore_errors=True)
                if not step.there() and self._bring_trained(step, step.trained):
                    self.trained.add(step.result)
            if step.outdated():
                self.forget()
                step.mend_scores()
                self.mended.append(step)

    def bring(self, step: StudyStep) -> bool:
        """Copy the result of a step from another study while this one runs; True if there is one.

        What is told of the results stays: it is of these settings.
        """
        self._forgotten = True
        if step.there():
            return False
        if self._copy(step, step.needs_made()) is None:
            if step.trained is not None:
                # A model that was trained alike, and is to be scored anew alone.
                shutil.rmtree(step.trained, ignore_errors=True)
                self._bring_trained(step, step.trained)
            return False
        if step.outdated():
            step.mend_scores()
        return True

    def _stale(self, step: StudyStep, changed: set[str]) -> None:
        # One that was killed before it published anything has a record alone.
        if step.there():
            self.stale.append(step)
            self.changed |= changed
            self._put(step.result, step.beside)
        else:
            StepRecord.path(step.result).unlink(missing_ok=True)
            training_folder(step.result).remove()

    def forget(self) -> None:
        """Take away what is told of the results: killed from here on, the folder may have those of two settings."""
        if self._forgotten:
            return
        path = self.folder / "study.json"
        there = read_json(path) if path.is_file() else {}
        if there and not str(there.get("hash")).startswith(RENEWED):
            write_json(path, {**there, "hash": f"{RENEWED}{there.get('hash')}"})
        for name in ("results.jsonl", "verdicts.json", TRANSFER, "report.html"):
            (self.folder / name).unlink(missing_ok=True)
        self._forgotten = True

    def _put(self, result: Path, beside: Sequence[Path] = ()) -> None:
        self.forget()
        training_folder(result).remove()
        home = self.folder / SET_ASIDE
        room = next(path for number in itertools.count(1) if not (path := home / str(number)).exists())
        # The result goes first, and the record last: killed between, it is as if it had never been made.
        for place in dict.fromkeys((result, *beside, *_beside(result), StepRecord.path(result))):
            _move(place, room / place.relative_to(self.folder))
        for parent in result.parents:
            if parent == self.folder or any(parent.iterdir()):
                break
            parent.rmdir()

    def _rooms(self) -> list[Path]:
        """Folders of what was set aside, the last first."""
        home = self.folder / SET_ASIDE
        rooms = home.iterdir() if home.is_dir() else ()
        return sorted(rooms, key=lambda room: (len(room.name), room.name), reverse=True)

    def _take(self, step: StudyStep, needs: Mapping[str, str]) -> bool:
        path = step.result.relative_to(self.folder)
        for room in self._rooms():
            there = room / path
            record = _whole(there, step)
            if record is None or step.unlike(record, needs) is not None:
                continue
            self.forget()
            for place in (StepRecord.path(there), *_beside(there), there):
                _move(place, self.folder / place.relative_to(room))
            return True
        return False

    def _record_in(self, home: Path, step: StudyStep) -> StepRecord | None:
        """Record of a result in another study's folder, if it is whole there; each is read once."""
        there = home / step.result.relative_to(self.folder)
        if there not in self._elsewhere:
            self._elsewhere[there] = _whole(there, step)
        return self._elsewhere[there]

    def _copy(self, step: StudyStep, needs: Mapping[str, str]) -> Path | None:
        """Copy a step's result from another study's folder, whose path is returned; None where none has it whole.

        What lies in it is of other steps, which are looked at in their turn.
        """
        for home in self.others:
            there, record = home / step.result.relative_to(self.folder), self._record_in(home, step)
            if record is None or record.files is None or step.unlike(record, needs) is not None:
                continue
            if step.models and not {"config.json", "model_index.json"} & {Path(name).name for name in record.files}:
                # That study kept no model, which this one wants.
                continue
            self.forget()
            with self._copied(there, record.files) as draft:
                if draft is None:
                    continue
                copied = record.stamped(record.files, draft)
                training_folder(step.result).remove()
                names = _names_beside(step.result, record)
                step.result.parent.mkdir(parents=True, exist_ok=True)
                # The result last, as it says that all is there.
                copied.write(StepRecord.path(step.result))
                for name in (*names, step.result.name):
                    # A run that was killed may have left what lies beside the result alone.
                    shutil.rmtree(step.result.with_name(name), ignore_errors=True)
                    _move(draft / name, step.result.with_name(name))
                return home
        return None

    @contextlib.contextmanager
    def _copied(self, there: Path, files: Mapping[str, FileStamp]) -> Iterator[Path | None]:
        """Yield a folder with copies of the files of a result elsewhere; None where they are not what was written."""
        draft = self.folder / COPYING
        try:
            try:
                for name, stamp in files.items():
                    (target := draft / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(there.parent / name, target)
                    if FileStamp.of(target).sha256 != stamp.sha256:
                        raise TombolaError(f"{there.parent / name} is damaged")
            except (OSError, TombolaError):
                # It is damaged, or its own study set it aside in the meantime.
                yield None
            else:
                yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _bring_trained(self, step: StudyStep, place: Path) -> bool:
        """Copy a model that the step would train alike, from what was set aside or another study; True if there is."""
        for home in (*self._rooms(), *self.others):
            record = self._record_in(home, step)
            if record is None or record.files is None or record.changed(step.settings) - MENDED - SCORED:
                continue
            with self._copied(home / step.result.relative_to(self.folder), record.files) as draft:
                if draft is not None:
                    self.forget()
                    _move(draft / step.result.name, place)
                    return True
        return False

    def line(self, asked: Sequence[StudyStep]) -> str:
        """Line that says what changed, what is made anew of the steps that are asked for, and what is reused."""
        missing = [step for step in asked if not step.there()]
        anew = [step for step in missing if step.result in self.before]
        new = [step for step in missing if step.result not in self.before]
        what = f"{', '.join(sorted(self.changed))} changed: " if self.changed else ""
        parts = [f"{what}{by_kind(anew)} made anew, {by_kind([one for one in asked if one.there()])} reused"]
        if new:
            parts.append(f"{by_kind(new)} still to be made")
        if self.back:
            parts.append(f"of these {by_kind(self.back)} found with these settings before")
        for home in dict.fromkeys(self.copied.values()):
            steps = [step for step in asked if self.copied.get(step.result) == home]
            parts.append(f"of these {by_kind(steps)} copied from {home}")
        if again := [step for step in missing if step.result in self.trained]:
            parts.append(f"of these {by_kind(again)} trained alike before, and only scored")
        if self.mended:
            parts.append(f"intervals of {len(self.mended)} scores written anew")
        if self.stale or self.dropped:
            parts.append(f"what was there is kept in {self.folder / SET_ASIDE}, which may be deleted")
        return "; ".join(parts)


def by_kind(steps: Sequence[StudyStep]) -> str:
    """Numbers of steps by their kinds: `2 searches, 8 trainings and 10 others`."""
    kinds = Counter("analysis" if step.analysis else step.what.rpartition(": ")[2].split()[0] for step in steps)
    found = list[str]()
    for kind, words in _KINDS.items():
        if number := kinds.pop(kind, 0):
            found.append(f"{number} {words[number > 1]}")
    if others := kinds.total():
        found.append(f"{others} other{'s' if others > 1 else ''}")
    return " and ".join(filter(None, (", ".join(found[:-1]), *found[-1:]))) or "nothing"


def _beside(result: Path) -> list[Path]:
    """Names that a result's step published beside it, by its record."""
    record = StepRecord.of(result)
    return [] if record is None else [result.with_name(name) for name in _names_beside(result, record)]


def _names_beside(result: Path, record: StepRecord) -> list[str]:
    return sorted({Path(name).parts[0] for name in record.files or ()} - {result.name})


def _whole(there: Path, step: StudyStep) -> StepRecord | None:
    """Record of a step's result elsewhere, if that is whole."""
    record = StepRecord.of(there) if there.exists() else None
    if record is None or record.files is None:
        return None
    # Somebody else's may list the results of other steps, too.
    return record if {*_names_beside(there, record)} <= {one.name for one in step.beside} else None


def _move(place: Path, target: Path) -> None:
    if place.exists():
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            place.rename(target)
