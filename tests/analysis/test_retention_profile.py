"""Where abilities fall: against a fine grid and a bootstrap in a plain loop; and in words."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tombola.analysis.retention_profile import (
    AbilityRetention,
    Fall,
    Point,
    ProfileOptions,
    Scored,
    crossing,
    fall,
    retention_profile,
)
from tombola.pruning.search.records import Search
from tombola.tasks.capabilities import HasAbilities
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.abilities.chance_corrected import reference, retention
from tombola.tasks.language.regime import LanguageSettings


@pytest.mark.parametrize(
    ("fall", "words", "narrow"),
    [
        (Fall(0.31, 0.249, 0.38), "31 % (25 to 38)", "31 (25–38)"),
        (Fall(0.31, 0.25, None), "31 % (25 to end)", "31 (25–end)"),
        (Fall(0.096, None, None), "10 % (0 to end)", "10 (0–end)"),
        (Fall(None, 0.2, None), "never", "never"),
    ],
)
def test_a_fall_has_the_same_ends_in_every_form(fall: Fall, words: str, narrow: str) -> None:
    assert fall.in_words() == words
    assert fall.in_words("{} ({}–{})") == narrow


def test_what_must_be_kept_goes_before_the_threshold() -> None:
    assert LanguageSettings().threshold(0.8) == 0.8
    assert LanguageSettings(retain="0.95").threshold(0.8) == 0.95
    assert LanguageSettings(retain="grammar >= 0.7").threshold(0.8) == 0.7


GRID = np.linspace(0, 1, 200_001)


def by_grid(points: list[tuple[float, float]], threshold: float) -> float | None:
    """The first of many sparsities at which the polygon through (0, 1) and the points is under the threshold."""
    x, y = zip(*sorted([(0.0, 1.0), *points]), strict=True)
    under = np.flatnonzero((np.interp(GRID, x, y) < threshold) & (x[-1] >= GRID))
    return float(GRID[under[0]]) if len(under) else None


curves = st.lists(
    st.tuples(st.integers(1, 99).map(lambda percent: percent / 100), st.floats(-0.5, 1.5)),
    max_size=12,
    unique_by=lambda point: point[0],
)


@given(curves, st.sampled_from([0.5, 0.75, 0.9, 1.0]))
def test_a_curve_falls_where_a_fine_grid_finds_it(points: list[tuple[float, float]], threshold: float) -> None:
    found, expected = crossing(points, threshold), by_grid(points, threshold)
    if found is None or expected is None:
        # A last point that is under by less than the grid can tell.
        assert found == expected or (expected is None and found == pytest.approx(max(points)[0], abs=1e-5))
        return
    # A line that is nearly level may cross between two points of the grid before rounding lets either see it.
    values = dict(points)
    assert found == pytest.approx(expected, abs=1e-5) or min(abs(v - threshold) for v in values.values()) < 1e-6


@pytest.mark.parametrize(
    ("points", "threshold", "expected"),
    [
        # Three quarters of the way from 1 to 0.6 lie between 1 and 0.7.
        ([(0.4, 0.6)], 0.7, 0.3),
        # From 0.95 to 0.85, half of it from 20 % to 30 %.
        ([(0.1, 0.97), (0.2, 0.95), (0.3, 0.85), (0.4, 0.2)], 0.9, 0.25),
        # The order of the search is no order of sparsity.
        ([(0.3, 0.85), (0.1, 0.97), (0.2, 0.95)], 0.9, 0.25),
        # It counts when it falls first, though it comes up again.
        ([(0.2, 0.8), (0.4, 1.0), (0.6, 0.0)], 0.9, 0.1),
        # On the threshold is not under it.
        ([(0.2, 0.9), (0.4, 0.9)], 0.9, None),
        ([(0.2, 0.9), (0.4, 0.5)], 0.9, 0.2),
        # Points that nothing bounds are left out.
        ([(0.2, None), (0.4, 0.6)], 0.8, 0.2),
        ([(0.2, None)], 0.9, None),
        ([], 0.9, None),
    ],
)
def test_where_a_curve_falls_by_hand(
    points: list[tuple[float, float | None]], threshold: float, expected: float | None
) -> None:
    assert crossing(points, threshold) == (None if expected is None else pytest.approx(expected))


def test_each_end_of_the_interval_falls_by_itself() -> None:
    def point(sparsity: float, share: float, low: float | None, high: float | None) -> Point:
        return Point(0, sparsity, 0, AbilityRetention(0, 0, 0, share, low, high))

    found = fall([point(0.2, 0.9, 0.8, 1.0), point(0.4, 0.7, 0.4, 0.9), point(0.6, 0.1, None, 0.3)], 0.8)
    assert (found.sparsity, found.low, found.high) == pytest.approx((0.3, 0.2, 0.4 + 0.2 / 6))
    found = fall([point(0.2, 0.9, 0.7, 1.1)], 0.8)
    assert found.low == pytest.approx(0.2 * 2 / 3)
    assert found == Fall(None, found.low, None)


CHANCE = 0.5
SPARSITIES = (0.1, 0.25, 0.4, 0.6)


def answers() -> NDArray[np.float64]:
    """Right or wrong, [full model and every cut, examples]: what a model loses, a smaller one has lost too."""
    hard = np.random.default_rng(5).random(600)
    return np.array([(hard < right) * 1.0 for right in (0.96, 0.93, 0.9, 0.78, 0.6)])


def kept_by(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each cut, above chance."""
    above = (rows.mean(1) - CHANCE) / (1 - CHANCE)
    return np.asarray(above[1:] / above[0])


def test_the_profile_falls_where_a_bootstrap_in_a_plain_loop_does() -> None:
    rows = answers()
    abilities = (Ability("grammar", "Grammar", "choice", (Example(("a", "b")),) * rows.shape[1], "nowhere"),)
    references = np.full(rows.shape[1], reference(0))

    def retained(_: str, full: Any, pruned: Any, **options: Any) -> Any:
        return retention(abilities, full, pruned, references, **options)

    task = cast(HasAbilities, SimpleNamespace(retained=retained))
    steps = [SimpleNamespace(iteration=n, sparsity=x, weights=1000) for n, x in enumerate((0.0, *SPARSITIES))]
    search = cast(Search, SimpleNamespace(passes=steps, last=steps[3]))
    profile = retention_profile(
        task,
        search,
        list(rows),
        {Scored("good", "pruned"): rows[3]},
        rows[0],
        ProfileOptions(method="wanda", resamples=200),
    )
    (curve,) = profile.curves
    assert [point.sparsity for point in curve.points] == list(SPARSITIES)
    shares = kept_by(rows)
    assert [point.retained.share for point in curve.points] == pytest.approx(list(shares))
    assert curve.tickets[0].retained == curve.points[2].retained
    assert profile.good == 0.4
    assert curve.fall.sparsity == pytest.approx(by_grid(list(zip(SPARSITIES, shares, strict=True)), 0.9), abs=1e-5)
    # Shares of examples drawn again and again, both models on the same ones.
    rng = np.random.default_rng(0)
    drawn = [kept_by(rows[:, rng.integers(0, rows.shape[1], rows.shape[1])]) for _ in range(4000)]
    ends = np.percentile(drawn, [2.5, 97.5], axis=0)
    for name, values in zip(("low", "high"), ends, strict=True):
        assert [getattr(point.retained, name) for point in curve.points] == pytest.approx(list(values), abs=0.01)
        falls = by_grid(list(zip(SPARSITIES, values, strict=True)), 0.9)
        assert getattr(curve.fall, name) == pytest.approx(falls, abs=0.01)
