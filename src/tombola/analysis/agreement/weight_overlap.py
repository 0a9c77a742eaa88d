"""Overlap of tickets of weights: counted matrix by matrix, and drawn at random without drawing masks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tombola.analysis.agreement.coefficients import Group
from tombola.analysis.agreement.null_distribution import Batch
from tombola.analysis.agreement.pairwise_overlap import Array, PairwiseOverlap
from tombola.tickets.ticket import Ticket

LARGEST = 10**9
"""NumPy draws from sets of fewer elements only."""

BATCH_COLUMNS = 2**20
"""Weights whose masks are unpacked at a time."""
_CELLS = 2**22
"""PairwiseOverlap counts that are drawn at a time."""


class PackedMasks:
    """The masks of a ticket of weights, a bit each: those of many tickets stay in memory together."""

    def __init__(self, ticket: Ticket) -> None:
        self.sizes: Mapping[str, int] = {name: mask.numel() for name, mask in ticket.masks.items()}
        self._bits = {name: np.packbits(mask.numpy()) for name, mask in ticket.masks.items()}

    def part(self, name: str, start: int) -> Array:
        """Some weights of one matrix, bool [up to `BATCH_COLUMNS`]; `start` is a multiple of 8."""
        count = min(BATCH_COLUMNS, self.sizes[name] - start)
        return np.unpackbits(self._bits[name][start // 8 : (start + count + 7) // 8], count=count).astype(bool)


@dataclass(frozen=True)
class WeightCounts:
    """Counts of weights that tickets share, matrix by matrix.

    Attributes:
        counts: [matrices, tickets, tickets]: weights that survive in both of two tickets.
        totals: weights of every matrix, [matrices].
        everywhere: for each group of tickets, the weights that survive in all of them.
    """

    counts: Array
    totals: Array
    everywhere: tuple[int, ...]

    @property
    def shared(self) -> PairwiseOverlap:
        """Counts over all matrices together."""
        return PairwiseOverlap(self.counts.sum(axis=0), int(self.totals.sum()))


def count(tickets: Sequence[PackedMasks], groups: Sequence[Group]) -> WeightCounts:
    """Count what tickets of the same matrices share."""
    sizes = tickets[0].sizes
    counts = np.zeros((len(sizes), len(tickets), len(tickets)))
    everywhere = np.zeros(len(groups), dtype=np.int64)
    for number, (name, size) in enumerate(sizes.items()):
        for start in range(0, size, BATCH_COLUMNS):
            masks = np.stack([ticket.part(name, start) for ticket in tickets])
            counts[number] += PairwiseOverlap.of(masks).counts
            everywhere += [int(masks[group.members].all(axis=0).sum()) for group in groups]
    return WeightCounts(counts, np.array(list(sizes.values())), tuple(everywhere.tolist()))


def random_weights(
    counts: WeightCounts, groups: Sequence[Group], *, layer_matched: bool, draws: int, seed: Sequence[int]
) -> Iterator[Batch]:
    """Draw what random tickets of weights of the same sizes share: as many in all, or (`layer_matched`) in each matrix.

    What two independent random tickets share is hypergeometric. Two pairs are independent of each other, also those
    with a ticket in common; so every statistic of one pair has its exact distribution, and a mean over pairs its exact
    mean and variance. (Three pairs of three tickets do depend on each other, by far too little to matter for weights.)
    Tickets of one task are drawn independently also where tasks are held against each other.
    """
    generator = np.random.default_rng(seed)
    totals = counts.totals if layer_matched else counts.totals.sum(keepdims=True)
    sizes = np.diagonal(counts.counts, axis1=1, axis2=2).astype(np.int64)
    sizes = sizes if layer_matched else sizes.sum(axis=0, keepdims=True)
    tickets = sizes.shape[1]
    one, other = np.triu_indices(tickets, 1)
    at_a_time = max(1, _CELLS // tickets**2)
    for start in range(0, draws, at_a_time):
        size = min(at_a_time, draws - start)
        drawn = np.zeros((size, tickets, tickets))
        drawn[:, range(tickets), range(tickets)] = sizes.sum(axis=0)
        everywhere = [np.zeros(size) for _ in groups]
        for total, kept in zip(totals.tolist(), sizes, strict=True):
            both = generator.hypergeometric(kept[one], total - kept[one], kept[other], size=(size, len(one)))
            drawn[:, one, other] += both
            drawn[:, other, one] += both
            for number, group in enumerate(groups):
                always = np.full(size, kept[group.members[0]])
                for member in group.members[1:]:
                    always = generator.hypergeometric(always, total - always, kept[member])
                everywhere[number] += always
        yield PairwiseOverlap(drawn, int(counts.totals.sum())), everywhere
