"""Tests stand on what is public: no test module imports another, and none touches a private name of Tombola."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parent / "src" / "tombola"
PATCHES = {"setattr", "delattr", "getattr", "hasattr", "setitem", "attrgetter"}
"""Calls that take names of attributes as texts."""


def private(name: str) -> bool:
    # Names such as `_repr_html_` are Jupyter's.
    return name.startswith("_") and not name.endswith("_")


@functools.cache
def privates() -> frozenset[str]:
    """Private names of functions, classes, constants and attributes that Tombola defines."""
    found: set[str] = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return frozenset(filter(private, found))


def offences(text: str) -> Iterator[str]:
    """What a test module should not do, with its line."""
    tree = ast.parse(text)
    # A class of the tests may have names of its own.
    own = {
        id(node.value)
        for kind in ast.walk(tree)
        if isinstance(kind, ast.ClassDef)
        for node in ast.walk(kind)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            if any(module.rpartition(".")[2].startswith("test_") for module in modules):
                yield f"line {node.lineno} imports a test module"
            if any(module.split(".")[0] == "tombola" for module in modules):
                names = [part for module in modules for part in module.split(".")] + [name.name for name in node.names]
                yield from (f"line {node.lineno} imports {name}" for name in names if private(name))
        elif isinstance(node, ast.Attribute) and node.attr in privates() and id(node.value) not in own:
            yield f"line {node.lineno} uses {node.attr}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in PATCHES:
            texts = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            names = [text.rpartition(".")[2] for text in texts]
            yield from (f"line {node.lineno} patches {name}" for name in names if name in privates())


def test_tests_stand_on_public_names() -> None:
    found = {file: list(offences(file.read_text(encoding="utf-8"))) for file in HERE.rglob("*.py")}
    assert len(found) > 100
    assert {file.relative_to(HERE).as_posix(): said for file, said in found.items() if said} == {}


@pytest.mark.parametrize(
    "text",
    [
        "from test_search import Fake",
        "import pruning.test_search",
        "from tombola.study.study import _processor",
        "from tombola import _HOMES",
        "study._run()",
        "monkeypatch.setattr(Study, '_run', None)",
        "monkeypatch.setattr('tombola.study.study.Study._run', None)",
        "getattr(study, '_run')",
        "def watched(self): self._run()",
    ],
)
def test_what_is_not_public_is_found(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.privates", lambda: {"_run"})
    assert list(offences(text))


def test_names_of_ones_own_and_of_others_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.privates", lambda: {"_run"})
    lines = ("class Fake:\n    def run(self): self._run()", "model._attn_implementation", "x.endswith('_run')")
    assert not list(offences("\n".join(lines)))
