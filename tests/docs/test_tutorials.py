"""Tutorials do what they say: their code runs, in order, and prints what the page shows."""

import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Iterator, Mapping
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
SMALLER: Mapping[str, Mapping[str, str]] = {
    "images": {
        "train_rows: 600": "train_rows: 48",
        "dev_rows: 150": "dev_rows: 24",
        "epochs: 9": "epochs: 1\nbootstrap_resamples: 20",
        "--train-rows 600 --dev-rows 150": "--train-rows 48 --dev-rows 24 --bootstrap-resamples 20",
        # Three processes that import diffusers, or PyTorch alone: tests/profiling/test_model_cost.py has one of them.
        "cut --out small": "cut --out small --no-measure",
    },
    "text": {
        "good --out small": "good --out small --no-measure",
        "epochs: 3": "epochs: 2\nbootstrap_resamples: 100",
        "learning_rate: 0.007": "learning_rate: 0.01\ntrain_rows: 192\nat_chance: continue",
    },
}
"""Settings by which the pages take seconds in `make test`; as they stand they are run in `make test-all`."""


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
    text = page.read_text(encoding="utf-8")
    for setting, smaller in SMALLER.get(page.stem, {}).items():
        assert text.count(setting) == 1, f"{page.name} no longer says {setting}"
        text = text.replace(setting, smaller)
    monkeypatch.chdir(tmp_path)
    check(page.name, text)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SMALLER)
def test_a_tutorial_runs_as_it_stands(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (page,) = (page for page in PAGES if page.stem == name)
    monkeypatch.chdir(tmp_path)
    check(page.name, page.read_text(encoding="utf-8"))


def check(name: str, page: str) -> None:
    """Run a page's blocks in the working directory, and hold what they print against what it shows."""
    names: dict[str, Any] = {"__name__": "tutorial"}
    same = doctest.OutputChecker().check_output
    printed, ran = "", 0
    for block in blocks(page):
        if block.title in NOT_RUN:
            continue
        if block.kind == "text":
            shown = same(block.body, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            assert shown, f"{name}, line {block.line}: the page shows\n{block.body}\nbut it prints\n{printed}"
            continue
        printed = run(block, names)
        ran += 1
    assert ran, f"{name} has no code"
