"""What reaches the terminal: escaped, in one line, whatever its encoding."""

import io
import os
import sys
from pathlib import Path

import pytest
import torch

from tombola.cli import main
from tombola.cli.command import say
from tombola.foundations.plain_table import PlainTable
from tombola.foundations.progress import ProgressBars
from tombola.study.estimates import announce
from tombola.tickets.ticket import Ticket


def test_what_the_system_refuses_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given, said in (
        (["report", "x" * 300], "File name too long"),
        (["study", "--task", f"{'x' * 300}.tsv"], "File name too long"),
        (["study", "--device", "meta"], "device 'meta' cannot be used here"),
        (["study", str(tmp_path)], "Is a directory"),
        (["report", "a\udcff"], "is not UTF-8; rename the file"),
    ):
        assert main(given) == 2
        errors = capsys.readouterr().err.splitlines()
        assert len(errors) == 1
        assert errors[0].startswith("tombola: error: ")
        assert said in errors[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.yaml").write_text("epochs: 1")
    (tmp_path / "study.yaml").chmod(0)
    assert main(["study", str(tmp_path / "study.yaml")]) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_a_terminal_that_is_not_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with pytest.raises(SystemExit):
        main(["--version"])
    sys.stdout.write("± – é")
    sys.stdout.flush()
    assert raw.getvalue().endswith(rb"\xb1 \u2013 \xe9")


@pytest.mark.parametrize("terminal", [True, False])
def test_all_of_a_sentence_is_printed(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    sentence = " ".join(f"word-{number}" for number in range(60)) + " " + "x" * 200
    say(sentence)
    lines = capsys.readouterr().out.splitlines()
    assert "".join(lines).replace(" ", "") == sentence.replace(" ", "")
    assert (max(map(len, lines)) <= 60) == terminal
    assert (len(lines) == 1) != terminal


def test_a_cell_of_a_table_is_no_markup_and_no_control_sequence() -> None:
    table = PlainTable("[/b]\x1b[2J")
    table.heads("a\nb")
    table.line("x[/b]\x1b[31m")
    assert str(table.title) == "[/b]\\x1b[2J"
    assert str(table.columns[0].header) == "a\\nb"
    assert [str(cell) for cell in table.columns[0].cells] == ["x[/b]\\x1b[31m"]


RAW = "a\x1b[31m\u202eb\r:x:"
ESCAPED = "a\\x1b[31m\\u202eb\\r:x:"


@pytest.mark.parametrize("terminal", ["", "1"])
def test_names_are_printed_escaped_whoever_prints_them(
    terminal: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", terminal)
    monkeypatch.setenv("COLUMNS", "300")
    announce(RAW)
    say(RAW, stderr=True)
    with ProgressBars("study", 10):
        # Above bars that are drawn, a line takes another way.
        say(RAW, stderr=True)
    said = capsys.readouterr().err
    assert said.count(ESCAPED) >= 3
    assert "\u202e" not in said
    assert "\x1b[31m" not in said


def test_the_architecture_and_the_task_of_a_ticket_are_printed_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (0, 1):
        masks = {"0.query": torch.ones(4, 4, dtype=torch.bool)}
        Ticket("weights", RAW, masks, {"task": RAW, "seed": seed}).save(tmp_path / f"{seed}" / "good")
    assert main(["compare", str(tmp_path), "--draws", "5"]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert said.count("\\x1b[31m") >= 2


def test_a_long_line_of_a_log_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    for stderr in (False, True):
        say("word " * 40, stderr=stderr)
    found = capsys.readouterr()
    assert [text.split() for text in (found.out, found.err)] == [["word"] * 40] * 2
    assert [text.count("\n") for text in (found.out, found.err)] == [1, 1]
