"""Metrics of answers that are spans of a text, as SQuAD's script computes them (Rajpurkar et al. 2016)."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tombola.metrics.scores import Array, Metric

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class GoldAnswers:
    """Text in which a question is answered, and the answers that are right; none where it says nothing of it."""

    context: str
    answers: tuple[str, ...]


def exact_match(questions: Sequence[GoldAnswers]) -> Metric:
    """Share of questions whose answer is one of the right ones, but for case, punctuation, articles and spaces.

    An answer is int64 [question, begin, end]: the number of its question, and the characters of the context.
    """
    return _metric("exact_match", questions, _same)


def answer_f1(questions: Sequence[GoldAnswers]) -> Metric:
    """Mean over questions of the F1 of the answer's words and those of the right one that it meets best."""
    return _metric("answer_f1", questions, f1_of_words)


def normalised(answer: str) -> str:
    """An answer in lower case, without punctuation and articles, its words apart by single spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def _same(given: str, right: str) -> float:
    return float(normalised(given) == normalised(right))


def f1_of_words(given: str, right: str) -> float:
    """F1 of the words of two answers, as bags; where one has none, whether the other has none either."""
    one, other = normalised(given).split(), normalised(right).split()
    if not one or not other:
        return float(one == other)
    return 2 * (Counter(one) & Counter(other)).total() / (len(one) + len(other))


@dataclass(frozen=True, eq=False)
class _Similarities:
    """Similarities of answers to the right ones, and ones, float64 [..., n, 2]; each is worked out once."""

    questions: Sequence[GoldAnswers]
    similar: Callable[[str, str], float]
    known: dict[tuple[int, int, int], float] = field(default_factory=dict)

    def __call__(self, predictions: Array, _: Array) -> Array:
        flat = predictions.reshape(-1, 3).tolist()
        for number, begin, end in flat:
            if (number, begin, end) not in self.known:
                of = self.questions[number]
                answer = of.context[begin:end]
                self.known[number, begin, end] = max(self.similar(answer, one) for one in of.answers or ("",))
        values = np.array([self.known[number, begin, end] for number, begin, end in flat])
        return np.stack([values, np.ones_like(values)], -1).reshape(*predictions.shape[:-1], 2)


def _metric(name: str, questions: Sequence[GoldAnswers], similar: Callable[[str, str], float]) -> Metric:
    counts = _Similarities(questions, similar)
    return Metric.of_counts(name, counts, _mean, partial(_of_guesses, questions, counts), partial(_alike, questions))


def _mean(sums: Array) -> Array:
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))


def _of_guesses(questions: Sequence[GoldAnswers], counts: Callable[[Array, Array], Array], references: Array) -> float:
    """Score of the better of two who do not look at the question: one answers with the whole text, one with nothing."""
    guesses = whole_contexts(questions, references[:, 0]), no_answers(references[:, 0])
    return max(float(_mean(counts(guess, references).sum(-2))) for guess in guesses)


def _alike(questions: Sequence[GoldAnswers], predictions: Array) -> bool:
    """True if every question is answered with nothing, or every one with its whole text."""
    whole = (predictions == whole_contexts(questions, predictions[:, 0])).all()
    return bool(whole or (predictions[:, 1] == predictions[:, 2]).all())


def no_answers(numbers: Array) -> Array:
    """Answers [n, 3] that are nothing, to the questions of these numbers [n]."""
    return np.stack([numbers, np.zeros_like(numbers), np.zeros_like(numbers)], axis=-1)


def whole_contexts(questions: Sequence[GoldAnswers], numbers: Array) -> Array:
    """Answers [n, 3] that are all of their text, to the questions of these numbers [n]."""
    return np.array([[number, 0, len(questions[number].context)] for number in numbers.tolist()], dtype=np.int64)
