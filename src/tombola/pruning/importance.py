"""First-order importance of each site, by per-example gates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from tombola.foundations.errors import TombolaError
from tombola.foundations.frozen_dict import FrozenDict
from tombola.subnetworks.gates import Gates
from tombola.tickets.site_groups import SiteGroups, count


@dataclass(frozen=True, eq=False)
class Importance:
    """Importance of each site.

    Attributes:
        sites: kind of site → float64 in the shape of its mask (`heads` [rows, heads], `mlps` [MLPs], `neurons`
            [MLPs, blocks]), NaN where it is pruned.
    """

    sites: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sites", FrozenDict(self.sites))

    def __getitem__(self, kind: str) -> Tensor:
        return self.sites[kind]

    def normalised(self, layers: bool = True) -> Self:
        """Heads divided by their layer's L2 norm, then each kind scaled to [0, 1] (Michel et al. 2019).

        Args:
            layers: divide by the norms. It makes layers equal, which hurts deep decoders: 54 of SmolLM2's 270 heads
                went for 7 points of grammar with it, for 1 without.

        Norms and ranges are those of the survivors, so that a pruned site has no say, whether it is masked or gone.
        Neurons are not divided by a norm: compared over the whole model they make much better tickets.
        """
        found = dict(self.sites)
        if layers and "heads" in found:
            norms = found["heads"].nan_to_num().norm(dim=1, keepdim=True)
            # A layer whose heads have no influence at all keeps its zeros.
            found["heads"] = found["heads"] / norms.where(norms > 0, 1.0)
        return type(self)({kind: _unit(values) for kind, values in found.items()})

    def least_first(self, kind: str) -> list[Any]:
        """The sites of a kind that are not pruned, by rising importance; among equals the first row and site first.

        Heads are [row, head], neurons [MLP, block], MLPs just numbers.
        """
        values = self.sites[kind]
        alive = ~values.isnan()
        sites = alive.nonzero()[values[alive].argsort(stable=True)].tolist()
        return sites if values.ndim > 1 else [site for (site,) in sites]

    def lists(self) -> dict[str, object]:
        """JSON object: nested lists with None for the pruned."""
        arrays = {kind: values.numpy() for kind, values in self.sites.items()}
        return {kind: np.where(np.isnan(array), np.array(None), array).tolist() for kind, array in arrays.items()}

    @classmethod
    def from_lists(cls, lists: Mapping[str, Any]) -> Self:
        """Read what `lists` gave."""
        # None becomes NaN in an array of floats.
        return cls({kind: torch.from_numpy(np.array(values, dtype=np.float64)) for kind, values in lists.items()})


def _unit(values: Tensor) -> Tensor:
    alive = values[~values.isnan()]
    if not len(alive):
        return values
    low, high = alive.min(), alive.max()
    return (values - low) / (high - low) if high > low else values - low


class FirstOrder:
    """The running mean of |∂L(x)/∂ξ| over examples x: I(site) = E_x |∂L(x)/∂ξ_site|.

    Source: Michel, Levy, Neubig 2019, eq. 2, extended to MLPs by Prasanna, Rogers, Rumshisky 2020. The absolute
    value is taken of each example's gradient, which is exact because every example has gates of its own. (The
    authors' released script lets the gradients of all batches add up and takes the absolute value of the running
    sum; its ranking of heads correlates 0.7 with the exact one, that of MLPs not at all.)

    Args:
        gates: of the sites.
        groups: sites that go together. They share one gate then, whose gradient is the sum of theirs, and each of them
            gets the importance of its group.
    """

    def __init__(self, gates: Gates, groups: SiteGroups | None = None) -> None:
        self._gates = gates
        self._groups = groups
        self._examples = 0
        self._of_groups = torch.zeros(0 if groups is None else count(groups), dtype=torch.float64)
        masks = gates.present.masks
        # Rows of sites, as the gates have them.
        self._sums = {
            kind: torch.zeros(len(masks[kind]), masks[kind][0].numel(), dtype=torch.float64)
            for kind in gates.present.sites
        }

    def add(self, losses: Tensor, gates: list[Tensor]) -> None:
        """Count one batch: `losses` [batch], and the gates that were open while it was computed."""
        # Examples do not touch each other's gates, so one backward pass of the sum gives each its own gradient.
        gradients = torch.autograd.grad(losses.sum(), gates)
        self._examples += len(losses)
        if self._groups is not None:
            joint = losses.new_zeros(len(losses), len(self._of_groups), dtype=torch.float32)
            for ((kind, row), sites), gradient in zip(self._gates.places(), gradients, strict=True):
                of_sites = self._groups[kind].reshape(len(self._groups[kind]), -1)[row, : len(sites)][sites]
                joint.index_add_(1, of_sites.to(joint.device), gradient.to(joint.dtype))
            self._of_groups += joint.abs().sum(0).cpu().double()
            return
        sums = (gradient.abs().sum(0).cpu().double() for gradient in gradients)
        for ((kind, row), sites), total in zip(self._gates.places(), sums, strict=True):
            # A row may have fewer sites than the mask is wide.
            self._sums[kind][row, : len(sites)][sites] += total

    def result(self) -> Importance:
        """The mean over all examples so far; NaN for sites whose gate is zero or that are gone.

        Raises:
            TombolaError: that of a site that works is not finite.
        """
        masks = self._gates.values.masks
        if self._groups is not None:
            for kind, sums in self._sums.items():
                sums.copy_(self._of_groups[self._groups[kind].reshape(sums.shape)])
        means = {kind: (sums / self._examples).view_as(masks[kind]) for kind, sums in self._sums.items()}
        for kind, mean in means.items():
            # NaN stands for what is pruned: a site that works must not be taken for one.
            if len(broken := (masks[kind] & ~mean.isfinite()).nonzero()):
                raise TombolaError(
                    f"the gradient of the loss to {kind} {broken[0].tolist()} is not finite, so that nothing says how "
                    "important it is; score with --precision fp32, or train with a lower learning rate"
                )
        return Importance({kind: mean.where(masks[kind], torch.nan) for kind, mean in means.items()})
