"""The largest weights of a whole model, exactly as many as asked, in two passes and next to no memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import Tensor

_LOW_BITS = 16
_HIGH_BITS = 15  # a magnitude has no sign bit
_SLAB = 1 << 20
"""Weights that are looked at together: few enough for the processor's cache."""

Pair = tuple[Tensor, Tensor | None]
"""A matrix, and the bool mask of its weights that may survive (None: all)."""


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
    pairs = {name: (matrix, None if alive is None else alive[name]) for name, matrix in weights.items()}
    threshold = Threshold.find(pairs.values, total - count)
    return {name: threshold.mask(*pair).cpu() for name, pair in pairs.items()}


def keep_in_rows(scores: Tensor, removed: int) -> Tensor:
    """The weights that survive when `removed` of each row go, those of lowest score; among equal ones the later stay.

    Args:
        scores: [rows, inputs], none of them NaN.
        removed: in each row, 0 to the number of inputs.

    Returns:
        Bool, of the same shape and on the same device.
    """
    if removed == 0:
        return torch.ones(scores.shape, dtype=torch.bool, device=scores.device)
    if scores.device.type == "cpu":
        # NumPy's selection is vectorised: four times as fast as `kthvalue`, twelve times as fast as sorting.
        edge = torch.from_numpy(np.partition(scores.numpy(), removed - 1, axis=1)[:, removed - 1 : removed])
    else:
        edge = scores.kthvalue(removed, dim=1, keepdim=True).values
    mask = scores > edge
    short = scores.shape[1] - removed - mask.sum(1)
    for row in torch.nonzero(short).flatten().tolist():
        ties = torch.nonzero(scores[row] == edge[row]).flatten()
        mask[row, ties[len(ties) - int(short[row]) :]] = True
    return mask


@dataclass
class Threshold:
    """Threshold of magnitudes, and how many of those that lie exactly on it are still to go.

    Masks are taken matrix by matrix, in the order in which the threshold was found: each uses up its share of the ties.

    Attributes:
        key: of the threshold, see `_Keys`.
        ties: weights of this very magnitude to remove from the next matrices on.
    """

    key: int
    ties: int
    _keys: "_Keys" = field(default_factory=lambda: _Keys(), repr=False, compare=False)

    @classmethod
    def find(cls, pairs: Callable[[], Iterable[Pair]], remove: int) -> Self:
        """The threshold under which `remove` weights lie.

        Args:
            pairs: gives the matrices; called twice, so that they need not all be in memory.
            remove: number of weights to go, the dead ones among them.
        """
        high = _histogram(pairs(), _HIGH_BITS, lambda key: key.bitwise_right_shift_(_LOW_BITS))
        bin_, before = _bin_of(high, remove)
        low_mask = (1 << _LOW_BITS) - 1
        low = _histogram(pairs(), _LOW_BITS, lambda key: key[key >> _LOW_BITS == bin_] & low_mask)
        rest, below = _bin_of(low, remove - before)
        return cls((bin_ << _LOW_BITS) | rest, remove - before - below)

    def mask(self, matrix: Tensor, alive: Tensor | None = None) -> Tensor:
        """Mask of the next matrix, the weights that survive: bool, of its shape and on its device."""
        mask = torch.empty(matrix.numel(), dtype=torch.bool, device=matrix.device)
        start = 0
        for key in self._keys(matrix, alive):
            part = mask[start : start + len(key)]
            torch.ge(key, self.key, out=part)
            if self.ties:
                ties = torch.nonzero(key == self.key).flatten()[: self.ties]
                part[ties] = False
                self.ties -= len(ties)
            start += len(key)
        return mask.reshape(matrix.shape)


class _Keys:
    """Int32 keys that order as magnitudes do, flat, a slab at a time; dead weights come before every living one.

    All slabs are in the same memory, which is not asked for again and again: use each before the next.
    """

    def __init__(self) -> None:
        self._memory: dict[torch.device, Tensor] = {}

    def __call__(self, matrix: Tensor, alive: Tensor | None) -> Iterator[Tensor]:
        flat = matrix.detach().flatten()
        living = None if alive is None else alive.to(flat.device).flatten()
        if flat.device not in self._memory:
            self._memory[flat.device] = torch.empty(_SLAB, device=flat.device, dtype=torch.float32)
        for start in range(0, len(flat), _SLAB):
            part = flat[start : start + _SLAB]
            values = self._memory[flat.device][: len(part)]
            if part.dtype == torch.float32:
                torch.abs(part, out=values)
            else:
                values.copy_(part).abs_()
            key = values.view(torch.int32).add_(1)
            yield key if living is None else key.mul_(living[start : start + _SLAB])


def _histogram(pairs: Iterable[Pair], bits: int, bins: Callable[[Tensor], Tensor]) -> Tensor:
    counts = torch.zeros(1 << bits, dtype=torch.int64)
    keys = _Keys()
    for pair in pairs:
        for key in keys(*pair):
            counts += torch.bincount(bins(key), minlength=1 << bits).cpu()
    return counts


def _bin_of(histogram: Tensor, rank: int) -> tuple[int, int]:
    """The bin that holds the element of this rank (from 0, clipped to the last), and the number before that bin."""
    cumulative = histogram.cumsum(0)
    bin_ = int(torch.searchsorted(cumulative, rank, right=True).clamp(max=len(histogram) - 1))
    return bin_, int(cumulative[bin_] - histogram[bin_])
