"""Fréchet distance between two sets of features, each seen as a Gaussian.

FID is this distance in Inception's features. The feature space of a task need not be Inception's, so the metric's name
is `frechet_distance`.
"""

import numpy as np

from tombola.metrics.scores import Array, Metric


def fid(generated: Array, real: Array) -> Array:
    """Fréchet distance |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½) (Heusel et al. 2017, eq. 6), covariances over n - 1.

    The trace of the root is the sum of the singular values of R₁ R₂ᵀ, where Σ = RᵀR: no root of a matrix is taken, so
    that nothing is complex or negative, whether there are more features than images or fewer.

    Args:
        generated: features [..., n, features].
        real: the same [..., m, features]; leading axes are broadcast.

    Returns:
        float64 [...], in squared units of the features. It is biased: it grows as n and m shrink, so compare distances
        of equally many images only.
    """
    means, factors, traces = zip(*(_gaussian(features) for features in (generated, real)), strict=True)
    shift = ((means[0] - means[1]) ** 2).sum(-1)
    overlap = np.linalg.svd(factors[0] @ factors[1].swapaxes(-1, -2), compute_uv=False).sum(-1)
    # Of two equal sets rounding leaves a tiny number of either sign.
    return np.asarray(np.maximum(shift + traces[0] + traces[1] - 2 * overlap, 0.0))


def _gaussian(features: Array) -> tuple[Array, Array, Array]:
    """Mean [..., features], R of the covariance RᵀR, and its trace [...].

    R [..., rows, features] has as few rows as can be: the images', where they are fewer than the features.
    """
    values = np.asarray(features, dtype=np.float64)
    mean = values.mean(-2)
    centred = (values - mean[..., None, :]) / np.sqrt(max(1, values.shape[-2] - 1))
    few = values.shape[-2] <= values.shape[-1]
    factor = centred if few else np.asarray(np.linalg.qr(centred, mode="r"))
    return mean, factor, (centred * centred).sum((-1, -2))


def _constant(real: Array) -> float:
    """The distance of the best image that is drawn again and again: one at the mean of the real features."""
    return float(np.asarray(real, dtype=np.float64).var(0, ddof=1).sum())


FID = Metric("frechet_distance", False, "features", fid, _constant, biased=True)
"""Fréchet distance as a metric: lower is better, and what real images reach against real ones is the floor, not 0."""
