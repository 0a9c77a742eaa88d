"""ROUGE of texts that a model writes (Lin 2004): F1 of their words, pairs of words, or longest common subsequence.

The numbers are those of the package rouge-score as it comes: words are runs of ASCII letters and digits in lower case,
without stemming. A score is the mean over examples.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tombola.metrics.scores import NOTHING, Array, Metric

_WORD = re.compile("[a-z0-9]+")
_CANDIDATES = 20
"""Most common references of which the best is what guessing reaches."""


def words(text: str) -> list[str]:
    """Words of a text."""
    return _WORD.findall(text.lower())


def _f1_of_grams(n: int, written: Sequence[str], reference: Sequence[str]) -> float:
    one, other = (Counter(zip(*(text[start:] for start in range(n)), strict=False)) for text in (written, reference))
    return 2 * (one & other).total() / max(1, one.total() + other.total())


def _f1_of_subsequences(written: Sequence[str], reference: Sequence[str]) -> float:
    return 2 * common_subsequence(written, reference) / max(1, len(written) + len(reference))


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the table at a time as bits of a number (Hyyrö 2004)."""
    places = dict[str, int]()
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    row = every = (1 << len(one)) - 1
    for word in other:
        there = row & places.get(word, 0)
        row = (row + there | row - there) & every
    return len(one) - row.bit_count()


ROUGE: dict[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    "rouge1": partial(_f1_of_grams, 1),
    "rouge2": partial(_f1_of_grams, 2),
    "rougeL": _f1_of_subsequences,
}
"""F1 of a text's words with those of its reference, by the name that users write."""


@dataclass(frozen=True, eq=False)
class _Rouge:
    """Similarities of texts as tokens; each text is decoded once."""

    similar: Callable[[Sequence[str], Sequence[str]], float]
    decode: Callable[[list[int]], str]
    known: dict[bytes, list[str]] = field(default_factory=dict)

    def read(self, tokens: Array) -> list[str]:
        """Words of a text of tokens."""
        key = tokens.tobytes()
        if key not in self.known:
            self.known[key] = words(self.decode(tokens[tokens != NOTHING].tolist()))
        return self.known[key]

    def counts(self, predictions: Array, references: Array) -> Array:
        """Similarities, and ones, float64 [..., n, 2]."""
        given, right = np.broadcast_arrays(predictions, references)
        pairs = zip(given.reshape(-1, given.shape[-1]), right.reshape(-1, right.shape[-1]), strict=True)
        values = np.array([self.similar(self.read(one), self.read(other)) for one, other in pairs])
        return np.stack([values, np.ones_like(values)], -1).reshape(*given.shape[:-1], 2)

    def chance(self, references: Array) -> float:
        """Best score of one who always writes the same of the most common references."""
        texts, number = np.unique(references, axis=0, return_counts=True)
        common = texts[np.argsort(-number, kind="stable")[:_CANDIDATES]]
        return max(float(_mean(self.counts(text[None], references).sum(-2))) for text in common)


def rouge(name: str, decode: Callable[[list[int]], str]) -> Metric:
    """Metric of texts as tokens, int64 [examples, tokens], padded with `NOTHING`; `decode` makes a text of tokens."""
    made = _Rouge(ROUGE[name], decode)
    return Metric.of_counts(name, made.counts, _mean, made.chance)


def _mean(sums: Array) -> Array:
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))
