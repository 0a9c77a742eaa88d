"""Metrics against scikit-learn and SciPy, and what a bound means."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sk

from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import METRICS, Metric, metric

Array = NDArray[Any]

pairs_of_classes = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*[arrays(np.int64, n, elements=st.integers(0, 3))] * 2)
)
pairs_of_bits = st.integers(1, 30).flatmap(lambda n: st.tuples(*[arrays(np.int64, n, elements=st.integers(0, 1))] * 2))
# Quarters: no rounding that would make SciPy and Tombola disagree about what is constant.
quarters = st.integers(-20, 20).map(lambda k: k / 4)
pairs_of_values = st.integers(3, 30).flatmap(lambda n: st.tuples(*[arrays(np.float64, n, elements=quarters)] * 2))


@given(pairs_of_classes)
@settings(deadline=None)
def test_accuracy_and_matthews_are_scikit_learns(pair: tuple[Array, Array]) -> None:
    p, r = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert metric("accuracy").score(p, r) == pytest.approx(sk.accuracy_score(r, p))
        assert metric("matthews_correlation").score(p, r) == pytest.approx(sk.matthews_corrcoef(r, p), abs=1e-9)


@given(pairs_of_bits)
@settings(deadline=None)
def test_f1_is_scikit_learns(pair: tuple[Array, Array]) -> None:
    p, r = pair
    assert metric("f1").score(p, r) == pytest.approx(sk.f1_score(r, p, zero_division=0.0))


@given(pairs_of_classes)
@settings(deadline=None)
def test_means_over_classes_are_scikit_learns(pair: tuple[Array, Array]) -> None:
    p, r = pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert metric("f1_macro").score(p, r) == pytest.approx(sk.f1_score(r, p, average="macro", zero_division=0.0))
        assert metric("f1_weighted").score(p, r) == pytest.approx(
            sk.f1_score(r, p, average="weighted", zero_division=0.0)
        )
        assert metric("balanced_accuracy").score(p, r) == pytest.approx(sk.balanced_accuracy_score(r, p))


@given(pairs_of_values, st.randoms())
@settings(deadline=None)
def test_the_area_under_the_curve_is_scikit_learns(pair: tuple[Array, Array], random: Any) -> None:
    p = pair[0]
    r = np.array([random.randint(0, 1) for _ in p])
    expected = sk.roc_auc_score(r, p) if len(set(r)) == 2 else 0.5
    assert metric("roc_auc").score(p, r) == pytest.approx(expected)


@given(pairs_of_classes)
@settings(deadline=None, max_examples=10)
def test_a_function_scores_as_the_metric_of_its_name(pair: tuple[Array, Array]) -> None:
    p, r = pair
    own, ours = metric(sk.balanced_accuracy_score), metric("balanced_accuracy")
    draws = np.random.default_rng(0).integers(0, len(r), (2, 3, len(r)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert own.name == "balanced_accuracy_score"
        np.testing.assert_allclose(own.compute(p[draws], r[draws]), ours.compute(p[draws], r[draws]))
        assert own.chance(r) == pytest.approx(ours.chance(r))


def test_a_function_of_values_and_one_that_fails() -> None:
    error = Metric.of(sk.mean_absolute_error, higher_is_better=False, kind="values")
    assert (error.score(np.array([1.0, 2.0]), np.array([2.0, 4.0])), error.higher_is_better) == (1.5, False)
    assert error.chance(np.array([0.0, 1.0, 5.0])) == pytest.approx(2.0)
    with pytest.raises(TombolaError, match=r"the metric <lambda> fails \(.*\); give a function of references and pred"):
        metric(lambda references, predictions: "much").score(np.array([1]), np.array([1]))  # type: ignore[arg-type, return-value]


@given(pairs_of_values)
@settings(deadline=None)
def test_correlations_are_scipys_and_zero_for_constants(pair: tuple[Array, Array]) -> None:
    p, r = pair
    constant = len(set(p)) == 1 or len(set(r)) == 1
    for name, expected in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        got = metric(name).score(p, r)
        assert got == pytest.approx(0.0 if constant else expected(p, r).statistic, abs=1e-7)
    assert metric("mean_squared_error").score(p, r) == pytest.approx(sk.mean_squared_error(r, p))


def test_a_constant_that_rounding_hides_still_correlates_zero() -> None:
    constant = np.full(7, 0.1)
    assert constant.mean() - 0.1 != 0 or constant.std() > 0, "the case is no longer hard"
    assert metric("pearson").score(constant, constant) == 0.0


@pytest.mark.parametrize("name", METRICS)
def test_vectorised_is_looped(name: str) -> None:
    generator = np.random.default_rng(1)
    p, r = generator.integers(0, 2, (2, 3, 4, 25))
    if metric(name).kind == "ranking":
        p = p + generator.normal(size=p.shape)
    if metric(name).kind == "values":
        p, r = p + generator.normal(size=p.shape), r + generator.normal(size=r.shape)
    chosen = metric(name)
    looped = [[chosen.score(p[i, j], r[i, j]) for j in range(4)] for i in range(3)]
    np.testing.assert_allclose(chosen.compute(p, r), looped, rtol=1e-12)
    broadcast = [[chosen.score(p[i, j], r[0, 0]) for j in range(4)] for i in range(3)]
    np.testing.assert_allclose(chosen.compute(p, r[0, 0]), broadcast, rtol=1e-12)


def test_chance_by_hand() -> None:
    references = np.array([1, 1, 1, 0])
    chances = {name: each.chance(references) for name, each in METRICS.items()}
    assert chances == pytest.approx(
        {
            "accuracy": 0.75,
            "matthews_correlation": 0.0,
            "f1": 6 / 7,
            # Always 1: that class has 6/7, the other 0.
            "f1_macro": 3 / 7,
            "f1_weighted": 0.75 * 6 / 7,
            "balanced_accuracy": 0.5,
            "roc_auc": 0.5,
            "pearson": 0.0,
            "spearman": 0.0,
            "pearson_spearman": 0.0,
            "mean_squared_error": 0.1875,
        }
    )
    assert metric("f1").chance(np.array([0, 0])) == 0.0


@pytest.mark.parametrize(
    ("name", "full", "bound"),
    [
        ("accuracy", 0.8, 0.72),
        ("matthews_correlation", -0.18, -0.2),
        ("pearson", 0.0, 0.0),
        ("mean_squared_error", 0.9, 1.0),
    ],
)
def test_bound_by_hand(name: str, full: float, bound: float) -> None:
    assert metric(name).bound(full, 0.9) == pytest.approx(bound)


@given(st.sampled_from(sorted(METRICS)), st.floats(-1, 1), st.floats(0.01, 1))
def test_the_full_score_always_holds_its_own_bound(name: str, full: float, threshold: float) -> None:
    chosen = metric(name)
    assert chosen.holds(full, chosen.bound(full, threshold))


def test_holding_follows_the_direction_and_nan_never_holds() -> None:
    accuracy, error = metric("accuracy"), metric("mean_squared_error")
    assert accuracy.holds(0.8, 0.8)
    assert not accuracy.holds(0.79, 0.8)
    assert error.holds(0.8, 0.8)
    assert not error.holds(0.81, 0.8)
    assert not any(m.holds(a, b) for m in (accuracy, error) for a, b in ((math.nan, 0.5), (0.5, math.nan)))


def test_wrong_use_is_refused() -> None:
    with pytest.raises(TombolaError, match=r"unknown metric 'bleu'; known: accuracy, .*spearman"):
        metric("bleu")
    for threshold in (0.0, 1.1, -0.5, math.nan):
        with pytest.raises(TombolaError, match="threshold"):
            metric("accuracy").bound(0.8, threshold)
    for p, r in (([], []), ([1, 0], [1]), ([[1]], [[1]])):
        with pytest.raises(ValueError, match="must both be"):
            metric("accuracy").score(p, r)
