"""Class balance: whether the classes are generated as often as they really occur."""

from collections.abc import Callable

import numpy as np

from tombola.metrics.scores import Array, Metric


def class_balance(classify: Callable[[Array], Array], classes: int) -> Metric:
    """The total variation distance between how often a classifier sees each class in generated and in real images.

    Args:
        classify: features [..., n, features] to class ids, int64 [..., n].
        classes: number of them.

    Returns:
        A metric: ½ Σ |p - q|, 0 where all shares are equal, 1 where no class occurs in both.
    """

    def shares(features: Array) -> Array:
        found = classify(features)
        return np.stack([np.mean(found == label, axis=-1) for label in range(classes)], axis=-1)

    def distance(generated: Array, real: Array) -> Array:
        return np.asarray(np.abs(shares(generated) - shares(real)).sum(-1) / 2)

    return Metric("class_imbalance", False, "features", distance, lambda real: float(1 - shares(real).max()), True)
