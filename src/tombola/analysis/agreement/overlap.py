"""Overlap of the tickets of every two tasks, beside random tickets of the same sizes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tombola.analysis.agreement.coefficients import EMPTY
from tombola.analysis.agreement.null_distribution import Chance, Drawn, chance, mean_shared
from tombola.analysis.agreement.pairwise_overlap import Array, Shared, all_pairs

ONE_OF_A_TASK = "one ticket of this task only, so that there are no two to compare"

T = TypeVar("T")
Matrix = tuple[tuple[T, ...], ...]


@dataclass(frozen=True)
class OverlapByChance:
    """Distributions over random tickets of the two matrices of an overlap; None where a value has none."""

    jaccard: Matrix[Chance | None]
    shared: Matrix[Chance | None]


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
        by_chance: kind of random ticket → the distributions; None where none are drawn.
        undefined: the pairs of tasks without a Jaccard similarity.
    """

    tasks: tuple[str, ...]
    jaccard: Matrix[float | None]
    shared: Matrix[float | None]
    by_chance: Mapping[str, OverlapByChance | None]
    undefined: tuple[UndefinedOverlap, ...]


def crossed_pairs(members: Sequence[Array]) -> dict[tuple[int, int], Array]:
    """For every two groups of tickets, and every group with itself, the pairs [pairs, 2] of tickets between them."""
    return {
        (row, column): members[row][all_pairs(len(members[row]))]
        if row == column
        else np.stack(np.meshgrid(members[row], members[column], indexing="ij"), axis=-1).reshape(-1, 2)
        for row in range(len(members))
        for column in range(row, len(members))
    }


def overlap(
    tasks: Sequence[str], shared: Shared, crossed: Mapping[tuple[int, int], Array], drawn: Mapping[str, Drawn | None]
) -> Overlap:
    """The matrices of tasks.

    Args:
        tasks: names.
        shared: survivors that all tickets share.
        crossed: numbers of two tasks, the lower first → the pairs of tickets between them.
        drawn: kind of random ticket → its statistics; None where none are drawn.
    """
    jaccard = {two: _known(shared.jaccard(pairs)) for two, pairs in crossed.items()}
    common = {two: _known(mean_shared(shared, pairs)) for two, pairs in crossed.items()}

    def matrix(value: Callable[[tuple[int, int]], T]) -> Matrix[T]:
        numbers = range(len(tasks))
        return tuple(tuple(value((min(row, column), max(row, column))) for column in numbers) for row in numbers)

    def by_chance(random: Drawn) -> OverlapByChance:
        return OverlapByChance(
            matrix(lambda two: chance(random.jaccard[two], jaccard[two])),
            matrix(lambda two: chance(random.shared[two], common[two])),
        )

    return Overlap(
        tuple(tasks),
        matrix(jaccard.__getitem__),
        matrix(common.__getitem__),
        {control: None if random is None else by_chance(random) for control, random in drawn.items()},
        tuple(
            UndefinedOverlap((tasks[row], tasks[column]), EMPTY if len(crossed[row, column]) else ONE_OF_A_TASK)
            for (row, column), value in jaccard.items()
            if value is None
        ),
    )


def _known(value: Array) -> float | None:
    return None if np.isnan(value) else float(value)
