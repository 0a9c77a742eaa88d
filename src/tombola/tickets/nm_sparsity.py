"""N:M patterns: of every M weights in a row that a product sums over, N survive; 2:4 is the one that GPUs run.

The M lie along the dimension that the matrix product contracts: the inputs, which are the columns of an `nn.Linear` and
the rows of GPT-2's `Conv1D`.
"""

import re
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tombola.foundations.errors import TombolaError


@dataclass(frozen=True)
class WeightPattern:
    """N:M pattern: of every `group` (M) neighbouring inputs of an output unit, `kept` (N) weights survive."""

    kept: int
    group: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.group}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """A pattern from its name: `2:4`, `4:8`.

        Raises:
            TombolaError: it is none.
        """
        found = re.fullmatch(r"(\d{1,4}):(\d{1,4})", text)
        kept, group = map(int, found.groups()) if found else (0, 0)
        if not 0 < kept < group:
            raise TombolaError(f"{text!r} is no pattern of weights; write how many of how many survive, 2:4 or 4:8")
        return cls(kept, group)

    @property
    def sparsity(self) -> float:
        """Share of the weights that is removed."""
        return 1 - self.kept / self.group

    def divides(self, inputs: int) -> bool:
        """True if so many inputs are whole groups."""
        return inputs % self.group == 0

    def largest(self, scores: Tensor) -> Tensor:
        """The weights of highest score in each group, exactly `kept`; among equal ones the later.

        Args:
            scores: [rows, inputs], whole groups; none is NaN.

        Returns:
            Bool, of the same shape.
        """
        groups = scores.unflatten(1, (-1, self.group))
        higher = torch.zeros(groups.shape, dtype=torch.int16, device=scores.device)
        # A sort of so few is slower than comparing each with each.
        for place in range(self.group):
            other = groups[..., place, None]
            higher[..., :place] += other >= groups[..., :place]
            higher[..., place:] += other > groups[..., place:]
        return (higher < self.kept).flatten(1)

    def holds(self, mask: Tensor) -> bool:
        """True if at most `kept` of each group survive in a mask, bool [rows, inputs]."""
        if not self.divides(mask.shape[1]):
            return False
        return bool((mask.unflatten(1, (-1, self.group)).sum(-1, dtype=torch.int16) <= self.kept).all())
