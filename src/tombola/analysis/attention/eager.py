"""Eager attention for a while: the only implementation that has maps, and whose gradient has a gradient."""

import contextlib
from collections.abc import Iterator

from torch import nn
from transformers import PreTrainedModel


@contextlib.contextmanager
def eager(model: nn.Module) -> Iterator[None]:
    """Switch a model to eager attention while the block runs, and back again."""
    if not isinstance(model, PreTrainedModel) or model.config._attn_implementation == "eager":
        yield
        return
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
