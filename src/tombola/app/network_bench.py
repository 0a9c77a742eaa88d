"""Bench of networks: the full model of a study and its tickets cut out of it, and the states of its searches."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

from torch import nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError, memory_errors
from tombola.pruning.search.records import Search, SearchPass
from tombola.report.study_data import StudyData, read_study, short_title
from tombola.study.folder_layout import STAGES, SeedFolder
from tombola.study.session import Session
from tombola.study.transfer_study import FinishedStudy
from tombola.subnetworks.subnetwork import masked, shrunk
from tombola.tasks.base import State, Task
from tombola.tickets.ticket import Ticket
from tombola.tickets.ticket_files import HEAD

FULL = "full"
COMPARED = ("good", "random", "bad")
"""Tickets of a method that stand beside the full model."""


class Progress(Protocol):
    """Told of every pass of a network that is done, and of how many there are."""

    def __call__(self, done: int, of: int) -> None:
        """Take it in; called in the thread that computes."""


@dataclass(frozen=True)
class Choice:
    """Network that can be asked for: its name, and what it is called."""

    name: str
    title: str


class NetworkBench:
    """Full model of one seed of a study, and what its tickets leave of it, each as a network of its own.

    Visitors share it: passes wait for one another. `open` makes it.

    Attributes:
        data: the study's record, as its report reads it.
        task: the study's task.
        seed_folder: of the seed.
        model: the full model.
        anatomy: of the full model.
    """

    capability: type[Any]
    """Protocol of tasks that a bench is for."""
    does: str
    """Verb of what the models of such a task do."""

    def __init__(self, data: StudyData, session: Session, seed_folder: SeedFolder, model: nn.Module) -> None:
        self.data, self.seed_folder, self.model = data, seed_folder, model
        self.task: Task = session.task
        self.anatomy: Anatomy = dissect(model)
        self.device = session.device
        self._lock = threading.Lock()

    @classmethod
    @memory_errors()
    def open(cls, folder: Path, seed: int | None = None) -> Self:
        """Open the folder of a study, finished or not, with its first seed or another one.

        Raises:
            TombolaError: there is none, it has no full model yet, its data changed, or it is of another kind.
        """
        study, data = FinishedStudy.read(folder), read_study(folder)
        session = Session.open(study.config.replaced(device="auto"))
        if not isinstance(session.task, cls.capability):
            raise TombolaError(f"{folder} is a study of {session.task.title}, whose models do not {cls.does}")
        seed = data.seed_folders[0].seed if seed is None else seed
        place = study.seed_folder(seed)
        # Of a task whose models are judged as they come, the study keeps none.
        source = str(place.full) if session.task.saved(place.full) else study.config.full_of(seed)
        if not source and session.task.trained:
            raise TombolaError(f"{folder} has no trained model of seed {seed} yet; run the study on")
        state: State = "trained" if source else "pretrained"
        model = session.task.load(source or study.config.model, seed=seed, state=state).to(session.device)
        return cls(data, session, place, model.eval())

    @property
    def title(self) -> str:
        """Model and task, in short."""
        return f"{short_title(self.data.model)} on {short_title(self.task.title)}"

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Pruning methods that found a good ticket of this seed."""
        return tuple(one for one in self.data.methods if self._has(self.seed_folder.ticket(one, "good")))

    def choices(self, method: str) -> Sequence[Choice]:
        """Networks of a method: the full model, tickets as they were cut out, and those that were kept retrained."""
        found = [Choice(FULL, "full model")]
        for name in COMPARED if method else ():
            place = self.seed_folder.ticket(method, name)
            if self._has(place):
                found.append(Choice(name, f"{name} ticket"))
                if self.task.saved(place / STAGES[1]):
                    found.append(Choice(f"{name} {STAGES[1]}", f"{name} ticket, retrained"))
        return found

    def states(self, method: str) -> Mapping[str, SearchPass]:
        """Name of a state of a method's search, by rising sparsity → its pass; none of a search of weights."""
        search = self._search(method)
        if search is None or search.kind == "weights":
            return {}
        return {str(one.iteration): one for one in sorted(search.passes, key=lambda one: one.sparsity)}

    def ticket(self, method: str, name: str) -> Ticket | None:
        """Ticket of a network; None of the full model."""
        if name == FULL:
            return None
        if (search := self._search(method)) is not None and name in self.states(method):
            return search.states()[search.passes.index(self.states(method)[name])]
        return Ticket.load(self.seed_folder.ticket(method, name.partition(" ")[0]))

    def network(self, method: str, name: str) -> nn.Module:
        """The full model, a ticket as it was cut out or retrained, or a state of the search."""
        ticket = self.ticket(method, name)
        if ticket is None:
            return self.model
        model, place = self.model, self.seed_folder.ticket(method, name.partition(" ")[0])
        updated = self.seed_folder.updated(method)
        if name.endswith(STAGES[1]):
            model = self._loaded(place / STAGES[1])
        elif ticket.provenance.get("updated_weights") and updated.is_dir():
            model = self._loaded(updated)
        return (masked if ticket.kind == "weights" else shrunk)(model, ticket).model.eval()

    def _loaded(self, folder: Path) -> nn.Module:
        return self.task.load(str(folder), seed=self.seed_folder.seed, state="trained").to(self.device)

    def _search(self, method: str) -> Search | None:
        folder = self.seed_folder.folder / method
        return Search.load(folder) if method and (folder / "search.jsonl").is_file() else None

    def _has(self, place: Path) -> bool:
        return (place / HEAD).is_file()
