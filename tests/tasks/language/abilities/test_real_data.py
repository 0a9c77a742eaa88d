"""The real facts and texts, where pip can get them."""

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import pytest

from tombola.foundations.errors import TombolaError
from tombola.tasks.data import rotten_tomatoes
from tombola.tasks.language.abilities import knowledge
from tombola.tasks.language.abilities.language_modelling import PLOTS, plots

pytestmark = pytest.mark.exhaustive

T = TypeVar("T")


def fetched(load: Callable[[], T]) -> T:
    try:
        return load()
    except TombolaError as error:
        if not str(error).startswith("pip cannot download"):
            raise
        pytest.skip(str(error))


def test_facts_of_the_analogies() -> None:
    made = fetched(knowledge.load)
    counts = Counter(example.group for example in made.examples)
    assert counts == {"capital": 116, "country": 116, "currency": 30, "state": 68, "nationality": 41}
    right = {example.context: example.choices[example.gold] for example in made.examples}
    assert right["The capital of France is"] == " Paris"
    assert right["Tokyo is the capital of"] == " Japan"
    assert right["People from Spain are called"] == " Spanish"
    for example in made.examples:
        assert len(set(example.choices)) == len(example.choices) == knowledge.CANDIDATES
    assert made.chance == pytest.approx(0.1)
    # The right answer is in no favourite place.
    assert max(Counter(example.gold for example in made.examples).values()) < 60


def test_plot_summaries_are_parted_and_none_is_missing() -> None:
    text = fetched(plots)
    assert len(text.dev) == len(set(text.dev)) == PLOTS
    assert all(one.strip() for one in (*text.dev, *text.train))
    # 1,097 with 14 missing values; the rest of the training text are review sentences.
    sentences = rotten_tomatoes.load()
    assert len(text.train) == 1083 - PLOTS + len(sentences.splits["train"])
    assert not set(text.dev) & set(text.train)
    # What judges sentiment is not trained on.
    assert not set(sentences.splits["dev"].first) & set(text.train)
