"""Numbers in the prose of pages: times, sizes and speeds stand in tables made from data, or are no results."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import statements
from tombola.analysis.attention.pattern_classes import BLOCK, COLUMN, FILL, LINE, ROWS
from tombola.foundations.parsing import DEEPEST, LARGEST_TEXT, LARGEST_YAML
from tombola.study.worker_pool import HUNG
from tombola.tasks.data.files import LONGEST_LINE

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), DOCS.parent / "README.md"])
MEASURED = re.compile(
    r"(?:\d[\d.,]*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|a few|half an?|an?)) ?"
    r"(?:(?:CPU |processor )?(?:seconds|minutes?|hours?)|ms|[kMGT]i?B|times (?:as|faster|slower|smaller))\b"
)
NO_RESULTS = {
    # Limits of readers and writers, and what a package does of itself.
    "formats.md": {"2 GB", "512 MiB", "64 MiB", "100 MB", "ten minutes"},
    "how-to/smaller-models.md": {"2 GB"},
    # Reckoned on shapes by `tombola memory`.
    "how-to/fit-a-gpu.md": {"11,003 MiB", "9,848 MiB", "6 GB", "11,048 MiB", "23,121 MiB", "hundred MB"},
    "how-to/clusters.md": {f"{HUNG / 60:.0f} minutes", "ten minutes"},
    # 4.76 billion parameters of four bytes.
    "explanation/diffusion.md": {"19 GB"},
}
"""Page → its sizes and times that are no measured results."""


def prose(page: str) -> str:
    """Text of a page without tables that are made, without code, blocks and options."""
    text = re.sub(r"<!-- table: \w+ -->\n.*?<!-- end -->", "", page, flags=re.DOTALL)
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS.parent)))
def test_times_sizes_and_speeds_are_made_from_data(path: Path) -> None:
    name = path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) else path.name
    text = prose(path.read_text(encoding="utf-8"))
    # What a statement says is computed, see test_findings.
    for section in statements.PAGES.get(name, {}).values():
        for known in (*section.of_the_set_up, *(() if section.statements is None else section.statements())):
            text = " ".join(text.split()).replace(known, " ")
    assert {found[0] for found in MEASURED.finditer(text)} <= NO_RESULTS.get(name, set())


def tutorials() -> Iterator[tuple[str, str]]:
    for path in sorted((DOCS / "tutorials").glob("*.md")):
        page = path.read_text(encoding="utf-8")
        yield prose(page), "\n".join(re.findall(r"^ *```.*?^ *```$", page, flags=re.DOTALL | re.MULTILINE))


def test_scores_that_a_tutorial_tells_of_stand_in_what_it_shows() -> None:
    for text, blocks in tutorials():
        told = {one for one in re.findall(r"\d+\.\d+", re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)) if one not in blocks}
        # The threshold of a study that says nothing else.
        assert told <= {"0.9"}


def test_rules_and_bounds_are_those_of_the_code() -> None:
    page = (DOCS / "explanation" / "attention.md").read_text(encoding="utf-8")
    found = [float(one) for one in re.findall(r"^\| [^|]*\| [^|]*[a-z)][^|]* \| ([\d.]+) \|", page, re.M)]
    assert found == [COLUMN, LINE, LINE, ROWS, BLOCK, FILL]
    bounds = (DOCS / "formats.md").read_text(encoding="utf-8")
    assert f"read as a whole | {LARGEST_TEXT >> 20} MiB; lists and objects {DEEPEST} deep" in bounds
    assert f"| YAML | {LARGEST_YAML:,} bytes, {DEEPEST} deep" in bounds
    assert f"| a line of texts (TSV, CSV, JSON lines) | {LONGEST_LINE >> 20} MiB |" in bounds
