"""Paired comparisons over seeds and over items: difference, 95 % interval, tests."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

RESAMPLES = 10000


@dataclass(frozen=True)
class OverSeeds:
    """Differences of two scores seed by seed.

    Attributes:
        difference, low, high: mean, and its 95 % interval by Student's t.
        t_p: of the paired t-test, two-sided, which takes the differences as normal.
        flips_p: of the permutation test of signs, two-sided, which does not; with n seeds it is 2 / 2^n at least.
        positive: seeds in which the first is larger.
        seeds: how many there are.
    """

    difference: float
    low: float
    high: float
    t_p: float
    flips_p: float
    positive: int
    seeds: int

    @property
    def apart(self) -> bool:
        """True if the interval leaves 0 out."""
        return self.low > 0 or self.high < 0

    @property
    def words(self) -> str:
        """The difference and its interval, with signs."""
        return words(self.difference, self.low, self.high)


def over_seeds(a: Sequence[float], b: Sequence[float]) -> OverSeeds:
    """Compare `a` with `b`, one number a seed each; a ValueError unless both have the same seeds, two or more."""
    differences = [one - other for one, other in zip(a, b, strict=True)]
    n = len(differences)
    if n < 2:
        raise ValueError("one seed says nothing of seeds")
    mean, error = float(np.mean(differences)), float(np.std(differences, ddof=1)) / math.sqrt(n)
    half = float(student.ppf(0.975, n - 1)) * error
    t_p = float(2 * student.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    flipped = [abs(float(np.dot(signs, differences))) for signs in itertools.product((1, -1), repeat=n)]
    flips_p = float(np.mean([one >= abs(sum(differences)) - 1e-12 for one in flipped]))
    return OverSeeds(mean, mean - half, mean + half, t_p, flips_p, sum(one > 0 for one in differences), n)


def over_items(a: ArrayLike, b: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, float, float]:
    """Difference of two weighted means over the same items, and its 95 % percentile bootstrap interval."""
    apart = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    weight = np.ones_like(apart) if weights is None else np.asarray(weights, dtype=np.float64)
    drawn = np.random.default_rng(0).integers(len(apart), size=(RESAMPLES, len(apart)))
    means = (apart * weight)[drawn].sum(1) / weight[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(np.average(apart, weights=weight)), float(low), float(high)


def holm(values: Sequence[float]) -> list[float]:
    """The p-values after Holm's correction for that many tests."""
    order, found, worst = np.argsort(values), [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(values) - rank) * values[place]))
        found[place] = worst
    return found


def words(difference: float, low: float, high: float) -> str:
    """A difference and its interval, with signs."""
    return f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]"


def p_words(value: float) -> str:
    """A p-value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
