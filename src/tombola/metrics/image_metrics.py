"""Distances between sets of images, by their features: FID, KID, precision and recall, balance of classes.

FID and KID are the Fréchet and the kernel distance in Inception's features. The feature space of a task need not be
Inception's, so the metrics' names are `frechet_distance` and `kernel_distance`.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import Array, Metric, constant


def fid(generated: Array, real: Array) -> Array:
    """Fréchet distance |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½) (Heusel et al. 2017, eq. 6), covariances over n - 1.

    The trace of the root is the sum of the singular values of R₁ R₂ᵀ, where Σ = RᵀR: no root of a matrix is taken, so
    that nothing is complex or negative, whether there are more features than images or fewer.

    Args:
        generated: features [..., n, features].
        real: the same [..., m, features]; leading axes are broadcast.

    Returns:
        float64 [...], in squared units of the features. It is biased: it grows as n and m shrink, so compare distances
        of equally many images only. NaN where a feature is not finite.

    Raises:
        TombolaError: the features have different widths, or there is one image, which has no covariance.
    """
    shapes = np.shape(generated), np.shape(real)
    if shapes[0][-1] != shapes[1][-1]:
        raise TombolaError(
            f"features of widths {shapes[0][-1]} and {shapes[1][-1]} have no distance; take both from one feature model"
        )
    if min(shapes[0][-2], shapes[1][-2]) < 2:
        raise TombolaError("the Fréchet distance needs two images or more of either kind; give more images")
    if not (np.isfinite(generated).all() and np.isfinite(real).all()):
        # Resamples are drawn from the same images: whether one holds the broken image is no matter.
        return np.full(np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2]), np.nan)
    means, factors, traces = zip(*(_gaussian(features) for features in (generated, real)), strict=True)
    shift = ((means[0] - means[1]) ** 2).sum(-1)
    overlap = np.linalg.svd(factors[0] @ factors[1].swapaxes(-1, -2), compute_uv=False).sum(-1)
    # Of two equal sets rounding leaves a tiny number of either sign.
    return np.asarray(np.maximum(shift + traces[0] + traces[1] - 2 * overlap, 0.0))


def _gaussian(features: Array) -> tuple[Array, Array, Array]:
    """Mean [..., features], R [..., rows, features] of the covariance RᵀR, of as few rows as can be, and its trace."""
    values = np.asarray(features, dtype=np.float64)
    mean = values.mean(-2)
    centred = (values - mean[..., None, :]) / np.sqrt(max(1, values.shape[-2] - 1))
    few = values.shape[-2] <= values.shape[-1]
    factor = centred if few else np.asarray(np.linalg.qr(centred, mode="r"))
    return mean, factor, (centred * centred).sum((-1, -2))


def _fid_of_one(real: Array) -> float:
    """The distance of the best image that is drawn again and again: one at the mean of the real features."""
    return float(np.asarray(real, dtype=np.float64).var(0, ddof=1).sum())


FID = Metric("frechet_distance", False, "features", fid, _fid_of_one, biased=True)
"""Fréchet distance as a metric: lower is better, and what real images reach against real ones is the floor, not 0."""


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


def _kid_of_one(real: Array) -> float:
    values = np.asarray(real, dtype=np.float64)
    return float(kid(np.broadcast_to(values.mean(0), values.shape), values))


KID = Metric("kernel_distance", False, "features", kid, _kid_of_one, biased=True)
"""Kernel distance as a metric. Resamples hold images twice, which biases them though the estimate itself is not."""


NEIGHBOURS = 3
"""Neighbours that span a sample's region; 3 as in the paper."""


def precision(generated: Array, real: Array) -> Array:
    """Share of the generated images that lie in the real ones' region (Kynkäänniemi et al. 2019, eq. 1 and 2).

    The region is the union of balls around the real images, each as large as the distance to its third nearest other.

    Args:
        generated: features [..., n, features].
        real: the same [..., m, features], m > 3; leading axes are broadcast.

    Returns:
        float64 [...], 0 to 1.
    """
    x, y = (np.asarray(features, dtype=np.float64) for features in (generated, real))
    shape = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = (np.broadcast_to(z, (*shape, *z.shape[-2:])) for z in (x, y))
    found = np.empty(shape)
    # One by one: the distances of all pairs take n times the memory of the features.
    for index in np.ndindex(shape):
        found[index] = _inside(x[index], y[index]).mean()
    return found


def recall(generated: Array, real: Array) -> Array:
    """Share of the real images that lie in the generated ones' region: `precision` the other way round."""
    return precision(real, generated)


def _inside(points: Array, of: Array) -> Array:
    """Points [n, features] that lie in the region of others: bool [n]."""
    # The nearest of all is the image itself.
    nth = min(NEIGHBOURS, len(of) - 1)
    radii = np.partition(_squared(of, of), nth, axis=1)[:, nth]
    return np.asarray((_squared(points, of) <= radii).any(1))


def _squared(x: Array, y: Array) -> Array:
    """Squared distances [n, m]."""
    found = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
    return np.asarray(np.maximum(found, 0.0))


PRECISION = Metric("precision", True, "features", precision, partial(constant, 1.0), biased=True)
"""Precision as a metric. One good image, drawn again and again, is precise: look at recall beside it."""
RECALL = Metric("recall", True, "features", recall, partial(constant, 0.0), biased=True)


def class_balance(classify: Callable[[Array], Array], classes: int) -> Metric:
    """The total variation distance ½ Σ |p - q| between the shares of classes among generated and real images.

    `classify` makes ids, int64 [..., n], of so many `classes`, out of features [..., n, features].
    """
    shares = partial(_shares, classify, classes)
    return Metric(
        "class_imbalance", False, "features", partial(_imbalance, shares), partial(_of_one_class, shares), True
    )


def _shares(classify: Callable[[Array], Array], classes: int, features: Array) -> Array:
    """Shares of the classes, [..., classes], among images [..., n, features]."""
    found = classify(features)
    return np.stack([np.mean(found == label, axis=-1) for label in range(classes)], axis=-1)


def _imbalance(shares: Callable[[Array], Array], generated: Array, real: Array) -> Array:
    return np.asarray(np.abs(shares(generated) - shares(real)).sum(-1) / 2)


def _of_one_class(shares: Callable[[Array], Array], real: Array) -> float:
    return float(1 - shares(real).max())
