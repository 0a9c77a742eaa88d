"""A comparison as JSON values: what `tombola compare --json` prints (docs/formats.md)."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tombola.analysis.agreement.comparison import (
    CONTROLS,
    Comparison,
    KindComparison,
    TaskComparison,
    TicketKindComparison,
)
from tombola.analysis.agreement.null_distribution import NullDistribution
from tombola.analysis.agreement.overlap import Overlap, TaskPairOverlap
from tombola.analysis.agreement.pairwise_overlap import LEVEL
from tombola.analysis.agreement.survival import KindSurvival

ONE_TASK = "a single task has nothing to agree with"


def entry(comparison: Comparison, relative_to: Path | None = None) -> dict[str, Any]:
    """JSON object of a comparison; what is undefined is None and has its reason under `undefined`.

    Args:
        comparison: to be written.
        relative_to: a folder from which the tickets' folders are named; by default they are named as they were given.
    """
    return {
        "draws": comparison.draws,
        "seed": comparison.seed,
        "level": LEVEL,
        "kinds": {kind: _of_kind(one, relative_to) for kind, one in comparison.kinds.items()},
    }


def _of_kind(comparison: TicketKindComparison, relative_to: Path | None) -> dict[str, Any]:
    one_task = not comparison.between
    return {
        "architecture": comparison.architecture,
        "tasks": {task: _task(one, relative_to) for task, one in comparison.tasks.items()},
        "between_tasks": None if one_task else {kind: _kind(one) for kind, one in comparison.between.items()},
        "overlap": {kind: _overlap(one) for kind, one in comparison.overlap.items()},
        "undefined": {"between_tasks": ONE_TASK} if one_task else {},
    }


def _task(comparison: TaskComparison, relative_to: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "tickets": [
            {
                "folder": (one.folder if relative_to is None else one.folder.relative_to(relative_to)).as_posix(),
                "seed": one.seed,
            }
            for one in comparison.found
        ]
    }
    for kind, one in comparison.kinds.items():
        found[kind] = _kind(one)
        if kind in comparison.survival:
            survival = comparison.survival[kind]
            found[kind] |= {
                "survival": _sites(kind, survival.rows),
                "survival_deviation": _sites(kind, survival.deviations),
                "super_survivor_sites": _super_survivors(kind, survival),
            }
    if comparison.density:
        deviations = comparison.density_deviations
        found["matrices"] = [
            {**dataclasses.asdict(density), "deviation": deviation}
            for density, deviation in zip(comparison.density, deviations, strict=True)
        ]
    return found


def _sites(kind: str, rows: tuple[tuple[float, ...], ...]) -> list[Any]:
    """Values in the shape of the kind's mask."""
    return [row[0] if kind == "mlps" else list(row) for row in rows]


def _super_survivors(kind: str, survival: KindSurvival) -> list[Any]:
    """The sites that survive in every ticket, named as in `search.jsonl`."""
    return [
        row if kind == "mlps" else [row, site]
        for row, shares in enumerate(survival.rows)
        for site, share in enumerate(shares)
        if share == 1
    ]


def _kind(comparison: KindComparison) -> dict[str, Any]:
    found = dataclasses.asdict(comparison.agreement)
    found["undefined"] |= comparison.no_null_distribution
    found["null_distribution"] = {
        name: {statistic: _null_distribution(one) for statistic, one in comparison.null_distributions[name].items()}
        if name in comparison.null_distributions
        else None
        for name in CONTROLS
    }
    return found


def _null_distribution(null_distribution: NullDistribution | None) -> dict[str, Any] | None:
    return None if null_distribution is None else dataclasses.asdict(null_distribution)


def _overlap(overlap: Overlap) -> dict[str, Any]:
    return {
        "tasks": list(overlap.tasks),
        "jaccard": _matrix(overlap, lambda cell: cell.jaccard),
        "shared": _matrix(overlap, lambda cell: cell.shared),
        "null_distribution": {name: _overlap_null(overlap, name) for name in CONTROLS},
        "undefined": [
            {"tasks": [overlap.tasks[row], overlap.tasks[column]], "reason": cell.undefined}
            for (row, column), cell in overlap.cells.items()
            if cell.undefined is not None
        ],
    }


def _overlap_null(overlap: Overlap, control: str) -> dict[str, Any] | None:
    """The distributions of a matrix; None where there are no such random tickets."""
    if control not in overlap.at(0, 0).jaccard_null:
        return None
    return {
        "jaccard": _matrix(overlap, lambda cell: _null_distribution(cell.jaccard_null[control])),
        "shared": _matrix(overlap, lambda cell: _null_distribution(cell.shared_null[control])),
    }


def _matrix(overlap: Overlap, value: Callable[[TaskPairOverlap], Any]) -> list[list[Any]]:
    numbers = range(len(overlap.tasks))
    return [[value(overlap.at(row, column)) for column in numbers] for row in numbers]
