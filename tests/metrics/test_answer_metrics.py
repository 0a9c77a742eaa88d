"""Metrics of answers against cases worked out by hand from SQuAD's script."""

import numpy as np
import pytest

from tombola.metrics.answer_metrics import GoldAnswers, answer_f1, exact_match, f1_of_words, normalised
from tombola.metrics.statistics import interval, verdict

CONTEXT = "The Broncos won; in Denver, a city of the state."
QUESTIONS = (
    GoldAnswers(CONTEXT, ("Denver Broncos", "The Broncos")),
    GoldAnswers(CONTEXT, ("Denver, a city",)),
    GoldAnswers(CONTEXT, ()),
)


def span(question: int, text: str) -> list[int]:
    begin = CONTEXT.index(text)
    return [question, begin, begin + len(text)]


def test_answers_are_normalised_as_in_squads_script() -> None:
    assert normalised(" The  Broncos, an U.S. team-of a man! ") == "broncos us teamof man"
    # Articles are whole words.
    assert normalised("Athens theory an") == "athens theory"


def test_words_are_counted_as_bags() -> None:
    # One of one word is right, and one of two is found: 2 x 1 x 0.5 / 1.5.
    assert f1_of_words("the Broncos", "Denver Broncos") == pytest.approx(2 / 3)
    assert f1_of_words("a b b", "b b b c") == pytest.approx(2 * 2 / (2 + 4))
    assert f1_of_words("red", "blue") == 0
    # Where one has no words, both must have none.
    assert (f1_of_words("", ""), f1_of_words("the", ""), f1_of_words("red", "the")) == (1, 1, 0)


def test_the_best_of_several_right_answers_counts() -> None:
    predictions = np.array([span(0, "Broncos"), span(1, "Denver"), [2, 0, 0]])
    references = np.array([span(0, "The Broncos"), span(1, "Denver, a city"), [2, 0, 0]])
    assert exact_match(QUESTIONS).score(predictions, references) == pytest.approx(2 / 3)
    # "denver" of "denver city": 2 x 1 / (1 + 2).
    assert answer_f1(QUESTIONS).score(predictions, references) == pytest.approx((1 + 2 / 3 + 1) / 3)
    wrong = np.array([span(0, "won"), span(1, "won"), span(2, "won")])
    assert answer_f1(QUESTIONS).score(wrong, references) == 0


def test_guessing_answers_with_the_whole_text() -> None:
    references = np.array([span(0, "The Broncos"), span(1, "Denver, a city")])
    # Seven words without articles, of which two are right for each.
    assert normalised(CONTEXT).split() == ["broncos", "won", "in", "denver", "city", "of", "state"]
    assert answer_f1(QUESTIONS).chance(references) == pytest.approx(2 * 2 / 9)
    assert exact_match(QUESTIONS).chance(references) == 0


def test_resamples_draw_questions() -> None:
    references = np.array([span(0, "The Broncos"), span(1, "Denver, a city")] * 20)
    predictions = np.array([span(0, "Broncos"), span(1, "won")] * 20)
    low, high = interval(exact_match(QUESTIONS), predictions, references, seed=0)
    # Of a share of a half among forty.
    assert (low, high) == pytest.approx((0.35, 0.65), abs=0.03)


def test_nothing_everywhere_is_a_guess_and_no_answer() -> None:
    """Of SQuAD 2.0 a half has no answer, so that who never answers scores 0.5."""
    references = np.array([span(0, "The Broncos"), [2, 0, 0], span(1, "Denver, a city"), [2, 0, 0]])
    nothing = np.array([[0, 0, 0], [2, 3, 3], [1, 0, 0], [2, 0, 0]])
    assert answer_f1(QUESTIONS).chance(references) == 0.5
    assert verdict(answer_f1(QUESTIONS), [references], [nothing], references, 0).alike == 1
    assert verdict(answer_f1(QUESTIONS), [references], [references], references, 0).alike == 0
