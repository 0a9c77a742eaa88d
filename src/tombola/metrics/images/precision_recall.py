"""Precision: how many generated images look real; recall: how much of what is real is generated."""

import numpy as np

from tombola.metrics.scores import Array, Metric

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
    own = _squared(of, of)
    # The nearest of all is the image itself.
    radii = np.partition(own, min(NEIGHBOURS, len(of) - 1), axis=1)[:, min(NEIGHBOURS, len(of) - 1)]
    return np.asarray((_squared(points, of) <= radii).any(1))


def _squared(x: Array, y: Array) -> Array:
    """Squared distances [n, m]."""
    found = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
    return np.asarray(np.maximum(found, 0.0))


PRECISION = Metric("precision", True, "features", precision, lambda real: 1.0, biased=True)
"""Precision as a metric. One good image, drawn again and again, is precise: look at recall beside it."""
RECALL = Metric("recall", True, "features", recall, lambda real: 0.0, biased=True)
