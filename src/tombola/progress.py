"""How long work tells of itself: what it does, how far it is, how long it will take."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress(Protocol):
    """What a long function tells its caller."""

    def advance(self, examples: int) -> None:
        """So many examples more have passed through the model."""

    def note(self, text: str) -> None:
        """A short word on where the work stands: the iteration, the score."""


class _Silent:
    def advance(self, examples: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass


SILENT: Progress = _Silent()
"""Tells nobody."""


class Bars:
    """Two bars on stderr: all steps of a job, and the step at work. A terminal redraws them; a log gets a line a step.

    Args:
        job: what the whole is called.
        cost: expected cost of the whole, in forward passes of one example; drives the time left.
    """

    def __init__(self, job: str, cost: float) -> None:
        self._console = Console(stderr=True)
        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            speed_estimate_period=120,
            disable=not self._console.is_terminal,
        )
        self._whole = self._bars.add_task(job, total=cost, note="")
        self._step = self._bars.add_task("", total=None, note="", visible=False)
        self._weight = 1.0
        self._cost = 0.0
        self._spent = 0.0

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._bars.update(self._whole, total=1.0, completed=1.0)
        self._bars.stop()

    @contextlib.contextmanager
    def step(self, what: str, *, cost: float, weight: float = 1.0) -> Iterator[None]:
        """One step of the job.

        Args:
            what: shown beside its bar.
            cost: expected cost, in the units of the whole; settled when the step ends, however many it took.
            weight: cost of one example that `advance` reports.
        """
        self._weight, self._cost, self._spent = weight, cost, 0.0
        self._bars.reset(self._step, total=cost, description=f"  {what}", note="", visible=True)
        if not self._console.is_terminal:
            self._console.print(what, highlight=False)
        try:
            yield
        finally:
            self._bars.advance(self._whole, cost - self._spent)
            self._bars.update(self._step, visible=False)

    def skip(self, cost: float) -> None:
        """A step that was found done."""
        total = self._bars.tasks[self._whole].total or 0.0
        self._bars.update(self._whole, total=total - cost)

    def advance(self, examples: int) -> None:
        """Count examples; a step that costs more than expected does not run its bar over the end."""
        spent = min(examples * self._weight, self._cost - self._spent)
        self._spent += spent
        self._bars.advance(self._whole, spent)
        self._bars.advance(self._step, spent)

    def note(self, text: str) -> None:
        """Show where the step stands."""
        self._bars.update(self._step, note=text)
        if not self._console.is_terminal:
            self._console.print(f"  {text}", highlight=False)
