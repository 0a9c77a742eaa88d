"""Labelled images: of folders that name their class, or of the rows of a data set."""

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps

from tombola.foundations.errors import TombolaError, reason
from tombola.tasks.data.columns import Column, cell, column_names
from tombola.tasks.data.corpus import class_names, records, row_in

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"})
"""Files that are taken for images."""
_IMAGES, _LABELS = ("image", "img", "pixel_values"), ("label", "labels", "fine_label", "class")
_TRAIN, _DEV = ("train", "training"), ("dev", "val", "valid", "validation", "test")

Source = Path | bytes | Image.Image
"""A file, what stands in one, or an image that is decoded already."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of a split, which are decoded when they are needed, and their classes, int64 [n]."""

    sources: tuple[Source, ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sources)

    def select(self, indices: ArrayLike) -> Self:
        """Images at `indices` (int [k]), in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return type(self)(tuple(self.sources[i] for i in chosen), self.labels[chosen])

    def texts(self) -> Iterator[bytes]:
        """Digest of every image as it is stored."""
        for source in self.sources:
            try:
                stored = source.read_bytes() if isinstance(source, Path) else source
                stored = stored if isinstance(stored, bytes) else repr(stored.size).encode() + stored.tobytes()
            except OSError:
                # It is told of when it is to be looked at.
                stored = repr(source).encode()
            yield hashlib.sha256(stored).digest()

    def strata(self) -> list[int]:
        """Class of every image."""
        return [*map(int, self.labels)]

    def image(self, index: int) -> Image.Image:
        """Image in RGB, upright where its camera says what is up; a TombolaError if it cannot be read."""
        source = self.sources[index]
        try:
            opened = io.BytesIO(source) if isinstance(source, bytes) else source
            image = opened if isinstance(opened, Image.Image) else Image.open(opened)
            return ImageOps.exif_transpose(image).convert("RGB")
        # Pillow raises anything for what is no picture.
        except Exception as error:
            what = str(source) if isinstance(source, Path) else f"image {index} (the first is 0)"
            raise TombolaError(f"cannot read {what} ({reason(error, 80)}); remove or replace it") from error


def is_image_folder(folder: Path) -> bool:
    """True if a folder has images in folders of classes, at once or under one of training images."""
    found = _splits(folder) if folder.is_dir() else {}
    return any(_files(sub) for home in found.values() for sub in home.iterdir() if sub.is_dir())


def folder_rows(folder: Path) -> dict[str, list[dict[str, object]]]:
    """Rows of a folder of images, `train` and, where there is one, `dev`: each has `image`, a path, and `label`.

    The layout is that of `imagefolder` and torchvision: `train/CLASS/FILE` and `validation/CLASS/FILE` (or `dev`,
    `val`, `test`, the first there is), or `CLASS/FILE`.

    Raises:
        TombolaError: there are no images in folders of classes.
    """
    rows: dict[str, list[dict[str, object]]] = {}
    for split, home in _splits(folder).items():
        classes = sorted(sub for sub in home.iterdir() if sub.is_dir() and not sub.name.startswith("."))
        rows[split] = [{"image": file, "label": sub.name} for sub in classes for file in _files(sub)]
        if not rows[split]:
            raise TombolaError(f"{home} holds no images in folders of classes; put them there as CLASS/FILE")
    return rows


def _splits(folder: Path) -> dict[str, Path]:
    named = {sub.name.casefold(): sub for sub in sorted(folder.iterdir()) if sub.is_dir()}
    train = next((named[name] for name in _TRAIN if name in named), None)
    dev = next((named[name] for name in _DEV if name in named), None)
    if train is None:
        return {"train": folder}
    return {"train": train} if dev is None else {"train": train, "dev": dev}


def _files(folder: Path) -> list[Path]:
    found = (file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and not file.name.startswith("."))
    return sorted(file for file in found if file.is_file())


def read_rows(
    splits: Mapping[str, Any], image: Column, label: Column, *, name: str = "your-data"
) -> tuple[dict[str, LabelledImages], tuple[str, ...]]:
    """Splits of labelled images from rows, and the names of the classes by id.

    Args:
        splits: name → rows: a `datasets.Dataset`, a `pandas.DataFrame`, or dictionaries; `train` says which classes
            there are. An image is one of Pillow's, a path, the bytes of a file, or `{"bytes": ..., "path": ...}`.
        image, label: columns; usual ones are `image` or `img`, and `label`.
        name: of the data, for messages.

    Raises:
        TombolaError: a column is missing, an image is none, or a class has no training image.
    """
    found: dict[str, tuple[list[Source], list[object]]] = {}
    read = {split: records(_undecoded(rows)) for split, rows in splits.items()}
    there = column_names(read["train"])
    columns = image.among(there, "image", _IMAGES, name), label.among(there, "label", _LABELS, name)
    names = class_names(read["train"], columns[1])
    for split, rows in read.items():
        where = row_in(f"{name}, {split}")
        sources, labels = list[Source](), list[object]()
        for index, row in enumerate(rows):
            sources.append(_source(cell(row, columns[0], where(index)), where(index)))
            labels.append(cell(row, columns[1], where(index)))
        if not sources:
            raise TombolaError(f"the {split} split of {name} is empty; give it at least one labelled image")
        found[split] = sources, labels
    known = names or tuple(sorted({str(one) for one in found["train"][1]}, key=_order))
    ids: dict[object, int] = {one: place for place, one in enumerate(known)}
    if names is not None:
        ids |= {place: place for place in range(len(names))}
    made = {}
    for split, (sources, labels) in found.items():
        given = [ids.get(one if names is not None else str(one), -1) for one in labels]
        if -1 in given:
            index = given.index(-1)
            place = row_in(f"{name}, {split}")(index)
            raise TombolaError(
                f"{place}: label {labels[index]!r} is unknown in training; known: {', '.join(known[:10])}"
            )
        made[split] = LabelledImages(tuple(sources), np.array(given, dtype=np.int64))
    seen = np.unique(made["train"].labels)
    if len(seen) < 2:
        raise TombolaError(f"the training images of {name} are of one class alone; training needs two or more")
    for split, images in made.items():
        if len(unseen := np.setdiff1d(images.labels, seen)):
            raise TombolaError(
                f"the {split} split of {name} has the class {known[unseen[0]]!r}, of which there is no training image; "
                "add some, or drop it"
            )
    return made, known


def _undecoded(rows: Any) -> Any:
    """Rows of a `datasets.Dataset` with their images as files: all of them decoded would fill the memory."""
    columns = [name for name, of in (getattr(rows, "features", None) or {}).items() if type(of).__name__ == "Image"]
    for column in columns:
        from datasets import Image as Undecoded

        rows = rows.cast_column(column, Undecoded(decode=False))
    return rows


def _source(value: object, where: str) -> Source:
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str | os.PathLike):
        return Path(value).expanduser()
    if isinstance(value, bytes | Image.Image):
        return value
    raise TombolaError(f"{where} has {str(value)[:40]!r} where an image should be: a path, bytes, or one of Pillow's")


def _order(label: str) -> tuple[bool, int, str]:
    return not label.isdecimal(), int(label) if label.isdecimal() else 0, label
