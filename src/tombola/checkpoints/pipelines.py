"""Pipelines of diffusers on disk and at the hub: which parts they are made of, and the noise that they undo."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

from diffusers import DDPMScheduler, DiffusionPipeline, FlowMatchEulerDiscreteScheduler

from tombola.checkpoints.folder_marks import PIPELINE
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError

Schedule: TypeAlias = DDPMScheduler | FlowMatchEulerDiscreteScheduler
"""The noise that a denoiser was trained on."""
SCHEDULE = "scheduler"
"""Name of the VAE in pipelines; also the subfolder."""


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
