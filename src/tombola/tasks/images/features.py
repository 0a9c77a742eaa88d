"""Feature spaces in which images are compared: small classifiers, or random convolutions."""

import contextlib
from collections.abc import Iterator
from typing import Protocol, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import Array

_WIDTH = 32
"""Channels of the first convolution, and features."""
_EPOCHS, _BATCH, _RATE = 40, 64, 2e-3
_LARGEST = 32
"""Pixels of a side that the classifier sees, at most: larger images are averaged down to it."""
_SCALES = 3
"""Convolutions of the random space, each at half the size of the one before."""


_AT_ONCE = 256
"""Images that pass together."""


class FeatureSpace(Protocol):
    """Feature space: turns images into vectors.

    Attributes:
        name: for people: what the space is made of.
    """

    name: str

    def __call__(self, images: Tensor) -> Tensor:
        """Features, fp32 [batch, features], of images, floats from -1 to 1 [batch, channels, height, width]."""
        ...


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run on one thread: sums over several round otherwise, and every worker and run needs equal features."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Classifier:
    """The last hidden layer of a small convolutional classifier: for images that no large network was trained on.

    Two convolutions, of which the second halves the size, and a hidden layer of 32 units, whose rectified values are
    the features, in units in which those of the training images have a variance of 1 on average. Made by `train`.

    Attributes:
        name: see `FeatureSpace`.
        network: images to features.
        output: features to logits.
        classes: number of classes.
    """

    name = "the last hidden layer of a classifier of the training images"

    def __init__(self, network: nn.Module, output: nn.Linear) -> None:
        self.network = network.eval().requires_grad_(False)
        self.output = output.eval().requires_grad_(False)
        self.classes = output.out_features

    @classmethod
    def train(cls, images: Tensor, labels: Tensor, *, seed: int = 0) -> Self:
        """Train it, in seconds: the same for the same images, labels and seed, whatever ran before.

        Args:
            images: floats from -1 to 1 [n, channels, height, width], both sides at least 4.
            labels: int64 [n], from 0.
            seed: of weights and order.

        Raises:
            TombolaError: there are fewer than two classes.
        """
        classes = int(labels.max()) + 1 if len(labels) else 0
        if classes < 2:
            raise TombolaError("a classifier needs images of at least two classes; give labelled images of more")
        _, channels, height, width = images.shape
        with _one_thread(), torch.random.fork_rng([]), torch.enable_grad(), torch.autocast("cpu", enabled=False):
            torch.manual_seed(seed)
            small: list[nn.Module] = []
            if max(height, width) > _LARGEST:
                height, width = min(height, _LARGEST), min(width, _LARGEST)
                small.append(nn.AdaptiveAvgPool2d((height, width)))
            network = nn.Sequential(
                *small,
                nn.Conv2d(channels, _WIDTH, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(2 * _WIDTH * -(-height // 2) * -(-width // 2), _WIDTH),
                nn.ReLU(),
            )
            output = nn.Linear(_WIDTH, classes)
            parameters = [*network.parameters(), *output.parameters()]
            steps = _EPOCHS * -(-len(images) // _BATCH)
            optimizer = torch.optim.AdamW(parameters, lr=_RATE)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            for _ in range(_EPOCHS):
                for indices in torch.randperm(len(images)).split(_BATCH):
                    loss = nn.functional.cross_entropy(output(network(images[indices])), labels[indices])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
            with torch.no_grad():
                # What is divided here is multiplied there, so that the classes stay.
                scale = network(images).var(0).mean().sqrt()
                for parameter in cast(nn.Linear, network[-2]).parameters():
                    parameter.div_(scale)
                output.weight.mul_(scale)
        return cls(network, output)

    def __call__(self, images: Tensor) -> Tensor:
        """Features, fp32 [batch, 32] on the CPU, whatever the images' device and dtype."""
        # Distances of features in 16 bits would be those of rounding.
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            found: Tensor = self.network(images.float().cpu())
        return found

    def classify(self, features: Array) -> Array:
        """Class ids, int64 [..., n], of features [..., n, 32]."""
        weight, bias = (parameter.numpy() for parameter in (self.output.weight, self.output.bias))
        return np.asarray((features @ weight.T + bias).argmax(-1))


class RandomConvolutions:
    """Random convolutions, untrained: for images without labels, where no large network is at hand.

    Three convolutions of random orthogonal filters, rectified, and averaged in each quarter of the image: features are
    mean and standard deviation over the quarters, so how much there is of a small pattern, and how evenly. Random
    networks tell sets of images apart (Naeem et al. 2020, section 4), by colour, edge and texture rather than by
    content: distances are coarse, and can be compared within one space only. Its unit is that of `Classifier`.

    Args:
        images: training images, floats from -1 to 1 [n, channels, height, width]; they set the unit.
        seed: of the filters.
    """

    name = "random convolutions, which see colours and textures rather than content"

    def __init__(self, images: Tensor, *, seed: int = 0) -> None:
        layers: list[nn.Module] = []
        generator = torch.Generator().manual_seed(seed)
        channels = images.shape[1]
        for _ in range(_SCALES):
            with torch.random.fork_rng([]):
                layer = nn.Conv2d(channels, _WIDTH, 3, stride=2, padding=1, bias=False)
            nn.init.orthogonal_(layer.weight.view(_WIDTH, -1), 2**0.5, generator=generator)
            layers.append(layer.requires_grad_(False))
            channels = _WIDTH
        self._layers = layers
        self._scale = 1.0
        with _one_thread():
            variance = torch.cat([self(part) for part in images.split(_AT_ONCE)]).var(0).mean()
        self._scale = float(variance.clamp_min(1e-12).rsqrt())

    def __call__(self, images: Tensor) -> Tensor:
        """Features, fp32 [batch, 3 x 32 x 2] on the CPU, whatever the images' device and dtype."""
        found = []
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            values = images.float().cpu()
            for layer in self._layers:
                values = layer(values).relu()
                quarters = nn.functional.adaptive_avg_pool2d(values, 2).flatten(2)
                found += [quarters.mean(2), quarters.std(2)]
        return torch.cat(found, 1) * self._scale
