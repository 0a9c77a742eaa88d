"""The surviving values of a pruned matrix, without its zeros: what a sparse checkpoint stores beside the ticket's mask.

Values move as bits, through integers of their width, so that every dtype comes back as it was, NaN and all. A pruned
weight comes back as +0.0.
"""

import torch
from torch import Tensor

from tombola.foundations.tensor_bits import as_bits


def packed(matrix: Tensor, mask: Tensor) -> Tensor:
    """The values of `matrix` where `mask`, bool of its shape, is True: row by row, 1-D, on the CPU."""
    # NumPy picks by a boolean mask without a list of 64-bit positions, which would be four times the weights' size.
    values = as_bits(matrix.detach().cpu().contiguous()).numpy()[mask.cpu().numpy()]
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
    as_bits(matrix).numpy()[mask.numpy()] = as_bits(values).numpy()
    return matrix
