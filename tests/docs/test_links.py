"""Links of the pages at the top of the project, and files that pages name, are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)(?:#[^)]*)?\)")

PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.py)`")
HOMES = (ROOT, ROOT / "src" / "tombola")
GONE = {"utils.py", "site/", "glue/SST-2", "glue/CoLA"}
"""What there is not, what is built, and what others bring."""


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [link for link in LINK.findall(text) if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/house.md"])
def test_files_that_are_named_are_there(page: str) -> None:
    named = {path for path in PATH.findall((ROOT / page).read_text(encoding="utf-8")) if path not in GONE}
    assert len(named) > 5
    assert [path for path in sorted(named) if not any((home / path).exists() for home in HOMES)] == []
