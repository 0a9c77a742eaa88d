"""Sites that go together: which heads and MLPs make a group of shared keys and values, or a whole layer."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tombola.anatomy import Anatomy
from tombola.ways import Units, way

Members = Mapping[str, Tensor]
"""Kind of site → int64 in the shape of its mask: the unit that each site belongs to, counted from 0."""


def members(anatomy: Anatomy, units: Units) -> Members:
    """The unit of every site.

    Args:
        anatomy: of the whole model.
        units: `kv-groups`: heads that share a key/value head; `blocks`: the heads and MLPs of a layer.
    """
    rows, heads = anatomy.heads
    if units == "kv-groups":
        groups = [torch.arange(heads) // row.group for row in anatomy.attentions]
        firsts = torch.tensor([0, *(row.kv_heads for row in anatomy.attentions[:-1])]).cumsum(0)
        return {"heads": torch.stack(groups) + firsts[:, None]}
    return {
        "heads": torch.tensor([row.layer for row in anatomy.attentions])[:, None].expand(rows, heads).clone(),
        "mlps": torch.tensor([row.layer for row in anatomy.feed_forwards]),
    }


def members_of(anatomy: Anatomy, pruning: str) -> Members | None:
    """The units of a way to prune; None where each site goes alone."""
    units = way(pruning).units
    return None if units is None else members(anatomy, units)


def count(found: Members) -> int:
    """Number of units."""
    return 1 + max(int(of_sites.max()) for of_sites in found.values())
