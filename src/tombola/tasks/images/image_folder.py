"""A folder of one's own images as the task of a denoiser: read, checked, split by content."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tombola.checkpoints.denoisers import SCHEDULE, schedule_of
from tombola.foundations import resources
from tombola.foundations.errors import TombolaError, reason
from tombola.foundations.plurals import plural
from tombola.tasks.images.conditioning import images_of, load_conditioning
from tombola.tasks.images.features import Classifier, FeatureSpace, PretrainedNetwork, RandomConvolutions
from tombola.tasks.images.task import Images, ImageTask, ImageTaskOptions

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"})
"""Files that are taken for images; of an animation the first picture counts."""
_MODES = {1: "L", 3: "RGB"}
"""Channels of the model → Pillow's name of such images."""
_HELD_OUT = 0.2
_TRAIN, _DEV = ("train", "training"), ("dev", "val", "valid", "validation", "test")


def image_folder(
    folder: Path,
    model: str,
    *,
    size: int | None = None,
    feature_model: str | None = None,
    pipeline: str | None = None,
    held_out: Callable[[int, int], int | None] = lambda train, dev: None,
    **options: Any,
) -> ImageTask:
    """The task of a folder of images and the denoiser that draws such images.

    Args:
        folder: see `read`.
        model: source of the denoiser: its configuration says channels and size, its pipeline the noise, and, of one of
            latents, the VAE and what it is given for no text or class.
        size: scale and crop the images to squares of so many pixels; by default they must be of the model's size.
        feature_model: source of a vision network in whose space images are compared, see
            [`PretrainedNetwork`][tombola.tasks.images.features.PretrainedNetwork]; by default see `features`.
        pipeline: what stands around a model that is a denoiser by itself: source of the pipeline that gives VAE and
            condition, and the noise where the model comes with none.
        held_out: training images to hold out for the search, where there are so many training and held-out ones.
        options: other fields of [`ImageTaskOptions`][tombola.tasks.images.task.ImageTaskOptions].

    Raises:
        TombolaError: the folder or the model does not fit, or there are too few images.
    """
    channels, side = images_of(model, pipeline)
    train, dev = read(folder, channels=channels, size=size)
    height, width = train.pixels.shape[2:]
    if size is None and side is not None and (height, width) != (side, side):
        raise TombolaError(
            f"the images of {folder} are {width} x {height} pixels, the model draws {side} x {side}; scale and crop "
            f"them with --image-size {side}"
        )
    schedule = schedule_of(model, trusted=True)
    if schedule is None and pipeline is not None:
        schedule = schedule_of(pipeline, trusted=True)
    conditioning = load_conditioning(model, (height, width), pipeline)
    # Before a classifier is trained.
    conditioning.shape(train.pixels.shape[1:])
    if conditioning.vae is not None and schedule is None:
        raise TombolaError(
            f"the pipeline {pipeline or model} has no {SCHEDULE}, which says what noise it was trained on"
        )
    space = (
        features(train, dev)
        if feature_model is None
        else PretrainedNetwork(feature_model, train.pixels, device=options.get("device", "cpu"))
    )
    options |= {"search_rows": held_out(len(train), len(dev)), "title": folder.resolve().name}
    return ImageTask(train, dev, space, ImageTaskOptions(schedule=schedule, conditioning=conditioning, **options))


def features(train: Images, dev: Images) -> FeatureSpace:
    """A space to compare images in that needs no download: a classifier's where they have classes, else a random one.

    Distances of other spaces, published ones (Inception's FID) among them, cannot be compared with either.
    """
    if train.labels is None:
        return RandomConvolutions(train.pixels)
    space = Classifier.train(train.pixels, train.labels)
    assert dev.labels is not None
    right = space.classify(space(dev.pixels).numpy()) == dev.labels.numpy()
    # A classifier that knows little is a space that says little.
    space.name = f"{Classifier.name}, right for {100 * right.mean():.0f} % of the held-out ones"
    return space


def read(folder: Path, *, channels: int, size: int | None = None) -> tuple[Images, Images]:
    """Training and held-out images of a folder.

    Images in subfolders have the class that the subfolder names (the convention of torchvision's `ImageFolder`). Where
    the subfolders are called `train` and `dev` (`val`, `validation`, `test`), they are the splits. Else a fifth is
    held out, chosen by the pixels: two copies of an image are always on the same side, and names do not matter.

    Args:
        folder: of PNG, JPEG, WebP, GIF, TIFF, BMP, PPM files; hidden ones and others are left alone.
        channels: 1 for grey, 3 for colours; images are converted. What is transparent is seen on white.
        size: scale the shorter side to so many pixels, and crop the middle.

    Raises:
        TombolaError: there is no such folder, it holds no images, some cannot be read or differ in size, or they do
            not fit into memory.
    """
    if channels not in _MODES:
        raise TombolaError(
            f"the model draws images of {channels} channels; a folder of images gives 1 (grey) or 3 (RGB)"
        )
    if not folder.is_dir():
        raise TombolaError(f"{folder} is no folder; give the folder of your images as --data")
    paths = _images_in(folder)
    if not paths:
        raise TombolaError(f"{folder} holds no images; Tombola reads {', '.join(sorted(ENDINGS))}")
    parts = [path.relative_to(folder).parts for path in paths]
    splits = _split_folders({part[0] for part in parts if len(part) > 1}, all(len(part) > 1 for part in parts))
    at = 0 if splits is None else 1
    classes = _classes([part[at:-1] for part in parts], folder)
    found = sorted(_decoded(paths, classes, channels, size), key=lambda one: one.digest)
    if splits is None:
        digests = sorted({one.digest for one in found})
        held_out = set(digests[: max(1, round(_HELD_OUT * len(digests)))])
        sides = ["dev" if one.digest in held_out else "train" for one in found]
    else:
        # Of several folders of held-out images one judges.
        names = dict(zip(splits, ("train", "dev"), strict=True))
        sides = [names.get(one.path.relative_to(folder).parts[0], "") for one in found]
    if "train" not in sides:
        differ = len({one.digest for one in found})
        raise TombolaError(f"{folder} holds {plural(differ, 'different image')}, too few to train and to judge on")
    train, dev = ([one for one, side in zip(found, sides, strict=True) if side == of] for of in ("train", "dev"))
    return _joined(train), _joined(dev)


@dataclass(frozen=True)
class _Decoded:
    """Image of a folder: where it is, its pixels, uint8 [channels, height, width], their digest, and its class."""

    path: Path
    pixels: NDArray[np.uint8]
    digest: str
    label: int | None


def _images_in(folder: Path) -> list[Path]:
    found = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ENDINGS and path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _split_folders(names: set[str], all_inside: bool) -> tuple[str, str] | None:
    """The subfolders that are training and held-out images; None where there are no such."""
    train = [name for name in names if name.lower() in _TRAIN]
    dev = sorted((name for name in names if name.lower() in _DEV), key=lambda name: _DEV.index(name.lower()))
    if not all_inside or len(train) != 1 or not dev or names - {*train, *dev}:
        return None
    return train[0], dev[0]


def _classes(inside: Sequence[tuple[str, ...]], folder: Path) -> list[int | None]:
    """The class of every image, by the first folder that it is in; None of each where there are fewer than two."""
    if any(inside) and not all(inside):
        raise TombolaError(
            f"{folder} holds images both beside its subfolders and inside of them; put each into the subfolder of "
            "its class, or all into one folder"
        )
    names = sorted({part for parts in inside for part in parts[:1]})
    return [names.index(parts[0]) if len(names) > 1 else None for parts in inside]


def _decoded(
    paths: Sequence[Path], classes: Sequence[int | None], channels: int, size: int | None
) -> Iterator[_Decoded]:
    broken: list[str] = []
    sizes: dict[tuple[int, int], Path] = {}
    for path, label in zip(paths, classes, strict=True):
        try:
            pixels = _pixels(path, channels, size)
        # Pillow raises anything for what is no picture.
        except Exception as error:
            broken.append(f"{path} ({reason(error, 80)})")
            continue
        height, width = pixels.shape[1:]
        if not sizes:
            needed = len(paths) * pixels.size * 4
            # Half for all the rest: features, the network, its gradients.
            if needed > resources.memory() / 2:
                raise TombolaError(
                    f"{len(paths):,} images of {width} x {height} pixels take {needed / 1e9:.1f} GB, more than half of "
                    "this machine's memory; give fewer, or smaller ones by --image-size"
                )
        sizes.setdefault((width, height), path)
        if len(sizes) > 1:
            found = " and ".join(f"{w} x {h} ({one.name})" for (w, h), one in sizes.items())
            raise TombolaError(f"the images differ in size: {found}; scale and crop them with --image-size PIXELS")
        yield _Decoded(path, pixels, hashlib.sha256(pixels.tobytes()).hexdigest(), label)
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise TombolaError(f"cannot read {', '.join(broken[:3])}{more}; remove or replace these files")


def _pixels(path: Path, channels: int, size: int | None) -> NDArray[np.uint8]:
    with Image.open(path) as file:
        image: Image.Image = ImageOps.exif_transpose(file)
        if image.mode == "F":
            raise ValueError("its pixels are floats of an unknown range")
        if image.mode.startswith("I"):
            # Pillow would cut 16 bits off at 255.
            image = Image.fromarray((np.asarray(image, dtype=np.float64) / 257).clip(0, 255).astype(np.uint8))
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        image = image.convert(_MODES[channels])
        if size is not None and image.size != (size, size):
            image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
        values = np.asarray(image, dtype=np.uint8)
    return np.ascontiguousarray(values[None] if channels == 1 else values.transpose(2, 0, 1))


def _joined(images: Sequence[_Decoded]) -> Images:
    pixels = torch.from_numpy(np.stack([one.pixels for one in images])).float() / 127.5 - 1
    labels = [one.label for one in images if one.label is not None]
    return Images(pixels, torch.tensor(labels) if labels else None)
