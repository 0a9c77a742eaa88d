"""Tickets that a command is given, their method and seed; a score in words."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from tombola.tickets.ticket import Ticket


def add_ticket(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add `--ticket`."""
    which = "ticket, by its folder or by one that holds a single good ticket, such as what prune wrote"
    parser.add_argument(
        "--ticket", type=Path, required=required, metavar="DIR", help=which if required else f"{which}; none: all of it"
    )


def load_ticket(place: Path) -> "tuple[Path, Ticket]":
    """Load the ticket that `--ticket` names, and say in which folder it lies."""
    from tombola.tickets.find_tickets import ticket_folder
    from tombola.tickets.ticket import Ticket

    folder = ticket_folder(place)
    return folder, Ticket.load(folder)


def other_weights(model: "nn.Module", ticket: "Ticket", folder: Path) -> str | None:
    """Sentence on a model that has not the weights which the method of a ticket left; None for one that fits."""
    from tombola.architectures.dissect import dissect

    if not ticket.provenance.get("updated_weights"):
        return None
    ticket.check(anatomy := dissect(model))
    # Those that were pruned are zeros in it.
    masks = ((parameter.detach().cpu(), ticket.masks[matrix.name]) for matrix, parameter in anatomy.prunable(model))
    if not any(bool(weight[~mask].any()) for weight, mask in masks):
        return None
    beside = folder.parent / "updated"
    where = beside if beside.is_dir() else "the folder updated/ that prune wrote beside the ticket"
    return f"the method of this ticket ({ticket.method}) changed the weights that survive: give its model, {where}"


def method_of(ticket: "Ticket") -> str:
    """Pruning method of a ticket; of one that nobody knows, the standard method of its kind."""
    from tombola.tickets.pruning_methods import METHODS

    return ticket.method if ticket.method in METHODS else ticket.kind


def seed_of(options: argparse.Namespace, ticket: "Ticket | None") -> int:
    """The seed that was given, else that of the ticket, else 0."""
    own = None if ticket is None else ticket.provenance.get("seed")
    given: int | None = options.seed
    return given if given is not None else own if isinstance(own, int) else 0


def score_line(result: Mapping[str, Any]) -> str:
    """Line for people of a `Session.score_entry`."""
    from tombola.metrics.scores import metric_title

    what = f"{metric_title(result['metric'])} {result['score']:.4f}"
    interval = f"95 % interval {result['score_low']:.4f} to {result['score_high']:.4f}"
    direction = "" if result["higher_is_better"] else "lower is better; "
    return f"{what} ({direction}{interval}, n = {result['n']}; chance {result['chance']:.4f})"
