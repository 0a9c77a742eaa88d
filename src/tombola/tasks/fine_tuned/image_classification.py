"""Image classification: a class for each image, by ViT and models of transformers like it."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModelForImageClassification
from typing_extensions import override

from tombola.checkpoints import loading
from tombola.checkpoints.sources import IMAGE_PROCESSOR, check_holds
from tombola.foundations import resources
from tombola.foundations.errors import TombolaError, one_line
from tombola.tasks.base import Batch, Output, Predictions
from tombola.tasks.data.columns import Column
from tombola.tasks.data.corpus import given_splits
from tombola.tasks.data.labelled_images import LabelledImages, read_rows
from tombola.tasks.fine_tuned.classes import (
    balanced_weights,
    check_of_one_kind,
    class_order,
    class_output,
    guess_of_classes,
    misread_classes,
    misread_values,
    names_of,
)
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions, FineTunedTask


def image_processor_of(source: str, *, trust_remote_code: bool = False) -> Any:
    """The image processor of a model: asset, local folder or hub id.

    Raises:
        TombolaError: it cannot be found.
    """
    path = loading.locate(source)
    check_holds(path, source, *IMAGE_PROCESSOR)
    with loading.quiet(), loading.loading(source):
        return AutoImageProcessor.from_pretrained(path, trust_remote_code=trust_remote_code)


class ImageClassificationTask(FineTunedTask[LabelledImages]):
    """Images with a class each, scaled as the model's image processor does it, in training too (nothing is augmented).

    Args:
        name: of the data.
        splits: the images, `train`, `dev` and others that judge.
        classes: their names by id.
        processor: of the model, see `image_processor_of`.
        options: metrics, samples, names, and how models are loaded.
    """

    auto = AutoModelForImageClassification
    reader = staticmethod(read_rows)
    preprocessor_of = staticmethod(image_processor_of)
    normalise_layers = False
    unfit = MappingProxyType({"attention": "attention patterns are of the tokens of texts, not of parts of images"})

    def __init__(
        self,
        name: str,
        splits: Mapping[str, LabelledImages],
        classes: Sequence[str],
        processor: Any,
        options: FineTunedOptions | None = None,
    ) -> None:
        super().__init__(name, splits, processor, score="accuracy", options=options or FineTunedOptions())
        self.classes = tuple(classes)
        self.processor = processor
        for one in self.metrics:
            one.check(regression=False, classes=len(classes))
        check_of_one_kind(self.metrics)
        balanced = self._options.class_weights == "balanced"
        self._weights = balanced_weights(self.splits["train"].labels, len(classes)) if balanced else None

    @classmethod
    def from_rows(
        cls,
        train: Iterable[Mapping[str, object]],
        dev: Iterable[Mapping[str, object]] | None,
        processor: Any,
        *,
        image_column: str | None = None,
        label_column: str | None = None,
        name: str = "your-data",
        **options: Any,
    ) -> Self:
        """A task from rows in memory: two `datasets.Dataset` or `pandas.DataFrame`, or lists of dictionaries.

        Args:
            train, dev: the rows: an image, its path, or its file's bytes, and a label. With None for `dev`, `train` may
                be a `DatasetDict` with rows that judge; else a fifth of its rows judge, drawn with seed 0.
            processor: of the model.
            image_column, label_column: names of the columns; by default the usual ones, as on the command line.
            name: of the data.
            options: fields of `FineTunedOptions`.

        Raises:
            TombolaError: a column is missing, an image is none, or a class has no training image.
        """
        columns = Column(image_column, "image_column="), Column(label_column, "label_column=")
        splits, (classes,) = cls.read(given_splits(train, dev), *columns, name=name)
        return cls(name, splits, classes, processor, FineTunedOptions(**options))

    @override
    def facts(self) -> Mapping[str, object]:
        return {**super().facts(), "task_type": "image-classification", "classes": list(self.classes)}

    @override
    def config_options(self) -> dict[str, Any]:
        return names_of(self.classes)

    @override
    def checked(self, model: nn.Module, *, trained: bool = False) -> nn.Module:
        if trained:
            class_order(model, self.classes, self.title)
        config: Any = getattr(model, "config", None)
        channels, *size = self.encoded("dev")[0]["pixel_values"].shape
        wanted = getattr(config, "image_size", None)
        wanted = [wanted, wanted] if isinstance(wanted, int) else list(wanted or size)
        if channels != getattr(config, "num_channels", channels) or size != wanted:
            raise TombolaError(
                f"the model reads images of {config.num_channels} channels and {wanted[1]} x {wanted[0]} pixels, and "
                f"its image processor makes {channels} and {size[1]} x {size[0]}; give the preprocessor_config.json "
                "that it was saved with"
            )
        return super().checked(model, trained=trained)

    @override
    def encode(self, split: str) -> Sequence[Mapping[str, Any]]:
        return _Pixels(self.splits[split], self.processor)

    @override
    def lengths(self, split: str) -> NDArray[np.int64]:
        return np.ones(self.size(split), dtype=np.int64)

    @override
    def collate(self, split: str, indices: NDArray[np.int64]) -> tuple[Mapping[str, Tensor], Tensor]:
        pixels = [self.encoded(split)[int(index)]["pixel_values"] for index in indices]
        return {"pixel_values": torch.stack(pixels)}, torch.from_numpy(self.splits[split].labels[indices])

    @override
    def references(self, split: str) -> Predictions:
        return self.splits[self._split(split)].labels

    @override
    def guess(self, split: str) -> Predictions:
        return guess_of_classes(self.splits["train"].labels, self.metric, self.size(split))

    @override
    def misread(self, predictions: Predictions, split: str) -> str | None:
        references = self.references(split)
        if self.metric.kind == "ranking":
            return misread_values(self.metric, predictions, references, self.title)
        return misread_classes(self.metric, predictions, references, self.classes, self.title)

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        logits: Tensor = model(**batch.inputs).logits.float()
        order = class_order(model, self.classes, self.title)
        if order is not None:
            logits = logits[:, order]
        return class_output(logits, batch.targets, self._weights, self.metric)


class _Pixels(Sequence[Mapping[str, Tensor]]):
    """Pixels of images, [channels, height, width], made when they are asked for and kept where memory allows."""

    def __init__(self, images: LabelledImages, processor: Any) -> None:
        self._images, self._processor = images, processor
        self._kept: dict[int, Mapping[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Tensor]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Tensor]]: ...
    @override
    def __getitem__(self, index: int | slice) -> Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if index in self._kept:
            return self._kept[index]
        with one_line("the image processor cannot read an image", "give a model with its own image processor"):
            pixels: Tensor = self._processor(self._images.image(index), return_tensors="pt")["pixel_values"][0]
        # A pass decodes each image once; a search makes dozens.
        if len(self) * pixels.numel() * 4 < resources.memory() / 8:
            self._kept[index] = {"pixel_values": pixels}
        return {"pixel_values": pixels}
