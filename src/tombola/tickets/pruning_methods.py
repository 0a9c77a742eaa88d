"""Pruning methods: what is removed, by what it is chosen, which sites go together. Searches bear their names."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, cast

import torch
from torch import Tensor

from tombola.architectures.anatomy import Anatomy
from tombola.foundations.errors import TombolaError
from tombola.tickets.ticket import TICKET_KINDS, TicketKind, kinds_in_words

Grouping = Literal["kv-groups", "blocks"]
"""Sites that go together: the heads that share keys and values, or all of a layer."""


@dataclass(frozen=True)
class PruningMethod:
    """A method to prune by.

    Attributes:
        name: of its search: in settings, rows and folders.
        kind: what its tickets remove.
        words: for people.
        grouping: which sites go together; None where each goes alone.
        criterion: of weights, by what they are chosen, of `tombola.pruning.weight_criteria.CRITERIA`; empty for sites,
            which go by first-order importance.
        scope: of weights, over what they are compared; None for the criterion's own.
        pattern: of weights, N:M; then there is one cut, to its own sparsity.
    """

    name: str
    kind: TicketKind
    words: str
    grouping: Grouping | None = None
    criterion: str = ""
    scope: str | None = None
    pattern: str | None = None

    @property
    def title(self) -> str:
        """The words, as a heading."""
        return f"{self.words[:1].upper()}{self.words[1:]}"

    @property
    def iterative(self) -> bool:
        """True if weights that went stay away: magnitudes of the whole model, the m-pruning of the paper."""
        return self.name == "weights"

    @property
    def standard(self) -> bool:
        """True if it is the standard method of its kind of ticket, and named as the kind.

        It removes site by site, or the smallest weights of the whole model. Tickets of a kind are compared across seeds
        and tasks where this method found them: another one finds the same kind by other means.
        """
        return self.name == self.kind

    @property
    def sites(self) -> tuple[str, ...]:
        """The kinds of sites that are pruned; none where weights are."""
        return () if self.kind == "weights" else tuple(self.kind.split("+"))


_PATTERNS = {"magnitude": "magnitude", "wanda": "Wanda", "sparsegpt": "SparseGPT"}


def _methods() -> Iterator[PruningMethod]:
    for kind in TICKET_KINDS:
        if kind != "weights":
            yield PruningMethod(kind, kind, kinds_in_words(kind))
    yield PruningMethod("kv-groups", "heads", "groups of heads that share keys and values", grouping="kv-groups")
    yield PruningMethod("blocks", "heads+mlps", "whole layers", grouping="blocks")
    yield PruningMethod("weights", "weights", "weights", criterion="magnitude")
    yield PruningMethod(
        "magnitude-matrix", "weights", "weights by magnitude, each matrix alike", criterion="magnitude", scope="matrix"
    )
    yield PruningMethod("wanda", "weights", "weights by Wanda", criterion="wanda")
    yield PruningMethod("sparsegpt", "weights", "weights by SparseGPT", criterion="sparsegpt")
    yield PruningMethod("random-weights", "weights", "weights at random", criterion="random")
    for pattern, (criterion, title) in itertools.product(("2:4", "4:8"), _PATTERNS.items()):
        name = f"{criterion}-{pattern.replace(':', 'of')}"
        yield PruningMethod(name, "weights", f"weights by {title}, {pattern}", criterion=criterion, pattern=pattern)


METHODS: Mapping[str, PruningMethod] = MappingProxyType({method.name: method for method in _methods()})
"""Every method by name, in the order of tables: sites first."""


def pruning_method(name: str) -> PruningMethod:
    """The method of a name.

    Args:
        name: as in `METHODS`; `wanda-2:4` is `wanda-2of4`, as a colon has no place in the name of a folder.

    Raises:
        TombolaError: there is none.
    """
    found = METHODS.get(name.replace(":", "of"))
    if found is None:
        raise TombolaError(f"unknown pruning method {name!r}; known: {', '.join(METHODS)}")
    return found


def in_words(name: str) -> str:
    """A method, or a single kind of site, for people: `heads and MLPs`."""
    return METHODS[name].words if name in METHODS else kinds_in_words(name)


SiteGroups = Mapping[str, Tensor]
"""Kind of site → int64 in the shape of its mask: the number of the group that each site belongs to, from 0."""


def site_groups(anatomy: Anatomy, grouping: Grouping) -> SiteGroups:
    """Group number of every site.

    Args:
        anatomy: of the whole model.
        grouping: `kv-groups`: heads that share a key/value head; `blocks`: all sites of a layer. In a U-net a layer is
            a residual block, which without its channels is its shortcut and the bias of its last convolution, an
            attention, or a transformer block.
    """
    rows, heads = anatomy.heads
    if grouping == "kv-groups":
        groups = [torch.arange(heads) // row.group for row in anatomy.attentions]
        firsts = torch.tensor([0, *(row.kv_heads for row in anatomy.attentions[:-1])]).cumsum(0)
        return {"heads": torch.stack(groups) + firsts[:, None]}
    # Layers without sites, such as what changes the size of a picture, are no groups.
    of_rows = (anatomy.attentions, anatomy.feed_forwards, anatomy.residuals)
    layers = sorted({row.layer for rows_of_kind in of_rows for row in rows_of_kind})
    group = {layer: number for number, layer in enumerate(layers)}

    def of(layers_of_rows: Iterable[int]) -> Tensor:
        return torch.tensor([group[layer] for layer in layers_of_rows])

    found = {
        "heads": of(row.layer for row in anatomy.attentions)[:, None].expand(rows, heads),
        "mlps": of(row.layer for row in anatomy.feed_forwards),
        "channels": of(row.layer for row in anatomy.residuals)[:, None].expand(
            -1, max(anatomy.sizes("channels"), default=0)
        ),
    }
    return {kind: of_sites.clone() for kind, of_sites in found.items() if len(of_sites)}


def fitted(chosen: PruningMethod, anatomy: Anatomy) -> PruningMethod:
    """The method with the kinds of sites that blocks of this model are made of; any other method unchanged."""
    if chosen.grouping != "blocks":
        return chosen
    return replace(chosen, kind=cast(TicketKind, "+".join(site_groups(anatomy, "blocks"))))


def site_groups_of(anatomy: Anatomy, method: str) -> SiteGroups | None:
    """Site groups of a pruning method; None where each site goes alone."""
    grouping = pruning_method(method).grouping
    return None if grouping is None else site_groups(anatomy, grouping)


def count(found: SiteGroups) -> int:
    """Number of groups."""
    return 1 + max(int(of_sites.max()) for of_sites in found.values())
