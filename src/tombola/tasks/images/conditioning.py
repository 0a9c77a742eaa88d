"""Conditioning of a denoiser by its pipeline: images become latents and back, with an empty text or no class.

A denoiser fits if it takes the images' channels and sides, and if it is known what else it draws from.
"""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import diffusers
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from diffusers.utils import logging
from torch import Tensor, nn

from tombola.architectures.denoisers import DENOISER_CLASSES, class_of_denoiser
from tombola.checkpoints import denoisers
from tombola.checkpoints.denoisers import Schedule, index_of
from tombola.checkpoints.loading import quiet
from tombola.checkpoints.refusals import refuse_pickles
from tombola.checkpoints.shrunk_folder import shrunk_parts
from tombola.foundations.errors import TombolaError

_VAE = "vae"
"""Name of the VAE in pipelines; also the subfolder."""
_READERS = ("tokenizer", "text_encoder")
"""First part of the names of parts that read a text."""
_PIXELS = 2**20
"""Pixels that the VAE sees at a time: activations of a large image take gigabytes."""
_TEXT = {
    "UNet2DConditionModel": ("StableDiffusionPipeline", "StableDiffusionXLPipeline"),
    "PixArtTransformer2DModel": ("PixArtAlphaPipeline", "PixArtSigmaPipeline"),
    "SD3Transformer2DModel": ("StableDiffusion3Pipeline",),
    "FluxTransformer2DModel": ("FluxPipeline",),
}
"""Class of a denoiser that draws from a text → pipelines whose way to read one is known."""
_SHARED = (
    *("in_channels", "out_channels", "sample_size"),
    *("cross_attention_dim", "caption_channels", "joint_attention_dim", "pooled_projection_dim"),
    *("addition_embed_type", "addition_time_embed_dim", "projection_class_embeddings_input_dim"),
    *("num_embeds_ada_norm", "guidance_embeds", "use_additional_conditions"),
)
"""Settings of denoisers that decide what a pipeline gives them, and what it takes from them."""
_NEEDS_MORE = ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type")
"""Settings of U-nets that ask for more than a text."""


@dataclass(frozen=True)
class LatentConditioning:
    """VAE (None for a denoiser of pixels) and further arguments of a denoiser, for one example; by default neither."""

    vae: AutoencoderKL | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    """Tensors [1, ...], None, or mappings of such."""

    def shape(self, images: Sequence[int]) -> tuple[int, int, int]:
        """Channels, height and width of what the denoiser sees of such images; a TombolaError if the VAE takes none."""
        channels, height, width = images
        if self.vae is None:
            return channels, height, width
        config, factor = self.vae.config, _factor(self.vae.config)
        if channels != config["in_channels"]:
            raise TombolaError(f"the images have {channels} channels, the pipeline's VAE takes {config['in_channels']}")
        if height % factor or width % factor:
            raise TombolaError(
                f"images of {width} x {height} pixels do not fit into the pipeline's VAE; their sides must be "
                f"multiples of {factor}"
            )
        return config["latent_channels"], height // factor, width // factor

    def encode(self, images: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Latents of images, fp32 from -1 to 1, both [n, channels, height, width] on the CPU; computed on the device.

        The mean of the VAE's posterior in units in which latents vary by about 1 (Rombach et al. 2022, appendix G).
        """
        if self.vae is None:
            return images
        shift, scale = _units(self.vae)
        vae = self.vae.to(device)
        at_once = max(1, _PIXELS // images[0, 0].numel())
        with torch.no_grad(), torch.autocast(torch.device(device).type, enabled=False):
            parts = [vae.encode(part.to(device)).latent_dist.mode().cpu() for part in images.split(at_once)]
        self.vae.to("cpu")
        return (torch.cat(parts) - shift) * scale

    def decode(self, latents: Tensor) -> Tensor:
        """Images, fp32 from -1 to 1 [n, channels, height, width] on the latents' device, without gradients."""
        if self.vae is None:
            return latents.clamp(-1, 1)
        shift, scale = (one.to(latents.device) for one in _units(self.vae))
        vae = self.vae.to(latents.device)
        at_once = max(1, _PIXELS // (latents[0, 0].numel() * _factor(vae.config) ** 2))
        # In 16 bits the VAE of Stable Diffusion XL overflows.
        with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
            parts = [vae.decode(part / scale + shift).sample for part in latents.float().split(at_once)]
        return torch.cat(parts).clamp(-1, 1)

    def condition(self, batch: int, device: torch.device) -> dict[str, Any]:
        """The further arguments of the denoiser for a batch of so many examples."""
        return {name: _repeated(value, batch, device) for name, value in self.given.items()}


def images_of(source: str, pipeline: str | None = None) -> tuple[int, int | None]:
    """Channels and side (None where that is not said) of what a source draws, in pixels, from configurations alone.

    Args:
        source: folder or hub id of a pipeline, or of a denoiser by itself.
        pipeline: the one to stand around the denoiser, where it is not the source itself.

    Raises:
        TombolaError: it cannot be read, is not known to draw images by itself, or does not fit into the pipeline.
    """
    seen, kind = denoisers.config_of(source), denoisers.class_of(source).__name__
    _check_class(kind, seen)
    # Of another shape than a square it is a list.
    size = seen.get("sample_size")
    side = size if isinstance(size, int) else None
    if pipeline is not None:
        _check_fit(source, pipeline)
        source = pipeline
    if not DENOISER_CLASSES[kind].conditional:
        return int(seen.get("in_channels", 3)), side
    index = index_of(source)
    if index is None:
        raise TombolaError(
            f"{source} is a {kind} without its pipeline, whose VAE and condition the task of images needs; give the "
            "folder or hub id of the whole pipeline as --pipeline"
        )
    made = index.get(_VAE, [None, None])[1]
    if made != "AutoencoderKL":
        raise TombolaError(
            f"the pipeline {source} has {f'a {made} as' if made else 'no'} VAE; the task of images needs an "
            f"AutoencoderKL around a {kind}"
        )
    known = _TEXT.get(kind)
    if known is not None and index.get("_class_name") not in known:
        raise TombolaError(
            f"{source} is a {index.get('_class_name')}, of which it is not known how it reads a text; around a {kind} "
            f"Tombola knows {' and '.join(known)}"
        )
    missing = [name for name, part in index.items() if name.startswith(_READERS) and part[0] is None]
    if known is not None and missing:
        raise TombolaError(f"the pipeline {source} has no {' or '.join(missing)}, without which it reads no text")
    with denoisers.reading(source):
        config = AutoencoderKL.load_config(source, subfolder=_VAE)
        return int(config["in_channels"]), None if side is None else side * _factor(config)


def _check_fit(source: str, pipeline: str) -> None:
    """Raise a TombolaError unless a denoiser could stand where the pipeline has its own."""
    if index_of(pipeline) is None:
        raise TombolaError(
            f"{pipeline} is no pipeline of diffusers that can be read: it has no model_index.json; give the folder or "
            "hub id of the whole pipeline as --pipeline"
        )
    kind, its_kind = denoisers.class_of(source), denoisers.class_of(pipeline)
    if kind is not its_kind:
        raise TombolaError(
            f"{source} is a {kind.__name__}, the pipeline {pipeline} is of a {its_kind.__name__}; give the pipeline "
            "that the model was made from"
        )
    # Files leave out what was the default when they were written.
    defaults = {name: one.default for name, one in inspect.signature(kind).parameters.items()}
    mine, its = ({**defaults, **denoisers.config_of(one)} for one in (source, pipeline))
    for name in _SHARED:
        a, b = (list(one) if isinstance(one, tuple) else one for one in (mine.get(name), its.get(name)))
        if a != b:
            raise TombolaError(
                f"{source} does not fit into the pipeline {pipeline}: its {name} is {a}, the pipeline's {b}; give the "
                "pipeline that the model was made from"
            )


def _check_class(name: str, config: Mapping[str, Any]) -> None:
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
    """The model, or a TombolaError unless it is known to denoise images, or latents, of this size and such noise."""
    name, config = type(model).__name__, cast(Mapping[str, Any], model.config)
    _check_class(name, config)
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


def load_conditioning(source: str, size: tuple[int, int], pipeline: str | None = None) -> LatentConditioning:
    """Load what stands around the denoiser of a pipeline, on the CPU: its VAE, and its empty text or the class of none.

    Args:
        source, pipeline: as in `images_of`. Text encoders are read, asked once, and let go.
        size: height and width of the images in pixels.
    """
    kind = denoisers.class_of(source).__name__
    if not DENOISER_CLASSES[kind].conditional:
        return LatentConditioning()
    source = pipeline or source
    refuse_pickles(source, Path(source).expanduser())
    # Parts are missing on purpose, which diffusers warns of.
    with denoisers.reading(source), quiet(logging), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        # The other formats are pickles.
        options = {"subfolder": _VAE, "use_safetensors": True, "torch_dtype": torch.float32}
        vae = cast(AutoencoderKL, cast(Any, AutoencoderKL).from_pretrained(source, **options))
        if kind in _TEXT:
            given = _of_no_text(source, size)
        else:
            # The class of none comes after all others (Ho, Salimans 2022).
            given = {"class_labels": torch.tensor([denoisers.config_of(source)["num_embeds_ada_norm"]])}
    return LatentConditioning(vae.eval().requires_grad_(False), given)


def _of_no_text(source: str, size: tuple[int, int]) -> Mapping[str, Any]:
    """Condition of the denoiser of a pipeline for no text: what its guidance compares with."""
    index = index_of(source) or {}
    name = index["_class_name"]
    # Parts that read no text stay where they are.
    others: dict[str, Any] = {
        part: None for part, value in index.items() if not part.startswith(("_", *_READERS)) and isinstance(value, list)
    }
    # What was shrunk fits no configuration; it is opened first.
    others |= {part: model.float() for part, model in shrunk_parts(Path(source).expanduser(), "text_encoder").items()}
    pipeline = getattr(diffusers, name).from_pretrained(
        source, use_safetensors=True, trust_remote_code=False, torch_dtype=torch.float32, **others
    )
    with torch.no_grad():
        if name == "StableDiffusionPipeline":
            text, _ = pipeline.encode_prompt("", "cpu", 1, False)
            return {"encoder_hidden_states": text}
        if name.startswith("PixArt"):
            text, mask, _, _ = pipeline.encode_prompt("", do_classifier_free_guidance=False, device="cpu")
            given = {"encoder_hidden_states": text, "encoder_attention_mask": mask}
            return {**given, "added_cond_kwargs": _sizes(denoisers.config_of(source), size)}
        if name == "StableDiffusion3Pipeline":
            text, _, pooled, _ = pipeline.encode_prompt("", "", "", do_classifier_free_guidance=False, device="cpu")
            return {"encoder_hidden_states": text, "pooled_projections": pooled}
        if name == "FluxPipeline":
            text, pooled, _ = pipeline.encode_prompt("", device="cpu")
            # A guidance of 1 is none.
            guided = {"guidance": torch.ones(1)} if denoisers.config_of(source)["guidance_embeds"] else {}
            return {"encoder_hidden_states": text, "pooled_projections": pooled, **guided}
        # Zeros, where it was trained so.
        _, text, _, pooled = pipeline.encode_prompt("", device="cpu")
    # The original size, where the crop begins, and the size that is asked for.
    times = torch.tensor([[*size, 0, 0, *size]], dtype=torch.float32)
    return {"encoder_hidden_states": text, "added_cond_kwargs": {"text_embeds": pooled, "time_ids": times}}


def _sizes(config: Mapping[str, Any], size: tuple[int, int]) -> Mapping[str, Tensor | None]:
    """Condition of PixArt for the size of images."""
    told = config.get("use_additional_conditions")
    if told is None:
        told = config["sample_size"] == 128
    if not told:
        return {"resolution": None, "aspect_ratio": None}
    return {"resolution": torch.tensor([size]).float(), "aspect_ratio": torch.tensor([[size[0] / size[1]]])}


def _factor(config: Mapping[str, Any]) -> int:
    """Pixels a side of what becomes one value of a latent."""
    return int(2 ** (len(config["block_out_channels"]) - 1))


def _units(vae: AutoencoderKL) -> tuple[Tensor, Tensor]:
    """Shift and scale of the VAE's latents, fp32 [1, channels or 1, 1, 1]."""
    config = cast(Mapping[str, Any], vae.config)
    shift = config.get("latents_mean") or [config.get("shift_factor") or 0.0]
    deviation = config.get("latents_std") or [1.0]
    scale = config["scaling_factor"] / torch.tensor(deviation, dtype=torch.float32)
    return torch.tensor(shift, dtype=torch.float32).view(1, -1, 1, 1), scale.view(1, -1, 1, 1)


def _repeated(value: Any, batch: int, device: torch.device) -> Any:
    if isinstance(value, Mapping):
        return {name: _repeated(part, batch, device) for name, part in value.items()}
    return value if value is None else value.to(device).expand(batch, *value.shape[1:])
