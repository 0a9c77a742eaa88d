"""Every public name has a docstring and its place in the reference."""

import re
from collections.abc import Mapping
from pathlib import Path

import griffe
import pytest

import tombola
from generated_pages import api_reference
from generated_pages.docstrings import split_entries
from generated_pages.sources import ROOMS, ROOT, SOURCE, packages

HOME = re.compile(r"^::: (\S+)$", re.M)
"""How a page asks for everything public in a module."""

TEXTS = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
NAME = re.compile(r"\btombola\.\w+(?:\.\w+)*")
NOT_PYTHON = {"tombola.criteria", "tombola.importances", "tombola.json", "tombola.md", "tombola.regimes"}
"""Files, and groups of entry points."""


@pytest.fixture(scope="module")
def loaded() -> griffe.Module:
    found = griffe.load("tombola", search_paths=[SOURCE], submodules=True)
    assert isinstance(found, griffe.Module)
    return found


@pytest.fixture(scope="module")
def pages() -> Mapping[str, str]:
    return api_reference.pages()


def public(parent: griffe.Module | griffe.Class) -> list[griffe.Object]:
    """Modules, classes, functions and methods without an underscore, however deep; not what is imported."""
    found: list[griffe.Object] = []
    for name, member in parent.members.items():
        if (
            name.startswith("_")
            or member.is_alias
            or not isinstance(member, griffe.Module | griffe.Class | griffe.Function)
        ):
            continue
        found.append(member)
        if isinstance(member, griffe.Module | griffe.Class):
            found += public(member)
    return found


def overrides(found: griffe.Object) -> bool:
    """Whether it is a method whose docstring is that of the class it comes from."""
    return isinstance(found, griffe.Function) and "override" in {str(each.value) for each in found.decorators}


def test_every_public_name_has_a_docstring(loaded: griffe.Module) -> None:
    names = public(loaded)
    assert len(names) > 500
    undocumented = [found for found in names if not (found.has_docstring or overrides(found))]
    assert [found.path for found in undocumented] == []


def test_every_module_stands_on_one_page_of_the_reference(loaded: griffe.Module, pages: Mapping[str, str]) -> None:
    shown = [name for page in pages.values() for name in HOME.findall(page)]
    assert len(shown) == len(set(shown))
    modules = {found.path for found in public(loaded) if isinstance(found, griffe.Module) and not found.is_init_module}
    hidden = {name for name in modules if name.split(".")[1] in {*api_reference.HIDDEN_ROOMS, "__main__"}}
    assert set(shown) == modules - hidden


def test_the_public_face_is_complete(pages: Mapping[str, str]) -> None:
    page = pages["reference/tombola.md"]
    for name in tombola.__all__:
        target, summary = re.findall(rf"^\| \[`tombola\.{name}`\]\[(\S+)\] \| (.+) \|$", page, re.M)[0]
        module = target if target.endswith(".controls") else target.rpartition(".")[0]
        assert f"::: {module}\n" in "".join(pages.values())
        assert summary.endswith(".")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_name_only_what_there_is(path: Path, loaded: griffe.Module) -> None:
    for name in set(NAME.findall(path.read_text(encoding="utf-8"))) - NOT_PYTHON:
        first, _, rest = name.removeprefix("tombola.").partition(".")
        found = loaded[first]
        assert not rest or (found.final_target if isinstance(found, griffe.Alias) else found)[rest], name


def test_rooms_are_the_folders_of_the_source() -> None:
    folders = {path.parent.name for path in (SOURCE / "tombola").glob("*/__init__.py")}
    assert set(ROOMS) == folders
    assert {package.room for package in packages()} == folders


def test_an_entry_for_several_names_becomes_one_for_each() -> None:
    attributes = "    heads, mlps: survivors;\n        counted.\n    low ... high: ends."
    text = f"Size.\n\nAttributes:\n{attributes}\n\nNot: a, b: this."
    assert split_entries(text, ["heads", "mlps", "low", "middle", "high"]).splitlines() == [
        "Size.",
        "",
        "Attributes:",
        "    heads: survivors;",
        "        counted.",
        "    mlps: see `heads`.",
        "    low: ends.",
        "    middle: see `low`.",
        "    high: see `low`.",
        "",
        "Not: a, b: this.",
    ]
