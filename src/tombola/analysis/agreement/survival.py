"""Survival over several tickets: of each site, super-survivors, the density of matrices."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from tombola.analysis.agreement.pairwise_overlap import Array, PairwiseOverlap, all_pairs
from tombola.architectures.anatomy import Anatomy
from tombola.foundations.errors import TombolaError
from tombola.foundations.random_streams import random_stream
from tombola.pruning import controls
from tombola.tickets.kinds import TicketKind
from tombola.tickets.ticket import Ticket

Rows = tuple[tuple[Annotated[float, Field(ge=0, le=1)], ...], ...]
"""A share for each site, in rows as in a mask; an MLP is a row of one site."""


def sites_of(tickets: Sequence[Ticket], kind: str) -> tuple[Array, tuple[int, ...]]:
    """Survival of every site of one kind in some tickets, row after row: bool [tickets, sites], and sites of each row.

    Rows of a mask may be longer than their layer, as a U-net's are: what is no site is left out.
    """
    sizes = tuple(len(row) for row in tickets[0].rows(kind))
    return np.stack([torch.cat(ticket.rows(kind)).numpy() for ticket in tickets]), sizes


def in_rows(values: Array, sizes: Sequence[int]) -> Rows:
    """Numbers of sites, in rows of these sizes."""
    return tuple(tuple(row.tolist()) for row in np.split(values, np.cumsum(sizes)[:-1]))


@dataclass(frozen=True)
class KindSurvival:
    """Survival of one kind of sites over several tickets, of the good ones of several seeds for example.

    Attributes:
        rows: share of the tickets in which a site survives: a row of heads for every attention sublayer, of blocks of
            neurons for every MLP; an MLP is a row of one site.
        overlap: mean Jaccard similarity of two tickets' survivors; None for one ticket, and where two have none.
        expected_by_chance: sites that would survive in every ticket if each drew as many at random; None where nobody
            asked.
    """

    rows: Rows
    overlap: float | None = None
    expected_by_chance: float | None = None

    @property
    def total(self) -> int:
        """Number of sites."""
        return sum(len(row) for row in self.rows)

    @property
    def mean(self) -> float:
        """Number of survivors, mean over tickets."""
        return math.fsum(share for row in self.rows for share in row)

    @property
    def everywhere(self) -> int:
        """Sites that survive in every ticket: the super-survivors."""
        return sum(share == 1 for row in self.rows for share in row)


@dataclass(frozen=True)
class SiteSurvival:
    """Survival over the tickets of several seeds, one each: kind of site → its survival, of kinds that are pruned."""

    kind: TicketKind
    seeds: int
    sites: Mapping[str, KindSurvival]


def site_survival(tickets: Sequence[Ticket]) -> SiteSurvival | None:
    """Survival over tickets of one kind, one of sites; None for no tickets."""
    if not tickets:
        return None
    return SiteSurvival(tickets[0].kind, len(tickets), {site: _survival(tickets, site) for site in tickets[0].sites})


def _survival(tickets: Sequence[Ticket], kind: str) -> KindSurvival:
    masks, sizes = sites_of(tickets, kind)
    n, sites = masks.shape
    shared = PairwiseOverlap.of(masks)
    overlap = float(shared.jaccard(all_pairs(n)))
    return KindSurvival(
        rows=in_rows(masks.mean(axis=0), sizes),
        overlap=None if math.isnan(overlap) else overlap,
        expected_by_chance=sites * math.prod((shared.sizes / sites).tolist()),
    )


def super_survivors(tickets: Sequence[Ticket]) -> Ticket:
    """The ticket of what survives in every one of these tickets.

    Raises:
        TombolaError: there are no tickets, or they are not of one kind and one architecture.
    """
    if not tickets:
        raise TombolaError("no tickets, so no super-survivors; give at least one")
    return reduce(and_, tickets[1:], tickets[0]).with_provenance(**_common(tickets), ticket="super-survivors")


def super_survivor_controls(
    tickets: Sequence[Ticket], seed: int, anatomy: Anatomy | None = None, *, outside: bool = False
) -> dict[str, Ticket]:
    """Tickets to hold against the super-survivors of `tickets`, each of as many sites.

    `random` and `layer-matched` as for every ticket (`tombola.pruning.controls`); `bad` keeps the sites of each kind
    that survive in the fewest tickets, drawn at random among those that survive equally often.

    Args:
        tickets: of several seeds.
        seed: of the draws.
        anatomy: of the model, where it is at hand, for random draws of as many weights.
        outside: draw `random` from what is neither a super-survivor nor bad, as far as that goes, as in the paper.

    Raises:
        TombolaError: as `super_survivors`; or these are tickets of weights, of which few ever survive as seldom.
    """
    survivors = super_survivors(tickets)
    if not survivors.sites:
        raise TombolaError("controls of super-survivors are made of heads, MLPs or neurons, not of weights")
    generator = random_stream(seed, "super-bad", survivors.kind, survivors.provenance.get("task"))
    masks = {}
    for kind, count in survivors.counts().items():
        times = torch.stack([ticket.masks[kind] for ticket in tickets]).sum(0)
        masks[kind] = _lowest(times, survivors.exists(kind), count, generator)
    drawn = {
        "random": _outside(survivors, masks, seed) if outside else controls.random(survivors, seed, None, anatomy),
        "layer-matched": controls.layer_matched(survivors, seed, None, anatomy),
        "bad": replace(survivors, masks=masks).with_provenance(ticket="bad", seed=seed),
    }
    return {
        name: ticket.with_provenance(**_common(tickets), ticket=name, control_of="super-survivors", seed=seed)
        for name, ticket in drawn.items()
    }


def _outside(survivors: Ticket, bad: Mapping[str, torch.Tensor], seed: int) -> Ticket:
    """Ticket of the size of `survivors`, drawn from what neither they nor the bad sites are; of those last."""
    generator = random_stream(seed, "super-random outside", survivors.kind, survivors.provenance.get("task"))
    masks = {}
    for kind, count in survivors.counts().items():
        taken = (survivors.masks[kind] | bad[kind]).int()
        masks[kind] = _lowest(taken, survivors.exists(kind), count, generator)
    return replace(survivors, masks=masks)


def _lowest(ranks: torch.Tensor, exists: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Mask of so many sites of lowest rank, drawn at random among equals."""
    # Rows of a mask may be longer than their layer: what is no site comes last.
    flat = ranks.where(exists, ranks.max() + 1).flatten()
    shuffled = torch.randperm(len(flat), generator=generator)
    mask = torch.zeros(len(flat), dtype=torch.bool)
    mask[shuffled[flat[shuffled].argsort(stable=True)][:count]] = True
    return mask.view_as(ranks)


def _common(tickets: Sequence[Ticket]) -> dict[str, object]:
    first = tickets[0].provenance
    alike = {
        key: first[key]
        for key in ("task", "model")
        if key in first and all(ticket.provenance.get(key) == first[key] for ticket in tickets)
    }
    return {**alike, "seeds": [ticket.provenance.get("seed") for ticket in tickets]}


@dataclass(frozen=True)
class Density:
    """Share of one matrix's weights that survive; over several tickets its mean, with the sample standard deviation."""

    role: str
    layer: int
    share: float
    deviation: float | None = None


def densities(ticket: Ticket) -> tuple[Density, ...]:
    """Density of every matrix of a ticket of weights, by its masks' names `<layer>.<role>`."""
    masks = ((name.partition("."), mask) for name, mask in ticket.masks.items())
    return tuple(Density(role, int(layer), float(mask.float().mean())) for (layer, _, role), mask in masks)


def mean_densities(tickets: Sequence[Sequence[Density]]) -> tuple[Density, ...]:
    """Mean and deviation over tickets, matrix by matrix; no deviation for one ticket."""
    shares: dict[tuple[str, int], list[float]] = {}
    for one in tickets:
        for density in one:
            shares.setdefault((density.role, density.layer), []).append(density.share)
    return tuple(
        Density(*matrix, math.fsum(found) / len(found), float(np.std(found, ddof=1)) if len(found) > 1 else None)
        for matrix, found in shares.items()
    )
