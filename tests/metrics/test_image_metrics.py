"""Distances of features against closed forms, brute force and other definitions of the same thing."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.metrics import pairwise_distances

from tombola.foundations.errors import TombolaError
from tombola.metrics.image_metrics import FID, KID, PRECISION, RECALL, class_balance, fid, kid, precision, recall
from tombola.metrics.scores import Array, Metric
from tombola.metrics.statistics import interval, paired_difference, verdict
from tombola.tasks.images.features import Classifier

RNG = np.random.default_rng(0)
BALANCE = class_balance(lambda features: features.argmax(-1), 4)
ALL = (FID, KID, PRECISION, RECALL, BALANCE)


def gaussian(n: int, d: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> Array:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.standard_normal((n, d)) @ np.random.default_rng(d).standard_normal((d, d)) * scale + shift)


@pytest.mark.parametrize(("n", "m", "d"), [(60, 50, 5), (40, 40, 1), (20, 30, 8)])
def test_the_frechet_distance_is_that_of_the_matrix_root(n: int, m: int, d: int) -> None:
    x, y = gaussian(n, d, 1), gaussian(m, d, 2, 1.5, 0.3)
    sigma, tau = (np.atleast_2d(np.cov(z, rowvar=False)) for z in (x, y))
    root = sqrtm(sigma @ tau)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(sigma + tau - 2 * root.real)
    assert float(fid(x, y)) == pytest.approx(expected, rel=1e-9)


def test_the_frechet_distance_of_axis_aligned_gaussians_is_their_closed_form() -> None:
    # Samples of exactly these moments: mean ±, standard deviations per axis.
    base = RNG.standard_normal((50, 3))
    base = (base - base.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(base, rowvar=False))).T
    a, b = np.array([1.0, 2.0, 0.5]), np.array([3.0, 1.0, 0.5])
    assert float(fid(base * a + 1, base * b)) == pytest.approx(3 + ((a - b) ** 2).sum(), rel=1e-9)


def test_the_frechet_distance_with_fewer_images_than_features_is_that_of_the_root_of_singular_covariances() -> None:
    x, y = gaussian(6, 20, 1), gaussian(9, 20, 2)
    sigma, tau = (np.cov(z, rowvar=False) for z in (x, y))
    values = np.linalg.eigvals(sigma @ tau)
    overlap = np.sqrt(np.maximum(values.real, 0)).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(sigma) + np.trace(tau) - 2 * overlap
    assert float(fid(x, y)) == pytest.approx(expected, rel=1e-6)


def test_of_equal_sets_the_distance_is_nothing() -> None:
    x = gaussian(30, 6, 0)
    assert 0 <= float(fid(x, x)) < 1e-9


def test_the_kernel_distance_is_the_mean_over_pairs() -> None:
    x, y = gaussian(7, 3, 1), gaussian(5, 3, 2)

    def k(a: Array, b: Array) -> float:
        return float((a @ b / 3 + 1) ** 3)

    within_x = np.mean([k(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    within_y = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    between = np.mean([k(a, b) for a in x for b in y])
    assert float(kid(x, y)) == pytest.approx(within_x + within_y - 2 * between, rel=1e-12)


def test_the_kernel_distance_of_two_draws_of_one_thing_is_zero_on_average() -> None:
    rng = np.random.default_rng(5)
    found = kid(rng.standard_normal((2000, 12, 3)), rng.standard_normal((2000, 12, 3)))
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(2000)


def brute_precision(generated: Array, real: Array) -> float:
    inside = 0
    between, own = pairwise_distances(generated, real), pairwise_distances(real)
    for i in range(len(generated)):
        inside += any(between[i, j] <= sorted(np.delete(own[j], j))[2] for j in range(len(real)))
    return inside / len(generated)


def test_precision_and_recall_are_those_of_loops() -> None:
    x, y = gaussian(40, 4, 1, 1.3, 0.5), gaussian(30, 4, 2)
    assert 0 < float(precision(x, y)) < 1
    assert float(precision(x, y)) == brute_precision(x, y)
    assert float(recall(x, y)) == brute_precision(y, x)


def test_one_real_image_again_and_again_is_precise_and_recalls_nothing() -> None:
    real = gaussian(40, 4, 2)
    collapsed = np.repeat(real[:1], 40, axis=0)
    assert float(precision(collapsed, real)) == 1.0
    assert float(recall(collapsed, real)) == 1 / 40


def test_class_balance_is_half_the_sum_of_differences_of_shares() -> None:
    ones = np.eye(4)
    generated, real = ones[[0, 0, 0, 1]], ones[[0, 1, 2, 2]]
    assert BALANCE.score(generated, real) == pytest.approx((0.5 + 0 + 0.5 + 0) / 2)
    assert BALANCE.score(real, real) == 0
    assert BALANCE.chance(real) == 0.5


@pytest.mark.parametrize("metric", list(ALL), ids=lambda metric: metric.name)
def test_every_metric_scores_resamples_as_one_by_one(metric: Metric) -> None:
    x, y = gaussian(24, 4, 1), gaussian(24, 4, 2)
    drawn = RNG.integers(24, size=(2, 3, 24))
    found = metric.compute(x[drawn], y[drawn])
    expected = [[metric.score(x[drawn[i, j]], y[drawn[i, j]]) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("metric", [FID, KID], ids=lambda metric: metric.name)
def test_chance_is_the_best_constant(metric: Metric) -> None:
    real = gaussian(50, 4, 3, 1, 1)
    chance = metric.chance(real)
    constant = np.broadcast_to(real.mean(0), real.shape)
    assert metric.score(constant, real) == pytest.approx(chance, rel=1e-9)
    if metric is FID:
        others = [metric.score(np.broadcast_to(one, real.shape), real) for one in real]
        assert chance < min(others)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must both be \[n, features\]"):
        FID.score(np.zeros(4), np.zeros(4))
    with pytest.raises(ValueError, match=r"must be \[n, features\]"):
        interval(FID, np.zeros((5, 2)), np.zeros((4, 2)), seed=0)


def test_the_interval_covers_what_new_examples_score() -> None:
    """A plain percentile interval of a Fréchet distance lies above the score of nearly all new samples."""
    rng = np.random.default_rng(1)

    def drawn() -> tuple[Array, Array]:
        return rng.standard_normal((80, 6)), 1.2 * rng.standard_normal((80, 6)) + 0.2

    typical = np.mean([FID.score(*drawn()) for _ in range(400)])
    covered = 0
    for seed in range(60):
        low, high = interval(FID, *drawn(), seed=seed, resamples=200, level=0.9)
        covered += int(low <= typical <= high)
    # 60 trials at 90 %: 54 expected, standard deviation 2.3.
    assert covered >= 46


def test_paired_differences_turn_so_that_positive_is_better() -> None:
    real = gaussian(100, 4, 3)
    near, far = gaussian(100, 4, 4), gaussian(100, 4, 5, 2.0)
    difference, low, high = paired_difference(FID, near, far, real, seed=0, resamples=200)
    assert difference == pytest.approx(FID.score(far, real) - FID.score(near, real))
    assert 0 < low < difference < high


def test_a_verdict_on_images() -> None:
    real, full = gaussian(100, 4, 3), gaussian(100, 4, 4)
    one = verdict(FID, [full], [gaussian(100, 4, 5)], real, seed=0, resamples=100)
    assert (one.n_examples, one.rule, one.learned) == (100, "bootstrap", True)
    assert one.low <= one.difference <= one.high
    worse = verdict(FID, [full], [gaussian(100, 4, 5, 3.0)], real, seed=0, resamples=100)
    assert not worse.matches
    two = verdict(FID, [full, gaussian(100, 4, 6)], [gaussian(100, 4, 5)] * 2, real, seed=0, resamples=100)
    assert (two.n_seeds, two.rule) == (2, "seeds")


def test_a_classifier_is_the_same_whatever_the_number_of_threads() -> None:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(80, 1, 8, 8, generator=generator) * 2 - 1, torch.arange(80) % 2
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(Classifier.train(images, labels)(images))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_a_distance_that_is_none_is_said() -> None:
    some = np.random.default_rng(0).normal(size=(5, 3))
    with pytest.raises(TombolaError, match="widths 3 and 2"):
        fid(some, some[:, :2])
    with pytest.raises(TombolaError, match="two images or more"):
        fid(some[:1], some)
    broken = some.copy()
    broken[2, 1] = np.nan
    assert np.isnan(fid(broken, some))
