"""A task is the only door to a regime: outside of `tasks/` and `checkpoints/` nothing asks which regime it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tombola

SOURCE = Path(tombola.__file__).parent
OWN = ("tasks", "checkpoints")


def offences(text: str) -> Iterator[str]:
    """Questions for the class of a task, for a denoiser, or for the name of a regime, with their lines."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) if name == "is_denoiser":
                yield f"line {node.lineno}: {name}"
            case ast.Call(func=ast.Name(id="isinstance"), args=[_, kinds]):
                names = {getattr(kind, "id", getattr(kind, "attr", "")) for kind in ast.walk(kinds)} - {"Task"}
                yield from (f"line {node.lineno}: isinstance of {name}" for name in names if name.endswith("Task"))
            case ast.Compare(left=left, comparators=others):
                texts = any(isinstance(part, ast.Constant) for one in (left, *others) for part in ast.walk(one))
                if texts and any("regime" in ast.unparse(one) for one in (left, *others)):
                    yield f"line {node.lineno}: {ast.unparse(node)}"


def test_nothing_asks_for_the_regime() -> None:
    files = [file for file in SOURCE.rglob("*.py") if file.relative_to(SOURCE).parts[0] not in OWN]
    found = {file.relative_to(SOURCE).as_posix(): list(offences(file.read_text(encoding="utf-8"))) for file in files}
    assert len(found) > 150
    assert {file: said for file, said in found.items() if said} == {}


@pytest.mark.parametrize(
    "text",
    ["regime.name == 'images'", "isinstance(task, tasks.LanguageTask | X)", "is_denoiser(model)", "'a' in self.regime"],
)
def test_questions_are_found(text: str) -> None:
    assert len(list(offences(text))) == 1
