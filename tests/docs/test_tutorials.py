"""Tutorials do what they say: their code runs, in order, and prints what the page shows."""

import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tombola.cli import main

pytestmark = pytest.mark.slow

PAGES = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<kind>\w+)(?: title=\"(?P<title>[^\"]*)\")?\n(?P<body>.*?)^(?P=indent)```$", re.M | re.S
)
NOT_RUN = ("not run here", "for example")
"""Titles of blocks that a reader only reads: commands that take long, and prints whose numbers hang on the machine."""


@dataclass(frozen=True)
class Block:
    """A fenced block: what it is of (`python`, `sh`, `yaml`, `text`), its title, its lines without indentation."""

    kind: str
    title: str
    body: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    for found in BLOCK.finditer(page):
        body = "\n".join(line.removeprefix(found["indent"]) for line in found["body"].splitlines()) + "\n"
        yield Block(found["kind"], found["title"] or "", body, page.count("\n", 0, found.start()) + 1)


def run(block: Block, names: dict[str, Any]) -> str:
    """Run a block as a reader does, and return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if block.kind == "python":
            exec(compile("\n" * block.line + block.body, "the page", "exec"), names)
        elif block.kind == "sh":
            for line in block.body.replace("\\\n", " ").splitlines():
                program, *words = shlex.split(line, comments=True)
                assert program == "tombola", f"the tutorials run nothing but tombola and Python, not {program}"
                arguments = [path for word in words for path in matching(word)]
                assert main(arguments) == 0, line
        else:
            Path(block.title).write_text(block.body, encoding="utf-8")
    return printed.getvalue()


def matching(word: str) -> list[str]:
    """A word of a command line, its `*` expanded as a shell does."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "tutorial"}
    check = doctest.OutputChecker().check_output
    printed, ran = "", 0
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.title in NOT_RUN:
            continue
        if block.kind == "text":
            shown = check(block.body, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            assert shown, f"{page.name}, line {block.line}: the page shows\n{block.body}\nbut it prints\n{printed}"
            continue
        printed = run(block, names)
        ran += 1
    assert ran, f"{page.name} has no code"
