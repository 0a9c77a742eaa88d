"""Models of transformers, as a model library."""

import contextlib
import copy
from pathlib import Path

import transformers
from accelerate import init_empty_weights
from torch import nn
from transformers import AutoConfig, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME
from typing_extensions import override

from tombola.checkpoints.loading import class_named, load_model, loading, locate, quiet
from tombola.checkpoints.model_library import Library


class TransformersLibrary(Library):
    """Models of transformers."""

    name = "transformers"

    @property
    @override
    def version(self) -> str:
        return str(transformers.__version__)

    @override
    def owns(self, model: nn.Module) -> bool:
        return isinstance(model, PreTrainedModel)

    @override
    def class_of(self, folder: Path) -> type[nn.Module]:
        with quiet(), loading(str(folder)):
            kind: type[nn.Module] = class_named(
                AutoConfig.from_pretrained(folder, trust_remote_code=False), str(folder)
            )
        return kind

    @override
    def load(self, source: str, *, check: bool = True) -> nn.Module:
        return load_model(source, check=check)

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

    @override
    def save_companions(self, source: str, folder: Path) -> None:
        with contextlib.suppress(OSError, ValueError), quiet():
            AutoTokenizer.from_pretrained(locate(source), trust_remote_code=False).save_pretrained(folder)

    @override
    def origin(self, model: nn.Module) -> str:
        assert isinstance(model, PreTrainedModel)
        return model.name_or_path or ""

    @override
    def usage(self, model: nn.Module, original: str) -> str:
        return ""

    @override
    def batch_sizes(self, multiply_adds: int) -> tuple[int, ...]:
        return 1, 32
