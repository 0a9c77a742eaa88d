"""Weights that can be pruned one by one: finite, in floating point, and fit for the pattern."""

import torch
from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.architectures.sites import fan_in
from tombola.foundations.errors import TombolaError
from tombola.pruning.weight_criteria import WeightCut

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_QUANTISED = (
    "this model is quantised: its matrices hold codes, of which no single weight can be pruned; give the checkpoint in "
    "16 or 32 bits that it was made from"
)
_SLAB = 256
"""Rows that are checked at a time."""


def prunable_anatomy(model: nn.Module, cut: WeightCut) -> Anatomy:
    """The anatomy of a model whose weights can be pruned so.

    Raises:
        TombolaError: unknown architecture, quantised weights, or a pattern that does not divide a matrix's inputs.
    """
    try:
        anatomy = dissect(model)
    except TombolaError as error:
        # Some quantisers replace the linear maps, which then cannot be found.
        if getattr(getattr(model, "config", None), "quantization_config", None) is not None:
            raise TombolaError(_QUANTISED) from error
        raise
    for matrix, parameter in anatomy.prunable(model):
        check_stored(parameter.dtype)
        # Others pack codes into a tensor of their own kind, which says that it is fp32.
        if type(parameter.data) is not Tensor:
            raise TombolaError(_QUANTISED)
        inputs = fan_in(model, matrix)
        if cut.pattern is not None and not cut.pattern.divides(inputs):
            raise TombolaError(
                f"{cut.pattern} does not divide the {inputs} inputs of {matrix.name}; choose another pattern, or a "
                "sparsity"
            )
    return anatomy


def check_stored(dtype: torch.dtype) -> None:
    """Raise a TombolaError unless single weights of this type can be pruned."""
    if dtype not in _FLOATS:
        raise TombolaError(_QUANTISED)


def check_finite(name: str, weight: Tensor) -> None:
    """Raise a TombolaError if a matrix holds NaN or infinity."""
    if not all(part.isfinite().all() for part in weight.split(_SLAB)):
        raise TombolaError(f"the matrix {name} holds NaN or infinity: the checkpoint is damaged or its training failed")
