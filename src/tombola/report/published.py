"""The paper's figures for GLUE, carried in the package: what a study can be held against."""

import functools
from dataclasses import dataclass
from importlib import resources

from pydantic import TypeAdapter


@dataclass(frozen=True)
class PublishedRow:
    """A published score: mean and sample standard deviation over seeds."""

    task: str
    metric: str
    method: str
    ticket: str
    stage: str
    mean: float
    std: float


@dataclass(frozen=True)
class Published:
    """The published figures and where they come from; `std` says in words what the rows' deviation is."""

    source: str
    model: str
    seeds: int
    split: str
    std: str
    rows: tuple[PublishedRow, ...]

    def task(self, name: str) -> tuple[PublishedRow, ...]:
        """Rows of a task by the name GLUE shows, `CoLA` or `SST-2`; empty for an unknown one."""
        return tuple(row for row in self.rows if row.task == name)


@functools.cache
def published() -> Published:
    """Read the figures from the package."""
    path = resources.files("tombola.report").joinpath("published.json")
    return TypeAdapter(Published).validate_json(path.read_bytes())
