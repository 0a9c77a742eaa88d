"""Data of a sweep's page: its record, and the studies that have results."""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from tombola.analysis.agreement.comparison import Comparison
from tombola.foundations.errors import TombolaError
from tombola.report.study_data import StudyData, read_study
from tombola.report.summary import Summary
from tombola.study.folder_layout import check_links
from tombola.study.step_list import STEPS, StepList
from tombola.study.study_record import has_rows
from tombola.study.sweep_record import SWEEP, SweepRecord


@dataclass(frozen=True)
class SweepData:
    """Sweep as it lies on disk, finished or not.

    Attributes:
        folder: of the sweep.
        record: `sweep.json`.
        studies: label → study, of those that have results, in the order of the grid.
    """

    folder: Path
    record: SweepRecord
    studies: Mapping[str, StudyData]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a sweep's folder.

        Raises:
            TombolaError: a file is damaged, or no study has results yet.
        """
        check_links(folder)
        record, found = SweepRecord.read(folder / SWEEP), dict[str, StudyData]()
        for label, place in record.places(folder).items():
            try:
                if has_rows(place):
                    found[label] = read_study(place)
            except TombolaError as error:
                warnings.warn(f"{label} is left out: {error}", stacklevel=2)
        if not found:
            raise TombolaError(f"no study of the sweep in {folder} has results yet; let it go on and try again")
        return cls(folder, record, found)

    @cached_property
    def steps(self) -> Mapping[str, tuple[int, int]]:
        """Label → number of steps that are done, and of all; none of a study that was not begun."""
        lists = {label: place for label, place in self.record.places(self.folder).items() if (place / STEPS).is_file()}
        found = {label: (StepList.read(place / STEPS), place) for label, place in lists.items()}
        return {
            label: (len(one.steps) - len(one.missing(place)), len(one.steps)) for label, (one, place) in found.items()
        }

    @property
    def comparisons(self) -> Iterator[tuple[str, Comparison]]:
        """Comparisons of the good tickets of several tasks, by what these have in common."""
        for name, file in self.record.comparisons.items():
            if (self.folder / file).is_file():
                yield name, Comparison.read(self.folder / file)

    @cached_property
    def machines(self) -> Mapping[str, int]:
        """Device, processor and PyTorch that computed results of any study → their number."""
        return sum((Counter(study.machines) for study in self.studies.values()), Counter[str]())

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that have results."""
        return tuple(dict.fromkeys(study.task.name for study in self.studies.values()))

    @property
    def models(self) -> tuple[str, ...]:
        """Models that have results."""
        return tuple(dict.fromkeys(study.model for study in self.studies.values()))


def kept(study: StudyData, summary: Summary | None) -> float | None:
    """Share of the full model's score that another one has; None where lower is better, or the full one has nothing."""
    full = study.full
    if summary is None or full is None or not study.task.higher_is_better or full.score <= 0:
        return None
    return summary.score / full.score
