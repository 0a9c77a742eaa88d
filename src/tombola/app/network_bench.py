"""Bench of networks: the full model of a study and its tickets cut out of it, and the states of its searches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from torch import nn
from typing_extensions import override

from tombola.app.study_bench import COMPARED, FULL, StudyBench
from tombola.foundations.errors import TombolaError
from tombola.pruning.search.records import Search, SearchPass
from tombola.study.folder_layout import STAGES, SeedFolder
from tombola.study.session import Session
from tombola.study.transfer_study import FinishedStudy
from tombola.subnetworks.subnetwork import masked, shrunk
from tombola.tasks.base import State
from tombola.tickets.ticket import Ticket
from tombola.tickets.ticket_files import HEAD


class Progress(Protocol):
    """Told of every pass of a network that is done, and of how many there are."""

    def __call__(self, done: int, of: int) -> None:
        """Take it in; called in the thread that computes."""


@dataclass(frozen=True)
class Choice:
    """Network that can be asked for: its name, and what it is called."""

    name: str
    title: str


class NetworkBench(StudyBench):
    """Full model of one seed of a study, and what its tickets leave of it, each as a network of its own."""

    @classmethod
    @override
    def _full_model(cls, study: FinishedStudy, session: Session, place: SeedFolder) -> nn.Module:
        # Of a task whose models are judged as they come, the study keeps none.
        source = str(place.full) if session.task.saved(place.full) else study.config.full_of(place.seed)
        if not source and session.task.trained:
            raise TombolaError(f"{study.folder} has no trained model of seed {place.seed} yet; run the study on")
        state: State = "trained" if source else "pretrained"
        return session.task.load(source or study.config.model, seed=place.seed, state=state)

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

    def _search(self, method: str) -> Search | None:
        folder = self.seed_folder.folder / method
        return Search.load(folder) if method and (folder / "search.jsonl").is_file() else None

    def _has(self, place: Path) -> bool:
        return (place / HEAD).is_file()
