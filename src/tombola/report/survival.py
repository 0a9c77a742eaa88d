"""Who survives in the good tickets of all seeds: shares of sites, density of matrices."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tombola.ticket import Ticket


@dataclass(frozen=True)
class SiteSurvival:
    """Survival of heads and MLPs over the good tickets of several seeds.

    Attributes:
        heads: share of the seeds in which a head survives, [layers][heads].
        mlps: the same for MLPs, [layers].
        seeds: number of tickets.
        overlap: mean Jaccard similarity of two seeds' survivors; None for one seed.
        by_chance: sites that would survive in every seed if each seed drew its heads and MLPs at random.
    """

    heads: tuple[tuple[float, ...], ...]
    mlps: tuple[float, ...]
    seeds: int
    overlap: float | None
    by_chance: float

    def everywhere(self) -> int:
        """Sites that survive in every seed: the super-survivors."""
        return sum(share == 1 for layer in self.heads for share in layer) + sum(share == 1 for share in self.mlps)


def site_survival(tickets: Sequence[Ticket]) -> SiteSurvival | None:
    """Survival over tickets of heads and MLPs; None for no tickets."""
    if not tickets:
        return None
    number = len(tickets)
    heads = sum(ticket.heads.float() for ticket in tickets) / number
    mlps = sum(ticket.mlps.float() for ticket in tickets) / number
    assert not isinstance(heads, float | int)
    assert not isinstance(mlps, float | int)
    pairs = [one.overlap(other) for index, one in enumerate(tickets) for other in tickets[:index]]
    by_chance = heads.numel() * math.prod(float(ticket.heads.float().mean()) for ticket in tickets)
    by_chance += mlps.numel() * math.prod(float(ticket.mlps.float().mean()) for ticket in tickets)
    return SiteSurvival(
        heads=tuple(tuple(layer) for layer in heads.tolist()),
        mlps=tuple(mlps.tolist()),
        seeds=number,
        overlap=math.fsum(pairs) / len(pairs) if pairs else None,
        by_chance=by_chance,
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
