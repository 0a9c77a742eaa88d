"""Summary of the attention patterns of several seeds: classes of survivors, and correlation with survival.

Each head counts the same. A head of a pre-trained model is the same head in every seed, so that the seeds of a head go
together whenever heads are drawn anew; inputs are the same for all seeds and are drawn together too. Intervals are 95 %
percentile bootstrap intervals, over inputs (the heads are those of this model; would other texts give the same?) or
over heads (the texts are these; would other heads of the kind?). Heads of one model are no independent sample of
anything, so the second interval is a measure of spread.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr
from torch import Tensor

from tombola.analysis.array_record import Floats
from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.analysis.attention.patterns import AttentionPatterns
from tombola.foundations.errors import TombolaError
from tombola.metrics.resampling import LEVEL, RESAMPLES
from tombola.metrics.statistics import unseen

_DEFINED = 0.9
"""Share of a bootstrap's draws that must be defined for it to give an interval."""
_HETEROGENEOUS = CLASSES.index("heterogeneous")


@dataclass(frozen=True)
class Distribution:
    """Mean share of each class over some heads.

    Attributes:
        heads: how many heads; with none, the shares are None: undefined.
        shares: class → (share, low, high), with the 95 % interval over inputs.
    """

    heads: int
    shares: dict[str, tuple[float, float, float] | None]


@dataclass(frozen=True)
class Estimate:
    """A statistic of heads with its 95 % percentile bootstrap interval over heads.

    Attributes:
        value: None where it is undefined.
        low, high: None with it, and where more than a tenth of the draws are undefined.
    """

    value: float | None
    low: float | None
    high: float | None


UNDEFINED = Estimate(None, None, None)


def class_distribution(
    patterns: Sequence[AttentionPatterns], masks: Sequence[Tensor | None], *, weighting: str = "raw"
) -> Distribution:
    """Mean share of each class over the heads of several models, each model counting the same.

    Args:
        patterns: one of each seed, of the same inputs.
        masks: bool [rows, heads] for each: which of its heads; None for all that work.
        weighting: `raw` or `norm`.

    Raises:
        TombolaError: the patterns are of different inputs, a mask is of other heads, or the weighting is unknown.
    """
    if len({one.inputs for one in patterns}) > 1:
        raise TombolaError("attention patterns of different inputs cannot be pooled; take them from the same examples")
    heads, means = 0, []
    for one, mask in zip(patterns, masks, strict=True):
        kept = one.working if mask is None else one.working & _fitting(one, mask)
        heads += int(kept.sum())
        if kept.any():
            # [inputs, classes]
            means.append(one.by_input(weighting)[:, kept].mean(1).numpy())
    if not means:
        return Distribution(0, dict.fromkeys(CLASSES))
    by_input, inputs = np.mean(means, axis=0), len(patterns[0].inputs)
    drawn = np.random.default_rng(0).multinomial(inputs, np.full(inputs, 1 / inputs), size=RESAMPLES)
    ends = zip(CLASSES, by_input.mean(0), *_percentiles(drawn @ by_input / inputs), strict=True)
    # Inputs that all say the same, as one does, leave room for others.
    return Distribution(
        heads,
        {
            name: (float(share), *unseen((float(low), float(high)), inputs, LEVEL, (0.0, 1.0)))
            for name, share, low, high in ends
        },
    )


def survivors_against_pruned(
    patterns: Sequence[AttentionPatterns], masks: Sequence[Tensor], *, weighting: str = "raw"
) -> Estimate:
    """Difference of survivors and other heads in their share of heterogeneous maps, as `class_distribution` has them.

    Undefined if there are none of either. `patterns` are those of each seed's full model, `masks` bool [rows, heads]
    its survivors.
    """
    # [seeds, heads]
    share = np.stack([one.shares(weighting)[..., _HETEROGENEOUS].flatten().numpy() for one in patterns])
    survive = np.stack([mask.flatten().numpy() for mask in masks])
    working = np.stack([one.working.flatten().numpy() for one in patterns])

    def difference(numbers: NDArray[np.int64]) -> Floats:
        def mean(chosen: NDArray[np.bool_]) -> Floats:
            """Mean over seeds, of those that have such heads, of the mean over these."""
            with np.errstate(invalid="ignore"):
                by_seed = np.where(chosen, share[:, numbers], 0).sum(-1) / chosen.sum(-1)
                return np.asarray(np.nansum(by_seed, 0) / (~np.isnan(by_seed)).sum(0))

        return mean((working & survive)[:, numbers]) - mean((working & ~survive)[:, numbers])

    heads = share.shape[1]
    value = float(difference(np.arange(heads)))
    if math.isnan(value):
        return UNDEFINED
    drawn = difference(np.random.default_rng(0).integers(0, heads, size=(RESAMPLES, heads)))
    return Estimate(value, *_ends(drawn))


def survival_correlation(
    patterns: Sequence[AttentionPatterns], survival: Sequence[Tensor], *, weighting: str = "raw"
) -> Estimate:
    """Spearman's correlation over heads, of the mean share of heterogeneous maps over seeds with their mean survival.

    It is undefined for fewer than three heads, and where one side never varies.

    Args:
        patterns: of each seed; best of full models, as a pruned head has no patterns. Those count that work in all.
        survival: [rows, heads] of each seed: whether each head survives, or in what share of tickets.
        weighting: `raw` or `norm`.

    Raises:
        TombolaError: survival is of other heads, or the weighting is unknown.
    """
    kept = torch.stack([one.working for one in patterns]).all(0)
    x = mean_shares(patterns, weighting)[..., _HETEROGENEOUS][kept].numpy()
    y = torch.stack([_fitting(*pair).double() for pair in zip(patterns, survival, strict=True)]).mean(0)[kept].numpy()
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return UNDEFINED
    drawn = np.random.default_rng(0).integers(0, len(x), size=(RESAMPLES, len(x)))
    ends = _ends(_pearson(rankdata(x[drawn], axis=1), rankdata(y[drawn], axis=1)))
    return Estimate(float(spearmanr(x, y).statistic), *ends)


def mean_shares(patterns: Sequence[AttentionPatterns], weighting: str) -> Tensor:
    """Share of each class in each head's maps, mean over seeds, float64 [rows, heads, classes]."""
    return torch.stack([one.shares(weighting) for one in patterns]).mean(0)


def _fitting(patterns: AttentionPatterns, values: Tensor) -> Tensor:
    if values.shape != patterns.working.shape:
        raise TombolaError(
            f"the patterns are of {list(patterns.working.shape)} heads (rows, heads), what goes with them is of "
            f"{list(values.shape)}"
        )
    return values


def _pearson(x: Floats, y: Floats) -> Floats:
    """Pearson's correlation row by row, NaN where one does not vary."""
    x = x - x.mean(1, keepdims=True)
    y = y - y.mean(1, keepdims=True)
    scale = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    scale[scale == 0] = math.nan
    return np.asarray((x * y).sum(1) / scale)


def _ends(drawn: Floats) -> tuple[float, float] | tuple[None, None]:
    """The 95 % interval of drawn values; None where many are undefined: the rest are no fair sample."""
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < _DEFINED * len(drawn):
        return None, None
    low, high = _percentiles(defined)
    return float(low), float(high)


def _percentiles(values: Floats) -> tuple[Floats, Floats]:
    outside = (1 - LEVEL) / 2
    low, high = np.quantile(values, (outside, 1 - outside), axis=0)
    return low, high
