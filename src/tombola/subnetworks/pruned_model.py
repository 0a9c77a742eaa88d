"""Pruned models know what they were pruned by, so that whoever saves them, trainers and pipelines too, can say so."""

import functools
import importlib
from typing import Any, cast

from torch import Tensor, nn

from tombola.architectures.dissect import dissect
from tombola.tickets.ticket import Ticket

_TICKETS, _SPARSE, _SAVE = "_tombola_tickets", "_tombola_sparse", "save_pretrained"


def tickets_of(model: nn.Module) -> tuple[Ticket, ...]:
    """Tickets that a model was shrunk under, one after the other, each of what the one before left."""
    found: tuple[Ticket, ...] = model.__dict__.get(_TICKETS, ())
    return found


def add_ticket(model: nn.Module, ticket: Ticket) -> None:
    """Note on a model that it was shrunk under a ticket, and let its `save_pretrained` write what `load` opens."""
    model.__dict__[_TICKETS] = (*tickets_of(model), ticket)
    model.__dict__[_SAVE] = _SavePretrained(model)


def sparse_ticket(model: nn.Module) -> Ticket | None:
    """The ticket of weights whose pruned weights `keep_sparse` keeps at zero; None of a dense model."""
    found = model.__dict__.get(_SPARSE)
    return found if isinstance(found, Ticket) else None


def keep_sparse(model: nn.Module, ticket: Ticket | None) -> None:
    """Give no gradient to what a ticket of weights pruned, and remember that; None: the model is dense.

    A copy of a model has parameters of its own, for which it is to be called again.
    """
    if ticket is None:
        model.__dict__.pop(_SPARSE, None)
        if not tickets_of(model):
            forget_tickets(model)
        return
    model.__dict__[_SPARSE] = ticket
    model.__dict__[_SAVE] = _SavePretrained(model)
    for matrix, parameter in dissect(model).prunable(model):
        parameter.register_hook(functools.partial(_only_survivors, ticket.masks[matrix.name]))


def forget_tickets(model: nn.Module) -> None:
    """Take all notes away: the model is whole again."""
    for name in (_TICKETS, _SPARSE, _SAVE):
        model.__dict__.pop(name, None)


def _only_survivors(mask: Tensor, gradient: Tensor) -> Tensor:
    return gradient.where(mask.to(gradient.device), 0.0)


class _SavePretrained:
    """The `save_pretrained` of a pruned model: its class's own, and the tickets beside what that writes.

    An object, since pickle looks a bound function up by its name, and would find that of the class.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        base = getattr(type(model), _SAVE, None)
        if base is not None:
            functools.update_wrapper(cast(Any, self), base)

    def __call__(self, save_directory: Any, *args: Any, **options: Any) -> None:
        # This room knows no files, and who calls this, a trainer or a pipeline, knows no Tombola.
        checkpoint = importlib.import_module("tombola.checkpoints.checkpoint")
        checkpoint.save_pretrained(self._model, save_directory, *args, **options)
