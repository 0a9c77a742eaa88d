"""Linear centred kernel alignment: whether two representations of the same inputs have the same geometry."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from tombola.analysis.array_record import Floats
from tombola.metrics.statistics import LEVEL

BLOCKS = 20
"""Parts of the examples that the jackknife leaves out one after the other."""
FEWEST = 5
"""Examples: the jackknife leaves one out, and the unbiased estimate needs four."""


@dataclass(frozen=True)
class Alignment:
    """CKA with its 95 % interval: 1 for representations that differ by rotation and scale, 0 for unrelated ones."""

    value: float
    low: float
    high: float


def alignment(x: NDArray[np.floating], y: NDArray[np.floating]) -> Alignment:
    """Debiased linear CKA (Kornblith et al. 2019) of representations [examples, width], with a jackknife interval.

    The plain estimate grows with the width over the number of examples, whatever the representations; the debiased one
    uses the unbiased HSIC of Song et al. (2012, eq. 5), as Nguyen et al. (2021) do, and may be a little below 0. A
    representation that never varies is aligned with nothing: 0.

    A bootstrap would draw examples twice, whose similarity to themselves is no estimate of anything; the jackknife
    leaves out one of 20 parts of the examples at a time (of as many as there are, if fewer).

    Raises:
        ValueError: the representations are of different examples, or of fewer than five.
    """
    if len(x) != len(y) or len(x) < FEWEST:
        raise ValueError(f"representations of {len(x)} and {len(y)} examples; take the same {FEWEST} or more")
    k, m = _gram(x), _gram(y)
    value = _cka(k, m)
    blocks = np.arange(len(k)) % min(BLOCKS, len(k))
    kept = [np.flatnonzero(blocks != block) for block in np.unique(blocks)]
    left = np.array([_cka(k[np.ix_(part, part)], m[np.ix_(part, part)]) for part in kept])
    error = np.sqrt((len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum())
    reach = float(norm.ppf(0.5 + LEVEL / 2) * error)
    return Alignment(value, value - reach, value + reach)


def _gram(x: NDArray[np.floating]) -> Floats:
    # Centred first: the estimate does not change, and the products lose no digits to a common offset.
    centred = np.asarray(x, dtype=np.float64) - np.mean(x, axis=0, dtype=np.float64)
    return np.asarray(centred @ centred.T)


def _cka(k: Floats, m: Floats) -> float:
    scale = _unbiased_hsic(k, k) * _unbiased_hsic(m, m)
    return _unbiased_hsic(k, m) / float(np.sqrt(scale)) if scale > 0 else 0.0


def _unbiased_hsic(k: Floats, m: Floats) -> float:
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    found = (k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k.sum(0) @ m.sum(0))
    return float(found / (n * (n - 3)))
