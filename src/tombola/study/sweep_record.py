"""Record of a sweep, `sweep.json`: its studies, by what differs between them, and where they lie.

No PyTorch is imported for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tombola.foundations.json_dataclasses import InnerPath, JsonRecord

SWEEP = "sweep.json"
"""File of the record."""


@dataclass(frozen=True)
class RecordedStudy(JsonRecord):
    """Study of a sweep.

    Attributes:
        label: name among the others.
        axes: setting → its value for people, of those that differ between the studies.
        folder: path of the study, from the sweep's folder.
    """

    label: str
    axes: Mapping[str, str]
    folder: InnerPath


@dataclass(frozen=True)
class SweepRecord(JsonRecord):
    """Sweep, as it was called last.

    Attributes:
        command: what the user typed.
        studies: in the order of the grid.
        comparisons: file of the comparison of the good tickets of several tasks, by what these have in common.
    """

    command: str
    studies: Sequence[RecordedStudy]
    comparisons: Mapping[str, InnerPath]

    def places(self, folder: Path) -> Mapping[str, Path]:
        """Label → folder of the study, of those that were begun."""
        found = {one.label: folder / one.folder for one in self.studies}
        return {label: place for label, place in found.items() if (place / "study.json").is_file()}
