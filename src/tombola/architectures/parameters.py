"""Number, device and dtype of a model's parameters, and the mode that it computes in."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from tombola.foundations.errors import TombolaError


def count_parameters(model: nn.Module) -> int:
    """Number of distinct parameters of `model` (a tied one counts once)."""
    return sum(parameter.numel() for parameter in model.parameters())


def device_of(model: nn.Module) -> torch.device:
    """Device that takes the model's inputs: of its first parameter, or the one that accelerate dispatched it from."""
    device = getattr(getattr(model, "_hf_hook", None), "execution_device", None)
    return next(model.parameters()).device if device is None else torch.device(device)


def refuse_offloaded(model: nn.Module) -> None:
    """Raise a TombolaError where accelerate keeps parameters off the devices, and would bring back those of before."""
    for path, module in model.named_modules():
        hook = getattr(module, "_hf_hook", None)
        if any(getattr(one, "offload", False) for one in getattr(hook, "hooks", [hook])):
            raise TombolaError(
                f"{path or 'the model'} is offloaded (device_map), and what is pruned or trained there would be lost; "
                "load the model onto GPUs or the CPU, or prune its files (prune_checkpoint)"
            )


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
