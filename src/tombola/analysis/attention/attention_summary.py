"""Summary of the attention patterns of many heads: classes of survivors, and correlation of class and survival.

Each head counts the same. Intervals are 95 % percentile bootstrap intervals, either over inputs (the heads are those of
this model; would other texts give the same?) or over heads (the texts are these; would other heads of the kind?). Heads
of one model are no independent sample of anything, so the second interval is a measure of spread.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr
from torch import Tensor

from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.analysis.attention.patterns import AttentionPatterns
from tombola.foundations.errors import TombolaError
from tombola.metrics.statistics import LEVEL, RESAMPLES

Over = Literal["inputs", "heads"]
"""Units that the bootstrap resamples."""

DEFINED = 0.9
"""Share of a bootstrap's draws that must be defined for it to give an interval."""


@dataclass(frozen=True)
class Distribution:
    """Mean share of each class over some heads.

    Attributes:
        weighting: `raw` or `norm`.
        heads: how many heads; with none, the shares are None: undefined.
        inputs: how many inputs.
        over: what the intervals are over.
        shares: class → (share, low, high).
    """

    weighting: str
    heads: int
    inputs: int
    over: Over
    shares: dict[str, tuple[float, float, float] | None]


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over heads.

    Attributes:
        value: None where it is undefined: fewer than three heads, or one side never varies.
        low, high: 95 % percentile bootstrap over heads; None where the value is undefined, or nearly all draws are.
        p: two-sided, of no correlation.
        heads: how many.
    """

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    heads: int


def distribution(
    patterns: AttentionPatterns,
    mask: Tensor | None = None,
    *,
    weighting: str = "raw",
    over: Over = "inputs",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Distribution:
    """The distribution over classes of all heads, or of those of a mask.

    Args:
        patterns: of a model.
        mask: bool [rows, heads]: a ticket's survivors, super-survivors, or what else. Heads that were pruned when
            the patterns were taken are left out.
        weighting: `raw` or `norm`.
        over: what the bootstrap draws anew.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        TombolaError: the mask has another shape, or the weighting or `over` is unknown.
    """
    if over not in ("inputs", "heads"):
        raise TombolaError(f"intervals are over inputs or heads, not {over!r}")
    kept = _masked(patterns, mask)
    # [inputs, heads, classes]
    shares = patterns.by_input(weighting)[:, kept].numpy()
    inputs, heads = shares.shape[:2]
    if not heads:
        return Distribution(weighting, 0, inputs, over, dict.fromkeys(CLASSES))
    means = shares.mean(1 if over == "inputs" else 0)
    drawn = np.random.default_rng(seed).multinomial(len(means), np.full(len(means), 1 / len(means)), size=resamples)
    low, high = percentiles(drawn @ means / len(means))
    found: dict[str, tuple[float, float, float] | None] = {
        name: (float(share), float(bottom), float(top))
        for name, share, bottom, top in zip(CLASSES, means.mean(0), low, high, strict=True)
    }
    return Distribution(weighting, heads, inputs, over, found)


def correlation(
    patterns: AttentionPatterns,
    survival: Tensor,
    *,
    pattern: str = "heterogeneous",
    weighting: str = "raw",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Correlation:
    """Spearman's correlation between a class's share and survival, over heads.

    Args:
        patterns: of a model; best of the full one, as a pruned head has none.
        survival: [rows, heads]: in what share of tickets, or whether, each head survives.
        pattern: the class.
        weighting: `raw` or `norm`.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        TombolaError: `survival` has another shape, or the weighting or pattern is unknown.
    """
    if pattern not in CLASSES:
        raise TombolaError(f"unknown pattern {pattern!r}; known: {', '.join(CLASSES)}")
    kept = _masked(patterns, None, survival)
    x = patterns.shares(weighting)[..., CLASSES.index(pattern)][kept].numpy()
    y = survival[kept].double().numpy()
    return rank_correlation(x, y, seed=seed, resamples=resamples)


def rank_correlation(
    x: NDArray[np.float64], y: NDArray[np.float64], *, seed: int = 0, resamples: int = RESAMPLES
) -> Correlation:
    """Spearman's correlation of two values of each head [heads], with a bootstrap over heads."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Correlation(None, None, None, None, len(x))
    whole = spearmanr(x, y)
    drawn = np.random.default_rng(seed).integers(0, len(x), size=(resamples, len(x)))
    found = _pearson(rankdata(x[drawn], axis=1), rankdata(y[drawn], axis=1))
    found = found[~np.isnan(found)]
    # A draw in which one side does not vary has no correlation; with many of them the rest are no fair sample.
    if len(found) < DEFINED * resamples:
        return Correlation(float(whole.statistic), None, None, float(whole.pvalue), len(x))
    low, high = percentiles(found)
    return Correlation(float(whole.statistic), float(low), float(high), float(whole.pvalue), len(x))


def _masked(patterns: AttentionPatterns, mask: Tensor | None, beside: Tensor | None = None) -> Tensor:
    """The working heads of a mask, bool [rows, heads]; `beside` must have their shape too."""
    for given in (mask, beside):
        if given is not None and given.shape != patterns.working.shape:
            raise TombolaError(
                f"the patterns are of {list(patterns.working.shape)} heads (rows, heads), what goes with them is "
                f"{list(given.shape)}"
            )
    return patterns.working if mask is None else patterns.working & mask.bool()


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's correlation row by row, NaN where one does not vary."""
    x = x - x.mean(1, keepdims=True)
    y = y - y.mean(1, keepdims=True)
    scale = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    scale[scale == 0] = math.nan
    found: NDArray[np.float64] = (x * y).sum(1) / scale
    return found


def percentiles(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the middle `LEVEL` of values, along the first axis."""
    outside = (1 - LEVEL) / 2
    low, high = np.quantile(values, (outside, 1 - outside), axis=0)
    return low, high
