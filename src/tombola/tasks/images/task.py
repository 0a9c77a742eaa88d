"""Image diffusion: a denoiser that draws images, judged by how its samples compare with held-out real ones."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from diffusers import DDPMScheduler
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from tombola.architectures.denoiser_preset import DenoiserPreset
from tombola.architectures.denoisers import predict
from tombola.architectures.parameters import device_of, evaluating
from tombola.checkpoints import denoisers
from tombola.checkpoints.denoisers import Schedule
from tombola.foundations.errors import TombolaError, check_choice
from tombola.foundations.plurals import plural
from tombola.metrics.image_metrics import FID, KID, PRECISION, RECALL, class_balance
from tombola.metrics.scores import Metric
from tombola.metrics.statistics import mean_std
from tombola.tasks.base import Batch, Output, Predictions, State, Task, sampled_rows
from tombola.tasks.images.conditioning import LatentConditioning, check
from tombola.tasks.images.diffusion import Sampler, add_noise, seeded_noise
from tombola.tasks.images.features import Classifier, FeatureSpace
from tombola.tasks.images.image_grid import contact_sheet

_FEWEST = 8
"""Images of a split, at least: of fewer there is nothing to compare."""
_AT_ONCE = 256
"""Images whose features are taken together."""


@dataclass(frozen=True)
class Images:
    """Images: fp32 `pixels` from -1 to 1 [n, channels, height, width], and their `labels`, int64 [n], or None."""

    pixels: Tensor
    labels: Tensor | None = None

    def select(self, indices: Tensor) -> "Images":
        """Images at `indices`, int64, in that order."""
        return Images(self.pixels[indices], None if self.labels is None else self.labels[indices])

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, kw_only=True)
class ImageTaskOptions:
    """Options of a task of images.

    Attributes:
        schedule: the noise; by default 1,000 steps of the cosine schedule, and the model predicts the noise.
        conditioning: what stands around the denoiser: by default nothing, for one of pixels.
        device: where latents are made, of a split when it is first needed.
        steps: of the sampler, an image; at most those of the schedule.
        levels: timesteps at which the loss of a held-out image is taken, one in each equal part of the schedule.
        train_rows, dev_rows: use a seeded sample of so many images; None for all.
        search_rows: hold so many training images out as the split `search`; None to search on `dev`.
        presets: model name → a denoiser that can be trained from nothing.
        name, title: see `Task`.
    """

    schedule: Schedule | None = None
    conditioning: LatentConditioning = field(default_factory=LatentConditioning)
    device: str = "cpu"
    steps: int = 25
    levels: int = 4
    train_rows: int | None = None
    dev_rows: int | None = None
    search_rows: int | None = None
    presets: Mapping[str, DenoiserPreset] = field(default_factory=dict)
    name: str = "images"
    title: str = "Images"


class ImageTask(Task):
    """Diffusion on a set of images, of their pixels or their latents, without a text or a class.

    `train`: each image with noise and a timestep of its own, drawn anew in every epoch. Every other split: example i
    is held-out image i, whose denoising loss is the mean over fixed timesteps and noise, and sample i, drawn from noise
    of its own seed; its features are the prediction, and those of the held-out images the references. The metric is the
    Fréchet distance between the two sets. A threshold goes by it and not by the loss, which barely moves when the
    images fall apart.

    Args:
        train, dev: the images, all of one size.
        features: the space in which images are compared.
        options: noise, sampler, samples, names.

    Attributes:
        seen: channels, height and width of what the denoiser sees: of the images or their latents.

    Raises:
        TombolaError: a split is too small, or the sizes of the images differ.
    """

    # What was measured of norms is about encoders of text.
    normalise_layers = False

    def __init__(
        self, train: Images, dev: Images, features: FeatureSpace, options: ImageTaskOptions | None = None
    ) -> None:
        self._options = options = options or ImageTaskOptions()
        if train.pixels.shape[1:] != dev.pixels.shape[1:]:
            sizes = ["{1} x {2} of {0} channels".format(*one.pixels.shape[1:]) for one in (train, dev)]
            raise TombolaError(f"training images are {sizes[0]}, held-out ones {sizes[1]}; give images of one size")
        self.name, self.title = options.name, options.title
        self.metric = self._against_pixels(FID)
        further = [KID, PRECISION, RECALL]
        if isinstance(features, Classifier):
            further.append(class_balance(features.classify, features.classes))
        self.more = {one.name: ("dev", self._against_pixels(one)) for one in further}
        self.available = {"train": len(train), "dev": len(dev)}
        self._schedule: Schedule = options.schedule or DDPMScheduler(beta_schedule="squaredcos_cap_v2")
        self._conditioning = options.conditioning
        self.seen = self._conditioning.shape(train.pixels.shape[1:])
        self._latents: dict[str, Tensor] = {}
        # A distilled denoiser may have been trained on fewer.
        steps = min(options.steps, self._schedule.config.num_train_timesteps)
        self.sampler = Sampler(self._schedule, steps, bounded=self._conditioning.vae is None)
        self.passes = float(options.levels + steps)
        self.feature_space = features
        sampled = sampled_rows(self.available, options.train_rows, options.dev_rows, options.search_rows).items()
        self._splits = {
            split: (dev if split == "dev" else train).select(torch.from_numpy(rows)) for split, rows in sampled
        }
        self._features: dict[str, Predictions] = {}
        for split, images in self._splits.items():
            if len(images) < _FEWEST:
                raise TombolaError(
                    f"{self.title} has {plural(len(images), 'image')} to {split} on; give at least {_FEWEST}"
                )

    @override
    def facts(self) -> Mapping[str, object]:
        return {
            **super().facts(),
            "rows": {split: len(images) for split, images in self._splits.items()},
            "available": self.available,
            "size": list(self._splits["train"].pixels.shape[1:]),
            **({} if self._conditioning.vae is None else {"latents": list(self.seen)}),
            "features": self.feature_space.name,
            "steps": self.sampler.steps,
            "guessing": "pixels of training images, each drawn by itself",
            "floor": {
                "title": "real images",
                "note": "Real images against real ones: mean and deviation over draws of as many training images.",
                "scores": {name: list(pair) for name, pair in self.floor.items()},
            },
        }

    @override
    def load(self, source: str, *, seed: int, state: State = "pretrained") -> nn.Module:
        check_choice("state of a model", state, get_args(State))
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            if source in self._options.presets:
                if state == "trained":
                    raise TombolaError(f"{source} is a network without weights; give the folder of a trained one")
                model = self._options.presets[source].make()
            else:
                model = denoisers.load(source, weights=state != "init")
        return self._checked(model)

    def _checked(self, model: nn.Module) -> nn.Module:
        return check(model, self.seen[0], self.seen[1:], self._schedule)

    @override
    def save(self, model: nn.Module, folder: Path) -> None:
        denoisers.save(model, self.sampler.scheduler(), folder)

    @override
    def saved(self, folder: Path) -> bool:
        # A denoiser in its pipeline, or by itself.
        return (folder / "model_index.json").is_file() or super().saved(folder)

    @override
    def size(self, split: str) -> int:
        return len(self.images(split))

    @override
    def references(self, split: str) -> Predictions:
        if split not in self._features:
            self._features[split] = self.features_of(self.images(split).pixels)
        return self._features[split]

    @override
    def guess(self, split: str) -> Predictions:
        return self._pixels(self.size(split))

    def _pixels(self, count: int) -> Predictions:
        """Features of images whose pixels are drawn one by one from those of training images at their place."""
        rng = np.random.default_rng(0)
        known = self._splits["train"].pixels.flatten(1).numpy()
        drawn = known[rng.integers(len(known), size=(count, known.shape[1])), np.arange(known.shape[1])]
        return self.features_of(torch.from_numpy(drawn).unflatten(1, self._splits["train"].pixels.shape[1:]))

    def _against_pixels(self, metric: Metric) -> Metric:
        """The metric, with the score of `guess` as chance: harder to beat than the metric's own, one image alone."""
        return replace(metric, chance=lambda real: metric.score(self._pixels(len(real)), real))

    @functools.cached_property
    def floor(self) -> Mapping[str, tuple[float, float]]:
        """Scores that real images reach: metric → mean and deviation over ten draws of as many training images.

        No generator is judged below it; a distance of 0 is not to be had from so few images. Where there are fewer
        training than held-out images, as many of the latter are compared.
        """
        rng, references = np.random.default_rng(0), self.references("dev")
        features = self.features_of(self._splits["train"].pixels)
        n = min(len(features), len(references))
        chosen = [rng.permutation(len(features))[:n] for _ in range(10)]
        metrics = [self.metric, *(metric for _, metric in self.more.values())]
        return {
            metric.name: mean_std([metric.score(features[indices], references[:n]) for indices in chosen])
            for metric in metrics
        }

    @property
    def steps(self) -> int:
        """Passes of the denoiser an image."""
        return self.sampler.steps

    def draw(self, model: nn.Module, count: int = 16, first: int = 0) -> Tensor:
        """Samples of `dev`, whose features are scored: fp32 from -1 to 1 [count, channels, height, width]."""
        with evaluating(model):
            noise = self._initial_noise("dev", np.arange(first, first + count))
            return self._sample(model, noise.to(device_of(model))).cpu()

    def image_grid(self, model: nn.Module | None, *, first: int = 0, count: int = 40) -> bytes | None:
        """Sheet of at most as many samples as `dev` has, or real images, if grey or coloured; see `GeneratesImages`."""
        count = min(count, self.size("dev"))
        images = self.images("dev").pixels[:count] if model is None else self.draw(model, count, first)
        return contact_sheet(images) if images.shape[1] in (1, 3) else None

    @override
    def batches(self, split: str, batch_size: int, *, shuffle: int | None = None) -> Iterator[Batch]:
        """Batches as in `Task`. In `train`, `shuffle` is the seed of noise and timesteps too.

        Inputs: `images` (or their latents) [batch, channels, height, width], `noise` [batch, levels, channels, height,
        width], `timesteps` int64 [batch, levels] (one level in `train`) and, but in `train`, `initial_noise`, which the
        sample is drawn from.
        """
        if split not in self._latents:
            self._latents[split] = self._conditioning.encode(self.images(split).pixels, self._options.device)
        pixels = self._latents[split]
        order = np.arange(len(pixels)) if shuffle is None else np.random.default_rng(shuffle).permutation(len(pixels))
        generator = torch.Generator().manual_seed(0 if shuffle is None else shuffle)
        for first in range(0, len(order), batch_size):
            indices = order[first : first + batch_size]
            images = pixels[torch.from_numpy(indices)]
            inputs = {"images": images}
            if split == "train":
                inputs["noise"] = torch.randn(len(images), 1, *images.shape[1:], generator=generator)
                last = self._schedule.config.num_train_timesteps
                inputs["timesteps"] = torch.randint(last, (len(images), 1), generator=generator)
            else:
                inputs["noise"], inputs["timesteps"] = self._fixed(split, indices)
                inputs["initial_noise"] = self._initial_noise(split, indices)
            yield Batch(indices, inputs, inputs["noise"])

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        images, noise, timesteps = (batch.inputs[name] for name in ("images", "noise", "timesteps"))
        losses = []
        condition = self._conditioning.condition(len(images), images.device)
        # One level after the other: a gate belongs to an example, so every pass must have the batch's examples.
        for level in range(noise.shape[1]):
            noisy, goal, times = add_noise(self._schedule, images, noise[:, level], timesteps[:, level])
            predicted = predict(model, noisy, times, **condition).float()
            losses.append((predicted - goal).square().flatten(1).mean(1))
        if "initial_noise" not in batch.inputs:
            return Output(torch.stack(losses).mean(0), images.new_empty(len(images), 0))
        samples = self._sample(model, batch.inputs["initial_noise"])
        return Output(torch.stack(losses).mean(0), self.feature_space(samples))

    def _sample(self, model: nn.Module, initial_noise: Tensor) -> Tensor:
        condition = self._conditioning.condition(len(initial_noise), initial_noise.device)
        drawn = self.sampler.draw(lambda noisy, timesteps: predict(model, noisy, timesteps, **condition), initial_noise)
        return self._conditioning.decode(drawn)

    def images(self, split: str) -> Images:
        """The images of a split."""
        if split not in self._splits:
            raise TombolaError(f"{self.title} has no split {split!r}; it has {', '.join(self._splits)}")
        return self._splits[split]

    def features_of(self, pixels: Tensor) -> Predictions:
        """Features, float64 [n, features]."""
        return np.concatenate([self.feature_space(part).cpu().double().numpy() for part in pixels.split(_AT_ONCE)])

    def _initial_noise(self, split: str, indices: NDArray[np.int64]) -> Tensor:
        return seeded_noise(self.seen, _seeds(split, "initial", indices))

    def _fixed(self, split: str, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Noise [n, levels, channels, height, width] and timesteps, int64 [n, levels], of held-out images."""
        levels, last = self._options.levels, self._schedule.config.num_train_timesteps
        noise = seeded_noise((levels, *self.seen), _seeds(split, "noise", indices))
        # One timestep in each equal part, so that few of them say much.
        parts = np.stack([np.random.default_rng(seed).random(levels) for seed in _seeds(split, "time", indices)])
        timesteps = (np.arange(levels) + parts) / levels * last
        return noise, torch.from_numpy(timesteps.astype(np.int64))


def _seeds(split: str, what: str, indices: NDArray[np.int64]) -> list[int]:
    """A seed for each example of a split, of which no two are the same."""
    stream = ("initial", "noise", "time").index(what) + 3 * (split != "dev")
    # PyTorch's generator for CPUs looks at the lowest 32 bits only.
    return [(stream << 28) + int(index) for index in indices]
