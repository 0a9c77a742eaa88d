"""A sweep: studies of a grid as one graph of steps; what several of them share is made once."""

import contextlib
import itertools
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tombola.analysis.agreement.comparison import compare
from tombola.foundations.atomic_files import disk_errors, read_json
from tombola.foundations.curves import check_tracker
from tombola.foundations.errors import BusyError, TombolaError, memory_errors
from tombola.foundations.plurals import plural
from tombola.foundations.shown import Shown
from tombola.foundations.slug import unused
from tombola.study.estimates import Plan, announce
from tombola.study.step import StudyStep, left_of
from tombola.study.studies_run import StudiesRun
from tombola.study.study import Study
from tombola.study.study_record import has_rows
from tombola.study.sweep_file import SweptStudy, named
from tombola.study.sweep_record import SWEEP, RecordedStudy, SweepRecord

PAUSE = 5.0
"""Seconds between two looks at whether another process has left a study."""


class Sweep(Shown):
    """Run many studies as one: each has a folder of its own, as `tombola study` makes it, in that of the sweep.

    Args:
        studies: of a grid, see `SweepFile`.
        out: folder of the sweep; its studies lie in it.
        command: what the user typed, for the report.
        save: which retrained models are written where a study's file does not say: `none`, `good`, or `all`.
        workers, cluster, track: as those of a `Study`.

    Raises:
        TombolaError: a study is wrong, two are the same, they are of different devices, or the folder has a sweep
            with others.
    """

    def __init__(
        self,
        studies: Sequence[SweptStudy],
        out: Path | str,
        *,
        command: str = "",
        save: str = "good",
        workers: int | Literal["auto"] = 1,
        cluster: str | None = None,
        track: str | None = None,
    ) -> None:
        self.out, self.command = Path(out), command
        if (self.out / "study.json").is_file():
            raise TombolaError(f"{self.out} is the folder of a study; choose another one for the sweep with --out")
        self.workers, self.track = workers, track
        if track is not None:
            check_tracker(track)
        self.studies: dict[str, Study] = {}
        self._axes = {one.label: one.axes for one in studies}
        for one in studies:
            with named(one.label):
                self.studies[one.label] = Study(
                    one.file.config,
                    out=self.out,
                    seeds=one.file.seeds,
                    command=command,
                    save=one.file.save or save,
                    workers=workers,
                    cluster=cluster,
                    label=one.label,
                )
        for first, second in itertools.combinations(self.studies, 2):
            if self.studies[first].folder == self.studies[second].folder:
                raise TombolaError(f"{first!r} and {second!r} are one study; leave one of them out of the grid")
        if len({str(study.device) for study in self.studies.values()}) > 1:
            raise TombolaError("the studies of a sweep run on one device; make two sweeps of them")
        self._check_folder()

    def __repr__(self) -> str:
        return f"Sweep({plural(len(self.studies), 'study', 'studies')}, in {self.out})"

    @property
    def has_results(self) -> bool:
        """True if any study has scored a model."""
        return any(has_rows(study.folder) for study in self.studies.values())

    @memory_errors()
    def plan(self) -> Mapping[str, Plan]:
        """Plan of each study by its label; what several share is counted with each. Nothing is written.

        Raises:
            TombolaError: something the user can mend.
        """
        found = {}
        for label, study in self.studies.items():
            with named(label):
                found[label] = study.plan()
            study.close()
        return found

    @memory_errors()
    def run(self, budget: float | None = None) -> int:
        """Run what is missing of all studies.

        A study that another process is at work on is taken up when that has ended: what it made is there then.

        Args:
            budget: seconds after which no step begins that would not end in time. What says most comes first then: the
                first seed of every study before the second of any, good tickets before their controls.

        Returns:
            Number of steps that the budget left for the next start.

        Raises:
            TombolaError: something the user can mend; whatever was finished stays.
        """
        for label, study in self.studies.items():
            with named(label):
                study.check()
            study.close()
        until = None if budget is None else time.monotonic() + budget
        with disk_errors(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        # Another one may have begun since.
        self._check_folder()
        there = self._recorded()
        self._record({} if there is None else there.comparisons)
        waiting, left, told = dict(self.studies), 0, False
        failed: Exception | None = None
        while waiting:
            taken: dict[Path, list[StudyStep]] = {}
            try:
                with contextlib.ExitStack() as held:
                    broken = self._at_work(waiting, held, taken)
                    failed = failed or next(iter(broken.values()), None)
                    if taken:
                        left += self._run(taken, until)
            except (TombolaError, RuntimeError) as error:
                # Other studies may do without what failed.
                failed = failed or error
            waiting = {
                label: study for label, study in waiting.items() if study.folder not in taken and label not in broken
            }
            if waiting and not taken:
                if until is not None and time.monotonic() > until:
                    left += sum(len(left_of(study.steps())) for study in waiting.values())
                    break
                if not told:
                    announce(f"another process is at work on {', '.join(waiting)}; waiting until it has ended")
                    told = True
                time.sleep(PAUSE)
        self._record(self._compared())
        if failed is not None:
            raise failed
        return left

    def _at_work(
        self, waiting: Mapping[str, Study], held: contextlib.ExitStack, taken: dict[Path, list[StudyStep]]
    ) -> dict[str, TombolaError]:
        """Hold the studies that nobody is at work on, and take their steps; what is wrong with others, by label."""
        broken = {}
        for label, study in waiting.items():
            # When rows and verdicts are written, too.
            held.callback(study.close)
            try:
                with named(label):
                    taken[study.folder] = held.enter_context(study.at_work())
                study.close()
            except BusyError:
                continue
            except TombolaError as error:
                announce(f"{error}; the other studies go on")
                broken[label] = error
        return broken

    def _run(self, steps: Mapping[Path, list[StudyStep]], until: float | None) -> int:
        mine = [study for study in self.studies.values() if study.folder in steps]
        return StudiesRun(mine, self.out, self.workers, mine[0].cluster, "sweep", self.track).run(steps, until)

    def _recorded(self) -> SweepRecord | None:
        """Record that the folder has so far."""
        return SweepRecord.read(self.out / SWEEP) if (self.out / SWEEP).is_file() else None

    def _check_folder(self) -> None:
        """A folder has one record and one report: its grid may grow, and another one needs another folder."""
        there = self._recorded()
        mine = {study.folder for study in self.studies.values()}
        for label, place in ({} if there is None else there.places(self.out)).items():
            if place not in mine:
                raise TombolaError(f"{self.out} holds another sweep, {self._other(label, place)}")

    def _other(self, label: str, place: Path) -> str:
        """Difference of a study that another sweep began, and what to do."""
        if label not in self.studies:
            return (
                f"which has {label or place.name!r}, and this grid has not; put it back beside what is new, as a grid "
                "may grow, or give this one its own folder with --out"
            )
        before, now = read_json(place / "study.json").get("config", {}), self.studies[label].config.settings()
        names = sorted(name for name in now if name not in before or before[name] != now[name])
        what = f"in {', '.join(names)}" if names else "as a file of it has changed"
        return (
            f"whose {label or place.name!r} differs {what}; set that back, or give this one its own folder with --out"
        )

    def _record(self, comparisons: Mapping[str, str]) -> None:
        places = {study.folder.relative_to(self.out).as_posix(): label for label, study in self.studies.items()}
        there = self._recorded()
        if there is not None and {*places} < {one.folder for one in there.studies}:
            # The grid has grown while this one ran.
            return
        studies = [RecordedStudy(label, self._axes[label], folder) for folder, label in places.items()]
        SweepRecord(self.command, studies, comparisons).write(self.out / SWEEP)

    def _compared(self) -> dict[str, str]:
        """Compare the good tickets of the studies that differ in their task alone; name → file of the comparison."""
        groups: dict[str, list[Study]] = {}
        for label, study in self.studies.items():
            common = ", ".join(f"{name} {value}" for name, value in self._axes[label].items() if name != "task")
            groups.setdefault(common, []).append(study)
        found = dict[str, str]()
        for name, studies in groups.items():
            searched = [study for study in studies if study.layout.searched_seeds()]
            if len({study.config.task_name for study in studies}) < len(studies):
                # Two tasks of one name, in folders of their own, could not be told apart.
                continue
            if len(searched) > 1 and len({study.anatomy.signature for study in searched}) == 1:
                file = f"{unused('comparison', [one.removesuffix('.json') for one in found.values()])}.json"
                try:
                    compare([study.folder for study in searched], relative_to=self.out).write(self.out / file)
                except TombolaError as error:
                    warnings.warn(f"the tickets of the tasks were not compared: {error}", stacklevel=3)
                else:
                    found[name] = file
        return found
