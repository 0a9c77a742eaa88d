"""Ticket that a person makes by hand, click by click."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tombola.foundations.errors import TombolaError
from tombola.tickets.ticket import Ticket

Site = tuple[str, int, int]
"""Kind, row of its mask, place in the row; an MLP's place is 0."""


class HandMadeTicket:
    """Ticket that a person makes by hand, with all that it was before.

    Args:
        full: ticket of all sites, with which it begins.
    """

    def __init__(self, full: Ticket) -> None:
        self._full = full
        self._history = [full]

    @property
    def ticket(self) -> Ticket:
        """The ticket as it is now."""
        return self._history[-1]

    @property
    def clicks(self) -> int:
        """Number of changes that can be undone."""
        return len(self._history) - 1

    def works(self, site: Site) -> bool:
        """True if a site survives."""
        kind, row, place = site
        return bool(self.ticket.rows(kind)[row][place])

    def click(self, site: Site) -> None:
        """Switch a site off, or on again.

        Raises:
            TombolaError: there is no such site.
        """
        kind, row, place = site
        sites = {kind: [row if self._full.masks[kind].ndim == 1 else (row, place)]}
        without = self._full.without(sites)
        self._history.append(self.ticket & without if self.works(site) else self.ticket | ~without)

    def begin_from(self, ticket: Ticket) -> None:
        """Take over another ticket; sites that it does not prune all survive.

        Raises:
            TombolaError: it prunes what cannot be clicked.
        """
        if not can_begin_from(self._full, ticket):
            raise TombolaError(f"a ticket of {ticket.kind} is not made of {self._full.kind.replace('+', ' and ')}")
        masks: Mapping[str, Any] = {**self._full.masks, **ticket.masks}
        self._history.append(replace(self._full, masks=masks, attention_bias=ticket.attention_bias))

    def undo(self) -> None:
        """Take back the last change, if there is one."""
        if self.clicks:
            self._history.pop()


def can_begin_from(full: Ticket, ticket: Ticket) -> bool:
    """True if a ticket prunes nothing but sites that `full` has, in places of the same shape."""
    return bool(ticket.sites) and {*ticket.sites} <= {*full.sites}
