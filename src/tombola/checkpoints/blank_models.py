"""Models without memory for their parameters, of the class and configuration that a folder names."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import transformers
from accelerate import init_empty_weights
from torch import nn
from transformers import AutoConfig, PreTrainedModel


def _blank_of_transformers(kind: str, folder: Path) -> nn.Module | None:
    found = getattr(transformers, kind, None)
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel)):
        return None
    with init_empty_weights(include_buffers=False):
        return found(AutoConfig.from_pretrained(folder, trust_remote_code=False))


def _blank_of_diffusers(kind: str, folder: Path) -> nn.Module | None:
    import diffusers

    found: Any = getattr(diffusers, kind, None)
    if not (isinstance(found, type) and issubclass(found, diffusers.ModelMixin)):
        return None
    config = cast(Any, found).load_config(folder)
    with init_empty_weights(include_buffers=False):
        return cast(nn.Module, cast(Any, found).from_config(config))


BLANK: Mapping[str, Callable[[str, Path], nn.Module | None]] = MappingProxyType(
    {"transformers": _blank_of_transformers, "diffusers": _blank_of_diffusers}
)
"""Library → what makes a model of a class's name and of a folder's configuration, without memory for its parameters.

Buffers are computed, as rotary frequencies and position ids stand in no file. No code of the folder runs. None if the
library has no such class.
"""
