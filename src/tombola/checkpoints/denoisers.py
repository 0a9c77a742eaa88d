"""Denoisers: the networks of diffusers that predict noise, from a preset, a model's folder or a pipeline's."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import diffusers
import torch
from diffusers import DDIMPipeline, DDPMScheduler, FlowMatchEulerDiscreteScheduler, ModelMixin, UNet2DModel
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tombola.checkpoints.loading import MARK
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError
from tombola.tasks.images.noise import Schedule

PARTS = ("unet", "transformer")
"""Names of the denoiser in pipelines."""
SCHEDULE = "scheduler"
"""Name of the noise schedule in pipelines; also the subfolder."""
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_TOKENS = 77
"""Length of a text that a denoiser is given: CLIP's."""
KNOWN = (
    "UNet2DModel",
    "UNet2DConditionModel",
    "DiTTransformer2DModel",
    "PixArtTransformer2DModel",
    "SD3Transformer2DModel",
    "FluxTransformer2DModel",
)
"""Classes of denoisers."""
UNCONDITIONAL = ("UNet2DModel",)
"""Classes that need nothing but an image and a timestep."""
_FLOWS = ("SD3Transformer2DModel", "FluxTransformer2DModel")
"""Classes that predict the direction of a flow."""
_SQUARE = ("DiTTransformer2DModel",)
"""Classes whose images are as high as they are wide."""
_NEEDS_MORE = ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type")
"""Settings of U-nets that ask for more than a text."""


@dataclass(frozen=True)
class Preset:
    """A denoiser that can be made without any files.

    Attributes:
        kind: name of a class of diffusers.
        config: its arguments.
    """

    kind: str
    config: Mapping[str, Any]

    def make(self) -> nn.Module:
        """The denoiser with random weights, from PyTorch's own generator."""
        return cast(nn.Module, getattr(diffusers, self.kind)(**self.config))


def load(source: str, *, weights: bool = True, dtype: torch.dtype | None = torch.float32) -> nn.Module:
    """The denoiser in a folder or at a hub id, on the CPU: of a pipeline, or a model by itself.

    Args:
        source: local folder or hub id.
        weights: read them; else the network is initialised at random, from PyTorch's own generator.
        dtype: of the parameters; None for that of the file.

    Raises:
        TombolaError: there is none, it cannot be read, or its class cannot be pruned.
    """
    part = _part(source)
    if (Path(source).expanduser() / (part or "") / MARK).is_file():
        raise TombolaError(
            f"{source} was shrunk already; give the model that it was made from (tombola.load opens the shrunk one)"
        )
    with reading(source):
        kind, config = _described(source, part)
        if not weights:
            return cast(nn.Module, kind.from_config(config))
        # The other formats are pickles.
        options = {"subfolder": part, "use_safetensors": True}
        model = kind.from_pretrained(source, torch_dtype=dtype or torch.float32, **options)
        if dtype is None and (stored := _stored_dtype(source, part)) != torch.float32:
            model = kind.from_pretrained(source, torch_dtype=stored, **options)
        return cast(nn.Module, model)


def class_of(source: str) -> type[nn.Module]:
    """The class of the denoiser in a folder or at a hub id.

    Raises:
        TombolaError: there is none, or it cannot be read.
    """
    with reading(source):
        return cast(type[nn.Module], _described(source, _part(source))[0])


def config_of(source: str) -> Mapping[str, Any]:
    """The configuration of the denoiser in a folder or at a hub id.

    Raises:
        TombolaError: there is none, or it cannot be read.
    """
    with reading(source):
        return _described(source, _part(source))[1]


def predict(model: nn.Module, noisy: Tensor, timesteps: Tensor, **condition: Any) -> Tensor:
    """Prediction of the denoiser for noisy images [batch, channels, height, width] at timesteps, int64 [batch].

    Args:
        condition: further arguments of the denoiser, of a text or a class.
    """
    if type(model).__name__ == "FluxTransformer2DModel":
        return _predict_packed(model, noisy, timesteps, condition)
    found: Tensor = model(noisy, timestep=timesteps, **condition, return_dict=False)[0]
    # Where it also says how sure it is, that comes second.
    return found[:, : noisy.shape[1]]


def _predict_packed(model: nn.Module, noisy: Tensor, timesteps: Tensor, condition: Mapping[str, Any]) -> Tensor:
    """Prediction of Flux: its tokens are squares of 2 x 2, it is told where they are, and times from 0 to 1."""
    _, channels, height, width = noisy.shape
    high, wide = height // 2, width // 2
    axes = len(cast(Mapping[str, Any], model.config)["axes_dims_rope"])
    places = torch.zeros(high, wide, axes, device=noisy.device, dtype=noisy.dtype)
    places[..., 1] = torch.arange(high, device=noisy.device)[:, None]
    places[..., 2] = torch.arange(wide, device=noisy.device)
    tokens = noisy.view(-1, channels, high, 2, wide, 2).permute(0, 2, 4, 1, 3, 5).reshape(len(noisy), -1, channels * 4)
    text = condition["encoder_hidden_states"]
    found: Tensor = model(
        tokens,
        timestep=timesteps / 1000,
        img_ids=places.view(-1, axes),
        txt_ids=places.new_zeros(text.shape[1], axes),
        **condition,
        return_dict=False,
    )[0]
    return found.view(-1, high, wide, channels, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(noisy.shape)


def random_inputs(model: nn.Module, batch: int, size: int | None = None) -> dict[str, Any]:
    """Dummy inputs of any denoiser: the same noise, timesteps and conditions each time, of its dtype and device.

    Args:
        model: a denoiser of diffusers.
        batch: examples.
        size: of the image (the latent one) in pixels; by default the configuration's.

    Raises:
        TombolaError: what its class takes is not known.
    """
    name, config = type(model).__name__, cast(Mapping[str, Any], model.config)
    generator = torch.Generator().manual_seed(0)
    parameter = next(model.parameters())

    def noise(*shape: int) -> Tensor:
        return torch.randn(batch, *shape, generator=generator).to(parameter.device, parameter.dtype)

    size = size or size_of(model)
    image = noise(config["in_channels"], size, size)
    times = torch.linspace(1, 999, batch).long().to(parameter.device)
    if name == "UNet2DModel":
        return {"sample": image, "timestep": times}
    if name == "UNet2DConditionModel":
        found: dict[str, Any] = {"sample": image, "timestep": times}
        found["encoder_hidden_states"] = noise(_TOKENS, _width(config["cross_attention_dim"]))
        if config.get("addition_embed_type") == "text_time":
            # Six numbers of sizes and crops, and the pooled text fills up the rest.
            rest = config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"]
            found["added_cond_kwargs"] = {"text_embeds": noise(rest), "time_ids": noise(6)}
        return found
    if name == "DiTTransformer2DModel":
        labels = torch.arange(batch).remainder(config["num_embeds_ada_norm"]).to(parameter.device)
        return {"hidden_states": image, "timestep": times, "class_labels": labels}
    if name == "PixArtTransformer2DModel":
        found = {"hidden_states": image, "timestep": times}
        found["encoder_hidden_states"] = noise(_TOKENS, config["caption_channels"])
        sizes = {"resolution": noise(2), "aspect_ratio": noise(1)}
        found["added_cond_kwargs"] = sizes if model.use_additional_conditions else dict.fromkeys(sizes)
        return found
    if name == "SD3Transformer2DModel":
        return {
            "hidden_states": image,
            "timestep": times,
            "encoder_hidden_states": noise(_TOKENS, config["joint_attention_dim"]),
            "pooled_projections": noise(config["pooled_projection_dim"]),
        }
    if name == "FluxTransformer2DModel":
        side = size // 2
        axes = len(config["axes_dims_rope"])
        places = torch.zeros(side * side, axes, device=parameter.device, dtype=parameter.dtype)
        places[:, 1] = torch.arange(side * side, device=parameter.device) // side
        places[:, 2] = torch.arange(side * side, device=parameter.device) % side
        found = {
            "hidden_states": noise(side * side, config["in_channels"]),
            "timestep": times.to(parameter.dtype) / 1000,
            "encoder_hidden_states": noise(_TOKENS, config["joint_attention_dim"]),
            "pooled_projections": noise(config["pooled_projection_dim"]),
            "img_ids": places,
            "txt_ids": torch.zeros(_TOKENS, axes, device=parameter.device, dtype=parameter.dtype),
        }
        return found | ({"guidance": noise().abs()} if config["guidance_embeds"] else {})
    raise TombolaError(f"it is not known what a {name} takes; Tombola knows the denoisers {', '.join(KNOWN)}")


def size_of(model: nn.Module) -> int:
    """The side of its images (the latent ones) in pixels, as the configuration of a denoiser says; else 32."""
    size = cast(Mapping[str, Any], model.config).get("sample_size") or 32
    return size if isinstance(size, int) else int(min(size))


def _width(of: int | Sequence[int]) -> int:
    return of if isinstance(of, int) else of[0]


def seen_by(source: str) -> tuple[int, int | None]:
    """Channels and side of what the denoiser in a folder or at a hub id sees, images or latents, by its configuration.

    The side is None where the configuration does not say it.

    Raises:
        TombolaError: there is none, or the task of images does not know what it draws from.
    """
    with reading(source):
        kind, config = _described(source, _part(source))
    _check_known(kind.__name__, config)
    size = config.get("sample_size")
    return int(config.get("in_channels", 3)), size if isinstance(size, int) else None


def _check_known(name: str, config: Mapping[str, Any]) -> None:
    """Raise a TombolaError unless the task of images knows all that such a denoiser draws from."""
    if name not in KNOWN:
        raise TombolaError(f"a {name} is not pruned on images; {', '.join(KNOWN)} are")
    if not name.startswith("UNet"):
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
    """The model, if it denoises such images, or latents, and it is known what else it needs.

    Args:
        model: of diffusers.
        channels, size: of what it is given: channels, height and width.
        schedule: the noise.

    Raises:
        TombolaError: it does not.
    """
    name, config = type(model).__name__, cast(Mapping[str, Any], model.config)
    _check_known(name, config)
    what = "images" if name in UNCONDITIONAL else "latents"
    unets = "block_out_channels" in config
    # Transformers may also say how sure they are.
    gives = (channels,) if unets else (channels, 2 * channels)
    # The squares that are its tokens.
    packed = 4 if name == "FluxTransformer2DModel" else 1
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
    if name in _SQUARE and size[0] != size[1]:
        raise TombolaError(f"{what} of {size[0]} x {size[1]} pixels do not fit into a {name}, which draws squares")
    most = config.get("pos_embed_max_size")
    if most is not None and max(size) > most * least:
        raise TombolaError(f"{what} of {size[0]} x {size[1]} pixels are larger than the {most * least} of a {name}")
    if isinstance(schedule, FlowMatchEulerDiscreteScheduler) != (name in _FLOWS):
        raise TombolaError(f"the schedule, a {type(schedule).__name__}, is not that of a {name}")
    if isinstance(schedule, FlowMatchEulerDiscreteScheduler):
        return model
    if schedule.config.prediction_type not in ("epsilon", "v_prediction"):
        raise TombolaError(f"a denoiser that predicts {schedule.config.prediction_type!r} is not known")
    return model


def schedule_of(source: str, *, trusted: bool = False) -> Schedule | None:
    """The noise that the denoiser of a pipeline was trained on; None where the folder, or hub id, does not say.

    Args:
        source: folder or hub id.
        trusted: refuse a kind whose noise this would not be, rather than take what numbers they share.

    Raises:
        TombolaError: it cannot be read, or cannot be trusted.
    """
    folder = Path(source).expanduser()
    if not (folder / SCHEDULE).is_dir() and (folder.is_dir() or SCHEDULE not in (index_of(source) or {})):
        return None
    try:
        config = DDPMScheduler.load_config(source, subfolder=SCHEDULE)
        flows = str(config.get("_class_name")).startswith("FlowMatch")
        kind: Any = FlowMatchEulerDiscreteScheduler if flows else DDPMScheduler
        found = cast(Schedule, kind.from_pretrained(source, subfolder=SCHEDULE))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TombolaError(f"the schedule in {source} cannot be read ({reason}); write the pipeline again") from error
    # Of these the steps are no sums of betas, which would be defaults then.
    strange = not flows and (config.get("use_flow_sigmas") or not {"beta_schedule", "trained_betas"} & config.keys())
    if trusted and strange:
        raise TombolaError(
            f"the noise of {source}, a {config.get('_class_name')}, is not known; Tombola knows schedules of betas and "
            "FlowMatchEulerDiscreteScheduler"
        )
    return found


def save(model: nn.Module, scheduler: Any, folder: Path) -> None:
    """Write a denoiser in the layout of its pipeline, or by itself with its schedule beside it."""
    if isinstance(model, UNet2DModel):
        DDIMPipeline(unet=model, scheduler=scheduler).save_pretrained(folder)
        return
    cast(Any, model).save_pretrained(folder)
    scheduler.save_pretrained(folder / SCHEDULE)


def _described(source: str, part: str | None) -> tuple[Any, Mapping[str, Any]]:
    """The class and the configuration of a denoiser."""
    # Of any class: what it reads is a file of this name.
    config = UNet2DModel.load_config(source, subfolder=part)
    kind: Any = getattr(diffusers, str(config.get("_class_name")), None)
    if not _is_model(kind):
        raise TombolaError(f"{source} holds a {config.get('_class_name')}, which is no model of diffusers")
    return kind, config


@contextlib.contextmanager
def reading(source: str) -> Iterator[None]:
    """Turn what diffusers raises for a source that it cannot load into one clear line."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TombolaError(
            f"cannot load a denoiser from {source!r}: {reason} Give the folder of a diffusers model or pipeline, or a "
            "hub id that can be reached"
        ) from error


def _stored_dtype(source: str, part: str | None) -> torch.dtype:
    """The dtype of the first tensor of a denoiser's file; fp32 where it is in none that is known."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        files = sorted((folder / (part or "")).glob("*.safetensors"))
    else:
        cached = try_to_load_from_cache(source, f"{part}/{_WEIGHTS}" if part else _WEIGHTS)
        files = [Path(cached)] if isinstance(cached, str) else []
    for file in files:
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                return cast(torch.dtype, tensors.get_tensor(name).dtype)
    return torch.float32


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, ModelMixin)


def _part(source: str) -> str | None:
    """The subfolder of a pipeline's denoiser; None for a model by itself.

    Raises:
        TombolaError: the pipeline has none.
    """
    folder = Path(source).expanduser()
    config = index_of(source)
    if config is None:
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise TombolaError(
                f"{source} holds neither a pipeline (model_index.json) nor a model (config.json) of diffusers"
            )
        # A model by itself, or nothing: `load` says so.
        return None
    for part in PARTS:
        if config.get(part, [None])[0] is not None:
            return part
    raise TombolaError(
        f"{source} is a {config.get('_class_name', 'pipeline')} without a denoiser that can be pruned: it has no "
        f"{' or '.join(PARTS)}"
    )


def index_of(source: str) -> Mapping[str, Any] | None:
    """Index of a pipeline in a folder or at a hub id: part → library and class; None where there is none.

    Raises:
        TombolaError: it cannot be read.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        index = folder / "model_index.json"
        return read_json(index) if index.is_file() else None
    try:
        config, _ = diffusers.DiffusionPipeline.load_config(source, return_unused_kwargs=True)
    except (OSError, ValueError):
        return None
    return cast(Mapping[str, Any], config)
