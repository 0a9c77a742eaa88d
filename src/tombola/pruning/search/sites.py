"""Strategy of sites: the least important of each kind go."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tombola.pruning.search.options import SearchOptions
from tombola.pruning.search.strategy import Cut, Phase, State
from tombola.tickets.ticket import Ticket


@dataclass(frozen=True)
class LeastImportantSites:
    """Removes the least important sites of each kind.

    Attributes:
        counts: kind of site → how many a cut removes.
        normalise_layers: whether the importance of heads is divided by their layer's norm.
    """

    counts: Mapping[str, int]
    normalise_layers: bool

    def next_cut(self, state: State) -> Cut | None:
        """The next cut; None where nothing is left, or cutting went so far that the model is broken."""
        if state.evaluation.importance is None:
            return None
        importance = state.evaluation.importance.normalised(self.normalise_layers)
        removed = {kind: importance.least_first(kind)[:count] for kind, count in self.counts.items()}
        return Cut(state.ticket.without(removed), removed) if any(removed.values()) else None


def site_phases(full_ticket: Ticket, options: SearchOptions, normalise_layers: bool) -> Iterator[Phase]:
    """Phases of a search of sites: all kinds together, then, refining, each of them alone."""
    totals = full_ticket.counts()
    joint = {kind: options.cut(kind, total) for kind, total in totals.items()}
    yield Phase("joint", LeastImportantSites(joint, normalise_layers), beyond=True)
    for kind, total in totals.items() if options.refine else ():
        alone = {kind: options.cut(kind, total, refining=True)}
        # Otherwise it would cut again what the last joint step took back.
        if alone != joint:
            yield Phase(kind, LeastImportantSites(alone, normalise_layers))
