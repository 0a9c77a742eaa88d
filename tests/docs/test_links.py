"""Links of the pages at the top of the project, and files that pages name, are there."""

import re
from pathlib import Path

import pytest

from generated_pages import project_files, written_tables

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = [*TOP, *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")))]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)(?:#[^)]*)?\)")

PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.py)`")
IN_PROJECT = re.compile(
    r"(?<![\w/.-])(?:benchmarks|examples|docs|tests|src)/(?:[\w.-]+/)*[\w-]+\.(?:py|sh|md|ipynb|css)\b"
)
HOMES = (ROOT, ROOT / "src" / "tombola")
GONE = {"utils.py", "site/", "glue/SST-2", "glue/CoLA"}
"""What there is not, what is built, and what others bring."""


@pytest.mark.parametrize("page", PAGES)
def test_links_of_the_repository_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [link for link in LINK.findall(text) if not ((ROOT / page).parent / link).exists()] == []


def test_links_to_files_lead_to_their_pages_on_the_site() -> None:
    page = "[a](../../CONTRIBUTING.md#a-task), [b](../../src/tombola/cli), [c](../formats.md), [d](https://example.org)"
    expected = "[a](../contributing.md#a-task), [b](../reference/command-line.md), [c](../formats.md), "
    assert project_files.within_site(page, "tutorials/text.md") == f"{expected}[d](https://example.org)"
    assert project_files.within_site("[a](../CONTRIBUTING.md)", "house.md") == "[a](contributing.md)"


@pytest.mark.parametrize("page", written_tables.PAGES)
def test_tables_in_pages_are_made_from_the_code(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert written_tables.filled(text) == text
    assert (
        written_tables.filled(re.sub(r"(<!-- table: \w+ -->).*(<!-- end -->)", r"\1\n\nold\n\n\2", text, flags=re.S))
        == text
    )


def test_what_pages_name_of_the_project_is_there_and_no_script_is_nameless() -> None:
    scripts = [path for folder in ("benchmarks", "examples") for path in (ROOT / folder).iterdir() if path.is_file()]
    places = [
        *(ROOT / page for page in PAGES),
        ROOT / "Makefile",
        *(path for path in scripts if path.suffix != ".ipynb"),
    ]
    said = {path: re.sub(r"https?://\S+", "", path.read_text(encoding="utf-8")) for path in places}
    named = {path for text in said.values() for path in IN_PROJECT.findall(text)}
    assert len(named) > 30
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    # A module that others import is named by them.
    nameless = [
        one.name
        for one in scripts
        if not any(re.search(rf"\b{one.stem}\b", text) for path, text in said.items() if path != one)
    ]
    assert nameless == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/house.md"])
def test_files_that_are_named_are_there(page: str) -> None:
    named = {path for path in PATH.findall((ROOT / page).read_text(encoding="utf-8")) if path not in GONE}
    assert len(named) > 5
    assert [path for path in sorted(named) if not any((home / path).exists() for home in HOMES)] == []
