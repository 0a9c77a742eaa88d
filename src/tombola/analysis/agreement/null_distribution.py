"""Null distributions of agreement: every statistic over random tickets of the same sizes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from tombola.analysis.agreement.coefficients import STATISTICS, Group, statistics
from tombola.analysis.agreement.pairwise_overlap import Array, PairwiseOverlap

DRAWS = 1000
INTERVAL = (0.025, 0.975)

BATCH_CELLS = 2**23
"""Sites, or pairs of tickets, that are drawn at a time."""
_ROUNDING = 1e-9
"""Values of one statistic may differ by this share of it and be the same: sums round."""


@dataclass(frozen=True)
class NullDistribution:
    """Null distribution of one statistic over random tickets.

    Attributes:
        mean, low, high: its mean, and its 2.5 % and 97.5 % quantiles.
        below: where the observed value lies: the share of the draws that are below it, draws equal to it counting
            half; None where there is no observed value.
        draws: how many the distribution rests on: those for which the statistic is defined.
    """

    mean: float
    low: float
    high: float
    below: float | None
    draws: int

    @property
    def where(self) -> Literal["above", "within", "below"]:
        """Word for where the observed value lies: `above`, `within` or `below` the middle 95 %."""
        low, high = INTERVAL
        if self.below is None or low <= self.below <= high:
            return "within"
        return "above" if self.below > high else "below"


def null_distribution(drawn: Array, observed: float | None) -> NullDistribution | None:
    """Null distribution of drawn values [draws], NaN for undefined ones; None if there is no other."""
    values = drawn[~np.isnan(drawn)]
    if not values.size:
        return None
    below = None
    if observed is not None:
        # In units of the values themselves: p values may be as small as 1e-140 and still differ.
        equal = np.abs(values - observed) <= _ROUNDING * (abs(observed) + np.ptp(values))
        below = float(((values < observed) & ~equal).mean() + equal.mean() / 2)
    low, high = np.quantile(values, INTERVAL)
    return NullDistribution(float(values.mean()), float(low), float(high), below, int(values.size))


@dataclass(frozen=True)
class RandomTicketStatistics:
    """Statistics of random tickets.

    Attributes:
        groups: for each group, statistic → its values [draws], NaN where it is undefined.
        jaccard, shared: for each two groups, [draws]: means over their pairs of Jaccard and of shared survivors.
    """

    groups: tuple[Mapping[str, Array], ...]
    jaccard: Mapping[tuple[int, int], Array]
    shared: Mapping[tuple[int, int], Array]

    def with_between_tasks(self, other: Self) -> Self:
        """These, with the other's statistics of the last group, all tasks', and of every two different groups."""
        jaccard, shared = (
            {(row, column): (one if row == column else another)[row, column] for row, column in one}
            for one, another in ((self.jaccard, other.jaccard), (self.shared, other.shared))
        )
        return replace(self, groups=(*self.groups[:-1], other.groups[-1]), jaccard=jaccard, shared=shared)


Batch = tuple[PairwiseOverlap, Sequence[Array]]
"""Some draws: what their tickets share [draws, tickets, tickets], and for each group its super-survivors [draws]."""


def measure(
    batches: Iterable[Batch], groups: Sequence[Group], crossed: Mapping[tuple[int, int], Array]
) -> RandomTicketStatistics:
    """The statistics of random tickets of groups; `crossed` has the pairs [pairs, 2] of tickets between two of them."""
    parts = [
        (
            [statistics(shared, always, group) for group, always in zip(groups, everywhere, strict=True)],
            {two: shared.jaccard(pairs) for two, pairs in crossed.items()},
            {two: shared.shared(pairs) for two, pairs in crossed.items()},
        )
        for shared, everywhere in batches
    ]
    return RandomTicketStatistics(
        groups=tuple(
            {name: np.concatenate([part[0][number][name] for part in parts]) for name in STATISTICS}
            for number in range(len(groups))
        ),
        jaccard={two: np.concatenate([part[1][two] for part in parts]) for two in crossed},
        shared={two: np.concatenate([part[2][two] for part in parts]) for two in crossed},
    )


def random_sites(
    masks: Array,
    sizes: Sequence[int],
    groups: Sequence[Group],
    *,
    layer_matched: bool,
    draws: int,
    seed: Sequence[int],
    together: Sequence[Array] = (),
) -> Iterator[Batch]:
    """Draw tickets of sites of the same sizes as some.

    Args:
        masks: bool [tickets, sites], of the tickets at hand, row after row; `sizes` are the sites of each row.
        groups: those whose super-survivors are counted.
        layer_matched: as many survivors in each row as the ticket has, instead of as many altogether.
        together: numbers of tickets that are drawn together, keeping what they have in common; by default all are
            drawn independently.
    """
    generator = np.random.default_rng(seed)
    tickets, sites = masks.shape

    def permuted(copies: Array) -> Array:
        """Copies [draws, n, sites], each with its sites in another order."""
        if not layer_matched:
            return generator.permuted(copies, axis=-1)
        if len(set(sizes)) == 1:
            rows = copies.reshape(*copies.shape[:2], len(sizes), sizes[0])
            return generator.permuted(rows, axis=-1).reshape(copies.shape)
        parts = np.split(copies, np.cumsum(sizes)[:-1], axis=-1)
        return np.concatenate([generator.permuted(part, axis=-1) for part in parts], axis=-1)

    at_a_time = max(1, BATCH_CELLS // (tickets * max(sites, tickets)))
    for start in range(0, draws, at_a_time):
        size = min(at_a_time, draws - start)
        drawn = np.repeat(masks[None], size, axis=0)
        if together:
            orders = permuted(np.broadcast_to(np.arange(sites), (size, len(together), sites)).copy())
            for number, members in enumerate(together):
                drawn[:, members] = masks[members][:, orders[:, number]].swapaxes(0, 1)
        else:
            drawn = permuted(drawn)
        yield PairwiseOverlap.of(drawn), [drawn[:, group.members].all(axis=1).sum(axis=-1) for group in groups]
