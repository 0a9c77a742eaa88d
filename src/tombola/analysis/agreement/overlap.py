"""Overlap of the tickets of every two tasks, beside random tickets of the same sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tombola.analysis.agreement.coefficients import EMPTY
from tombola.analysis.agreement.null_distribution import (
    NullDistribution,
    RandomTicketStatistics,
    mean_shared,
    null_distribution,
)
from tombola.analysis.agreement.pairwise_overlap import Array, PairwiseOverlap, all_pairs

ONE_OF_A_TASK = "one ticket of this task only, so that there are no two to compare"

Matrix = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class TaskPairOverlap:
    """The overlap of two tasks' tickets, or of one task's with each other: means over pairs of tickets.

    Attributes:
        jaccard: of the two sets of survivors; None if undefined.
        shared: number of survivors that both have; None if there are no two tickets.
        jaccard_null, shared_null: kind of random ticket → the distribution.
        undefined: why a value is None.
    """

    jaccard: float | None
    shared: float | None
    jaccard_null: Mapping[str, NullDistribution | None]
    shared_null: Mapping[str, NullDistribution | None]
    undefined: str | None


@dataclass(frozen=True)
class Overlap:
    """A symmetric matrix of tasks.

    Attributes:
        tasks: its rows and columns.
        cells: for two numbers of tasks, the lower first, their overlap.
    """

    tasks: tuple[str, ...]
    cells: Mapping[tuple[int, int], TaskPairOverlap]

    def at(self, row: int, column: int) -> TaskPairOverlap:
        """The cell of two tasks."""
        return self.cells[min(row, column), max(row, column)]


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
    drawn: Mapping[str, RandomTicketStatistics],
) -> Overlap:
    """The matrix of tasks, from the shared survivors of all tickets, the pairs of tickets and random tickets."""
    cells = {}
    for two, pairs in crossed.items():
        jaccard, common = _known(shared.jaccard(pairs)), _known(mean_shared(shared, pairs))
        cells[two] = TaskPairOverlap(
            jaccard=jaccard,
            shared=common,
            jaccard_null={name: null_distribution(one.jaccard[two], jaccard) for name, one in drawn.items()},
            shared_null={name: null_distribution(one.shared[two], common) for name, one in drawn.items()},
            undefined=None if jaccard is not None else EMPTY if len(pairs) else ONE_OF_A_TASK,
        )
    return Overlap(tuple(tasks), cells)


def _known(value: Array) -> float | None:
    return None if np.isnan(value) else float(value)
