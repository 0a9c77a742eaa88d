"""Overlap of the tickets of every two tasks, beside random tickets of the same sizes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tombola.analysis.agreement.coefficients import EMPTY
from tombola.analysis.agreement.null_distribution import NullDistribution, RandomTicketStatistics, null_distribution
from tombola.analysis.agreement.pairwise_overlap import Array, PairwiseOverlap, all_pairs

ONE_OF_A_TASK = "one ticket of this task only, so that there are no two to compare"

T = TypeVar("T")
Matrix = tuple[tuple[T, ...], ...]


@dataclass(frozen=True)
class OverlapNullDistribution:
    """Distributions over random tickets of the two matrices of an overlap; None where a value has none."""

    jaccard: Matrix[NullDistribution | None]
    shared: Matrix[NullDistribution | None]


@dataclass(frozen=True)
class UndefinedOverlap:
    """Two tasks whose overlap is undefined, and why."""

    tasks: tuple[str, str]
    reason: str


@dataclass(frozen=True)
class Overlap:
    """Symmetric matrices of tasks: means over pairs of tickets of two tasks, or of one task with each other.

    Attributes:
        tasks: rows and columns.
        jaccard: similarity of the two sets of survivors; None if undefined.
        shared: number of survivors that both have; None if there are no two tickets.
        null_distribution: kind of random ticket → the distributions; None where none are drawn.
        undefined: the pairs of tasks without a Jaccard similarity.
    """

    tasks: tuple[str, ...]
    jaccard: Matrix[float | None]
    shared: Matrix[float | None]
    null_distribution: Mapping[str, OverlapNullDistribution | None]
    undefined: tuple[UndefinedOverlap, ...]


def crossed_pairs(members: Sequence[Array]) -> dict[tuple[int, int], Array]:
    """Pairs [pairs, 2] of tickets between every two groups, and within every group."""
    return {
        (row, column): members[row][all_pairs(len(members[row]))]
        if row == column
        else np.stack(np.meshgrid(members[row], members[column], indexing="ij"), axis=-1).reshape(-1, 2)
        for row in range(len(members))
        for column in range(row, len(members))
    }


def overlap(
    tasks: Sequence[str],
    shared: PairwiseOverlap,
    crossed: Mapping[tuple[int, int], Array],
    drawn: Mapping[str, RandomTicketStatistics | None],
) -> Overlap:
    """The matrices of tasks; `crossed` has the pairs of tickets between two tasks, the lower number first."""
    jaccard = {two: _known(shared.jaccard(pairs)) for two, pairs in crossed.items()}
    common = {two: _known(shared.shared(pairs)) for two, pairs in crossed.items()}

    def matrix(value: Callable[[tuple[int, int]], T]) -> Matrix[T]:
        numbers = range(len(tasks))
        return tuple(tuple(value((min(row, column), max(row, column))) for column in numbers) for row in numbers)

    def beside_random(random: RandomTicketStatistics) -> OverlapNullDistribution:
        return OverlapNullDistribution(
            matrix(lambda two: null_distribution(random.jaccard[two], jaccard[two])),
            matrix(lambda two: null_distribution(random.shared[two], common[two])),
        )

    return Overlap(
        tuple(tasks),
        matrix(jaccard.__getitem__),
        matrix(common.__getitem__),
        {control: None if random is None else beside_random(random) for control, random in drawn.items()},
        tuple(
            UndefinedOverlap((tasks[row], tasks[column]), EMPTY if len(crossed[row, column]) else ONE_OF_A_TASK)
            for (row, column), value in jaccard.items()
            if value is None
        ),
    )


def _known(value: Array) -> float | None:
    return None if np.isnan(value) else float(value)
