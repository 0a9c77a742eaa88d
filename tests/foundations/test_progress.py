"""Bars keep their numbers on every terminal, end when the work does, and leave one line a result in a log."""

import io
import re

import pytest
from rich.console import Console

from tombola.foundations.progress import ProgressBars, ProgressLine

SEARCH = "seed 0: search heads and blocks of neurons by their importance"
RESULT = "iteration 3: 129 heads, 3,456 neurons, 0.8123 (threshold 0.8012), and what else is to be said of it"


class Clock:
    """Clock of a console, which a test moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def bars(width: int, clock: Clock, cost: float, *, terminal: bool = True) -> ProgressBars:
    """Bars on a console of that width and clock."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None, get_time=clock, markup=False)
    return ProgressBars("study", cost, console)


def shown(found: ProgressBars) -> list[str]:
    """Lines as a terminal of that width has them now."""
    file = io.StringIO()
    console = Console(file=file, width=found.console.width, force_terminal=True, color_system="standard", markup=False)
    console.print(found.drawn.get_renderable())
    return re.sub(r"\x1b\[[\d;]*m", "", file.getvalue()).splitlines()


def percent(line: str) -> int:
    """What a line with a bar says of its share."""
    (found,) = re.findall(r"(\d+)%", line)
    return int(found)


@pytest.mark.parametrize("width", [80, 120])
def test_a_search_keeps_bar_elapsed_and_left(width: int, clock: Clock) -> None:
    found = bars(width, clock, 100)
    with found:
        line = ProgressLine(found)
        line.start(SEARCH, cost=50)
        for _ in range(5):
            clock.wait(10)
            line.advance(5)
        line.note(RESULT)
        whole, step, note = shown(found)
    assert max(map(len, (whole, step, note))) <= width
    assert re.fullmatch(r"study +[━╸╺]{16} +25% 0:00:50 0:02:30 left *", whole)
    assert re.fullmatch(r"  seed 0: search heads .*[━╸╺]{16} +50% 0:00:50 0:00:50 left *", step)
    assert note.startswith("    iteration 3: 129 heads, 3,456 neurons, 0.8123 (threshold 0.8012)")


@pytest.mark.parametrize("passes", [3, 12, 40])
def test_no_bar_is_full_before_the_end_however_long_a_search_takes(passes: int, clock: Clock) -> None:
    found = bars(80, clock, 12)
    with found:
        line = ProgressLine(found)
        with line.step(SEARCH, cost=12.0):
            for _ in range(passes):
                line.advance(1)
                whole, step = shown(found)
                assert percent(whole) < 100
                assert percent(step) < 100
        assert percent(shown(found)[0]) <= 99
    assert percent(shown(found)[0]) == 100


def test_a_search_that_ends_early_takes_its_rest_from_the_whole(clock: Clock) -> None:
    found = bars(80, clock, 20)
    with found:
        line = ProgressLine(found)
        with line.step(SEARCH, cost=12.0):
            line.advance(2)
        # Two are done, and eight are left, of ten.
        assert percent(shown(found)[0]) == 20


def test_a_log_has_one_line_a_result_with_seconds_and_what_is_left(clock: Clock) -> None:
    found = bars(80, clock, 100, terminal=False)
    with found:
        line = ProgressLine(found)
        with line.step("search weights", cost=50):
            for _ in range(2):
                clock.wait(10)
                line.advance(20)
                line.note(RESULT)
    assert isinstance(found.console.file, io.StringIO)
    begun, first, second, done = found.console.file.getvalue().splitlines()
    assert begun == "search weights ..."
    assert first == f"search weights: {RESULT}; 10.0 s, 0:00:40 left"
    assert second == f"search weights: {RESULT}; 10.0 s, 0:00:30 left"
    assert done == "search weights; 20.0 s, 0:00:25 left"


def test_what_is_done_at_once_is_one_line_in_a_log(clock: Clock) -> None:
    found = bars(80, clock, 100, terminal=False)
    with found, ProgressLine(found).step("draw random weights", cost=0.5):
        clock.wait(0.1)
    assert isinstance(found.console.file, io.StringIO)
    # Of what takes a two-hundredth, nothing is to be told of the rest.
    assert found.console.file.getvalue() == "draw random weights; 0.1 s\n"
