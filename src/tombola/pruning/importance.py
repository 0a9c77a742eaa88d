"""Importance of each site: what a ranking is asked, what it answers, and Tombola's own by per-example gates."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy
from tombola.foundations.errors import TombolaError
from tombola.foundations.frozen_dict import FrozenDict
from tombola.subnetworks.gates import Gates
from tombola.subnetworks.subnetwork import Subnetwork, expanded
from tombola.tasks.base import Task
from tombola.tickets.kinds import kinds_in_words
from tombola.tickets.site_groups import SiteGroups, count
from tombola.tickets.ticket import Ticket

Pass = tuple[Gates, Tensor]
"""Batch that has passed the model: the gates that were open, with the graph behind, and the losses [batch]."""


@dataclass(frozen=True, eq=False)
class Importance:
    """Importance of each site.

    Attributes:
        sites: kind of site → float64 in the shape of its mask (`heads` [rows, heads], `mlps` [MLPs], `neurons`
            [MLPs, blocks]), NaN where it is pruned.
        head_norms: float64 [rows], the L2 norm of each row of heads, with those that are masked: their gates at zero
            have gradients too. None where no head is masked.
    """

    sites: Mapping[str, Tensor]
    head_norms: Tensor | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sites", FrozenDict(self.sites))

    def __getitem__(self, kind: str) -> Tensor:
        return self.sites[kind]

    def __repr__(self) -> str:
        shapes = (f"{kinds_in_words(kind)} {list(values.shape)}" for kind, values in self.sites.items())
        return f"Importance({', '.join(shapes)})"

    def normalised(self, layers: bool = True, *, every: bool = False) -> Self:
        """Heads divided by their layer's L2 norm, then each kind scaled to [0, 1] (Michel et al. 2019).

        Args:
            layers: divide by the norms. It makes layers equal, which hurts deep decoders: 54 of SmolLM2's 270 heads
                went for 7 points of grammar with it, for 1 without.
            every: take the norms over all heads of a layer, masked ones included, as the paper's code does. Then
                layers empty; by norms of the survivors, a layer's last head always has the greatest importance.

        Ranges, and by default norms, are those of the survivors, so that a pruned site has no say, masked or gone.
        Neurons are not divided by a norm: compared over the whole model they make much better tickets.
        """
        found = dict(self.sites)
        if layers and "heads" in found:
            norms = found["heads"].nan_to_num().norm(dim=1, keepdim=True)
            if every and self.head_norms is not None:
                norms = self.head_norms[:, None]
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


@dataclass(frozen=True, eq=False)
class RankedSites:
    """Sites that a ranking is asked about.

    Attributes:
        subnetwork: what is scored: its ticket says which sites work, its `model` may be without the others.
        task: gives data, loss and metric.
        split: of the task, which is being scored.
        groups: sites that go together; None where each goes alone.
        passes: the batches of the split, each as it has just passed the model. The score comes of the same passes:
            asking costs no second one, and what is not asked for passes afterwards, without gradients.
    """

    subnetwork: Subnetwork
    task: Task
    split: str
    groups: SiteGroups | None
    passes: Iterator[Pass] = field(repr=False)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the sites, of which each wants an answer."""
        return self.ticket.sites

    @property
    def ticket(self) -> Ticket:
        """Sites that work."""
        return self.subnetwork.ticket

    @property
    def anatomy(self) -> Anatomy:
        """Anatomy of the whole model, and of `model`."""
        return self.subnetwork.anatomy

    @cached_property
    def model(self) -> nn.Module:
        """Model in the shapes of the whole one, with zeros in place of what is pruned: for a ranking of weights."""
        return expanded(self.subnetwork)

    def gradients(self) -> Iterator[Mapping[str, Tensor]]:
        """Gradient of each example's loss to each site's gate, batch by batch.

        Kind of site → fp32 [batch, ...], behind the batch the shape of the mask; zeros for sites that are gone. Sites
        that go together have one gate, whose gradient each of them gets.
        """
        for gates, losses in self.passes:
            yield gate_gradients(gates, losses, self.groups)


def gate_gradients(gates: Gates, losses: Tensor, groups: SiteGroups | None = None) -> Mapping[str, Tensor]:
    """Gradients of one batch, see `RankedSites.gradients`, by the gates that were open when `losses` came about."""
    # Examples do not touch each other's gates, so one backward pass of the sum gives each its own gradient.
    opened = list(gates.opened.values())
    gradients = torch.autograd.grad(losses.sum(), opened) if opened else ()
    found = {
        kind: losses.new_zeros((len(losses), *gates.present.masks[kind].shape), dtype=torch.float32)
        for kind in gates.present.sites
    }
    rows = {kind: of_kind.view(len(losses), len(of_kind[0]), -1) for kind, of_kind in found.items()}
    for ((kind, row), sites), gradient in zip(gates.places(), gradients, strict=True):
        # A row may have fewer sites than the mask is wide.
        rows[kind][:, row, : len(sites)][:, sites] = gradient.float()
    if groups is not None:
        joint = losses.new_zeros(len(losses), count(groups), dtype=torch.float32)
        numbers = {kind: groups[kind].flatten().to(joint.device) for kind in found}
        for kind, of_sites in numbers.items():
            joint.index_add_(1, of_sites, found[kind].flatten(1))
        found = {kind: joint[:, numbers[kind]].view_as(of_kind) for kind, of_kind in found.items()}
    return found


class FirstOrder:
    """The running mean of |∂L(x)/∂ξ| over examples x: I(site) = E_x |∂L(x)/∂ξ_site|.

    Source: Michel, Levy, Neubig 2019, eq. 2, extended to MLPs by Prasanna, Rogers, Rumshisky 2020. The absolute
    value is taken of each example's gradient, which is exact because every example has gates of its own. Sites that
    go together share one gate.

    Args:
        accumulated: what the authors' released script computes instead: it never resets gradients, so that the mean is
            of |∂(L₁ + … + L_k)/∂ξ| over batches k, where L_k is a batch's mean loss. It depends on the order and the
            size of the batches; its ranking of heads correlates 0.7 with the exact one, that of MLPs not at all.
    """

    def __init__(self, *, accumulated: bool = False) -> None:
        self._accumulated = accumulated
        self._totals: dict[str, Tensor] = {}
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, gradients: Mapping[str, Tensor]) -> None:
        """Count one batch, as `RankedSites.gradients` gives it."""
        for kind, gradient in gradients.items():
            if self._accumulated:
                self._totals[kind] = self._totals.get(kind, 0.0) + gradient.mean(0).cpu().double()
                size = self._totals[kind].abs()
            else:
                size = gradient.abs().sum(0).cpu().double()
            self._sums[kind] = self._sums.get(kind, 0.0) + size
        # The mean is over examples, or over batches.
        self._count += 1 if self._accumulated else len(next(iter(gradients.values())))

    def result(self) -> dict[str, Tensor]:
        """The mean over all so far: kind of site → float64 in the shape of its mask."""
        return {kind: sums / self._count for kind, sums in self._sums.items()}


def per_example(sites: RankedSites) -> Mapping[str, Tensor]:
    """Ranking by the mean size of each example's gradient."""
    return _first_order(sites, FirstOrder())


def accumulated(sites: RankedSites) -> Mapping[str, Tensor]:
    """Ranking by the mean size of the sum of all batches' gradients so far, as the paper's code has it."""
    return _first_order(sites, FirstOrder(accumulated=True))


def _first_order(sites: RankedSites, found: FirstOrder) -> Mapping[str, Tensor]:
    for gradients in sites.gradients():
        found.add(gradients)
    return found.result()


def checked(name: str, answer: object, ticket: Ticket, present: Ticket, groups: SiteGroups | None) -> Importance:
    """Importance from what a ranking answered.

    Args:
        name: of the ranking, for messages.
        answer: what it gave, see `SiteRanking`.
        ticket: sites that work; NaN stands for the others.
        present: sites that are there.
        groups: sites that go together.

    Raises:
        TombolaError: it forgot a kind of site, its numbers are of another shape, or that of a site that works is not
            finite.
    """
    found = {kind: _numbers(name, answer, kind, ticket.masks[kind]) for kind in ticket.sites}
    for kind, values in found.items():
        # NaN stands for what is pruned: a site that works must not be taken for one.
        if len(broken := (ticket.masks[kind] & ~values.isfinite()).nonzero()):
            place = broken[0].tolist()
            raise TombolaError(
                f"the importance {name} of {kind} {place} is {float(values[tuple(place)])}, which ranks nothing; where "
                "it goes by gradients, score with --precision fp32, or train with a lower learning rate"
            )
    if groups is not None:
        found = _joint(found, groups, ticket)
    sites = {kind: values.where(ticket.masks[kind], torch.nan) for kind, values in found.items()}
    closed = "heads" in found and bool((present.masks["heads"] & ~ticket.masks["heads"]).any())
    return Importance(sites, found["heads"].nan_to_num().norm(dim=1) if closed else None)


def _numbers(name: str, answer: object, kind: str, mask: Tensor) -> Tensor:
    if not isinstance(answer, Mapping):
        raise TombolaError(f"the importance {name} gave no mapping from kinds of sites to numbers: {answer!r:.80}")
    if kind not in answer:
        raise TombolaError(f"the importance {name} says nothing of {kind}; give numbers for every kind of sites.kinds")
    try:
        values = torch.as_tensor(answer[kind]).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TombolaError(f"the importance {name} gave no numbers for {kind}: {answer[kind]!r:.80}") from error
    if values.shape != mask.shape:
        raise TombolaError(
            f"the importance {name} gave {kind} of shape {list(values.shape)}; there are {list(mask.shape)}, of which "
            "each needs a number"
        )
    return values


def _joint(found: Mapping[str, Tensor], groups: SiteGroups, ticket: Ticket) -> dict[str, Tensor]:
    """Values of sites that go together: their own where they are alike, else their sum."""
    of = {kind: groups[kind][ticket.masks[kind]] for kind in found}
    numbers, values = torch.cat([*of.values()]), torch.cat([found[kind][ticket.masks[kind]] for kind in found])
    empty = torch.zeros(count(groups), dtype=values.dtype)
    low, high = (empty.scatter_reduce(0, numbers, values, how, include_self=False) for how in ("amin", "amax"))
    joint = low.where(low == high, empty.index_add(0, numbers, values))
    return {kind: joint[groups[kind]] for kind in found}
