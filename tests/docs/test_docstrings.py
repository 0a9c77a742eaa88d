"""Docstrings: they begin with what a reader scans for, and tell of parameters and fields that are there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import tombola

ROOT = Path(__file__).parents[2]
PLACES = (Path(tombola.__file__).parent, ROOT / "docs", ROOT / "benchmarks")
SOURCES = sorted(path for place in PLACES for path in place.rglob("*.py"))
# Nobody looks for a function under these words.
UNSCANNED = re.compile(
    r"(What|How|Whether|Who|Which|Where|Why|When|That|Those|This|It|As|So|Of|On|In|For|All|Everything|Nothing)\b"
    r"|One\b(?!-)|The same\b|Many\b|Such\b"
)
SECTION = re.compile(r"^(?:Args|Attributes):\n((?:    .*\n?|\n)+)", re.MULTILINE)
ENTRY = re.compile(r"^    ((?:\*{0,2}\w+, )*\*{0,2}\w+): ?", re.MULTILINE)

Documented = ast.Module | ast.ClassDef | ast.FunctionDef


def docstrings() -> Iterator[tuple[str, Documented, str]]:
    """Place, node and text of every docstring; those of attributes belong to the node that has them."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, Documented):
                continue
            if text := ast.get_docstring(node):
                yield f"{path}:{getattr(node, 'lineno', 1)}", node, text
            for one in node.body[1:]:
                match one:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        yield f"{path}:{one.lineno}", node, text


def names_of(node: Documented) -> set[str]:
    """Parameters of a function; of a class its fields, members and the parameters that make it."""
    found = {one.arg for part in ast.walk(node) if isinstance(part, ast.arguments) for one in _arguments(part)}
    if isinstance(node, ast.ClassDef):
        found |= {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}
        found |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    return found


def _arguments(given: ast.arguments) -> Iterator[ast.arg]:
    yield from (*given.posonlyargs, *given.args, *given.kwonlyargs)
    yield from (one for one in (given.vararg, given.kwarg) if one is not None)


def test_docstrings_begin_with_what_a_reader_scans_for() -> None:
    assert [f"{place}: {text.splitlines()[0]}" for place, _, text in docstrings() if UNSCANNED.match(text)] == []


def test_documented_parameters_and_fields_are_there() -> None:
    entries = [
        (place, name.strip("* "), node)
        for place, node, text in docstrings()
        for section in SECTION.finditer(text)
        for entry in ENTRY.finditer(section[1])
        for name in entry[1].split(",")
    ]
    assert len(entries) > 1000
    assert [(place, name) for place, name, node in entries if name not in names_of(node)] == []
