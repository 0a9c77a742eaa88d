"""Feature spaces in which images are compared: small classifiers, random convolutions, or a large network."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, Self, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, CLIPVisionModelWithProjection, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from tombola.checkpoints.loading import quiet
from tombola.checkpoints.refusals import check_layers, no_pickles, refuse_lacking, refuse_pickles
from tombola.foundations.errors import TombolaError, one_line, reason
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
    """Feature space, which turns images into vectors; `name` says to people what it is made of."""

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
    the features, in units in which those of the training images have a variance of 1 on average.

    The network makes features of images, and the output layer logits of features.
    """

    name = "the last hidden layer of a classifier of the training images"

    def __init__(self, network: nn.Module, output: nn.Linear) -> None:
        self.network, self.output = network.eval().requires_grad_(False), output.eval().requires_grad_(False)
        self.classes = output.out_features

    @classmethod
    def train(cls, images: Tensor, labels: Tensor, *, seed: int = 0) -> Self:
        """Train it, in seconds: the same for the same images, labels and seed, whatever ran before.

        Images are floats from -1 to 1 [n, channels, height, width], both sides at least 4; labels int64 [n], from 0, of
        two classes or more, else a TombolaError.
        """
        classes = int(labels.max()) + 1 if len(labels) else 0
        if classes < 2:
            raise TombolaError("a classifier needs images of at least two classes; give labelled images of more")
        _, channels, height, width = images.shape
        with _one_thread(), torch.random.fork_rng([]), torch.enable_grad(), torch.autocast("cpu", enabled=False):
            torch.manual_seed(seed)
            larger = max(height, width) > _LARGEST
            height, width = min(height, _LARGEST), min(width, _LARGEST)
            network = nn.Sequential(
                *([nn.AdaptiveAvgPool2d((height, width))] if larger else []),
                nn.Conv2d(channels, _WIDTH, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(2 * _WIDTH * -(-height // 2) * -(-width // 2), _WIDTH),
                nn.ReLU(),
            )
            output = nn.Linear(_WIDTH, classes)
            optimizer = torch.optim.AdamW([*network.parameters(), *output.parameters()], lr=_RATE)
            steps = _EPOCHS * -(-len(images) // _BATCH)
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
    content: distances are coarse, and can be compared within one space only.

    Args:
        images: training images, floats from -1 to 1 [n, channels, height, width]; they set the unit, `Classifier`'s.
        seed: of the filters.
    """

    name = "random convolutions, which see colours and textures rather than content"

    def __init__(self, images: Tensor, *, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._filters = [torch.empty(_WIDTH, images.shape[1] if n == 0 else _WIDTH, 3, 3) for n in range(_SCALES)]
        for filters in self._filters:
            nn.init.orthogonal_(filters.view(_WIDTH, -1), 2**0.5, generator=generator)
        self._scale = 1.0
        with _one_thread():
            variance = torch.cat([self(part) for part in images.split(_AT_ONCE)]).var(0).mean()
        self._scale = float(variance.clamp_min(1e-12).rsqrt())

    def __call__(self, images: Tensor) -> Tensor:
        """Features, fp32 [batch, 3 x 32 x 2] on the CPU, whatever the images' device and dtype."""
        found = []
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            values = images.float().cpu()
            for filters in self._filters:
                values = nn.functional.conv2d(values, filters, stride=2, padding=1).relu()
                quarters = nn.functional.adaptive_avg_pool2d(values, 2).flatten(2)
                found += [quarters.mean(2), quarters.std(2)]
        return torch.cat(found, 1) * self._scale


_PREPARED_AT_ONCE = 32
"""Images that pass through a large network together."""
_MEASURED = 1024
"""Training images that set origin and unit, at most."""
_PROJECTION, _POOLER = "visual_projection.", "pooler."
"""Prefix of the layers that a checkpoint may lack: the network's outputs without them are features too."""
_CLASS_TOKENS = ("cls_token", "class_embedding")
"""Names of the embedding of the class token, which is the first of a sequence."""
_INSTEAD = "give the folder or hub id of a vision model of transformers, such as CLIP, DINOv2, SigLIP or ViT"


class PretrainedNetwork:
    """Features of images by a vision network of transformers, without a text tower, in fp32.

    Of CLIP the projected image embedding (as in CLIP-FID, Kynkäänniemi et al. 2023, and CMMD, Jayasumana et al. 2024;
    not normalised to length 1, as in the former), of others the pooled output, or the class token where there is none.
    Images are prepared by the network's own image processor, on the CPU: in 8 bits, as files hold them, scaled by
    Pillow, which averages over what it makes smaller (Parmar et al. 2022).

    Features have their origin at the mean of the training images, and the unit of `Classifier`: of the network's own it
    is `unit`. The kernel distance needs both: the features of such networks have a large mean and vary little, where
    its kernel is nearly a line, which compares means alone.

    Args:
        source: folder or hub id, in the layout of transformers, with weights as safetensors and a
            `preprocessor_config.json`.
        images: training images, floats from -1 to 1 [n, channels, height, width], n > 1; they set origin and unit.
        device: where the network runs.

    Raises:
        TombolaError: it is no vision model, or one of its files is missing or cannot be read.
    """

    def __init__(self, source: str, images: Tensor, *, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        folder = Path(source).expanduser()
        path, label = (str(folder), folder.resolve().name) if folder.is_dir() else (source, source)
        with quiet():
            self.network, lacking = _network(path, source)
            self._processor = _processor(path, source)
        self.network.eval().requires_grad_(False).to(self._device)
        self._pooled = not any(name.startswith(_POOLER) for name in lacking)
        with _reading(source):
            # A file that does not fit to another is found out now, not after the first model has drawn.
            what, _ = self._features(self.pixels(images[:1]))
        # Their order is that of their content's digests: the first are as good as any.
        known = self._own(images[:_MEASURED])
        self.origin, self.unit = known.mean(0), float(known.var(0).mean().clamp_min(1e-12).sqrt())
        kind = type(self.network).__name__
        self.name = f"{what} of {label} ({kind}, {known.shape[1]} features, unit {self.unit:.3g})"

    def __call__(self, images: Tensor) -> Tensor:
        """Features, fp32 [batch, features] on the CPU, whatever the images' device and dtype.

        Images of one channel are shown as grey ones of three. What is not finite has features that are not.
        """
        found = (self._own(images) - self.origin) / self.unit
        return found.masked_fill(~images.flatten(1).isfinite().all(1).cpu()[:, None], torch.nan)

    def _own(self, images: Tensor) -> Tensor:
        return torch.cat([self._features(self.pixels(part))[1] for part in images.split(_PREPARED_AT_ONCE)])

    def pixels(self, images: Tensor) -> Tensor:
        """Pixels in the network's size and normalisation, fp32 [batch, 3, height, width]."""
        levels = ((images.float().cpu().nan_to_num().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        shown = [Image.fromarray(one.numpy()) for one in levels.expand(-1, 3, -1, -1).movedim(1, -1).contiguous()]
        return cast(Tensor, self._processor(images=shown, return_tensors="pt")["pixel_values"])

    def _features(self, pixels: Tensor) -> tuple[str, Tensor]:
        """Name of the features for people, and those of prepared images, fp32 [batch, features]."""
        with torch.no_grad(), torch.autocast(self._device.type, enabled=False):
            found = self.network(pixel_values=pixels.to(self._device, torch.float32))
        projected, pooled = (getattr(found, name, None) for name in ("image_embeds", "pooler_output"))
        if projected is not None:
            return "the projected image embedding", projected.cpu()
        if pooled is not None and self._pooled:
            # Convolutional networks pool to a single pixel.
            return "the pooled output", pooled.flatten(1).cpu()
        if any(name.rpartition(".")[2] in _CLASS_TOKENS for name, _ in self.network.named_parameters()):
            return "the class token", found.last_hidden_state[:, 0].cpu()
        raise TombolaError(f"a {type(self.network).__name__} gives neither a pooled output nor a class token")


def _network(path: str, source: str) -> tuple[nn.Module, set[str]]:
    """The vision network, on the CPU, and the names of parameters that its file lacks: of its pooler at most."""
    with _reading(source):
        config: Any = AutoConfig.from_pretrained(path, trust_remote_code=False)
    check_layers(config.to_dict(), source)
    width = getattr(config, "projection_dim", None)
    # Of models that see and read, only the tower that sees is made.
    if isinstance(getattr(config, "vision_config", None), PreTrainedConfig):
        config = config.vision_config
    kind: Any = MODEL_MAPPING.get(type(config), None)
    if config.model_type == "clip_vision_model":
        # The vision tower's configuration has a width of its own, which the whole model does not look at.
        config.projection_dim = width or config.projection_dim
        kind = CLIPVisionModelWithProjection
    if not isinstance(kind, type) or getattr(kind, "main_input_name", None) != "pixel_values":
        raise TombolaError(f"{source} is a {config.model_type}, which is no vision model; {_INSTEAD}")
    options = {"config": config, "use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
    options["trust_remote_code"] = False
    refuse_pickles(source, Path(path))
    with _reading(source):
        try:
            network, info = cast(Any, kind).from_pretrained(path, **options)
        except OSError as error:
            raise TombolaError(
                f"{source} has no weights as safetensors ({reason(error).rstrip('.')}); other formats are pickles, "
                "which Tombola does not open"
            ) from error
    lacking = set(info["missing_keys"])
    if lacking and all(name.startswith(_PROJECTION) for name in lacking):
        return network.vision_model, set()
    refuse_lacking(source, kind, [name for name in lacking if not name.startswith(_POOLER)])
    return network, lacking


def _processor(path: str, source: str) -> Any:
    what = f"{source} has no preprocessor_config.json, or none that transformers can read"
    with one_line(what, "put the one that comes with the network there, as it says how images are scaled"):
        # Of the two ways to scale, that which rounds the same on every machine.
        return AutoImageProcessor.from_pretrained(path, backend="pil", trust_remote_code=False)


@contextlib.contextmanager
def _reading(source: str) -> Iterator[None]:
    """Turn what transformers raises for a source that is no vision model into one clear line."""
    with one_line(f"cannot take features from {source!r}", _INSTEAD), no_pickles(source):
        yield
