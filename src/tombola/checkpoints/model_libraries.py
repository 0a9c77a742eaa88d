"""The libraries that models come from, and which of them a model, or a folder, is of."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from torch import nn

from tombola.checkpoints.diffusers_library import DiffusersLibrary
from tombola.checkpoints.folder_marks import CONFIG, PIPELINE
from tombola.checkpoints.loading import MODELS, locate
from tombola.checkpoints.model_library import Library
from tombola.checkpoints.transformers_library import TransformersLibrary
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError

TRANSFORMERS: Library = TransformersLibrary()
DIFFUSERS: Library = DiffusersLibrary()
LIBRARIES: Mapping[str, Library] = MappingProxyType({library.name: library for library in (TRANSFORMERS, DIFFUSERS)})
"""Libraries by name, as files have it."""


def library_of(model: nn.Module) -> Library:
    """The library that a model is of.

    Raises:
        TombolaError: it is of none.
    """
    for library in LIBRARIES.values():
        if library.owns(model):
            return library
    raise TombolaError(f"{type(model).__name__} is no model of transformers or diffusers, so it cannot be saved as one")


def library_at(source: str) -> Library:
    """The library of the model in a folder, or of what the hub has of this name.

    A folder that is of both, or of neither, is left to transformers to read or refuse.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        found = {name: folder / name for name in (CONFIG, PIPELINE) if (folder / name).is_file()}
    else:
        found = {}
        for name in (CONFIG, PIPELINE) if source not in MODELS else ():
            # The hub, or its cache, may not be there, or not have the file: then what loads the model says so.
            with contextlib.suppress(OSError, ValueError, HfHubHTTPError):
                found[name] = Path(hf_hub_download(source, name))
                break
    if CONFIG not in found:
        return DIFFUSERS if PIPELINE in found else TRANSFORMERS
    config = read_json(found[CONFIG])
    return DIFFUSERS if "_class_name" in config and "model_type" not in config else TRANSFORMERS


def load_any(source: str, *, check: bool = True) -> nn.Module:
    """A model of transformers, or a denoiser of diffusers, by itself or of its pipeline, as it was saved.

    Args:
        source: an asset, a local folder or a hub id.
        check: see [`Library.load`][tombola.checkpoints.model_library.Library.load].

    Raises:
        TombolaError: it cannot be found, or its class cannot be pruned.
    """
    return library_at(locate(source)).load(source, check=check)


def save_companions(source: str | None, folder: Path) -> None:
    """Put the tokenizer of a model beside what was made of it, or the schedule of a denoiser, where there is one."""
    if source is not None:
        library_at(source).save_companions(source, folder)
