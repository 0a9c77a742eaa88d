"""Memory of pipelines on the page is what the command says: the output that is shown, and every number beside it."""

import re
from pathlib import Path

import pytest

from tombola.cli import main

pytestmark = pytest.mark.exhaustive

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "fit-a-gpu.md").read_text(encoding="utf-8")
TOLD = {
    "sdxl --density 1,0.5 --images 1": ["9,848", "3,232", "5,213", "3,392"],
    "sd3-medium --density 1 --images 1": ["11,003", "18,237", "11,048"],
    "sd3-medium --density 1 --images 1 --dtype bfloat16": ["9,083"],
    "sd3-medium --density 1 --images 1 --dtype bfloat16 --exclude text_encoder_3": ["7,234", "4,292"],
    "flux-dev --density 1,0.5 --images 1 --dtype bfloat16 --no-guidance": ["33,715", "23,121", "25,505", "14,740"],
}
"""Command → numbers of its output that the page tells."""


def test_the_output_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    command, shown = re.findall(r"```(?:sh)?\n(.*?)```", PAGE, re.S)[:2]
    assert main(command.split()[1:]) == 0
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize("command", TOLD)
def test_numbers_are_what_is_printed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", *command.split()]) == 0
    printed = capsys.readouterr().out
    assert [number for number in TOLD[command] if number not in printed or number not in PAGE] == []


def test_every_number_of_the_page_is_known() -> None:
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.S)
    assert set(re.findall(r"\b\d+,\d{3}\b", prose)) == {number for numbers in TOLD.values() for number in numbers}
