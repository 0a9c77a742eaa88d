"""Gradient checkpointing: activations within layers are computed again instead of kept, which saves memory."""

import contextlib
import functools
from collections.abc import Iterator

from torch import nn
from torch.utils.checkpoint import checkpoint

from tombola.foundations.errors import TombolaError


@contextlib.contextmanager
def gradient_checkpointing(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Compute activations within layers again in the backward pass, while the block runs, where that is wanted.

    Raises:
        TombolaError: the model's class has no such layers.
    """
    layers = [module for module in model.modules() if wanted and hasattr(module, "gradient_checkpointing")]
    if wanted and not layers:
        raise TombolaError(f"{type(model).__name__} has no gradient checkpointing; leave gradient_checkpointing out")
    again = functools.partial(checkpoint, use_reentrant=False)
    # As transformers and diffusers do, each by functions of its own.
    given = {"gradient_checkpointing": True, "_gradient_checkpointing_func": again}
    before = [{name: layer.__dict__[name] for name in given if name in layer.__dict__} for layer in layers]
    for layer in layers:
        layer.__dict__.update(given)
    try:
        yield
    finally:
        for layer, had in zip(layers, before, strict=True):
            for name in given:
                del layer.__dict__[name]
            layer.__dict__.update(had)
