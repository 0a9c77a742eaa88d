"""Rankings that Tombola does not bring: heads and MLPs by the norm of their output weights, weights by noisy sizes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tombola.pruning.importance import RankedSites
from tombola.pruning.weight_criteria import ScoredMatrix


def output_norm(sites: RankedSites) -> Mapping[str, Tensor]:
    """The norm of what a site writes with, as docs/how-to/own-rankings.md has it."""
    found = {kind: torch.zeros(mask.shape) for kind, mask in sites.ticket.masks.items()}

    def weight(path: str) -> Tensor:
        return sites.model.get_parameter(f"{path}.weight").detach()

    for place, row in enumerate(sites.anatomy.attentions):
        if row.heads:
            heads = weight(row.outputs[0]).unflatten(1, (row.heads, row.size))
            found["heads"][place, : row.heads] = heads.norm(dim=(0, 2))
    for place, mlp in enumerate(sites.anatomy.feed_forwards):
        if mlp.neurons:
            found["mlps"][place] = weight(mlp.output).norm()
    return found


def noisy_size(matrix: ScoredMatrix) -> Tensor:
    """The size of a weight times chance."""
    return matrix.weight.abs() * matrix.random()
