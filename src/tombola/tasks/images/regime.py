"""Denoisers as a regime: of digits trained from nothing, or of one's own images, judged by what they draw."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from typing_extensions import override

from tombola.checkpoints.sources import check_diffusers
from tombola.foundations.errors import TombolaError, check_folder
from tombola.foundations.settings import Count, Text, described, settings
from tombola.tasks.images.digit_networks import PRESETS
from tombola.tasks.regime import Preset, Regime, RegimeSettings, TaskOptions, changed

if TYPE_CHECKING:
    from tombola.tasks.base import Task

_DIGITS: Preset = MappingProxyType(
    {
        "methods": ("heads+channels", "weights"),
        "iterative": True,
        "rewind": "init",
        "refine": False,
        "curve_until": 0.05,
        "batch_size": 64,
        "warmup_ratio": 0.07,
        "precision": "fp32",
        "analyses": ("survivors", "random-curve"),
    }
)
DIGITS: Mapping[str, Preset] = MappingProxyType(
    {
        "quick": {
            **_DIGITS,
            "model": "unet-16-32",
            "epochs": 53,
            "learning_rate": 2e-3,
            "sparsities": (0.5, 0.74, 0.83, 0.89, 0.95),
            # Every cut costs a training.
            "heads_step": 0.2,
            "neurons_step": 0.2,
        },
        "paper": {
            **_DIGITS,
            "model": "unet-32-64",
            "epochs": 79,
            "learning_rate": 1.5e-3,
            # A fifth of the rest each time, as Frankle and Carbin do.
            "sparsities": tuple(round(1 - 0.8**rounds, 3) for rounds in range(1, 15)),
        },
    }
)
"""`quick`: ten minutes on two cores, a thousand steps a training. `paper`: the larger network for 1,500 steps, up to a
sparsity of 95.6 %."""
_FOLDER: Preset = MappingProxyType(
    {
        "methods": ("heads+channels", "weights"),
        "precision": "fp32",
        "eval_batch_size": 16,
        "batch_size": 16,
        "learning_rate": 1e-4,
        "analyses": ("survivors",),
    }
)
IMAGES: Mapping[str, Preset] = MappingProxyType(
    {"quick": {**_FOLDER, "train_rows": 512, "dev_rows": 128, "epochs": 1}, "paper": _FOLDER}
)
"""`quick`: a sample of the images. What is drawn in 16 bits is another image."""
_GROUP = "images"
_setting = described(_GROUP)


@settings
class ImageSettings(RegimeSettings):
    """Images of one's own, and what stands around a denoiser."""

    files = ("data", "feature_model", "pipeline")

    data: Annotated[Text | None, _setting("folder of your images")] = None
    image_size: Annotated[Count | None, _setting("scale and crop your images to squares of so many pixels")] = None
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
    help = (
        "Of the task images, with --data FOLDER of your own; the task digits brings its own images and denoiser. "
        "The preset quick takes a sample of your images for one epoch, and a small network of digits for 1,000 steps; "
        "paper takes all images, and a larger network for 1,500 steps."
    )
    unused = ("max_length",)
    unfit = MappingProxyType(
        {
            "text-generation": "text generation is of language models",
            **{name: f"{name} is asked of models of text" for name in ("attention", "interactions", "representations")},
        }
    )

    @override
    def check(self, options: TaskOptions, own: ImageSettings) -> None:
        if options.task == "images" and own.data is None:
            raise TombolaError("the task images needs the folder of your images; give it as data (--data DIR)")
        if options.task != "images" and (names := changed(own)):
            raise TombolaError(f"{names[0]} is for the task images, not for {options.task!r}")

    @override
    def check_model(self, options: TaskOptions, own: ImageSettings, source: str, *, trained: bool) -> Mapping[str, Any]:
        if options.task == "digits" and source in PRESETS:
            if trained:
                raise TombolaError(f"{source} is a network without weights; give the folder of a trained one")
            return {}
        if own.data is not None:
            check_folder(Path(own.data).expanduser(), "give the folder of your images as --data")
        return check_diffusers(source)

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
            held_out=options.held_out,
        )


REGIME = ImageRegime()
