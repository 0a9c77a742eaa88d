"""The score against a loop over examples, and what is kept of abilities against closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import beta, binom, norm
from statsmodels.stats.weightstats import DescrStatsW

from tombola.foundations.errors import TombolaError
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.abilities.chance_corrected import (
    Scale,
    fieller_interval,
    measure,
    reference,
    retention,
    understanding,
)
from tombola.tasks.language.regime import RetentionThreshold

SCALES = (Scale(False, 0.5), Scale(True, 8.0), Scale(False, 0.1))
SIZES = (0, 37, 0)

verdicts = st.sampled_from([0.0, 0.5, 1.0, math.nan])
bits = st.one_of(st.floats(0, 20), st.just(math.nan))
examples = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([0, 2]), verdicts, st.just(0)), st.tuples(st.just(1), bits, st.integers(1, 5000))
    ),
    min_size=1,
    max_size=30,
)


def looped(rows: list[tuple[int, float, int]], counted: tuple[int, ...]) -> float:
    means = []
    for number in counted:
        own = [(value, size) for ability, value, size in rows if ability == number]
        if not own:
            continue
        if number == 1:
            total = sum((8.0 if math.isnan(value) else value) * size for value, size in own)
            means.append(1 - total / sum(size for _, size in own) / 8)
        else:
            accuracy = sum(0.0 if math.isnan(value) else value for value, _ in own) / len(own)
            means.append((accuracy - SCALES[number].chance) / (1 - SCALES[number].chance))
    return sum(means) / len(means) if means else 0.0


def arrays(rows: list[tuple[int, float, int]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([v for _, v, _ in rows]), np.array([reference(a, s) for a, _, s in rows])


@given(examples, st.sampled_from([(0, 1, 2), (2,), (0, 1)]))
def test_the_score_is_the_mean_of_corrected_abilities(
    rows: list[tuple[int, float, int]], counted: tuple[int, ...]
) -> None:
    metric = understanding(SCALES, counted)
    assert metric.score(*arrays(rows)) == pytest.approx(looped(rows, counted), abs=1e-9)
    assert metric.chance(arrays(rows)[1]) == 0.0


def test_vectorised_is_looped() -> None:
    rng = np.random.default_rng(0)
    abilities = rng.integers(0, 3, 50)
    references = np.array([reference(int(a), 100 + i if a == 1 else 0) for i, a in enumerate(abilities)])
    predictions = np.where(abilities == 1, rng.uniform(0, 4, (2, 50)), rng.integers(0, 2, (2, 50)))
    metric, drawn = understanding(SCALES), rng.integers(0, 50, (2, 7, 50))
    found = metric.compute(predictions[0][drawn], references[drawn])
    expected = [[metric.score(predictions[0][d], references[d]) for d in part] for part in drawn]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_guessing_scores_nothing_and_perfection_everything() -> None:
    references = np.array([reference(0)] * 4 + [reference(1, 10), reference(1, 90)])
    metric = understanding(SCALES)
    assert metric.score(np.array([0, 1, 0.5, 0.5, 8, 8]), references) == pytest.approx(0)
    assert metric.score(np.array([1, 1, 1, 1, 0, 0]), references) == pytest.approx(1)
    # Texts count by their bytes: 1 bit for 10 bytes, 2 bits for 90.
    assert metric.score(np.array([1, 1, 1, 1, 1, 2]), references) == pytest.approx((1 + 1 - 1.9 / 8) / 2)
    # A model that says NaN is wrong, where argmax would call every first sentence the better one.
    assert metric.score(np.full(6, np.nan), references) == pytest.approx((-1 + 0) / 2)


def ability(name: str, choices: int, count: int) -> Ability:
    return Ability(name, name, "choice", tuple(Example(("a",) * choices) for _ in range(count)), "nowhere")


def test_retention_by_hand() -> None:
    abilities = (ability("grammar", 2, 200), ability("guessed", 2, 200))
    references = np.array([reference(0)] * 200 + [reference(1)] * 200)
    full = np.array([1.0] * 180 + [0.0] * 20 + [1.0] * 104 + [0.0] * 96)
    pruned = np.array([1.0] * 140 + [0.0] * 60 + [1.0] * 150 + [0.0] * 50)
    kept, guessed = retention(abilities, full, pruned, references, resamples=400)
    assert (kept.full.raw, kept.pruned.raw) == (0.9, 0.7)
    assert kept.full.corrected == pytest.approx(0.8)
    assert kept.share == pytest.approx(0.4 / 0.8)
    assert kept.low is not None
    assert kept.high is not None
    # Both models on the same examples: 40 of 200 were lost, and a ratio of binomials spreads by about a tenth.
    assert kept.low < 0.5 < kept.high
    assert 0.05 < kept.high - kept.low < 0.3
    assert kept.full.learned
    # 104 of 200 happens by chance: whatever the pruned model does, it has kept nothing.
    assert binom.sf(103, 200, 0.5) > 0.025
    assert not guessed.full.learned
    assert (guessed.share, guessed.low, guessed.high) == (None, None, None)
    assert [one.learned for one in measure(abilities, full, references, resamples=100)] == [True, False]
    # Unless that was decided before, as in a study by what judges.
    kept, guessed = retention(abilities, full, pruned, references, have=("guessed",), resamples=100)
    assert kept.share is None
    assert guessed.share == pytest.approx(0.25 / 0.02)
    # On other examples than those it was decided by, there may be less than nothing.
    worse = np.array([1.0] * 180 + [0.0] * 20 + [1.0] * 90 + [0.0] * 110)
    assert retention(abilities, worse, pruned, references, have=("guessed",), resamples=100)[1].share is None


def test_items_that_are_all_answered_alike_and_a_single_text_bound_little() -> None:
    text = Ability("text", "Text", "text", (Example(("t",)),), "nowhere")
    abilities = (ability("grammar", 2, 5), text, ability("one", 2, 1))
    references = np.array([reference(0)] * 5 + [reference(1, 50), reference(2)])
    few, single, one = measure(abilities, np.array([1.0] * 5 + [2.0, 1.0]), references)
    exact = beta.ppf(0.025, 5, 1)
    assert (few.raw_low, few.raw_high) == pytest.approx((exact, 1))
    assert (one.raw_low, one.raw_high) == pytest.approx((0.025, 1))
    assert not single.learned
    assert not one.learned


def test_texts_and_exact_answers_are_learned_where_their_interval_is() -> None:
    text = Ability("text", "Text", "text", tuple(Example(("t",)) for _ in range(30)), "nowhere")
    exact = Ability("exact", "Exact", "exact", tuple(Example(("t",)) for _ in range(30)), "nowhere")
    references = np.array([reference(0, 50)] * 30 + [reference(1)] * 30)
    good = np.concatenate([np.linspace(1, 2, 30), np.repeat([1.0, 0.0], 15)])
    poor = np.concatenate([np.linspace(7, 10, 30), [1.0], np.zeros(29)])
    one, two = (measure((text, exact), p, references, resamples=200) for p in (good, poor))
    assert [m.learned for m in one] == [True, True]
    assert [m.learned for m in two] == [False, False]
    assert one[0].measure == "bits per byte"
    assert one[0].raw == pytest.approx(1.5)
    assert one[0].raw_low < 1.5 < one[0].raw_high
    assert one[1].measure == "accuracy"


def coverage(scale: Scale, full_mean: float, kept: float, sizes: NDArray[np.float64], runs: int = 2000) -> float:
    """How often the interval holds the true share, where both models answer examples that are hard for both."""
    rng, n = np.random.default_rng(1), len(sizes)
    references = np.array([reference(0, size) for size in sizes])
    inside = 0
    for _ in range(runs):
        hard = rng.normal(size=(1, n))
        means = np.array([[full_mean], [scale.chance + kept * (full_mean - scale.chance)]])
        if scale.text:
            full, pruned = means + 0.8 * hard + rng.normal(scale=0.3, size=(2, n))
        else:
            # Two thresholds of correlated normal numbers, met with these probabilities.
            latent = 0.8 * hard + 0.6 * rng.normal(size=(2, n))
            full, pruned = (latent < norm.ppf(means)).astype(float)
        low, high = fieller_interval(scale, full, pruned, references)
        inside += (low is None or low <= kept) and (high is None or kept <= high)
    return inside / runs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scale", "full_mean", "kept", "sizes", "most"),
    [
        (Scale(False, 0.5), 0.77, 0.9, np.zeros(200), 0.97),
        # Near chance nothing bounds it in most draws, and the truth is in there all the more often.
        (Scale(False, 0.5), 0.55, 0.8, np.zeros(100), 1),
        (Scale(False, 0.5), 0.60, 0.5, np.zeros(150), 0.98),
        (Scale(False, 0.1), 0.25, 0.3, np.zeros(120), 0.97),
        (Scale(True, 2.5), 1.1, 0.6, np.linspace(50, 400, 60), 0.97),
        (Scale(True, 2.5), 2.4, 0.5, np.linspace(50, 400, 60), 1),
    ],
)
def test_the_interval_of_what_is_kept_holds_the_truth_as_often_as_it_says(
    scale: Scale, full_mean: float, kept: float, sizes: NDArray[np.float64], most: float
) -> None:
    assert 0.935 < coverage(scale, full_mean, kept, sizes) < most


def test_the_interval_is_where_the_difference_is_no_longer_found() -> None:
    rng = np.random.default_rng(3)
    full, pruned = rng.integers(0, 2, (2, 80)) * 1.0
    full[:60] = 1
    scale, references = Scale(False, 0.5), np.full(80, reference(0))
    low, high = fieller_interval(scale, full, pruned, references)
    assert low is not None
    assert high is not None
    for end in (low, high):
        # Half an example of each pair of answers is added.
        now, was = np.append(pruned, [1, 0, 1, 0]), np.append(full, [1, 1, 0, 0])
        differences = (now - 0.5) / 0.5 - end * (was - 0.5) / 0.5
        counted = DescrStatsW(differences, weights=[1.0] * 80 + [0.5] * 4)
        assert counted.ttest_mean(0)[1] == pytest.approx(0.05, abs=1e-9)
    # The same answers are no proof that nothing is lost, and less so the fewer there are.
    right = np.ones(80)
    wide = [fieller_interval(scale, right[:n], right[:n], references[:n]) for n in (10, 20, 80)]
    widths = [high - low for low, high in wide if low is not None and high is not None]
    assert len(widths) == 3
    assert widths[0] > widths[1] > widths[2] > 0.05
    assert all(low is not None and low < 1 for low, _ in wide)
    # At chance, or from one example, nothing bounds a share.
    guessing = np.tile([0.0, 1.0], 40)
    assert fieller_interval(scale, guessing, pruned, references) == (None, None)
    assert fieller_interval(scale, full[:1], pruned[:1], references[:1]) == (None, None)
    # What a broken model keeps is a number too.
    assert fieller_interval(scale, full, np.full(80, np.nan), references)[1] is not None


def test_what_is_kept_is_read() -> None:
    assert RetentionThreshold.parse("grammar>=0.9") == RetentionThreshold("grammar", 0.9)
    assert RetentionThreshold.parse(" language-modelling >= .75 ") == RetentionThreshold("language-modelling", 0.75)
    assert RetentionThreshold.parse("0.95") == RetentionThreshold(None, 0.95)
    for text, said in (
        ("grammar>0.9", "write what must be retained as grammar>=0.9"),
        ("grammar>=1.5", "at most at 1, not 1.5"),
        ("0", "above 0"),
        ("grammar", "write what must be retained"),
    ):
        with pytest.raises(TombolaError, match=said):
            RetentionThreshold.parse(text)
