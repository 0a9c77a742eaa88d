"""Subnetworks: models in which only a ticket's part works, by masking the rest or by removing it."""

import copy
import itertools
from dataclasses import dataclass

import torch
from torch import nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import refuse_offloaded
from tombola.architectures.removal import removal_of
from tombola.foundations.errors import check_type
from tombola.subnetworks.pruned_model import add_ticket, forget_tickets, keep_sparse, sparse_ticket, tickets_of
from tombola.subnetworks.structured_removal import remove, restore
from tombola.tickets.kinds import BLOCK, TicketKind
from tombola.tickets.ticket import Ticket, every_site


@dataclass(frozen=True)
class Subnetwork:
    """Subnetwork: a model and the ticket that it realises.

    Attributes:
        model: the model to call. It shares what it can with the model that it was made from.
        anatomy: anatomy of the model that it was made from, which the ticket is of.
        ticket: what of it works.
        present: the sites of that one that are physically there: everything, unless the ticket's were removed.
    """

    model: nn.Module
    anatomy: Anatomy
    ticket: Ticket
    present: Ticket

    def __repr__(self) -> str:
        return f"Subnetwork({type(self.model).__name__}, {self.ticket})"

    @property
    def gated(self) -> bool:
        """True if sites that the ticket pruned are still there and need gates at zero."""
        return self.ticket.kind != "weights" and self.present != self.ticket


def whole(model: nn.Module, kind: TicketKind | None = None, block: int = BLOCK) -> Subnetwork:
    """Whole model as a subnetwork of itself; `kind` and `block` say which sites it is seen as.

    By default heads and MLPs, in a convolutional network heads and channels.

    Raises:
        TombolaError: unknown architecture, or no such blocks of neurons.
    """
    anatomy = dissect(model)
    full_ticket = Ticket.full(anatomy, every_site(anatomy) if kind is None else kind, block)
    return Subnetwork(model, anatomy, full_ticket, full_ticket)


def masked(model: nn.Module, ticket: Ticket) -> Subnetwork:
    """Masked subnetwork: everything but the ticket switched off, by gates at zero for sites and zeros for weights.

    `model` itself is not changed: weights are masked in a copy that shares the parameters that no mask touches. A
    pruned weight is +0.0, whatever it was.

    Raises:
        TombolaError: the ticket is for another architecture.
    """
    check_type("the ticket", ticket, Ticket, "Ticket.load(folder)")
    anatomy = dissect(model)
    ticket.check(anatomy)
    if ticket.kind != "weights":
        return Subnetwork(model, anatomy, ticket, ticket | ~ticket)
    copied = structural_copy(model)
    for matrix, parameter in anatomy.prunable(copied):
        mask = ticket.masks[matrix.name].to(parameter.device)
        module = copied.get_submodule(matrix.module)
        # A product would leave -0.0 where a negative weight was, and NaN where an infinite one was.
        module.weight = nn.Parameter(parameter.detach().where(mask, 0.0), parameter.requires_grad)
    return Subnetwork(copied, anatomy, ticket, Ticket.full(anatomy, every_site(anatomy)))


def shrunk(model: nn.Module, ticket: Ticket, *, empty: bool = True) -> Subnetwork:
    """Shrunk subnetwork: pruned sites removed from the network; the same function in fewer operations.

    `model` itself is not changed; parameters that no cut touches are shared with it. A sublayer that loses all its
    heads keeps the bias of its attention output; where it does not run without heads (decoders, for their KV cache),
    it keeps one whose weights are zeros, which training leaves at zero. A layer that loses its MLP keeps what
    surrounds it (in BERT the layer norm); an MLP that loses all its neurons keeps the bias of its output too. Where
    several heads share keys and values, those of a group go with its last head; uneven groups are exact too, see
    [`tombola.subnetworks.structured_removal`][]. Weight tickets cannot be shrunk and are masked instead. With `empty`
    false, no sublayer is left without heads: each keeps at least one of zeros.

    Raises:
        TombolaError: the ticket is for another architecture.
    """
    check_type("the ticket", ticket, Ticket, "Ticket.load(folder)")
    if ticket.kind == "weights":
        return masked(model, ticket)
    copied = structural_copy(model)
    anatomy = cut(copied, ticket, empty=empty)
    return Subnetwork(copied, anatomy, ticket, ticket)


def cut(model: nn.Module, ticket: Ticket, *, empty: bool = True) -> Anatomy:
    """Shrink a model itself as `shrunk` does a copy; the anatomy that it had before."""
    anatomy, sparse = dissect(model), sparse_ticket(model)
    ticket.check(anatomy)
    if sparse is not None:
        keep_sparse(model, None)
        masks = structural_copy(model)
        for matrix in anatomy.matrices:
            module, mask = masks.get_submodule(matrix.module), sparse.masks[matrix.name]
            module.weight = nn.Parameter(mask.to(torch.float32), requires_grad=False)
        # Cut as the weights are.
        cut(masks, ticket, empty=empty)
    remove(model, anatomy, ticket.kept(anatomy), empty=empty)
    add_ticket(model, ticket)
    if sparse is not None:
        left = {matrix.name: mask.detach() > 0 for matrix, mask in dissect(masks).prunable(masks)}
        keep_sparse(model, Ticket("weights", dissect(model).signature, left, sparse.provenance))
    return anatomy


def expanded(subnetwork: Subnetwork) -> nn.Module:
    """A model of the shapes before its ticket's cut that computes what the subnetwork does: zeros where it removed.

    Of a whole model it has the original shapes, loads with plain `from_pretrained` and keeps every weight of the
    removed sites at exactly zero. That holds for every ticket, also after training: what was shared before the cut
    (keys and values of a group, T5's position bias) is one parameter in the shrunk model too.
    """
    if subnetwork.gated:
        subnetwork = shrunk(subnetwork.model, subnetwork.ticket)
    present, before = subnetwork.present, subnetwork.anatomy.removal
    if present.total == len(present):
        return subnetwork.model
    copied = structural_copy(subnetwork.model)
    tickets = tickets_of(copied)[:-1]
    restore(copied)
    forget_tickets(copied)
    for ticket in tickets if before is not None else ():
        cut(copied, ticket)
    return copied


def without_removal(model: nn.Module) -> nn.Module:
    """A model of the whole shapes that computes what a shrunk one does: zeros for all that was ever removed."""
    if removal_of(model) is None:
        return model
    copied = structural_copy(model)
    restore(copied)
    forget_tickets(copied)
    return copied


def structural_copy(model: nn.Module) -> nn.Module:
    """New modules over the same tensors: nearly free, and safe as long as parameters are replaced, not written to.

    Raises:
        TombolaError: parts of the model are offloaded.
    """
    refuse_offloaded(model)
    shared = itertools.chain(model.parameters(), model.buffers(), [sparse_ticket(model)])
    return copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
