"""Agreement against closed forms by hand, against loops in plain Python, and where it is undefined."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import krippendorff
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chi2
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.inter_rater import fleiss_kappa

from builders.agreement import agreement_of
from tombola.analysis.agreement.coefficients import (
    EMPTY,
    EQUAL,
    ONE_TICKET,
    ONE_VALUE,
    STATISTICS,
    Agreement,
)

pytestmark = pytest.mark.filterwarnings("error")

Masks = list[list[int]]


@st.composite
def masks(draw: st.DrawFn, tickets: int = 6, sites: int = 12) -> Masks:
    n, width = draw(st.integers(1, tickets)), draw(st.integers(1, sites))
    return draw(st.lists(st.lists(st.integers(0, 1), min_size=width, max_size=width), min_size=n, max_size=n))


def of(rows: Sequence[Sequence[int]]) -> Agreement:
    return agreement_of(np.array(rows, dtype=bool))


def jaccard(rows: Masks) -> float | None:
    found = []
    for a, b in combinations(rows, 2):
        one, other = {i for i, x in enumerate(a) if x}, {i for i, x in enumerate(b) if x}
        if not one | other:
            return None
        found.append(len(one & other) / len(one | other))
    return sum(found) / len(found) if found else None


def kappa(rows: Masks) -> float | None:
    """Fleiss (1971): agreeing pairs of raters in each subject, beside those that the categories' shares lead to."""
    n, sites = len(rows), list(zip(*rows, strict=True))
    if n < 2:
        return None
    agree = [sum(a == b for a, b in combinations(site, 2)) / math.comb(n, 2) for site in sites]
    share = sum(map(sum, rows)) / (n * len(sites))
    null_distribution = share**2 + (1 - share) ** 2
    return (
        None
        if null_distribution == 1
        else float((sum(agree) / len(agree) - null_distribution) / (1 - null_distribution))
    )


def alpha(rows: Masks) -> float | None:
    """Krippendorff: observed disagreement within sites over that among all values, pair by pair."""
    values = [value for row in rows for value in row]
    if len(rows) < 2 or len(set(values)) < 2:
        return None
    within = [a != b for site in zip(*rows, strict=True) for a, b in combinations(site, 2)]
    among = [a != b for a, b in combinations(values, 2)]
    return 1 - float(sum(within) * len(among) / (len(within) * sum(among)))


def q_p(rows: Masks) -> float | None:
    """Cochran (1950), in its own form: the spread of the columns' totals over that within the rows."""
    k, totals = len(rows), [sum(row) for row in rows]
    within = sum(sum(site) * (k - sum(site)) for site in zip(*rows, strict=True))
    if k < 2 or not within:
        return None
    mean = sum(totals) / k
    return float(chi2.sf(k * (k - 1) * sum((t - mean) ** 2 for t in totals) / within, k - 1))


def not_rejected(rows: Masks) -> int | None:
    ps = [q_p([a, b]) for a, b in combinations(rows, 2)]
    return None if all(p is None for p in ps) else sum(p is None or p >= 0.05 for p in ps)


def test_a_small_table_by_hand() -> None:
    # Four sites, three tickets; in how many each site survives: 3, 2, 1, 0.
    found = of([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]])
    assert (found.n, found.sites, found.pairs, found.super_survivors) == (3, 4, 3, 1)
    assert found.mean_survivors == 2
    assert found.deviation == 1
    assert found.jaccard == pytest.approx((2 / 3 + 1 / 3 + 1 / 2) / 3)
    # Pairs of raters agree in 1, 1/3, 1/3, 1 of the sites; half of all values are 1.
    assert found.fleiss_kappa == pytest.approx((2 / 3 - 1 / 2) / (1 / 2))
    # Coincidences: o01 = 2 of 12 values, e01 = 6 x 6 / 11.
    assert found.krippendorff_alpha == pytest.approx(1 - 2 / (36 / 11))
    # Q = 2 x (3 x 14 - 36) / (3 x 6 - 14) = 3, two degrees of freedom: p = exp(-3 / 2).
    assert found.cochran_q_p == pytest.approx(math.exp(-1.5))
    # Pairs differ in 1, 2 and 1 sites: Q = 1, 2 and 1.
    assert found.pairs_not_rejected == 3
    assert found.undefined == {}


def test_two_tickets_are_mcnemars_test() -> None:
    # 9 sites only in one, 1 only in the other: (9 - 1)² / 10 = 6.4, p = 0.0114.
    one, other = [1] * 9 + [0] + [1] * 5, [0] * 9 + [1] + [1] * 5
    found = of([one, other])
    assert found.cochran_q_p == pytest.approx(math.erfc(math.sqrt(6.4 / 2)))
    assert found.pairs_not_rejected == 0


@given(masks())
def test_against_plain_loops(rows: Masks) -> None:
    found = of(rows)
    expected: dict[str, float | None] = {
        "super_survivors": sum(map(all, zip(*rows, strict=True))),
        "jaccard": jaccard(rows),
        "fleiss_kappa": kappa(rows),
        "krippendorff_alpha": alpha(rows),
        "cochran_q_p": q_p(rows),
        "pairs_not_rejected": not_rejected(rows),
    }
    assert expected.keys() == set(STATISTICS)
    for name, value in expected.items():
        assert getattr(found, name) == (value if value is None else pytest.approx(value, abs=1e-12)), name
        assert (name in found.undefined) == (value is None)


@given(masks())
def test_what_tickets_share_says_the_same_as_the_libraries(rows: Masks) -> None:
    array, found = np.array(rows, dtype=bool), of(rows)
    times = array.sum(axis=0)
    table = np.stack([len(rows) - times, times], axis=-1)
    libraries: dict[str, Callable[[], float]] = {
        "fleiss_kappa": lambda: fleiss_kappa(table),
        "krippendorff_alpha": lambda: krippendorff.alpha(value_counts=table, level_of_measurement="nominal"),
        "cochran_q_p": lambda: cochrans_q(array.T).pvalue,
    }
    for name, value in libraries.items():
        # What is undefined they answer with NaN and a warning, or an error.
        if name not in found.undefined:
            assert getattr(found, name) == pytest.approx(value(), abs=1e-12), name


@given(masks(), st.randoms(use_true_random=False))
def test_neither_the_order_of_tickets_nor_of_sites_matters(rows: Masks, random: Any) -> None:
    assume(len(rows) > 1)
    shuffled = [list(site) for site in zip(*rows, strict=True)]
    random.shuffle(shuffled)
    again = [list(row) for row in zip(*shuffled, strict=True)]
    random.shuffle(again)
    one, other = of(rows), of(again)
    for name in STATISTICS:
        value = getattr(one, name)
        assert getattr(other, name) == (value if value is None else pytest.approx(value, abs=1e-12))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            [[0, 0, 0]] * 3,
            {
                "jaccard": EMPTY,
                "fleiss_kappa": ONE_VALUE,
                "krippendorff_alpha": ONE_VALUE,
                "cochran_q_p": EQUAL,
                "pairs_not_rejected": EQUAL,
            },
        ),
        (
            [[1, 1, 1]] * 3,
            {
                "fleiss_kappa": ONE_VALUE,
                "krippendorff_alpha": ONE_VALUE,
                "cochran_q_p": EQUAL,
                "pairs_not_rejected": EQUAL,
            },
        ),
        ([[1, 0, 1]] * 3, {"cochran_q_p": EQUAL, "pairs_not_rejected": EQUAL}),
        ([[1, 0, 1]], dict.fromkeys(STATISTICS[1:], ONE_TICKET)),
        ([[0, 0, 0], [0, 0, 0], [1, 0, 0]], {"jaccard": EMPTY}),
        ([[1, 0, 0], [0, 1, 0]], {}),
    ],
)
def test_what_is_undefined_is_said_with_its_reason(rows: Masks, expected: dict[str, str]) -> None:
    found = of(rows)
    assert found.undefined == expected
    for name in STATISTICS:
        assert (getattr(found, name) is None) == (name in expected)
    if len(rows) == 3 and rows[0] == rows[-1] and any(rows[0]):
        assert found.jaccard == 1


def test_equal_pairs_among_others_are_not_rejected() -> None:
    found = of([[1] * 10 + [0], [1] * 10 + [0], [0] * 10 + [1]])
    # 10 sites against 1: (10 - 1)² / 11 = 7.4, p = 0.007.
    assert (found.pairs, found.pairs_equal, found.pairs_not_rejected) == (3, 1, 1)


def test_of_chosen_pairs() -> None:
    array = np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1]], dtype=bool)
    found = agreement_of(array, np.array([[0, 2], [1, 2]]))
    assert found.jaccard == pytest.approx(1 / 3)
    assert (found.pairs, found.pairs_equal, found.pairs_not_rejected) == (2, 0, 2)
    assert found.fleiss_kappa == pytest.approx(kappa(array.astype(int).tolist()))


def test_nothing_agrees_with_nothing() -> None:
    for shape in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match="no agreement"):
            agreement_of(np.zeros(shape, dtype=bool))
