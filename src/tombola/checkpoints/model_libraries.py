"""Model libraries: what differs between models of transformers and of diffusers, and which of the two a model is of.

The import of diffusers takes seconds, so that it waits until there is a denoiser.
"""

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from torch import nn
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer, PreTrainedModel
from typing_extensions import override

from tombola.architectures.denoisers import class_of_denoiser
from tombola.architectures.parameters import dtype_of
from tombola.checkpoints.loading import class_named, load_model, loading, locate, quiet
from tombola.checkpoints.sources import CONFIG, MODELS, PIPELINE
from tombola.foundations.atomic_files import read_json, write_json
from tombola.foundations.errors import TombolaError


class Library(ABC):
    """Library that models come from.

    Attributes:
        name: of the package.
        iterative: whether an example takes many passes of its models, as an image does of a denoiser.
    """

    name: str
    iterative: bool = False

    @abstractmethod
    def owns(self, model: nn.Module) -> bool:
        """True if a model is of this library."""

    @abstractmethod
    def class_of(self, folder: Path) -> type[nn.Module]:
        """The class that the configuration in a folder names, imported.

        Raises:
            TombolaError: it cannot be read.
        """

    @abstractmethod
    def load(self, source: str, *, check: bool = True) -> nn.Module:
        """A model as it was saved, in its own dtype, on the CPU.

        Args:
            source: an asset, a local folder or a hub id.
            check: of a type that the table of families lacks, see
                [`recognise`][tombola.subnetworks.recognition.recognise].

        Raises:
            TombolaError: it cannot be found, or is not known.
        """

    @abstractmethod
    def write_config(self, model: nn.Module, folder: Path) -> None:
        """Write all but the weights into an existing folder."""

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write a whole model, for the library's `from_pretrained`."""
        cast(Any, model).save_pretrained(folder)

    @abstractmethod
    def read(self, like: nn.Module, folder: Path) -> nn.Module:
        """Read what `save` wrote of a model like this one, in its dtype."""

    @abstractmethod
    def save_companions(self, source: str, folder: Path) -> None:
        """Write what stands beside the model of a source into a folder, where there is any: tokenizer or schedule."""

    def usage(self, model: nn.Module, original: str) -> str:
        """Further lines of Python for a model card, after those that load `model`; `original` names the whole one."""
        return ""

    @abstractmethod
    def batch_sizes(self, multiply_adds: int) -> tuple[int, ...]:
        """Batch sizes at which a model's cost is measured by default; one example takes so many multiply-adds."""


class _Saved(Protocol):
    def save_pretrained(self, save_directory: Any) -> object: ...


Companions = str | Path | _Saved
"""Source of a tokenizer, image processor or schedule (folder, hub id, asset), or that itself."""


class TransformersLibrary(Library):
    """Models of transformers."""

    name = "transformers"

    @override
    def owns(self, model: nn.Module) -> bool:
        return isinstance(model, PreTrainedModel)

    @override
    def class_of(self, folder: Path) -> type[nn.Module]:
        with quiet(), loading(str(folder)):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            return cast(type[nn.Module], class_named(config, str(folder)))

    @override
    def load(self, source: str, *, check: bool = True) -> nn.Module:
        return load_model(source, check=check)

    @override
    def write_config(self, model: Any, folder: Path) -> None:
        config = copy.deepcopy(model.config)
        config.architectures = [type(model).__name__]
        config.save_pretrained(folder)
        if model.can_generate() and model.generation_config is not None:
            model.generation_config.save_pretrained(folder)

    @override
    def read(self, like: Any, folder: Path) -> nn.Module:
        options = {"dtype": like.dtype, "use_safetensors": True, "trust_remote_code": False}
        return cast(nn.Module, type(like).from_pretrained(folder, **options))

    @override
    def save_companions(self, source: str, folder: Path) -> None:
        for companion in (AutoTokenizer, AutoImageProcessor):
            with contextlib.suppress(TombolaError), quiet(), loading(source):
                companion.from_pretrained(locate(source), trust_remote_code=False).save_pretrained(folder)

    @override
    def batch_sizes(self, multiply_adds: int) -> tuple[int, ...]:
        return 1, 32


_BATCHES = (1, 4, 16)
_MOST = 2e11
"""Multiply-adds of a batch of images, at most, unless the user says which batches: seconds on a CPU."""


class DiffusersLibrary(Library):
    """Models of diffusers."""

    name = "diffusers"
    iterative = True

    @override
    def owns(self, model: nn.Module) -> bool:
        return any(
            kind.__name__ == "ModelMixin" and kind.__module__.partition(".")[0] == "diffusers"
            for kind in type(model).__mro__
        )

    @override
    def class_of(self, folder: Path) -> type[nn.Module]:
        from tombola.checkpoints import denoisers

        return denoisers.class_of(str(folder))

    @override
    def load(self, source: str, *, check: bool = True) -> nn.Module:
        from tombola.checkpoints import denoisers

        with quiet():
            return denoisers.load(source, dtype=None)

    @override
    def write_config(self, model: Any, folder: Path) -> None:
        model.save_config(folder)
        _forget_source(folder)

    @override
    def save(self, model: nn.Module, folder: Path) -> None:
        super().save(model, folder)
        _forget_source(folder)

    @override
    def read(self, like: Any, folder: Path) -> nn.Module:
        found = type(like).from_pretrained(folder, torch_dtype=dtype_of(like), use_safetensors=True)
        return cast(nn.Module, found)

    @override
    def save_companions(self, source: str, folder: Path) -> None:
        from tombola.checkpoints.denoisers import SCHEDULE, schedule_of

        schedule = schedule_of(source)
        if schedule is not None:
            schedule.save_pretrained(folder / SCHEDULE)

    @override
    def usage(self, model: nn.Module, original: str) -> str:
        # The pipeline takes a part that it is given as it is, whatever its shapes.
        return (
            "\n\nfrom diffusers import DiffusionPipeline\n"
            f'pipeline = DiffusionPipeline.from_pretrained("{original}", {class_of_denoiser(model).part}=model)'
        )

    @override
    def batch_sizes(self, multiply_adds: int) -> tuple[int, ...]:
        return tuple(batch for batch in _BATCHES if batch == 1 or batch * multiply_adds < _MOST)


TRANSFORMERS: Library = TransformersLibrary()
DIFFUSERS: Library = DiffusersLibrary()
LIBRARIES: Mapping[str, Library] = MappingProxyType({library.name: library for library in (TRANSFORMERS, DIFFUSERS)})
"""Libraries by name, as files have it."""


def _forget_source(folder: Path) -> None:
    """Take the name of the folder that a model was loaded from out of its configuration: it is no part of the model."""
    values = read_json(folder / CONFIG)
    if values.pop("_name_or_path", None) is not None:
        write_json(folder / CONFIG, values)


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
    # Some configurations have infinite numbers, which are transformers' to judge.
    config = read_json(found[CONFIG], bounded=False)
    return DIFFUSERS if "_class_name" in config and "model_type" not in config else TRANSFORMERS


def load_any(source: str, *, check: bool = True) -> nn.Module:
    """A model of transformers, or a denoiser of diffusers, by itself or of its pipeline, as it was saved.

    Args:
        source: an asset, a local folder or a hub id.
        check: see [`Library.load`][tombola.checkpoints.model_libraries.Library.load].

    Raises:
        TombolaError: it cannot be found, or its class cannot be pruned.
    """
    return library_at(locate(source)).load(source, check=check)


def save_companions(source: Companions | None, folder: Path) -> None:
    """Put the tokenizer or image processor of a model, or the schedule of a denoiser, beside what was made of it."""
    if isinstance(source, str | Path):
        library_at(str(source)).save_companions(str(source), folder)
    elif source is not None:
        source.save_pretrained(folder)
