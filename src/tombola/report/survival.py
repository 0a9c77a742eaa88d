"""Who survives in the good tickets of all seeds: shares of sites, density of matrices."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tombola.ticket import Pruning, Ticket


@dataclass(frozen=True)
class KindSurvival:
    """Survival of one kind of sites over the good tickets of several seeds.

    Attributes:
        rows: share of the seeds in which a site survives: a row of heads for every attention sublayer, of blocks of
            neurons for every MLP; an MLP is a row of one site.
        overlap: mean Jaccard similarity of two seeds' survivors; None for one seed.
        by_chance: sites that would survive in every seed if each seed drew as many at random.
    """

    rows: tuple[tuple[float, ...], ...]
    overlap: float | None
    by_chance: float

    @property
    def total(self) -> int:
        """Number of sites."""
        return sum(len(row) for row in self.rows)

    @property
    def mean(self) -> float:
        """Number of survivors, mean over seeds."""
        return math.fsum(share for row in self.rows for share in row)

    @property
    def everywhere(self) -> int:
        """Sites that survive in every seed: the super-survivors."""
        return sum(share == 1 for row in self.rows for share in row)


@dataclass(frozen=True)
class SiteSurvival:
    """Survival of sites over the good tickets of several seeds.

    Attributes:
        pruning: of the tickets.
        seeds: number of tickets.
        kinds: kind of site → its survival; only the kinds that were pruned.
    """

    pruning: Pruning
    seeds: int
    kinds: Mapping[str, KindSurvival]


def site_survival(tickets: Sequence[Ticket]) -> SiteSurvival | None:
    """Survival over tickets of one structured pruning; None for no tickets."""
    if not tickets:
        return None
    return SiteSurvival(tickets[0].pruning, len(tickets), {kind: _survival(tickets, kind) for kind in tickets[0].sites})


def _survival(tickets: Sequence[Ticket], kind: str) -> KindSurvival:
    masks = [ticket.masks[kind].reshape(len(ticket.masks[kind]), -1) for ticket in tickets]
    counts = [
        [sum(seeds) for seeds in zip(*rows, strict=True)]
        for rows in zip(*(mask.tolist() for mask in masks), strict=True)
    ]
    overlaps = [
        int((one & other).sum()) / union if (union := int((one | other).sum())) else 1.0
        for index, one in enumerate(masks)
        for other in masks[:index]
    ]
    return KindSurvival(
        rows=tuple(tuple(count / len(masks) for count in row) for row in counts),
        overlap=math.fsum(overlaps) / len(overlaps) if overlaps else None,
        by_chance=masks[0].numel() * math.prod(float(mask.float().mean()) for mask in masks),
    )


@dataclass(frozen=True)
class Density:
    """Share of one matrix's weights that survive."""

    kind: str
    layer: int
    share: float


def densities(ticket: Ticket) -> tuple[Density, ...]:
    """Density of every matrix of a ticket of weights, by its masks' names `<layer>.<kind>`."""
    found = []
    for name, mask in ticket.masks.items():
        layer, _, kind = name.partition(".")
        found.append(Density(kind, int(layer), float(mask.float().mean())))
    return tuple(found)


def mean_densities(seeds: Sequence[Sequence[Density]]) -> tuple[Density, ...]:
    """Mean over seeds, matrix by matrix."""
    shares: dict[tuple[str, int], list[float]] = {}
    for one in seeds:
        for density in one:
            shares.setdefault((density.kind, density.layer), []).append(density.share)
    return tuple(Density(*place, math.fsum(values) / len(values)) for place, values in shares.items())
