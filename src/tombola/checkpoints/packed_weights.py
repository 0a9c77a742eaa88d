"""The surviving values of a pruned matrix, without its zeros: what a sparse checkpoint stores beside the ticket's mask.

Values move as bits, through integers of their width, so that every dtype comes back as it was, NaN and all. A pruned
weight comes back as +0.0.
"""

import torch
from torch import Tensor

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def packed(matrix: Tensor, mask: Tensor) -> Tensor:
    """The values of `matrix` where `mask`, bool of its shape, is True: row by row, 1-D, on the CPU."""
    # NumPy picks by a boolean mask without a list of 64-bit positions, which would be four times the weights' size.
    values = _as_bits(matrix.detach().cpu().contiguous()).numpy()[mask.cpu().numpy()]
    return torch.from_numpy(values).view(matrix.dtype)


def unpacked(values: Tensor, mask: Tensor) -> Tensor:
    """Undo `packed`: a matrix of the mask's shape, +0.0 where it is False.

    Raises:
        ValueError: there are not as many values as the mask has survivors.
    """
    survivors = int(mask.sum())
    if values.shape != (survivors,):
        raise ValueError(f"{list(values.shape)} values for {survivors} survivors")
    matrix = torch.zeros(mask.shape, dtype=values.dtype)
    _as_bits(matrix).numpy()[mask.numpy()] = _as_bits(values).numpy()
    return matrix


def same_bits(one: Tensor, other: Tensor) -> bool:
    """True if two tensors are equal in dtype, shape and every bit: -0.0 and 0.0 differ, and a NaN equals itself.

    The devices may differ.
    """
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(_as_bits(one.detach().cpu().contiguous()), _as_bits(other.detach().cpu().contiguous()))


def _as_bits(tensor: Tensor) -> Tensor:
    return tensor.view(_BITS[tensor.element_size()])
