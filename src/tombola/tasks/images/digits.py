"""Handwritten digits of 8 x 8 pixels, which come with scikit-learn: real images that need no download."""

import functools
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from tombola.tasks.images.digit_networks import PRESETS
from tombola.tasks.images.features import Classifier
from tombola.tasks.images.task import Images, ImageTask, ImageTaskOptions

TRAIN, HELD_OUT = 1200, 597
"""Images of the two splits."""


def splits() -> tuple[Images, Images]:
    """Training and held-out images, the same each time."""
    found = load_digits()
    # Values from 0 to 16.
    pixels = torch.from_numpy(found.images / 8 - 1).float()[:, None]
    images = Images(pixels, torch.from_numpy(found.target).long())
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(pixels)))
    return images.select(order[:TRAIN]), images.select(order[TRAIN:])


@functools.cache
def features() -> Classifier:
    """The classifier whose features compare images: trained on all training images, once in a process."""
    train, _ = splits()
    assert train.labels is not None
    return Classifier.train(train.pixels, train.labels)


def digits(**options: Any) -> ImageTask:
    """The task; `options` are fields of [`ImageTaskOptions`][tombola.tasks.images.task.ImageTaskOptions].

    Its [features][tombola.tasks.images.digits.features] take seconds to train.
    """
    train, dev = splits()
    return ImageTask(
        train, dev, features(), ImageTaskOptions(presets=PRESETS, name="digits", title="Digits", **options)
    )
