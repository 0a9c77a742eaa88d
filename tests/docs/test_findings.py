"""The pages that tell results say what the files beside them say: tables, numbers, and what they are said to mean."""

import re

import numpy as np
import pytest
from scipy.stats import ttest_rel, wilcoxon

import page
import statements
from paired import holm, over_items, over_seeds

PAGES = {name: (page.DOCS / name).read_text(encoding="utf-8") for name in statements.PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_results_give(name: str) -> None:
    assert page.faults(name, PAGES[name]) == []


def test_a_changed_table_is_noticed_and_made_anew() -> None:
    changed = PAGES["findings.md"].replace("| 0.811 ± 0.005 |", "| 0.812 ± 0.005 |")
    assert changed != PAGES["findings.md"]
    assert "a table is not what the results give" in page.faults("findings.md", changed)
    assert page.filled(changed) == PAGES["findings.md"]


@pytest.mark.parametrize(
    ("name", "title"),
    [(name, title) for name, of in statements.PAGES.items() for title, section in of.items() if section.whole],
)
def test_no_number_of_the_prose_can_be_another(name: str, title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    section = statements.PAGES[name][title]
    stated = [] if section.statements is None else [*section.statements()]
    alone = {title: statements.Section(lambda: iter(stated), section.of_the_set_up)}
    text = f"# {title}\n\n{statements.sections(PAGES[name])[title]}\n"
    monkeypatch.setattr(statements, "PAGES", {"a page": alone})
    assert statements.problems("a page", text) == []
    left = re.sub(statements.NAMES, lambda match: "_" * len(match[0]), text)
    for match in re.finditer(r"\d+", left):
        other = str(int(match[0]) + 1)
        mutated = f"{text[: match.start()]}{other}{text[match.end() :]}"
        assert statements.problems("a page", mutated), mutated[match.start() - 40 : match.end() + 40]


def test_what_no_statement_says_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    section = statements.Section(lambda: iter(["found ones reach 0.9"]))
    monkeypatch.setattr(statements, "PAGES", {"a page": {"A title": section}})
    text = "# A title\n\nHere {} once, **clearly better**, in 3 seeds, twice as well.\n"
    assert statements.problems("a page", text.format("found ones reach 0.9")) == [
        "A title: said by no statement: **clearly better**",
        "A title: said by no statement: 3",
        "A title: said by no statement: twice",
    ]
    assert "A title: not there: found ones reach 0.9" in statements.problems("a page", text.format("none"))


def test_comparisons_over_seeds_are_those_of_scipy() -> None:
    a, b = [0.9, 0.8, 0.95, 0.7, 0.85], [0.85, 0.82, 0.9, 0.6, 0.8]
    found = over_seeds(a, b)
    known = ttest_rel(a, b)
    assert found.t_p == pytest.approx(known.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval()))
    assert (found.positive, found.seeds) == (4, 5)
    # All five agree: 2 of 32 assignments of signs are as far from 0.
    assert over_seeds(a, [0.1] * 5).flips_p == wilcoxon(np.array(a) - 0.1).pvalue == 2 / 32


def test_comparisons_over_items_are_paired() -> None:
    drawn = np.random.default_rng(1)
    hard = drawn.integers(2, size=400)
    better = np.where(np.arange(400) < 20, 1, hard)
    difference, low, high = over_items(better, hard)
    assert difference == pytest.approx((better - hard).mean())
    # Unpaired, the interval would be ten times as wide.
    assert 0 < low < difference < high < 0.07
    weighted, *_ = over_items([1.0, 0.0], [0.0, 0.0], [3.0, 1.0])
    assert weighted == 0.75
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
