"""Model libraries, transformers and diffusers: how each writes a model, and makes it again from its configuration."""

import copy
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from accelerate import init_empty_weights
from torch import nn
from transformers import AutoConfig, GenerationConfig, PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME
from typing_extensions import override

from tombola.foundations.errors import TombolaError


class Library(ABC):
    """Library that models come from.

    Attributes:
        name: of the package.
    """

    name: str

    @property
    @abstractmethod
    def version(self) -> str:
        """Version of the library that is installed."""

    @abstractmethod
    def write_config(self, model: nn.Module, folder: Path) -> None:
        """Write all but the weights into an existing folder."""

    @abstractmethod
    def blank(self, kind: str, folder: Path) -> nn.Module | None:
        """A model of the original size without memory for its parameters, from what `write_config` wrote.

        Buffers are computed, as rotary frequencies and position ids stand in no file. No code of the folder runs.

        Args:
            kind: name of one of the library's own classes.
            folder: where its configuration is.

        Returns:
            None if the library has no such model.
        """

    @abstractmethod
    def finish(self, model: nn.Module, folder: Path) -> None:
        """Do what `blank` could not before there were weights."""

    @abstractmethod
    def save(self, model: nn.Module, folder: Path) -> None:
        """Write a whole model, for the library's `from_pretrained`."""

    @abstractmethod
    def read(self, like: nn.Module, folder: Path) -> nn.Module:
        """Read what `save` wrote of a model like this one, in its dtype."""


class _Transformers(Library):
    name = "transformers"

    @property
    @override
    def version(self) -> str:
        return str(transformers.__version__)

    @override
    def write_config(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, PreTrainedModel)
        config = copy.deepcopy(model.config)
        config.architectures = [type(model).__name__]
        config.save_pretrained(folder)
        if model.can_generate() and model.generation_config is not None:
            model.generation_config.save_pretrained(folder)

    @override
    def blank(self, kind: str, folder: Path) -> nn.Module | None:
        found = getattr(transformers, kind, None)
        if not (isinstance(found, type) and issubclass(found, PreTrainedModel)):
            return None
        with init_empty_weights(include_buffers=False):
            return found(AutoConfig.from_pretrained(folder, trust_remote_code=False))

    @override
    def finish(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, PreTrainedModel)
        model.tie_weights()
        if (folder / GENERATION_CONFIG_NAME).is_file():
            model.generation_config = GenerationConfig.from_pretrained(folder)

    @override
    def save(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, PreTrainedModel)
        model.save_pretrained(folder)

    @override
    def read(self, like: nn.Module, folder: Path) -> nn.Module:
        assert isinstance(like, PreTrainedModel)
        found = type(like).from_pretrained(folder, dtype=like.dtype)
        assert isinstance(found, PreTrainedModel)
        return found


class _Diffusers(Library):
    """Models of diffusers. The import takes seconds, so that it waits until there is a model of it."""

    name = "diffusers"

    @property
    @override
    def version(self) -> str:
        import diffusers

        return str(diffusers.__version__)

    @override
    def write_config(self, model: nn.Module, folder: Path) -> None:
        cast(Any, model).save_config(folder)

    @override
    def blank(self, kind: str, folder: Path) -> nn.Module | None:
        import diffusers

        found: Any = getattr(diffusers, kind, None)
        if not (isinstance(found, type) and issubclass(found, diffusers.ModelMixin)):
            return None
        config = cast(Any, found).load_config(folder)
        with init_empty_weights(include_buffers=False):
            return cast(nn.Module, cast(Any, found).from_config(config))

    @override
    def finish(self, model: nn.Module, folder: Path) -> None:
        pass

    @override
    def save(self, model: nn.Module, folder: Path) -> None:
        cast(Any, model).save_pretrained(folder)

    @override
    def read(self, like: nn.Module, folder: Path) -> nn.Module:
        kind: Any = type(like)
        return cast(nn.Module, kind.from_pretrained(folder, torch_dtype=dtype_of(like), use_safetensors=True))


TRANSFORMERS: Library = _Transformers()
DIFFUSERS: Library = _Diffusers()
LIBRARIES = {library.name: library for library in (TRANSFORMERS, DIFFUSERS)}
"""Libraries by name, as files have it."""


def library_of(model: nn.Module) -> Library:
    """The library that a model is of.

    Raises:
        TombolaError: it is of neither.
    """
    if isinstance(model, PreTrainedModel):
        return TRANSFORMERS
    if is_denoiser(model):
        return DIFFUSERS
    raise TombolaError(f"{type(model).__name__} is no model of transformers or diffusers, so it cannot be saved as one")


def is_denoiser(model: nn.Module) -> bool:
    """True if a model is of diffusers, without an import of it."""
    return any(
        kind.__name__ == "ModelMixin" and kind.__module__.partition(".")[0] == "diffusers"
        for kind in type(model).__mro__
    )


def dtype_of(model: nn.Module) -> torch.dtype:
    """Dtype of the model's first floating-point parameter."""
    return next(parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
