"""Tensors as bits, through integers of their width, so that every dtype is told apart and kept, NaN and all."""

import torch
from torch import Tensor

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def as_bits(tensor: Tensor) -> Tensor:
    """Tensor over the same memory, as integers of the elements' width."""
    return tensor.view(_INTEGERS[tensor.element_size()])


def same_bits(one: Tensor, other: Tensor) -> bool:
    """True if two tensors are equal in dtype, shape and every bit: -0.0 and 0.0 differ, and a NaN equals itself.

    The devices may differ.
    """
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(as_bits(one.detach().cpu().contiguous()), as_bits(other.detach().cpu().contiguous()))
