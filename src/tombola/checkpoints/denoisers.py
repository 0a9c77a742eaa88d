"""Denoisers of diffusers on disk and at the hub, by themselves or in their pipelines, and the noise that they undo."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import diffusers
import torch
from diffusers import (
    DDIMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    ModelMixin,
    UNet2DModel,
)
from huggingface_hub import try_to_load_from_cache
from safetensors import safe_open
from torch import nn

from tombola.architectures.denoisers import PARTS
from tombola.checkpoints.refusals import (
    check_layers,
    check_size,
    no_pickles,
    refuse_lacking,
    refuse_pickles,
)
from tombola.checkpoints.shrunk_folder import cut_as_saved, load_shrunk
from tombola.checkpoints.sources import CONFIG, MARK, PIPELINE, check_source, refuse_results
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError, one_line

Schedule: TypeAlias = DDPMScheduler | FlowMatchEulerDiscreteScheduler
"""The noise that a denoiser was trained on."""
SCHEDULE = "scheduler"
"""Name of the schedule in pipelines; also the subfolder."""


def index_of(source: str) -> Mapping[str, Any] | None:
    """Index of a pipeline in a folder or at a hub id: part → library and class; None where there is none.

    Raises:
        TombolaError: it cannot be read.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        index = folder / PIPELINE
        return read_json(index) if index.is_file() else None
    try:
        config, _ = DiffusionPipeline.load_config(source, return_unused_kwargs=True)
    except (OSError, ValueError):
        return None
    return cast(Mapping[str, Any], config)


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
    with one_line(f"the schedule in {source} cannot be read", "write the pipeline again"):
        config = DDPMScheduler.load_config(source, subfolder=SCHEDULE)
        flows = str(config.get("_class_name")).startswith("FlowMatch")
        kind: Any = FlowMatchEulerDiscreteScheduler if flows else DDPMScheduler
        found = cast(Schedule, kind.from_pretrained(source, subfolder=SCHEDULE))
    # Of these the steps are no sums of betas, which would be defaults then.
    strange = not flows and (config.get("use_flow_sigmas") or not {"beta_schedule", "trained_betas"} & config.keys())
    if trusted and strange:
        raise TombolaError(
            f"the noise of {source}, a {config.get('_class_name')}, is not known; Tombola knows schedules of betas and "
            "FlowMatchEulerDiscreteScheduler"
        )
    return found


_WEIGHTS = "diffusion_pytorch_model.safetensors"


def load(source: str, *, weights: bool = True, dtype: torch.dtype | None = torch.float32) -> nn.Module:
    """The denoiser in a folder or at a hub id, on the CPU: of a pipeline, or a model by itself.

    Args:
        source: local folder or hub id.
        weights: read them; else the network is initialised at random, from PyTorch's own generator.
        dtype: of the parameters; None for that of the file.

    Raises:
        TombolaError: there is none, it cannot be read, or its class cannot be pruned.
    """
    with reading(source):
        part = _part(source)
        folder = Path(source).expanduser() / (part or "")
        kind, config = _described(source, part)
        if (folder / MARK).is_file():
            if weights:
                small = load_shrunk(folder)
                return small if dtype is None else nn.Module.to(small, dtype)
            model = cast(nn.Module, kind.from_config(config))
            cut_as_saved(model, folder)
            return model
        if not weights:
            return cast(nn.Module, kind.from_config(config))
        # The other formats are pickles.
        refuse_pickles(source, folder)
        check_size(lambda: kind.from_config(config), folder.glob("*.safetensors"), f"the configuration of {source}")
        options = {"subfolder": part, "use_safetensors": True}
        model, found = kind.from_pretrained(
            source, torch_dtype=dtype or torch.float32, output_loading_info=True, **options
        )
        refuse_lacking(source, kind, found["missing_keys"])
        if dtype is None and (stored := _stored_dtype(source, part)) != torch.float32:
            model = kind.from_pretrained(source, torch_dtype=stored, **options)
        return cast(nn.Module, model)


def denoiser_folder(source: str) -> Path:
    """Folder of the denoiser in a local folder, that of a pipeline or its own; of a hub id, one that is not there.

    Raises:
        TombolaError: there is none, or it cannot be read.
    """
    with reading(source):
        return Path(source).expanduser() / (_part(source) or "")


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


def save(model: nn.Module, scheduler: Any, folder: Path) -> None:
    """Write a denoiser in the layout of its pipeline, or by itself with its schedule beside it."""
    if isinstance(model, UNet2DModel):
        DDIMPipeline(unet=model, scheduler=scheduler).save_pretrained(folder)
        return
    cast(Any, model).save_pretrained(folder)
    scheduler.save_pretrained(folder / SCHEDULE)


def _described(source: str, part: str | None) -> tuple[Any, Mapping[str, Any]]:
    # Of any class: what it reads is a file of this name.
    config = UNet2DModel.load_config(source, subfolder=part)
    check_layers(config, source)
    kind: Any = getattr(diffusers, str(config.get("_class_name")), None)
    if not (isinstance(kind, type) and issubclass(kind, ModelMixin)):
        name = config.get("_class_name") or f"{config.get('model_type', 'model')} of another library"
        raise TombolaError(f"{source} holds a {name}, which is no model of diffusers; give one that is")
    return kind, config


@contextlib.contextmanager
def reading(source: str) -> Iterator[None]:
    """Turn what diffusers raises for a source that it cannot load into one clear line, and refuse pickles."""
    instead = "give the folder of a diffusers model or pipeline, or a hub id that can be reached"
    with one_line(f"cannot load a denoiser from {source!r}", instead), no_pickles(source):
        yield


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


def _part(source: str) -> str | None:
    """The subfolder of a pipeline's denoiser; None for a model by itself."""
    check_source(source)
    folder = Path(source).expanduser()
    config = index_of(source)
    if config is None:
        if folder.is_dir() and not (folder / CONFIG).is_file():
            refuse_results(source, folder)
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
