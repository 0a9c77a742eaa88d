"""Progress of long work: what it does, how far it is, how long it will take."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text
from typing_extensions import override

from tombola.foundations.curves import NOWHERE, Curves
from tombola.foundations.errors import printable
from tombola.foundations.launcher import is_main_process


class Progress(Protocol):
    """Receiver of progress of a long function."""

    def advance(self, examples: int) -> None:
        """Count examples that have passed through the model."""

    def note(self, text: str) -> None:
        """Note where the work stands: the iteration, the score."""

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        """Add what was measured at a step of a training or search to curves, see `tombola.foundations.curves`."""


class _Silent:
    def advance(self, examples: int) -> None: ...
    def note(self, text: str) -> None: ...
    def measured(self, step: int, values: Mapping[str, float]) -> None: ...


SILENT: Progress = _Silent()
"""Progress that goes nowhere."""


_WIDEST = 100
"""Characters of a line with a bar, at most: further apart, what is done and how far it is are hard to read together."""
_FULLEST = 0.99
"""Share of a bar that is filled before the work has ended, at most."""
_TELLING = 0.01
"""Share of work that must be done before its speed says how long the rest will take, and that is worth a line as it
begins."""
_OVERRUN = 1.25
"""Expected cost of work that takes longer than expected, in multiples of what it took so far."""


class _Lines(RichProgress):
    """Bars that keep their numbers on narrow terminals: the text before them gives way; notes have lines below."""

    @override
    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.tasks:
            if task.visible:
                table = self.make_tasks_table([task])
                table.width = min(self.console.width, _WIDEST)
                yield table
                if note := task.fields["note"]:
                    yield Text(f"    {note}", no_wrap=True, overflow="ellipsis")


class _Left(ProgressColumn):
    """Time that is left at the speed so far: costs are rough, and the last minute's speed is that of one step."""

    @override
    def render(self, task: Task) -> Text:
        return Text(_left(task) or "-:--:-- left")


def _left(task: Task) -> str:
    if not task.total or not task.elapsed or task.completed < _TELLING * task.total:
        return ""
    return f"{timedelta(seconds=round(task.elapsed * (task.total / task.completed - 1)))} left"


def _rest() -> Column:
    """Column that takes what the others leave."""
    return Column(ratio=1, no_wrap=True, overflow="ellipsis")


@contextlib.contextmanager
def shown(progress: "Progress | bool", what: str, total: int | None = None) -> Iterator[Progress]:
    """Receiver of progress for a `with` block: the one that was given, a bar on stderr for True, none for False.

    `total` is how many examples there are; None where nobody knows. Of several processes that a launcher started only
    the main one shows anything.
    """
    if not isinstance(progress, bool):
        yield progress
    elif not (progress and is_main_process()):
        yield SILENT
    else:
        text = TextColumn("{task.description}", markup=False, table_column=_rest())
        counts = TextColumn("{task.completed:,} examples"), TimeElapsedColumn(), *((_Left(),) if total else ())
        console = Console(stderr=True, markup=False, emoji=False)
        with _Lines(text, BarColumn(bar_width=16), *counts, console=console, expand=True) as drawn:
            yield _Bar(drawn, what, total)


class _Bar:
    def __init__(self, drawn: RichProgress, what: str, total: int | None) -> None:
        self._drawn, self._task = drawn, drawn.add_task(what, total=total, note="")

    def advance(self, examples: int) -> None:
        self._drawn.advance(self._task, examples)

    def note(self, text: str) -> None:
        self._drawn.update(self._task, note=printable(text))

    def measured(self, step: int, values: Mapping[str, float]) -> None: ...


class ProgressBars:
    """Bars on stderr: one of all steps of a job, and a line for each step at work, with its note below.

    A terminal redraws them; a log gets a line for each result, with the seconds that it took and the time that is left
    of the whole, and one as a long step begins. Costs are in forward passes of one example.

    Args:
        job: name of the whole.
        cost: of all its steps.
        console: where to draw.
        curves: of the steps, and of the share of the cost that is done.
        done: steps that were done before.
    """

    def __init__(
        self, job: str, cost: float, console: Console | None = None, curves: Curves = NOWHERE, done: int = 0
    ) -> None:
        self.console = console or Console(stderr=True, markup=False, emoji=False, quiet=not is_main_process())
        self.drawn = _Lines(
            TextColumn("{task.description}", markup=False, table_column=_rest()),
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            _Left(),
            console=self.console,
            expand=True,
            disable=not self.console.is_terminal,
        )
        self._whole = self.drawn.add_task(job, total=cost, note="")
        self._cost, self._spent = cost, 0.0
        self.curves, self._job, self._done = curves, job, done

    def __enter__(self) -> "ProgressBars":
        self.drawn.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.drawn.update(self._whole, total=1.0, completed=1.0)
        self.drawn.stop()

    def skip(self, cost: float) -> None:
        """Skip a step that was found done, or what a step did not take of its cost; more than expected is below 0."""
        self._cost -= cost
        self.advance(0.0)

    def advance(self, cost: float) -> None:
        """Count cost that is done of the whole."""
        self._spent += cost
        self.drawn.update(self._whole, total=self._cost, completed=min(self._spent, _FULLEST * self._cost))

    def end_step(self) -> None:
        """Add a step that is done to the curve of the whole."""
        self._done += 1
        self.curves.add(
            self._job, self._done, {"share done": min(1.0, self._spent / self._cost) if self._cost else 1.0}
        )

    def say(self, text: str) -> None:
        """Print a line above the bars, or in the log."""
        self.console.print(printable(text), highlight=False, soft_wrap=True)

    def is_long(self, cost: float) -> bool:
        """True if so much cost is worth a line before it is done."""
        return cost >= _TELLING * self._cost

    @property
    def left(self) -> str:
        """Time that is left of the whole, as `0:12:34 left`; empty where nothing tells yet."""
        return _left(self.drawn.tasks[self._whole])


class ProgressLine:
    """Bar of one step at work, under that of the whole, which it moves along, and those that there are."""

    def __init__(self, bars: ProgressBars) -> None:
        self._bars = bars
        self._bar = bars.drawn.add_task("", total=None, note="", visible=False)
        self._what = ""
        self._weight, self._cost, self._spent = 1.0, 0.0, 0.0
        self._began = self._noted = 0.0

    @contextlib.contextmanager
    def step(self, what: str, *, cost: float, weight: float = 1.0) -> Iterator[None]:
        """Show a step from `start` to `end`, when its cost is settled; an example of `advance` costs `weight`."""
        self.start(what, cost=cost, weight=weight)
        try:
            yield
        except BaseException:
            self._settle()
            raise
        self.end()

    def start(self, what: str, *, cost: float, weight: float = 1.0) -> None:
        """Show the step that begins, see `step`."""
        self._what, self._weight, self._cost, self._spent = what, weight, cost, 0.0
        self._began = self._noted = self._bars.console.get_time()
        self._bars.drawn.reset(self._bar, total=cost, description=printable(f"  {what}"), note="", visible=True)
        if self._bars.is_long(cost):
            self._print(f"{what} ...")

    def end(self) -> None:
        """End the step, which has done its work, and settle its cost."""
        self._settle()
        self._bars.end_step()
        self._result(self._what, self._began)

    def give_up(self) -> None:
        """End the step, which has not done its work: its cost is still to come, or taken out by whoever knows."""
        self._bars.advance(-self._spent)
        self._bars.drawn.update(self._bar, visible=False)

    def _settle(self) -> None:
        left = self._cost - self._spent
        # What reports no examples was done at once; what is over early had less to do than was expected.
        (self._bars.skip if self._spent else self._bars.advance)(left)
        self._bars.drawn.update(self._bar, visible=False)

    def advance(self, examples: int) -> None:
        """Count examples; of a step that costs more than expected, as a search may, the expected cost grows."""
        spent = examples * self._weight
        self._spent += spent
        # Costs are rough: a little more is no sign that much is left.
        if self._spent > (2 - _FULLEST) * self._cost:
            self._bars.skip(self._cost - _OVERRUN * self._spent)
            self._cost = _OVERRUN * self._spent
        self._bars.advance(spent)
        self._bars.drawn.update(self._bar, total=self._cost, completed=min(self._spent, _FULLEST * self._cost))

    def note(self, text: str) -> None:
        """Show where the step stands."""
        self._bars.drawn.update(self._bar, note=printable(text))
        # Among the lines of several workers, a log must say whose word it is.
        self._result(f"{self._what}: {text}", self._noted)
        self._noted = self._bars.console.get_time()

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to curves of the step at work."""
        self._bars.curves.add(self._what, step, values)

    def _result(self, text: str, since: float) -> None:
        """Print a result with the seconds since then."""
        facts = ", ".join(filter(None, (f"{self._bars.console.get_time() - since:.1f} s", self._bars.left)))
        self._print(f"{text}; {facts}")

    def _print(self, text: str) -> None:
        console = self._bars.console
        if not console.is_terminal:
            # A line of a log is not broken where a terminal would end.
            console.print(printable(text), highlight=False, soft_wrap=True)
