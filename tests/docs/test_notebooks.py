"""Notebooks of the examples: whole and without outputs, every name in them is there, and they run."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tombola
from builders import small_study

BOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))
NAME = re.compile(r"\btombola((?:\.\w+)+)")
RUN = """
import ast, json, sys, warnings
warnings.simplefilter("ignore")
names = {}
for number, text in enumerate(json.load(sys.stdin)):
    tree = ast.parse(text)
    shown = tree.body.pop().value if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), names)
    if shown is not None:
        value = eval(compile(ast.Expression(shown), f"cell {number}", "eval"), names)
        html = getattr(value, "_repr_html_", lambda: repr(value))()
        print(number, type(value).__name__, len(html or repr(value)))
"""


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return found


def code(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code"]


def test_there_is_one_for_each_regime() -> None:
    assert [path.stem for path in BOOKS] == ["digits_denoiser", "language_pruning", "text_tickets"]


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_whole(path: Path) -> None:
    book = json.loads(path.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(path) if "outputs" in cell)
    assert cells(path)[0]["source"][0].startswith("# ")
    for text in code(path):
        ast.parse(text)
        for found in NAME.findall(text):
            value: Any = tombola
            for part in found.strip(".").split("."):
                name = getattr(value, "__name__", "")
                value = getattr(value, part, None) or importlib.import_module(f"{name}.{part}")


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(code(path)),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=small_study.environment(PYTHONPATH=str(Path(tombola.__file__).parents[1])),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ends = [ast.parse(text).body[-1] for text in code(path)]
    shown = [number for number, end in enumerate(ends) if isinstance(end, ast.Expr)]
    assert len(shown) >= 4
    assert [int(line.split()[0]) for line in done.stdout.splitlines() if line[:1].isdigit()] == shown
