"""How much the loss depends on each site: first-order importance by per-example gates."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from tombola.gates import Gates


@dataclass(frozen=True, eq=False)
class Importance:
    """Importance of each site: float64 `heads` [rows, heads] and `mlps` [MLPs], NaN where it is pruned."""

    heads: Tensor
    mlps: Tensor

    def normalised(self) -> Self:
        """Heads divided by their layer's L2 norm, then heads and MLPs each scaled to [0, 1] (Michel et al. 2019).

        Norms and ranges are those of the survivors, so that a pruned site has no say, whether it is masked or gone.
        """
        norms = self.heads.nan_to_num().norm(dim=1, keepdim=True)
        # A layer whose heads have no influence at all keeps its zeros.
        return type(self)(_unit(self.heads / norms.where(norms > 0, 1.0)), _unit(self.mlps))

    def lists(self) -> dict[str, object]:
        """As JSON: nested lists with None for the pruned."""
        return {
            "heads": [[_number(value) for value in row] for row in self.heads.tolist()],
            "mlps": [_number(value) for value in self.mlps.tolist()],
        }

    @classmethod
    def from_lists(cls, heads: Iterable[Iterable[float | None]], mlps: Iterable[float | None]) -> Self:
        """Read what `lists` gave."""
        rows = [[np.nan if value is None else value for value in row] for row in heads]
        values = [np.nan if value is None else value for value in mlps]
        return cls(torch.tensor(rows, dtype=torch.float64), torch.tensor(values, dtype=torch.float64))


def _unit(values: Tensor) -> Tensor:
    alive = values[~values.isnan()]
    if not len(alive):
        return values
    low, high = alive.min(), alive.max()
    return (values - low) / (high - low) if high > low else values - low


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


class FirstOrder:
    """The running mean of |∂L(x)/∂ξ| over examples x: I(site) = E_x |∂L(x)/∂ξ_site|.

    Source: Michel, Levy, Neubig 2019, eq. 2, extended to MLPs by Prasanna, Rogers, Rumshisky 2020. The absolute
    value is taken of each example's gradient, which is exact because every example has gates of its own. (The
    authors' released script lets the gradients of all batches add up and takes the absolute value of the running
    sum; its ranking of heads correlates 0.7 with the exact one, that of MLPs not at all.)
    """

    def __init__(self, gates: Gates) -> None:
        self._gates = gates
        self._examples = 0
        heads, mlps = gates.present.heads, gates.present.mlps
        self._heads = torch.zeros(heads.shape, dtype=torch.float64)
        self._mlps = torch.zeros(mlps.shape, dtype=torch.float64)

    def add(self, losses: Tensor, gates: list[Tensor]) -> None:
        """Count one batch: `losses` [batch], and the gates that were open while it was computed."""
        # Examples do not touch each other's gates, so one backward pass of the sum gives each its own gradient.
        gradients = torch.autograd.grad(losses.sum(), gates)
        sums = iter(gradient.abs().sum(0).cpu().double() for gradient in gradients)
        for layer in self._gates.heads:
            self._heads[layer, self._gates.present.heads[layer]] += next(sums)
        for layer in self._gates.mlps:
            self._mlps[layer] += next(sums)
        self._examples += len(losses)

    def result(self) -> Importance:
        """The mean over all examples so far; NaN for sites whose gate is zero or that are gone."""
        alive = self._gates.values
        heads = (self._heads / self._examples).where(alive.heads, torch.nan)
        return Importance(heads, (self._mlps / self._examples).where(alive.mlps, torch.nan))
