"""Site groups: sites that only go together, as the heads that share keys and values, or all of a layer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.sites import SiteRow
from tombola.tickets.kinds import TicketKind
from tombola.tickets.pruning_methods import Grouping, PruningMethod, pruning_method

SiteGroups = Mapping[str, Tensor]
"""Kind of site → int64 in the shape of its mask: the number of the group that each site belongs to, from 0.

Where the mask is wider than a row has sites, the number means nothing.
"""


def site_groups(anatomy: Anatomy, grouping: Grouping) -> SiteGroups:
    """Group number of every site.

    Args:
        anatomy: of the whole model.
        grouping: `kv-groups`: heads that share a key/value head; `layers`: all sites of a layer. In a U-net a layer is
            a residual block, which without its channels is its shortcut and the bias of its last convolution, an
            attention, or a transformer block.
    """
    if grouping == "kv-groups":
        numbers, first = torch.zeros(anatomy.heads, dtype=torch.long), 0
        for numbered, row in zip(numbers, anatomy.attentions, strict=True):
            numbered[: row.heads] = first + torch.tensor(row.key_values, dtype=torch.long)
            first += len({*row.key_values})
        return {"heads": numbers}
    # Layers without sites, such as what changes the size of a picture, are no groups.
    rows_of: dict[str, Sequence[SiteRow]] = {
        "heads": anatomy.attentions,
        "mlps": anatomy.feed_forwards,
        "channels": anatomy.residuals,
    }
    layers = sorted(
        {
            row.layer
            for kind, several in rows_of.items()
            for row, size in zip(several, anatomy.sizes(kind), strict=True)
            if size
        }
    )
    found = {}
    for kind, several in rows_of.items():
        if any(anatomy.sizes(kind)):
            # A row that has no sites is of no group, and counts for none.
            numbers = torch.tensor([layers.index(row.layer) if row.layer in layers else 0 for row in several])
            found[kind] = numbers if kind == "mlps" else numbers[:, None].repeat(1, max(anatomy.sizes(kind)))
    return found


def fitted(chosen: PruningMethod, anatomy: Anatomy) -> PruningMethod:
    """The method with the kinds of sites that layers of this model are made of; any other method unchanged."""
    if chosen.grouping != "layers":
        return chosen
    return replace(chosen, kind=cast(TicketKind, "+".join(site_groups(anatomy, "layers"))))


def site_groups_of(anatomy: Anatomy, method: str) -> SiteGroups | None:
    """Site groups of a pruning method; None where each site goes alone."""
    grouping = pruning_method(method).grouping
    return None if grouping is None else site_groups(anatomy, grouping)


def count(found: SiteGroups) -> int:
    """Number of groups."""
    return 1 + max(int(of_sites.max()) for of_sites in found.values())
