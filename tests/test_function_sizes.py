"""Functions are short and take few parameters, or a comment beside them says why not."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES, PARAMETERS = 60, 8


def offences(text: str) -> Iterator[str]:
    """Functions of more lines, docstring included, or named parameters than are allowed without a reason."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
        beside = lines[first - 2].strip() if first > 1 else ""
        given = node.args
        parameters = {one.arg for one in given.posonlyargs + given.args + given.kwonlyargs} - {"self", "cls"}
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > LINES and not beside.startswith("# Long: "):
            yield f"{node.name} has {length} lines"
        if len(parameters) > PARAMETERS and not beside.startswith("# Many parameters: "):
            yield f"{node.name} has {len(parameters)} parameters"


def test_functions_are_short_or_say_why_not() -> None:
    files = [file for room in ("src", "benchmarks", "docs", "examples") for file in (ROOT / room).rglob("*.py")]
    found = {file: list(offences(file.read_text(encoding="utf-8"))) for file in files}
    assert len(found) > 200
    assert {file.relative_to(ROOT).as_posix(): said for file, said in found.items() if said} == {}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("def f():\n" + "    pass\n" * 59, 0),
        ("def f():\n" + "    pass\n" * 60, 1),
        ("# Long: a table.\n@cache\ndef f():\n" + "    pass\n" * 60, 0),
        ("def f(self, a, b, c, d, *, e, f, g, h, **rest): ...", 0),
        ("def f(a, b, c, d, *, e, f, g, h, i): ...", 1),
        ("# Many parameters: two are options values.\ndef f(a, b, c, d, *, e, f, g, h, i): ...", 0),
    ],
)
def test_long_functions_are_found(text: str, number: int) -> None:
    assert len(list(offences(text))) == number
