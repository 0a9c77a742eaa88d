"""Number, device and dtype of a model's parameters, and the mode that it computes in."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


def count_parameters(model: nn.Module) -> int:
    """Number of distinct parameters of `model` (a tied one counts once)."""
    return sum(parameter.numel() for parameter in model.parameters())


def device_of(model: nn.Module) -> torch.device:
    """Device of the model's first parameter."""
    return next(model.parameters()).device


def dtype_of(model: nn.Module) -> torch.dtype:
    """Dtype of the model's first floating-point parameter."""
    return next(parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, while the block runs."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
