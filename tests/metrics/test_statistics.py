"""Intervals with known answers, and the rules of the verdict."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tombola.metrics.scores import METRICS, metric
from tombola.metrics.statistics import Left, interval, mean_std, paired_difference, verdict

Array = NDArray[Any]
ACCURACY = metric("accuracy")


def right(share: float, n: int = 1000) -> Array:
    """Predictions of which that share is right where every second reference is 1."""
    answers = np.arange(n) % 2
    return np.where(np.arange(n) < round(share * n), answers, 1 - answers)


HALVES = np.arange(1000, dtype=np.int64) % 2


def test_the_interval_of_an_accuracy_is_the_binomial_one() -> None:
    low, high = interval(ACCURACY, right(0.85, 2000), np.arange(2000) % 2, seed=0)
    expected = np.array(stats.binom.interval(0.95, 2000, 0.85)) / 2000
    assert (low, high) == pytest.approx(tuple(expected), abs=0.002)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    covered = 0
    for seed in range(200):
        predictions = (generator.random(100) < 0.8).astype(np.int64)
        low, high = interval(ACCURACY, predictions, np.ones(100), seed=seed, resamples=400, level=0.9)
        covered += low <= 0.8 <= high
    # 200 trials at 90 %: 180 expected, standard deviation 4.2; percentile intervals are a little narrow.
    assert 165 <= covered <= 195


def test_the_seed_decides_the_interval() -> None:
    generator = np.random.default_rng(0)
    p, r = generator.normal(size=(2, 300))
    pearson = metric("pearson")
    assert interval(pearson, p, r, seed=5) == interval(pearson, p, r, seed=5)
    assert interval(pearson, p, r, seed=5) != interval(pearson, p, r, seed=6)


def test_batches_do_not_change_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = interval(ACCURACY, right(0.7), HALVES, seed=1)
    monkeypatch.setattr("tombola.metrics.statistics.BATCH_CELLS", 5000)
    assert interval(ACCURACY, right(0.7), HALVES, seed=1) == whole


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_and_constant_data_give_a_finite_interval(name: str, n: int) -> None:
    for predictions in (np.zeros(n, dtype=np.int64), np.arange(n)):
        low, high = interval(metric(name), predictions, np.zeros(n, dtype=np.int64), seed=0)
        assert math.isfinite(low)
        assert low <= high < math.inf


def test_several_seeds_are_averaged_on_the_same_examples() -> None:
    low, high = interval(ACCURACY, np.stack([right(0.8), 1 - right(0.8)]), HALVES, seed=0)
    assert (low, high) == pytest.approx((0.5, 0.5), abs=0.002), "the two seeds complement each other on every example"


@pytest.mark.parametrize("n", [1, 5, 40, 1000])
def test_examples_that_all_say_the_same_leave_room_for_what_was_not_seen(n: int) -> None:
    references = np.arange(n) % 2
    exact = stats.binomtest(n, n).proportion_ci(method="exact")
    assert interval(ACCURACY, references, references, seed=0) == pytest.approx((exact.low, 1))
    assert interval(ACCURACY, 1 - references, references, seed=0) == pytest.approx((0, 1 - exact.low))
    # As many as are not seen may go one way or the other.
    assert paired_difference(ACCURACY, references, references, references, seed=0) == pytest.approx(
        (0, exact.low - 1, 1 - exact.low)
    )
    assert paired_difference(ACCURACY, references, 1 - references, references, seed=0) == pytest.approx(
        (1, 2 * exact.low - 1, 1)
    )


def test_identical_values_differ_by_nothing() -> None:
    p, r = np.arange(50.0), np.linspace(0, 9, 50)
    assert paired_difference(metric("mean_squared_error"), p, p, r, seed=0) == (0.0, 0.0, 0.0)


@pytest.mark.slow
def test_the_difference_of_several_seeds_covers_what_other_seeds_would_show() -> None:
    """Tickets that are 5 % better on average, and by how much varies from one training run to the next."""
    generator, references, covered, fixed = np.random.default_rng(0), np.ones(300), 0, 0
    for trial in range(200):
        seeds = 2 + trial % 4
        hard, shift = generator.normal(size=300), generator.normal(0, 0.04, size=(seeds, 1))

        def answers(share: Array | float, hard: Array = hard, seeds: int = seeds) -> Array:
            """Right where an example is easy, or by luck, so that this share of them is."""
            luck = stats.norm.cdf((hard + generator.normal(size=(seeds, len(hard)))) / np.sqrt(2))
            return np.asarray(luck < share, dtype=np.int64)

        full, ticket = answers(0.75), answers(0.8 + shift)
        _, low, high = paired_difference(ACCURACY, ticket, full, references, seed=trial, resamples=200)
        covered += low <= 0.05 <= high
        _, low, high = paired_difference(
            ACCURACY, ticket, full, references, seed=trial, resamples=200, fixed_seeds=True
        )
        fixed += low <= 0.05 <= high
    assert fixed < 160 < 185 <= covered


def test_the_ends_of_several_seeds_are_put_together_in_squares() -> None:
    a, b = np.stack([right(0.80), right(0.84)]), np.stack([right(0.79), right(0.79)])
    found, low, high = paired_difference(ACCURACY, a, b, HALVES, seed=0)
    _, near_low, near_high = paired_difference(ACCURACY, a, b, HALVES, seed=0, fixed_seeds=True)
    ends = stats.t.interval(0.95, 1, loc=found, scale=stats.sem([0.01, 0.05]))
    assert found == pytest.approx(0.03)
    assert low == pytest.approx(found - np.hypot(found - near_low, found - ends[0]))
    assert high == pytest.approx(found + np.hypot(near_high - found, ends[1] - found))
    # One side may be a single model.
    apart = paired_difference(ACCURACY, right(0.80), np.stack([right(0.79), right(0.75)]), HALVES, seed=0)
    assert apart[2] - apart[0] > stats.t.ppf(0.975, 1) * stats.sem([0.01, 0.05])
    # Seeds that agree add nothing.
    same, other = (np.stack([one[0], one[0]]) for one in (a, b))
    assert paired_difference(ACCURACY, same, other, HALVES, seed=0) == pytest.approx(
        paired_difference(ACCURACY, a[0], b[0], HALVES, seed=0)
    )


def test_pairing_makes_the_interval_narrow_and_exact() -> None:
    a, b = right(0.80), right(0.79)  # b errs wherever a does, and on ten examples more
    difference, low, high = paired_difference(ACCURACY, a, b, HALVES, seed=0)
    assert difference == pytest.approx(0.01)
    assert (low, high) == pytest.approx(tuple(np.array(stats.binom.interval(0.95, 1000, 0.01)) / 1000), abs=0.002)


def test_a_difference_is_positive_where_a_lower_error_is_better() -> None:
    references = np.arange(50.0)
    good, bad = references + 0.1, references + 1.0
    error = metric("mean_squared_error")
    assert paired_difference(error, good, bad, references, seed=0) == pytest.approx((0.99, 0.99, 0.99))
    assert paired_difference(error, bad, good, references, seed=0)[0] == pytest.approx(-0.99)


def test_shapes_that_do_not_fit_are_refused() -> None:
    for p, r in ((np.ones(3), np.ones(4)), (np.ones(0), np.ones(0)), (np.ones((1, 1, 2)), np.ones(2))):
        with pytest.raises(ValueError, match="must be"):
            interval(ACCURACY, p, r, seed=0)


def test_mean_and_sample_deviation() -> None:
    assert mean_std([0.7, 0.8, 0.9]) == pytest.approx((0.8, 0.1))
    assert mean_std([0.7]) == (0.7, 0.0)
    with pytest.raises(ValueError, match="no values"):
        mean_std([])


FULL = [right(0.78), right(0.80), right(0.82)]  # mean 0.80, sample deviation 0.02


@pytest.mark.parametrize(("scores", "matches"), [
    ((0.78, 0.78, 0.78), True),
    ((0.77, 0.78, 0.78), False),
    ((0.99, 0.99, 0.99), True),
    ((0.80, 0.80, 0.80), True),
])  # fmt: skip
def test_several_seeds_allow_one_deviation_of_the_full_model(scores: tuple[float, ...], matches: bool) -> None:
    found = verdict(ACCURACY, FULL, [right(score) for score in scores], HALVES, seed=0)
    assert (found.rule, found.n_seeds, found.n_examples) == ("seeds", 3, 1000)
    assert (found.full_mean, found.full_std) == pytest.approx((0.8, 0.02))
    assert (found.mean, found.std) == pytest.approx((np.mean(scores), np.std(scores, ddof=1)))
    assert found.difference == pytest.approx(np.mean(scores) - 0.8)
    assert found.low <= found.difference <= found.high
    assert found.matches is matches


def test_seeds_that_agree_exactly_match_themselves() -> None:
    same = [right(0.8)] * 3
    assert verdict(ACCURACY, same, same, HALVES, seed=0).matches


def test_several_seeds_of_an_error_turn_the_comparison() -> None:
    references = np.linspace(0, 1, 100)
    full = [references + 0.5, references + 0.6]
    error = metric("mean_squared_error")
    assert verdict(error, full, [references, references], references, seed=0).matches
    worse = verdict(error, full, [references + 2, references + 2], references, seed=0)
    assert not worse.matches
    assert worse.difference == pytest.approx((0.25 + 0.36) / 2 - 4)


def test_one_seed_asks_whether_a_loss_can_be_shown() -> None:
    generator = np.random.default_rng(0)

    def shuffled(predictions: Array) -> Array:
        """As many right ones, elsewhere."""
        return np.where(generator.permutation(predictions == HALVES), HALVES, 1 - HALVES)

    full = shuffled(right(0.80))
    verdicts = {
        score: verdict(ACCURACY, [full], [shuffled(right(score))], HALVES, seed=0) for score in (0.70, 0.79, 0.90)
    }
    assert {score: found.matches for score, found in verdicts.items()} == {
        0.70: False,
        0.79: True,
        0.90: True,
    }
    assert verdicts[0.70].high < 0 < verdicts[0.79].high
    assert verdicts[0.90].low > 0
    assert all(found.rule == "bootstrap" and found.full_std == 0 for found in verdicts.values())


def test_a_score_that_is_not_a_number_never_matches() -> None:
    references = np.arange(10.0)
    broken = np.full(10, np.nan)
    for seeds in (1, 2):
        found = verdict(metric("pearson"), [references] * seeds, [broken] * seeds, references, 0)
        assert not found.matches
        assert math.isnan(found.low)


def test_full_model_and_ticket_need_the_same_seeds() -> None:
    with pytest.raises(ValueError, match="3 full models and 1 tickets"):
        verdict(ACCURACY, FULL, FULL[:1], HALVES, seed=0)


def test_sentences_carry_the_numbers_and_hedge() -> None:
    several = verdict(ACCURACY, FULL, [right(0.70)] * 3, HALVES, seed=0).sentence("the bad ticket")
    assert several.startswith("Over 3 seeds, the bad ticket does not match the full model")
    for number in ("0.700 ± 0.000", "0.800 ± 0.020", "0.100 worse", "1,000 examples"):
        assert number in several
    one = verdict(ACCURACY, FULL[:1], [right(0.78)], HALVES, seed=0).sentence("the good ticket")
    assert one.startswith("With one seed, no loss of the good ticket against the full model can be shown")
    assert one.endswith("unknown from one seed.")
    # Within a deviation, yet worse in every seed and on practically every resample: both are said.
    close = verdict(ACCURACY, FULL, [right(share) for share in (0.765, 0.785, 0.805)], HALVES, seed=0)
    assert close.matches
    assert close.high < 0
    assert "a small loss is likely" in close.sentence("it")


def test_equal_scores_are_level() -> None:
    said = verdict(ACCURACY, FULL[:1], FULL[:1], HALVES, seed=0).sentence("it")
    assert "; level (95 % interval of the difference -0.004 to +0.004 over 1,000 examples)" in said


def test_a_full_model_at_chance_makes_every_verdict_void() -> None:
    # Three of four references are 1, and the full model always says so: 0.75 is what guessing gets.
    references = (np.arange(1000) % 4 > 0).astype(np.int64)
    guess = np.ones(1000, dtype=np.int64)
    found = verdict(ACCURACY, [guess], [guess], references, seed=0)
    assert not found.matches
    assert not found.learned
    assert found.chance == 0.75
    assert found.sentence("the good ticket").startswith("Nothing can be said of the good ticket")
    better = np.where(np.arange(1000) < 900, references, 1 - references)
    assert verdict(ACCURACY, [better], [guess], references, seed=0).learned


def test_seeds_that_share_one_full_model_do_not_judge_by_its_deviation() -> None:
    references = np.arange(200) % 2
    full = references.copy()
    full[:20] = 1 - full[:20]
    ticket = full.copy()
    ticket[30] = 1 - ticket[30]
    alone = verdict(metric("accuracy"), [full], [ticket], references, seed=0, resamples=200)
    shared = verdict(metric("accuracy"), [full] * 2, [ticket] * 2, references, seed=0, resamples=200, shared=True)
    assert alone.rule == shared.rule == "bootstrap"
    assert alone.matches == shared.matches is True
    assert shared.sentence("it", trained=False).endswith("It was not trained again.")
    assert shared.sentence("it").endswith("The 2 seeds share one full model.")


def test_full_models_that_were_trained_and_predict_alike_are_several() -> None:
    found = verdict(ACCURACY, [right(0.8)] * 3, [right(0.8)] * 3, HALVES, seed=0)
    assert (found.rule, found.n_seeds) == ("seeds", 3)
    assert found.full_std == pytest.approx(0)
    assert found.matches
    assert found.sentence("the good ticket").startswith("Over 3 seeds, the good ticket matches the full model")
    assert not verdict(ACCURACY, [right(0.8)] * 3, [right(0.79)] * 3, HALVES, seed=0).matches


def test_a_ticket_that_answers_all_alike_or_has_nothing_left_matches_nothing() -> None:
    references = (np.arange(1000) % 5 > 1).astype(np.int64)
    full = np.where(np.arange(1000) < 640, references, 1 - references)
    guess = np.ones(1000, dtype=np.int64)
    cases: tuple[tuple[list[NDArray[np.int64]], list[Left], str], ...] = (
        ([guess], [], "it answers every example alike"),
        ([guess], ["nothing"], "nothing of it is left"),
        ([full], ["nothing"], "nothing of it is left"),
        (
            [full, guess, full],
            ["part", "part", "nothing"],
            "nothing of it is left or it answers every example alike in 2 ",
        ),
    )
    for tickets, left, why in cases:
        found = verdict(ACCURACY, [full] * len(tickets), tickets, references, seed=0, left=left)
        assert found.learned
        assert not found.matches
        assert (
            found.sentence("the good ticket")
            .partition(", ")[2]
            .startswith(f"the good ticket says nothing, because {why}")
        )
    assert verdict(ACCURACY, [full], [full], references, seed=0, left=["part"]).matches
    entire = verdict(ACCURACY, [full], [full], references, seed=0, left=["all"])
    assert (entire.entire, entire.alike, entire.matches) == (1, 0, False)
    values = np.linspace(0, 1, 30)
    constant = verdict(metric("pearson"), [values], [np.full(30, 0.3) + values * 1e-9], values, seed=0)
    assert (constant.alike, constant.empty) == (1, 0)
