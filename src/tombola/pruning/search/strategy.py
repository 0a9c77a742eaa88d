"""Interface between the loop of a search and its strategies: a state, the next cut, phases of cuts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from tombola.pruning.evaluation import Evaluation
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tickets.ticket import Ticket


@dataclass(frozen=True, eq=False)
class State:
    """State of a search: a ticket, evaluated.

    Attributes:
        ticket: what survives.
        evaluation: of that, on the search split.
        part: the subnetwork that was evaluated.
        updated: its model, where the method changed the weights that survive.
    """

    ticket: Ticket
    evaluation: Evaluation
    part: Subnetwork
    updated: nn.Module | None = None


@dataclass(frozen=True, eq=False)
class Cut:
    """Candidate for the next state: a smaller ticket.

    Attributes:
        ticket: what is left.
        removed: what goes, as a line of `search.jsonl` says it.
        model: the pruned model, where there is one already.
        updates: whether the weights that survive are new in it.
    """

    ticket: Ticket
    removed: Mapping[str, Any]
    model: nn.Module | None = None
    updates: bool = False


Strategy = Callable[[State], Cut | None]
"""Strategy of cutting: the next cut after a state; None where there is no other."""


@dataclass(frozen=True, eq=False)
class Phase:
    """Cuts by one strategy, for as long as the score holds.

    Attributes:
        name: what is cut, for `search.jsonl`.
        strategy: by what it is chosen.
        beyond: for the sake of the curve, go on below the threshold as far as the search's options say.
        to_the_end: make every cut that there is, whatever the score.
    """

    name: str
    strategy: Strategy
    beyond: bool = False
    to_the_end: bool = False
