"""Denoisers as a regime: of digits trained from nothing, or of one's own images, judged by what they draw."""

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

from typing_extensions import override

from tombola.foundations.errors import TombolaError
from tombola.foundations.settings import Count, Text, described, settings
from tombola.tasks.images.presets import DIGITS, IMAGES
from tombola.tasks.regime import Regime, RegimeSettings, TaskOptions, changed, need

if TYPE_CHECKING:
    from tombola.tasks.base import Task

_GROUP = "images"
_setting = described(_GROUP)


@settings
class ImageSettings(RegimeSettings):
    """Images of one's own, and what stands around a denoiser."""

    files = ("data", "feature_model", "pipeline")

    data: Annotated[Text | None, _setting("folder of your images")] = None
    image_size: Annotated[
        Count | None,
        _setting("scale and crop your images to squares of so many pixels"),
    ] = None
    feature_model: Annotated[
        Text | None,
        _setting("compare your images in the space of this vision network (CLIP, DINOv2, ...): folder or hub id"),
    ] = None
    pipeline: Annotated[
        Text | None,
        _setting("what stands around a --model that is a denoiser by itself: folder or hub id of its pipeline"),
    ] = None


class ImageRegime(Regime):
    """Denoisers."""

    name = "images"
    subject = "denoisers (the tasks digits and images)"
    judges = "what is drawn"
    presets = MappingProxyType({"digits": DIGITS, "images": IMAGES})
    settings = ImageSettings
    group = _GROUP
    help = "Of the task images, with --data FOLDER of your own; the task digits brings its own images and denoiser."
    unfit = MappingProxyType(
        {
            "text-generation": "text generation is of language models",
            **{name: f"{name} is asked of models of text" for name in ("attention", "interactions", "representations")},
        }
    )

    @override
    def check(self, options: TaskOptions, own: ImageSettings) -> None:
        if options.task == "images":
            need(own, "data", options.task, "the folder of your images")
        elif names := changed(own, ("data", "image_size", "feature_model", "pipeline")):
            raise TombolaError(f"{names[0]} is for the task images, not for {options.task!r}")

    @override
    def open(self, options: TaskOptions, own: ImageSettings, name: str) -> "Task":
        # Diffusers takes seconds to import, which no other task should wait for.
        if options.task == "digits":
            from tombola.tasks.images import digits

            return digits.digits(
                train_rows=options.train_rows,
                dev_rows=options.dev_rows,
                search_rows=options.held_out(digits.TRAIN, digits.HELD_OUT),
            )
        from tombola.foundations.precision import resolve_device
        from tombola.tasks.images.image_folder import image_folder

        assert own.data is not None
        return image_folder(
            Path(own.data).expanduser(),
            options.model,
            size=own.image_size,
            feature_model=own.feature_model,
            pipeline=own.pipeline,
            device=resolve_device(options.device).type,
            train_rows=options.train_rows,
            dev_rows=options.dev_rows,
            held_out=options.search_split == "train",
            search_rows=options.search_rows,
        )


REGIME = ImageRegime()
