"""Metrics of tags against examples counted by hand, and what guessing reaches."""

import numpy as np
import pytest

from tombola.metrics.scores import NOTHING, Metric
from tombola.metrics.statistics import interval, paired_difference, verdict
from tombola.metrics.tag_metrics import EXACT_MATCH, TOKEN_ACCURACY, entity_f1, marks_entities

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "S-LOC", "E-PER")
NO, BP, IP, BL, IL, SL, EP = range(7)
PAD = NOTHING


def score(metric: Metric, predictions: list[list[int]], references: list[list[int]]) -> float:
    return metric.score(np.array(predictions), np.array(references))


def test_entities_are_counted_as_seqeval_counts_them() -> None:
    """Worked out by hand, and the same in seqeval 1.2.2."""
    f1 = entity_f1(TAGS)
    # There: PER 0-1, LOC 3, LOC 4-5. Predicted: PER 0-1, LOC 3-5 (an I goes on), so that one of two is right.
    assert score(f1, [[BP, IP, NO, BL, IL, IL]], [[BP, IP, NO, BL, BL, IL]]) == pytest.approx(2 * 1 / (2 + 3))
    # An I after nothing, or of another type, begins an entity.
    assert score(f1, [[NO, IP, IL, NO]], [[NO, BP, BL, NO]]) == 1
    # Two entities side by side are not one.
    assert score(f1, [[BP, BP]], [[BP, IP]]) == 0
    # Single tags, and last ones, end an entity.
    assert score(f1, [[SL, IL, BP, EP, IP]], [[BL, BL, BP, IP, BP]]) == 1
    # An entity of the last word is no entity of the next sentence's first, and padding is none at all.
    assert score(f1, [[NO, BP, PAD], [IP, NO, NO]], [[NO, BP, PAD], [BP, NO, NO]]) == 1
    # Where nothing should be answered, nothing is counted.
    assert score(f1, [[BP, BL]], [[BP, PAD]]) == 1
    assert score(f1, [[NO, NO]], [[NO, NO]]) == 0


def test_right_tags_are_counted_word_by_word() -> None:
    accuracy = TOKEN_ACCURACY
    assert score(accuracy, [[NO, BP, PAD], [NO, NO, NO]], [[NO, IP, PAD], [NO, NO, BL]]) == pytest.approx(3 / 5)


def test_chance_is_the_best_of_one_tag_for_all() -> None:
    references = np.array([[NO, NO, BP, PAD], [BL, NO, NO, NO]])
    assert TOKEN_ACCURACY.chance(references) == pytest.approx(5 / 7)
    # B-PER everywhere finds the one PER, and calls seven words so.
    assert entity_f1(TAGS).chance(references) == pytest.approx(2 / (7 + 2))


@pytest.mark.parametrize("metric", [TOKEN_ACCURACY, EXACT_MATCH, entity_f1(TAGS)])
def test_resamples_are_of_examples_and_never_of_words(metric: Metric) -> None:
    """A long example is drawn as a whole: words of one sentence say less than as many of different ones."""
    rng = np.random.default_rng(0)
    references = rng.integers(0, 5, (40, 30))
    # All of a sentence is right, or wrong.
    predictions = np.where(rng.random((40, 1)) < 0.5, references, (references + 2) % 5)
    low, high = interval(metric, predictions, references, seed=0)
    shares = []
    for _ in range(300):
        drawn = rng.integers(0, 40, 40)
        shares.append(metric.score(predictions[drawn], references[drawn]))
    assert (low, high) == pytest.approx(tuple(np.quantile(shares, (0.025, 0.975))), abs=0.04)
    assert high - low > 0.25
    # The counts that are drawn give what scoring each draw anew gives.
    several = np.stack([predictions, references])
    wide = interval(metric, several, references, seed=0)
    assert wide[0] < np.mean([metric.score(one, references) for one in several]) < wide[1]
    difference, below, above = paired_difference(metric, predictions, references, references, seed=0)
    assert difference == pytest.approx(metric.score(predictions, references) - 1)
    assert below < difference < above < 0


def test_a_ticket_that_gives_all_words_one_tag_says_nothing() -> None:
    rng = np.random.default_rng(0)
    references = np.where(rng.random((50, 6)) < 0.2, PAD, rng.integers(0, 3, (50, 6)))
    nothing = np.where(references == PAD, PAD, NO)
    found = verdict(TOKEN_ACCURACY, [references], [nothing], references, 0)
    assert found.alike == 1
    assert not found.matches
    assert verdict(TOKEN_ACCURACY, [references], [references], references, 0).alike == 0


def test_tags_in_iob_are_known_by_their_names() -> None:
    assert marks_entities(TAGS)
    assert not marks_entities(("NOUN", "VERB", "I-"))


def test_an_example_is_right_where_all_of_its_tokens_are() -> None:
    references = [[BP, IP, PAD], [NO, BL, IL], [NO, BL, IL]]
    assert score(EXACT_MATCH, [[BP, IP, PAD], [NO, BL, NO], [NO, BL, IL]], references) == pytest.approx(2 / 3)
    assert EXACT_MATCH.chance(np.array(references)) == pytest.approx(2 / 3)
