"""Strategies of sites: the least important of each kind go, or the least important groups as a whole."""

from collections.abc import Iterator, Mapping
from functools import partial

from tombola.pruning.importance import Importance
from tombola.pruning.search.options import SearchOptions
from tombola.pruning.search.strategy import Cut, Phase, State
from tombola.tickets.site_groups import SiteGroups
from tombola.tickets.ticket import Ticket


def site_phases(full_ticket: Ticket, options: SearchOptions, normalise_layers: bool) -> Iterator[Phase]:
    """Phases of a search of sites: all kinds together, then, refining, each of them alone."""
    totals = full_ticket.counts()
    joint = {kind: options.cut(kind, total) for kind, total in totals.items()}
    every = options.normalise_over == "all"
    yield Phase("joint", partial(_least_important_sites, joint, normalise_layers, every), beyond=True)
    for kind, total in totals.items() if options.refine else ():
        alone = {kind: options.cut(kind, total, refining=True)}
        # Otherwise it would cut again what the last joint step took back.
        if alone != joint:
            yield Phase(kind, partial(_least_important_sites, alone, normalise_layers, every))


def _least_important_sites(counts: Mapping[str, int], layers: bool, every: bool, state: State) -> Cut | None:
    """Cut of so many sites of each kind; None where nothing is left, or the model is broken from cutting too far."""
    if state.evaluation.importance is None:
        return None
    importance = state.evaluation.importance.normalised(layers, every=every)
    removed = {kind: importance.least_first(kind)[:count] for kind, count in counts.items()}
    return Cut(state.ticket.without(removed), removed) if any(removed.values()) else None


def group_phases(groups: SiteGroups, size: int) -> Iterator[Phase]:
    """Phases of a search of groups, `size` of them in a cut: one, as groups have no kinds to refine alone."""
    yield Phase("joint", partial(_least_important_groups, groups, size), beyond=True)


def _least_important_groups(groups: SiteGroups, size: int, state: State) -> Cut | None:
    """Cut of so many groups; None where no group would be left to compare, or the model is broken."""
    if state.evaluation.importance is None:
        return None
    order = least_important_groups(state.evaluation.importance, groups)
    return None if size >= len(order) else without_groups(state.ticket, groups, order[:size])


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
