"""Control characters and marks of direction from a study's files stay out of pages, charts, tables and the terminal."""

import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.fake_study import fake_study
from builders.planted_text import plant
from builders.report_pages import Reader
from tombola.cli import main
from tombola.foundations.errors import visible
from tombola.report.build import page_of
from tombola.report.charts.vega import specification
from tombola.report.export import latex, markdown, table_csv
from tombola.report.html.figure_registry import FigureRegistry

ODD = "\x1b[31m\x07\x9b\u202e\u2067\u200f\u061c\ufeff\u2028\x7f=1+1|`*"
_TURNS = {"\u061c", "\u200e", "\u200f", *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), "\ufeff"}


def odd(text: str) -> set[str]:
    """Characters of a text that cannot be seen, and do something."""
    unseen = ("Cc", "Cs", "Zl", "Zp", "Cn")
    return {one for one in text if one in _TURNS or (unicodedata.category(one) in unseen and one not in "\t\n")}


def texts(value: Any) -> Iterator[str]:
    """Every text of a JSON value, names too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(one)


def test_what_is_seen_stays() -> None:
    seen = "naïve – שלום عربي 日本 👩\u200d👩 x\ty\n\u00a0±"
    assert visible(seen) == seen
    assert visible(ODD).startswith("\\x1b[31m\\x07\\x9b\\u202e\\u2067\\u200f\\u061c\\ufeff\\u2028\\x7f=1+1")
    every = "".join(map(chr, range(0x20000)))
    assert odd(visible("".join(one for one in every if unicodedata.category(one) != "Cn"))) == set()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = fake_study(tmp_path_factory.mktemp("odd") / "study", seeds=(0, 1), layers=2, heads=4)
    assert plant(made, ODD, "rotten-tomatoes") > 100
    return made


@pytest.mark.slow
def test_no_page_chart_or_table_holds_any(folder: Path) -> None:
    registry = FigureRegistry()
    page = Reader()
    page.feed(page_of(folder, registry))
    assert "\\x1b[31m" in page.words
    assert odd(page.words) == set()
    assert odd("".join(str(value) for _, given in page.elements for value in given.values())) == set()
    for chart, label in registry.charts.values():
        assert odd("".join(texts(specification(chart)))) == set()
        assert odd(visible(label)) == set()
    for table in registry.tables.values():
        for written in (table_csv(table), markdown(table), latex(table, "x")):
            assert odd(written) == set()


@pytest.mark.slow
@pytest.mark.parametrize("format", ["table", "csv", "markdown", "latex"])
def test_no_table_of_results_holds_any(
    folder: Path, tmp_path: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "study")
    assert main(["results", str(tmp_path / "study"), "--format", format]) == 0
    said = capsys.readouterr().out
    assert "31m" in said
    assert odd(said) == set()
