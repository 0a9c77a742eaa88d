"""Rankings that Tombola does not bring: heads and MLPs by the norm of their output weights, weights by noisy sizes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tombola.pruning.importance import RankedSites
from tombola.pruning.weight_criteria import ScoredMatrix


def output_norm(sites: RankedSites) -> Mapping[str, Tensor]:
    """The norm of what a site writes with."""

    def weight(path: str) -> Tensor:
        return sites.model.get_parameter(f"{path}.weight").detach()

    rows, mlps = sites.anatomy.attentions, sites.anatomy.feed_forwards
    heads = [weight(row.outputs[0]).unflatten(1, (row.heads, row.size)).norm(dim=(0, 2)) for row in rows]
    return {"heads": torch.stack(heads), "mlps": torch.stack([weight(row.output).norm() for row in mlps])}


def noisy_size(matrix: ScoredMatrix) -> Tensor:
    """The size of a weight times chance."""
    return matrix.weight.abs() * matrix.random()
