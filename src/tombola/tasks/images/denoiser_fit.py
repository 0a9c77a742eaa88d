"""Fit of a denoiser to images: their channels and sides, and whether it is known what else it draws from."""

from collections.abc import Mapping
from typing import Any, cast

from diffusers import FlowMatchEulerDiscreteScheduler
from torch import nn

from tombola.architectures.denoisers import DENOISER_CLASSES, class_of_denoiser
from tombola.checkpoints.denoisers import Schedule
from tombola.foundations.errors import TombolaError

_NEEDS_MORE = ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type")
"""Settings of U-nets that ask for more than a text."""


def check_class(name: str, config: Mapping[str, Any]) -> None:
    """Raise a TombolaError unless the task of images knows all that such a denoiser draws from."""
    if name not in DENOISER_CLASSES:
        raise TombolaError(f"a {name} is not pruned on images; {', '.join(DENOISER_CLASSES)} are")
    if DENOISER_CLASSES[name].part != "unet":
        return
    more = [setting for setting in _NEEDS_MORE if config.get(setting) is not None]
    if config.get("addition_embed_type") not in (None, "text_time"):
        more.append("addition_embed_type")
    if more:
        raise TombolaError(
            f"this {name} draws from a class or picture ({more[0]} {config[more[0]]!r}), which the task of images does "
            "not have; give one without"
        )


def check(model: nn.Module, channels: int, size: tuple[int, int], schedule: Schedule) -> nn.Module:
    """The model of diffusers, if it denoises images, or latents, of such channels, height and width, and such noise.

    Raises:
        TombolaError: it does not, or it is not known what else it needs.
    """
    name, config = type(model).__name__, cast(Mapping[str, Any], model.config)
    check_class(name, config)
    known = class_of_denoiser(model)
    what = "latents" if known.conditional else "images"
    unets = "block_out_channels" in config
    # Transformers may also say how sure they are.
    gives = (channels,) if unets else (channels, 2 * channels)
    # The squares that are its tokens.
    packed = 4 if known.packed else 1
    takes, found = config["in_channels"] / packed, (config["out_channels"] or config["in_channels"]) / packed
    if takes != channels or found not in gives:
        raise TombolaError(
            f"the {what} have {channels} channels, the {name} takes {takes:g} and gives {found:g}; give images or a "
            "model of the other's kind"
        )
    halvings = len(config["block_out_channels"]) - 1 if unets else 0
    least = 2**halvings if unets else 2 if packed > 1 else config["patch_size"]
    if size[0] % least or size[1] % least:
        why = f"halves them {halvings} times" if unets else f"cuts them into patches of {least} x {least}"
        raise TombolaError(
            f"{what} of {size[0]} x {size[1]} pixels do not fit into a {name} that {why}; their sides must be "
            f"multiples of {least}"
        )
    if known.square and size[0] != size[1]:
        raise TombolaError(f"{what} of {size[0]} x {size[1]} pixels do not fit into a {name}, which draws squares")
    most = config.get("pos_embed_max_size")
    if most is not None and max(size) > most * least:
        raise TombolaError(f"{what} of {size[0]} x {size[1]} pixels are larger than the {most * least} of a {name}")
    if isinstance(schedule, FlowMatchEulerDiscreteScheduler) != known.flow:
        raise TombolaError(f"the schedule, a {type(schedule).__name__}, is not that of a {name}")
    if not known.flow and schedule.config.prediction_type not in ("epsilon", "v_prediction"):
        raise TombolaError(f"a denoiser that predicts {schedule.config.prediction_type!r} is not known")
    return model
