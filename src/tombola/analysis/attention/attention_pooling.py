"""Attention patterns of several seeds' heads together: classes of survivors, and what they have to do with survival.

A head of a pre-trained model is the same head in every seed, so that the seeds of a head go together whenever heads are
drawn anew; inputs are the same for all seeds and are drawn together too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tombola.analysis.attention.attention_summary import (
    DEFINED,
    Correlation,
    Distribution,
    percentiles,
    rank_correlation,
)
from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.analysis.attention.patterns import AttentionPatterns
from tombola.foundations.errors import TombolaError
from tombola.metrics.statistics import RESAMPLES


@dataclass(frozen=True)
class Difference:
    """Difference of two means with its 95 % bootstrap interval.

    All None where one mean is of no heads; no interval where it is of so few that over a tenth of the draws have none.
    """

    value: float | None
    low: float | None
    high: float | None


def pooled_distribution(
    patterns: Sequence[AttentionPatterns],
    masks: Sequence[Tensor | None],
    *,
    weighting: str = "raw",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Distribution:
    """Mean share of each class over the heads of several models, each model counting the same.

    Args:
        patterns: one of each seed, of the same inputs.
        masks: bool [rows, heads] for each: which of its heads; None for all that work.
        weighting: `raw` or `norm`.
        seed, resamples: of the bootstrap over inputs.

    Raises:
        TombolaError: the patterns are of different inputs.
    """
    if len({one.inputs for one in patterns}) > 1:
        raise TombolaError("attention patterns of different inputs cannot be pooled; take them from the same examples")
    heads, means = 0, []
    for one, mask in zip(patterns, masks, strict=True):
        kept = one.working if mask is None else one.working & mask
        heads += int(kept.sum())
        if kept.any():
            # [inputs, classes]
            means.append(one.by_input(weighting)[:, kept].mean(1).numpy())
    inputs = len(patterns[0].inputs)
    if not means:
        return Distribution(weighting, 0, inputs, "inputs", dict.fromkeys(CLASSES))
    by_input = np.mean(means, axis=0)
    drawn = np.random.default_rng(seed).multinomial(inputs, np.full(inputs, 1 / inputs), size=resamples)
    low, high = percentiles(drawn @ by_input / inputs)
    shares: dict[str, tuple[float, float, float] | None] = {
        name: (float(share), float(bottom), float(top))
        for name, share, bottom, top in zip(CLASSES, by_input.mean(0), low, high, strict=True)
    }
    return Distribution(weighting, heads, inputs, "inputs", shares)


def survivors_against_pruned(
    patterns: Sequence[AttentionPatterns],
    masks: Sequence[Tensor],
    *,
    pattern: str = "heterogeneous",
    weighting: str = "raw",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Difference:
    """Difference between survivors and other heads in a class's share; the bootstrap is over heads.

    Args:
        patterns: of each seed's full model.
        masks: bool [rows, heads], the survivors of each seed.
        pattern: the class.
        weighting: `raw` or `norm`.
        seed, resamples: of the bootstrap.
    """
    # [seeds, heads]
    share = np.stack([_shares(one, weighting, pattern).flatten() for one in patterns])
    survive = np.stack([mask.flatten().numpy() for mask in masks])

    def difference(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        x, y = share[:, numbers], survive[:, numbers]
        with np.errstate(invalid="ignore"):
            found = (x * y).sum((0, -1)) / y.sum((0, -1)) - (x * ~y).sum((0, -1)) / (~y).sum((0, -1))
        return np.asarray(found)

    heads = share.shape[1]
    value = float(difference(np.arange(heads)))
    if math.isnan(value):
        return Difference(None, None, None)
    drawn = difference(np.random.default_rng(seed).integers(0, heads, size=(resamples, heads)))
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < DEFINED * resamples:
        return Difference(value, None, None)
    low, high = percentiles(defined)
    return Difference(value, float(low), float(high))


def survival_correlation(
    patterns: Sequence[AttentionPatterns],
    masks: Sequence[Tensor],
    *,
    pattern: str = "heterogeneous",
    weighting: str = "raw",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Correlation:
    """Spearman's correlation over heads, of a class's mean share over seeds with the share of seeds that keep them."""
    share = mean_shares(patterns, weighting)[..., CLASSES.index(pattern)].flatten()
    survival = torch.stack([mask.double() for mask in masks]).mean(0).flatten()
    return rank_correlation(share.numpy(), survival.numpy(), seed=seed, resamples=resamples)


def mean_shares(patterns: Sequence[AttentionPatterns], weighting: str) -> Tensor:
    """Share of each class in each head's maps, mean over seeds, float64 [rows, heads, classes]."""
    return torch.stack([one.shares(weighting) for one in patterns]).mean(0)


def _shares(patterns: AttentionPatterns, weighting: str, pattern: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] = patterns.shares(weighting)[..., CLASSES.index(pattern)].numpy()
    return found
