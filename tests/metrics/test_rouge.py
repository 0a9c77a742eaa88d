"""ROUGE against numbers of the package rouge-score 0.1.2 and, where it is installed, against the package itself."""

import random
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest

from tombola.metrics.rouge import ROUGE, common_subsequence, rouge, words
from tombola.metrics.scores import NOTHING

# What was written, its reference, and rouge1, rouge2 and rougeL of RougeScorer without stemming.
KNOWN = (
    ("The cat sat on the mat.", "the cat, sat on a mat", 0.833333, 0.6, 0.833333),
    ("police kill the gunman", "police killed the gunman", 0.75, 0.333333, 0.75),
    ("the gunman kill police", "police killed the gunman", 0.75, 0.333333, 0.5),
    ("a b c d e", "e d c b a", 1.0, 0.0, 0.2),
    ("don't stop", "dont stop", 0.4, 0.0, 0.4),
    ("x", "x", 1.0, 0.0, 1.0),
    ("", "x", 0.0, 0.0, 0),
    ("!?", "!?", 0.0, 0.0, 0),
    ("the the the", "the cat", 0.4, 0.0, 0.4),
    ("Ein Café, 12.5 km", "ein cafe 12 5 km", 0.8, 0.5, 0.8),
)
VOCABULARY = ("The", "cat", "sat,", "on", "a-b", "É", "12", "")


@pytest.mark.parametrize(("written", "reference", "one", "two", "longest"), KNOWN)
def test_it_is_that_of_rouge_score(written: str, reference: str, one: float, two: float, longest: float) -> None:
    found = [ROUGE[name](words(written), words(reference)) for name in ("rouge1", "rouge2", "rougeL")]
    assert found == pytest.approx([one, two, longest], abs=1e-6)


def test_it_is_that_of_the_package_itself() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer([*ROUGE])
    draw = random.Random(0)
    for _ in range(500):
        one, other = (" ".join(draw.choices(VOCABULARY, k=draw.randint(0, 12))) for _ in range(2))
        for name, found in scorer.score(other, one).items():
            assert ROUGE[name](words(one), words(other)) == pytest.approx(found.fmeasure)


def test_the_longest_common_subsequence_is_that_of_all_subsequences() -> None:
    draw = random.Random(0)
    for _ in range(60):
        one, other = (draw.choices("abc", k=draw.randint(0, 7)) for _ in range(2))

        def parts(text: Sequence[str]) -> set[tuple[str, ...]]:
            return {part for size in range(len(text) + 1) for part in combinations(text, size)}

        assert common_subsequence(one, other) == max(map(len, parts(one) & parts(other)))


def test_a_metric_of_tokens_is_the_mean_over_examples_and_guessing_the_best_common_text() -> None:
    texts = ["fine word", "fine", "word word fine"]
    tokens = {"fine": 1, "word": 2}
    rows = np.full((3, 4), NOTHING)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text.split())] = [tokens[one] for one in text.split()]
    names = {number: name for name, number in tokens.items()}
    found = rouge("rougeL", lambda ids: " ".join(names[one] for one in ids))
    given = rows[[1, 1, 0]]
    wanted = [ROUGE["rougeL"](words(texts[a]), words(texts[b])) for a, b in ((1, 0), (1, 1), (0, 2))]
    assert found.score(given, rows) == pytest.approx(np.mean(wanted))
    assert found.score(rows, rows) == 1
    constant = [np.mean([ROUGE["rougeL"](words(guess), words(one)) for one in texts]) for guess in texts]
    assert found.chance(rows) == pytest.approx(max(constant))
