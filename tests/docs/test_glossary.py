"""The glossary knows the words that the program writes into its files and prints."""

import re
from pathlib import Path

import pytest

from tombola.report.labels import SCORED, STAGES
from tombola.study.config import ANALYSES
from tombola.tasks.fine_tuned.task_types import TASK_TYPES
from tombola.tasks.registry import regimes
from tombola.tickets.kinds import TICKET_KINDS
from tombola.tickets.pruning_methods import METHODS

PAGE = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text(encoding="utf-8")
TEXT = PAGE.split("<!-- table: methods -->")[0]
SITES = {site for kind in TICKET_KINDS for site in kind.split("+")}


@pytest.mark.parametrize("word", sorted({*SCORED, *STAGES, *METHODS, *SITES}))
def test_values_of_rows_are_explained(word: str) -> None:
    assert re.search(rf"(^\| |`|, ){re.escape(word)}(`| \||,)", PAGE, re.M), word


@pytest.mark.parametrize(
    "word", [*ANALYSES, *(regime.name for regime in regimes()), "text-classification", *TASK_TYPES]
)
def test_analyses_regimes_and_task_types_are_named(word: str) -> None:
    assert re.search(rf"\b{re.sub('[-_]', '[-_ ]', word).rstrip('s')}", PAGE, re.I), word


def test_a_word_has_one_meaning() -> None:
    words = [word.strip() for words in re.findall(r"^\| ([^|`]+) \|", TEXT, re.M) for word in words.split(",")]
    words = [word for word in words if word not in ("word", "---")]
    assert len(words) > 80
    assert sorted(words) == sorted(set(words))
