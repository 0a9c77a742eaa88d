"""Progress of long work: what it does, how far it is, how long it will take."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from tombola.foundations.errors import printable


class Progress(Protocol):
    """Receiver of progress of a long function."""

    def advance(self, examples: int) -> None:
        """Count examples that have passed through the model."""

    def note(self, text: str) -> None:
        """Note where the work stands: the iteration, the score."""


class _Silent:
    def advance(self, examples: int) -> None: ...
    def note(self, text: str) -> None: ...


SILENT: Progress = _Silent()
"""Progress that goes nowhere."""


class ProgressBars:
    """Bars on stderr: one of all steps of a job, and a line for each step at work.

    A terminal redraws them; a log gets a line a step. Costs are in forward passes of one example.
    """

    def __init__(self, job: str, cost: float) -> None:
        self.console = Console(stderr=True, markup=False)
        self.drawn = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            speed_estimate_period=120,
            disable=not self.console.is_terminal,
        )
        self._whole = self.drawn.add_task(job, total=cost, note="")
        self.lines = 0

    def __enter__(self) -> "ProgressBars":
        self.drawn.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.drawn.update(self._whole, total=1.0, completed=1.0)
        self.drawn.stop()

    def skip(self, cost: float) -> None:
        """Skip a step that was found done."""
        total = self.drawn.tasks[self._whole].total or 0.0
        self.drawn.update(self._whole, total=total - cost)

    def advance(self, cost: float) -> None:
        """Count cost that is done of the whole."""
        self.drawn.advance(self._whole, cost)


class ProgressLine:
    """Bar of one step at work, under that of the whole, which it moves along, and those that there are."""

    def __init__(self, bars: ProgressBars) -> None:
        self._bars = bars
        self._bar = bars.drawn.add_task("", total=None, note="", visible=False)
        bars.lines += 1
        self._what = ""
        self._weight, self._cost, self._spent = 1.0, 0.0, 0.0

    @contextlib.contextmanager
    def step(self, what: str, *, cost: float, weight: float = 1.0) -> Iterator[None]:
        """Show a step from `start` to `end`, when its cost is settled; an example of `advance` costs `weight`."""
        self.start(what, cost=cost, weight=weight)
        try:
            yield
        finally:
            self.end()

    def start(self, what: str, *, cost: float, weight: float = 1.0) -> None:
        """Show the step that begins, see `step`."""
        self._what, self._weight, self._cost, self._spent = what, weight, cost, 0.0
        self._bars.drawn.reset(self._bar, total=cost, description=printable(f"  {what}"), note="", visible=True)
        self._print(what)

    def end(self) -> None:
        """End the step and settle its cost."""
        self._bars.advance(self._cost - self._spent)
        self._bars.drawn.update(self._bar, visible=False)

    def advance(self, examples: int) -> None:
        """Count examples; a step that costs more than expected does not run its bar over the end."""
        spent = min(examples * self._weight, self._cost - self._spent)
        self._spent += spent
        self._bars.advance(spent)
        self._bars.drawn.advance(self._bar, spent)

    def note(self, text: str) -> None:
        """Show where the step stands."""
        self._bars.drawn.update(self._bar, note=printable(text))
        # Among the lines of several workers, a log must say whose word it is.
        self._print(f"  {text}" if self._bars.lines == 1 else f"  {self._what}: {text}")

    def _print(self, text: str) -> None:
        console = self._bars.console
        if not console.is_terminal:
            console.print(printable(text), highlight=False)
