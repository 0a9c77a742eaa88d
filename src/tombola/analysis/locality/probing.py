"""Linear probes: whether the label can be read from a representation by a linear classifier."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tombola.tasks.base import Predictions

STRENGTHS = np.logspace(-1, 5, 13)
"""Strengths of the penalty that the probe chooses from, for standardised features."""


def probe(train: NDArray[np.floating], labels: Predictions, dev: NDArray[np.floating]) -> Predictions:
    """Predictions of a ridge classifier (for values of a ridge regression) fitted to a representation.

    Features are standardised; the penalty is chosen by leave-one-out cross-validation on the training examples, which
    for ridge has a closed form, so that nothing depends on chance or on how long a fit runs.

    Args:
        train: [examples, width].
        labels: [examples]: int64 class ids, or float64 values.
        dev: [examples, width], to predict.
    """
    if len(np.unique(labels)) < 2:
        return np.full(len(dev), labels[0])
    model = RidgeCV(STRENGTHS) if np.issubdtype(labels.dtype, np.floating) else RidgeClassifierCV(STRENGTHS)
    pipeline = make_pipeline(StandardScaler(), model)
    pipeline.fit(np.asarray(train, dtype=np.float64), labels)
    found: Predictions = pipeline.predict(np.asarray(dev, dtype=np.float64)).astype(labels.dtype)
    return found
