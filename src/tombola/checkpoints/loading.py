"""Loading of models from an asset, a local folder, or the hub."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.checkpoints import assets, gguf
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.recognition import recognise

MODELS = ("minilm", "smollm2")
"""The assets that are models."""
MARK = "tombola.json"
"""The file that only a folder of `tombola shrink` has."""
_HEADS = ("config.json", "model_index.json")
"""Files that say what a folder holds: a model by itself, or a pipeline of diffusers."""


def locate(source: str) -> str:
    """Path or id that `from_pretrained` understands: a local path, or a hub id as it is.

    A local folder of the same name goes before an asset. For a folder, or asset, that holds a GGUF file instead of a
    configuration, this is the folder of the dequantised model, made on first use: see [`tombola.checkpoints.gguf`][].

    Raises:
        TombolaError: the asset cannot be fetched, the GGUF file cannot be read, or the folder holds a shrunk model.
    """
    path = Path(source).expanduser()
    if (path / MARK).is_file():
        raise TombolaError(
            f"{source} was shrunk already; give the model that it was made from (tombola.load opens the shrunk one)"
        )
    if not path.is_dir():
        if source not in MODELS:
            return source
        path = assets.fetch(source)
    file = gguf.find(path)
    if file is None:
        return str(path)
    with quiet():
        return str(gguf.dequantised(file))


def load_any(source: str, *, check: bool = True) -> nn.Module:
    """A model of transformers as `load_model` gives it, or a denoiser of diffusers, by itself or of its pipeline.

    Raises:
        TombolaError: as `load_model`, or a pipeline has no denoiser that can be pruned.
    """
    if not holds_denoiser(locate(source)):
        return load_model(source, check=check)
    from tombola.checkpoints import denoisers

    with quiet():
        return denoisers.load(source, dtype=None)


def load_model(source: str, dtype: torch.dtype | None = None, *, check: bool = True) -> PreTrainedModel:
    """A model of transformers as it was saved, of the class that its configuration names, on the CPU.

    Args:
        source: an asset, a local folder or a hub id.
        dtype: of the parameters; by default as saved, which for assets and GGUF files is fp32.
        check: of a type that the table lacks, see [`recognise`][tombola.subnetworks.recognition.recognise].

    Raises:
        TombolaError: it cannot be found, or its class is none of transformers' own.
    """
    path = locate(source)
    with quiet(), loading(source):
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        name = (config.architectures or ["AutoModel"])[0]
        kind = getattr(transformers, name, None)
        if kind is None:
            raise TombolaError(f"{source} is of class {name}, which this transformers does not have; load it yourself")
        model = kind.from_pretrained(path, dtype="auto" if dtype is None else dtype)
    assert isinstance(model, PreTrainedModel)
    recognise(model, check=check)
    return model


def outline(source: str) -> Anatomy:
    """The anatomy of a model from its configuration alone: no weights are read or held.

    Raises:
        TombolaError: as `load_model`, or its layers are not known.
    """
    path = locate(source)
    with quiet(), loading(source):
        config = AutoConfig.from_pretrained(path)
        name = (config.architectures or [""])[0]
        kind = getattr(transformers, name, None)
        with torch.device("meta"):
            model = AutoModel.from_config(config) if kind is None else kind(config)
    recognise(model, check=False)
    return dissect(model)


def save_companions(source: str | None, folder: Path) -> None:
    """Put the tokenizer of a model beside what was made of it, or the schedule of a denoiser, where there is one."""
    if source is None:
        return
    if holds_denoiser(source):
        from tombola.checkpoints import denoisers

        schedule = denoisers.schedule_of(source)
        if schedule is not None:
            schedule.save_pretrained(folder / denoisers.SCHEDULE)
        return
    with contextlib.suppress(OSError, ValueError), quiet():
        AutoTokenizer.from_pretrained(locate(source), trust_remote_code=False).save_pretrained(folder)


def holds_denoiser(source: str) -> bool:
    """True if a folder, or what the hub has of this name, is a model or a pipeline of diffusers.

    A folder that is both, or neither, is left to transformers to read or refuse.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        found = {name: folder / name for name in _HEADS if (folder / name).is_file()}
    else:
        found = {}
        for name in _HEADS if source not in MODELS else ():
            # The hub, or its cache, may not be there, or not have the file: then what loads the model says so.
            with contextlib.suppress(OSError, ValueError, HfHubHTTPError):
                found[name] = Path(hf_hub_download(source, name))
                break
    if "model_index.json" in found and "config.json" not in found:
        return True
    if "config.json" not in found:
        return False
    config = read_json(found["config.json"])
    return "_class_name" in config and "model_type" not in config


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' own bars and reports while the block runs: our steps have theirs."""
    verbosity = transformers_logging.get_verbosity()
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def loading(source: str) -> Iterator[None]:
    """Turn what transformers raises for a source that it cannot load into one clear line."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        if len(reason) > 200:
            reason = f"{reason[:200]}…"
        raise TombolaError(
            f"cannot load {source!r}: {reason} Give a local folder, a hub id that can be reached, or one of the "
            f"assets that need no hub: {', '.join(MODELS)}"
        ) from error
