"""Kinds of tickets, by what they remove; and the tickets of a study, by how they are drawn."""

from collections.abc import Collection
from typing import Literal, get_args

from tombola.foundations.errors import TombolaError, did_you_mean

TicketKind = Literal[
    "heads+mlps",
    "heads+neurons",
    "heads+channels",
    "heads+neurons+channels",
    "heads+mlps+channels",
    "heads",
    "mlps",
    "neurons",
    "channels",
    "weights",
]
"""Kind of ticket by what it removes: sites of one kind or several (s-pruning) or single weights (m-pruning)."""

TICKET_KINDS: tuple[TicketKind, ...] = get_args(TicketKind)


def kinds_in_words(kinds: str) -> str:
    """Kinds of sites for people: `heads and MLPs`."""
    *first, last = kinds.replace("mlps", "MLPs").split("+")
    return f"{', '.join(first)} and {last}" if first else last


def kind_of(kinds: Collection[str]) -> TicketKind:
    """Kind of tickets that prune these kinds of sites at once, or weights.

    Raises:
        TombolaError: there is none.
    """
    found = next((one for one in TICKET_KINDS if {*one.split("+")} == {*kinds}), None)
    if found is None:
        single = [one for one in TICKET_KINDS if "+" not in one]
        alike = "".join(did_you_mean(one, single) for one in kinds if one not in single)
        raise TombolaError(
            f"cannot prune {' and '.join(kinds) or 'nothing'} at once; {alike}choose of {', '.join(TICKET_KINDS)}"
        )
    return found


BLOCK = 32
"""Neurons of a block, unless the user says otherwise."""

TICKETS = ("good", "random", "layer-matched", "bad")
"""The tickets of each method in a study, in the order of rows, tables and charts."""

SUPER_TICKETS = ("super-survivors", "super-random", "super-bad")
"""The tickets of what survives in every seed of a study, with random and bad ones of their size."""


def controls_of(method: str) -> tuple[str, ...]:
    """Controls that say something: with one site a layer, a layer-matched draw is the good ticket itself."""
    return tuple(name for name in TICKETS[1:] if name != "layer-matched" or method not in ("mlps", "layers"))
