"""The largest weights of a whole model, exactly as many as asked, in two passes and next to no memory."""

from collections.abc import Mapping

import torch
from torch import Tensor

_LOW_BITS = 16
_HIGH_BITS = 15  # a magnitude has no sign bit
_DEAD = 0


def keep_largest(
    weights: Mapping[str, Tensor], count: int, alive: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Masks of the `count` weights of largest magnitude over all matrices together.

    The magnitudes of non-negative floats order as their bits do, so one histogram over the high bits and one over
    the low bits of the bin in question find the threshold without sorting or joining the matrices. Among weights of
    exactly the threshold's magnitude (quantised checkpoints have many) the later ones survive, in the order of the
    mapping and then of the flattened matrix: the count is exact and the mask reproducible.

    Args:
        weights: matrices by name, any shapes, on any device, of at most 32 bits.
        count: number of survivors, 0 to the number of (alive) weights.
        alive: bool masks of the weights that may survive; by default all.

    Returns:
        Bool masks on the CPU, by name.
    """
    total = sum(matrix.numel() for matrix in weights.values())
    keys = {name: (matrix, None if alive is None else alive[name]) for name, matrix in weights.items()}
    remove = total - count
    high = torch.zeros(1 << _HIGH_BITS, dtype=torch.int64)
    for pair in keys.values():
        high += torch.bincount(_key(*pair) >> _LOW_BITS, minlength=1 << _HIGH_BITS).cpu()
    bin_, before = _bin_of(high, remove)
    low = torch.zeros(1 << _LOW_BITS, dtype=torch.int64)
    for pair in keys.values():
        key = _key(*pair)
        inside = key[key >> _LOW_BITS == bin_] & ((1 << _LOW_BITS) - 1)
        low += torch.bincount(inside, minlength=1 << _LOW_BITS).cpu()
    rest, below = _bin_of(low, remove - before)
    threshold = (bin_ << _LOW_BITS) | rest
    ties_to_remove = remove - before - below
    masks = {}
    for name, pair in keys.items():
        key = _key(*pair)
        mask = key >= threshold
        if ties_to_remove:
            ties = torch.nonzero(key == threshold).flatten()[:ties_to_remove]
            mask[ties] = False
            ties_to_remove -= len(ties)
        masks[name] = mask.reshape(weights[name].shape).cpu()
    return masks


def _key(matrix: Tensor, alive: Tensor | None) -> Tensor:
    """Int32 keys that order as magnitudes do, flat; dead weights come before every living one."""
    key = matrix.detach().float().abs().flatten().view(torch.int32) + 1
    return key if alive is None else key.where(alive.to(key.device).flatten(), _DEAD)


def _bin_of(histogram: Tensor, rank: int) -> tuple[int, int]:
    """The bin that holds the element of this rank (from 0, clipped to the last), and the number before that bin."""
    cumulative = histogram.cumsum(0)
    bin_ = int(torch.searchsorted(cumulative, rank, right=True).clamp(max=len(histogram) - 1))
    return bin_, int(cumulative[bin_] - histogram[bin_])
