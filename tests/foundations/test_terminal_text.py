"""Names with brackets are text on a terminal, and no markup of its lines, bars and tables."""

import ast
from pathlib import Path

import pytest

import tombola
from tombola.foundations.progress import ProgressBars, ProgressLine

NAME = "runs/x[/b][bold]y"


def test_every_console_takes_text_as_it_is() -> None:
    calls = [
        (path.name, ast.unparse(call))
        for path in sorted(Path(tombola.__file__).parent.rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "Console"
    ]
    assert len(calls) > 5
    assert [call for call in calls if "markup=False, emoji=False" not in call[1]] == []


@pytest.mark.parametrize("terminal", ["", "1"])
def test_steps_and_notes_are_shown_as_they_are(
    terminal: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", terminal)
    with ProgressBars(NAME, 10) as bars:
        line = ProgressLine(bars)
        with line.step(NAME, cost=10):
            line.note(NAME)
            bars.drawn.refresh()
    assert NAME in capsys.readouterr().err
