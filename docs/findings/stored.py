"""Results beside this file, as they are read for the tables and for the sentences of the pages."""

import functools
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TASKS = {"rotten-tomatoes": "Rotten Tomatoes", "sst2": "SST-2", "cola": "CoLA"}
TICKETS = {
    "good": "good",
    "random": "random",
    "layer-matched": "layer-matched random",
    "bad": "bad",
    "super-survivors": "super-survivors",
    "super-random": "super-random",
    "super-bad": "super-bad",
}
CONTROLS = ("random", "layer-matched")
Line = Sequence[str]
"""Cells of a line of a table."""


@functools.cache
def read(name: str) -> Any:
    """The value of a JSON file."""
    return json.loads((HERE / name).read_text(encoding="utf-8"))


@functools.cache
def lines(name: str) -> tuple[dict[str, Any], ...]:
    """The rows of a JSON-lines file."""
    return tuple(json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines())


def scores(task: str, method: str, ticket: str, stage: str, field: str = "score") -> list[float]:
    """Numbers of a ticket, one a seed, of `results.jsonl`, in the order of the seeds."""
    asked = (method, ticket, stage)
    rows = [row for row in lines(f"{task}/results.jsonl") if (row["method"], row["ticket"], row["stage"]) == asked]
    return [float(row[field]) for row in sorted(rows, key=lambda row: row["seed"])]


def mean(task: str, method: str, ticket: str, stage: str, field: str = "score") -> float:
    """Mean over seeds."""
    return statistics.fmean(scores(task, method, ticket, stage, field))


def full(task: str) -> float:
    """Score of the full model, mean over seeds."""
    return mean(task, "none", "full", "none")


def guessing(task: str) -> float:
    """Score of guessing."""
    return mean(task, "none", "guessing", "none")


def verdict(task: str, method: str, ticket: str) -> dict[str, Any]:
    """Difference of a retrained ticket to the full model, with its interval over dev examples."""
    found = [
        one for one in read(f"{task}/verdicts.json")["verdicts"] if (one["method"], one["ticket"]) == (method, ticket)
    ]
    (one,) = found
    return dict(one)


def agreement(task: str, kind: str) -> dict[str, Any]:
    """Agreement of a task's seeds in sites of a kind."""
    found = read(f"{task}/comparison.json")["kinds"]["weights" if kind == "weights" else "heads+mlps"]
    return dict(found["tasks"][task]["agreement"][kind])


def attention(task: str) -> dict[str, Any]:
    """Classes of attention maps, norm-weighted."""
    return dict(read(f"{task}/attention.json")["norm"])


def overlap(kind: str) -> dict[str, Any]:
    """Overlap of two tasks' tickets in sites of a kind."""
    found = read("comparison.json")["kinds"]["weights" if kind == "weights" else "heads+mlps"]
    return dict(found["overlap"][kind])


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean and sample standard deviation, which is left out where all values are alike; empty for no values."""
    if not values:
        return ""
    std = f" ± {statistics.stdev(values):.{digits}f}" if len(set(values)) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{std}"


def span(values: Sequence[float], digits: int = 2) -> str:
    """The least and the most."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"
