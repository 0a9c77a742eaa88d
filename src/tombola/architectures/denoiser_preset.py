"""Denoisers that need no files, as data: a table of them is read without PyTorch and diffusers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class DenoiserPreset:
    """A denoiser that can be made without any files: the name of a class of diffusers, and its arguments."""

    kind: str
    config: Mapping[str, Any]

    def make(self) -> "nn.Module":
        """The denoiser with random weights, from PyTorch's own generator."""
        # Its import takes seconds, which a table of presets should not.
        import diffusers

        return cast("nn.Module", getattr(diffusers, self.kind)(**self.config))
