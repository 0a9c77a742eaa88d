"""Strategy of groups of sites: the least important groups go as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass

from tombola.pruning.importance import Importance
from tombola.pruning.search.strategy import Cut, Phase, State
from tombola.tickets.site_groups import SiteGroups
from tombola.tickets.ticket import Ticket


@dataclass(frozen=True)
class LeastImportantGroups:
    """Removes the least important groups, each with all its sites.

    Attributes:
        groups: the group of each site.
        size: groups that a cut removes.
    """

    groups: SiteGroups
    size: int

    def next_cut(self, state: State) -> Cut | None:
        """The next cut; None where no group would be left to compare, or the model is broken."""
        if state.evaluation.importance is None:
            return None
        order = least_important_groups(state.evaluation.importance, self.groups)
        return None if self.size >= len(order) else without_groups(state.ticket, self.groups, order[: self.size])


def group_phases(groups: SiteGroups, size: int) -> Iterator[Phase]:
    """Phases of a search of groups: one, as groups have no kinds that could be refined alone."""
    yield Phase("joint", LeastImportantGroups(groups, size), beyond=True)


def least_important_groups(importance: Importance, groups: SiteGroups) -> list[int]:
    """Groups that are not pruned, by rising importance; among equals the first of them first."""
    values: dict[int, float] = {}
    for kind, of_sites in importance.sites.items():
        alive = ~of_sites.isnan()
        values |= dict(zip(groups[kind][alive].tolist(), of_sites[alive].tolist(), strict=True))
    return sorted(values, key=lambda group: (values[group], group))


def without_groups(ticket: Ticket, groups: SiteGroups, gone: list[int]) -> Cut:
    """Cut that removes some groups: one by one, so that its sites stand in the order of importance."""
    sites = {
        kind: [site for group in gone for site in ((groups[kind] == group) & ticket.masks[kind]).nonzero().tolist()]
        for kind in groups
    }
    removed = {kind: [site if len(site) > 1 else site[0] for site in found] for kind, found in sites.items()}
    return Cut(ticket.without(removed), removed)
