"""Kernel distance between two sets of features: the squared maximum mean discrepancy. In Inception's it is KID."""

import numpy as np

from tombola.metrics.scores import Array, Metric


def kid(generated: Array, real: Array) -> Array:
    """The unbiased estimate of MMD² with the kernel (xᵀy / d + 1)³ (Bińkowski et al. 2018, section 4), over all images.

    Args:
        generated: features [..., n, features], n > 1.
        real: the same [..., m, features], m > 1; leading axes are broadcast.

    Returns:
        float64 [...]; its expectation does not depend on n or m, and around 0 it may be negative.
    """
    x, y = (np.asarray(features, dtype=np.float64) for features in (generated, real))
    return np.asarray(_within(x) + _within(y) - 2 * _kernel(x, y).mean((-1, -2)))


def _kernel(x: Array, y: Array) -> Array:
    return np.asarray((x @ y.swapaxes(-1, -2) / x.shape[-1] + 1) ** 3)


def _within(x: Array) -> Array:
    """Mean of the kernel over pairs of different images."""
    n = x.shape[-2]
    of_themselves = ((x * x).sum(-1) / x.shape[-1] + 1) ** 3
    return np.asarray((_kernel(x, x).sum((-1, -2)) - of_themselves.sum(-1)) / (n * (n - 1)))


def _constant(real: Array) -> float:
    """The distance of one image, at the mean of the real features, that is drawn again and again."""
    values = np.asarray(real, dtype=np.float64)
    return float(kid(np.broadcast_to(values.mean(0), values.shape), values))


KID = Metric("kernel_distance", False, "features", kid, _constant, biased=True)
"""Kernel distance as a metric. Resamples hold images twice, which biases them though the estimate itself is not."""
