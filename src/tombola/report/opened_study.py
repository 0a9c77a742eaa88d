"""A study's folder, opened: its rows, tickets, models and figures, each read when it is asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from torch import nn

from tombola.checkpoints.model_libraries import load_any
from tombola.foundations.errors import TombolaError, unknown
from tombola.foundations.plurals import plural
from tombola.foundations.shown import Shown
from tombola.report.study_data import StudyData, read_study
from tombola.study.results import Row, TicketVerdict
from tombola.tickets.ticket import Ticket
from tombola.tickets.ticket_files import HEAD

T = TypeVar("T")


class Opened(Mapping[str, T], Generic[T]):
    """Values in the folders of a study by the folders' names below it, read anew whenever they are asked for."""

    def __init__(self, what: str, places: Mapping[str, Path], read: Callable[[Path], T]) -> None:
        self._what, self._places, self._read = what, places, read

    def __getitem__(self, name: str) -> T:
        if name not in self._places:
            raise TombolaError(unknown(self._what, name, self._places))
        return self._read(self._places[name])

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"{self._what}s: {', '.join(self)}"


@dataclass(frozen=True, repr=False)
class OpenedStudy(Shown):
    """A study that is on disk, finished or not; made by `open_study`.

    Attributes:
        data: its record, as a report reads it.
    """

    data: StudyData

    @classmethod
    def of(cls, folder: Path | str) -> Self:
        """Open a folder, see `open_study`."""
        return cls(read_study(Path(folder)))

    def __repr__(self) -> str:
        return f"OpenedStudy({self.data.facts.name}: {plural(len(self.rows), 'scored model')}, in {self.folder})"

    @property
    def folder(self) -> Path:
        """Folder of the study."""
        return self.data.folder

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every scored model, as in `results.jsonl`."""
        return self.data.rows

    @property
    def verdicts(self) -> tuple[TicketVerdict, ...]:
        """Verdicts on the tickets; none while the study runs."""
        return self.data.verdicts

    @cached_property
    def tickets(self) -> Opened[Ticket]:
        """Tickets by their folders: `study.tickets["seed-0/heads+mlps/good"]`."""
        return Opened("ticket", self._folders(HEAD), Ticket.load)

    @cached_property
    def models(self) -> Opened[nn.Module]:
        """Models that the study saved by their folders: `study.models["seed-0/heads+mlps/good/retrained"]`."""
        places = {**self._folders("config.json"), **self._folders("model_index.json")}
        # Parts of a pipeline are no models of the study's.
        whole = {name: place for name, place in places.items() if str(Path(name).parent) not in places}
        return Opened("model", whole, lambda place: load_any(str(place)))

    def _folders(self, file: str) -> dict[str, Path]:
        home = self.data.home
        found = sorted(path.parent for path in home.rglob(file))
        return {
            str(place.relative_to(home)): place
            for place in found
            if not any(part.startswith(".") for part in place.relative_to(home).parts)
        }

    @cached_property
    def figures(self) -> Mapping[str, Any]:
        """Charts of the report by name, each an Altair chart in the light theme."""
        from tombola.report.charts.vega import themed
        from tombola.report.html.figure_registry import FigureRegistry
        from tombola.report.study_page import study_page

        registry = FigureRegistry()
        study_page(self.data, registry)
        return {name: themed(chart) for name, (chart, _) in registry.charts.items()}


def open_study(folder: Path | str) -> OpenedStudy:
    """Open the folder of a study: rows, tickets, models and figures of what it has by now.

    Raises:
        TombolaError: the folder holds no study, the study has no results yet, or a file is damaged.
    """
    return OpenedStudy.of(folder)
