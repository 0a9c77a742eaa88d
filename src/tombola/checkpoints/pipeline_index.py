"""Index of a pipeline of diffusers: which parts it is made of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from diffusers import DiffusionPipeline

from tombola.checkpoints.folder_marks import PIPELINE
from tombola.foundations.atomic_files import read_json


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
