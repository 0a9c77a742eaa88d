"""`tombola export`: a model under a ticket for tools that know nothing of tickets; `shrink` writes its model alike."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.checkpoints.sources import configuration
from tombola.cli.command import Command, add_out, check_ticket, say
from tombola.cli.given_ticket import load_ticket, other_weights
from tombola.foundations.errors import TombolaError
from tombola.foundations.figures import short_count
from tombola.study.folder_layout import check_not_renewed

if TYPE_CHECKING:
    from torch import nn

    from tombola.tickets.ticket import Ticket


def add_model_and_ticket(parser: argparse.ArgumentParser, out: str, force: str) -> None:
    """Add model, ticket, output folder and `--force`, with the help of the latter two."""
    parser.add_argument(
        "model", metavar="MODEL", help="fine-tuned model, or pipeline of images: local folder, hub id or asset"
    )
    parser.add_argument(
        "ticket", type=Path, metavar="TICKET", help="folder of a ticket, or one that holds a single good ticket"
    )
    add_out(parser, out)
    parser.add_argument("--force", action="store_true", help=force)


def check_model_and_ticket(options: argparse.Namespace) -> None:
    """Raise a TombolaError where one of them is nowhere, or they are of two kinds, before PyTorch is imported."""
    check_not_renewed(Path(options.model))
    said = configuration(options.model)
    check_ticket(options.ticket, options.model, said)


def load_model_and_ticket(options: argparse.Namespace) -> "tuple[nn.Module, Ticket]":
    """Load both; a TombolaError where the ticket is of other weights than the model's."""
    from tombola.checkpoints.model_libraries import load_any

    folder, ticket = load_ticket(options.ticket)
    model = load_any(options.model)
    if (why := other_weights(model, ticket, folder)) is not None:
        raise TombolaError(f"{why}, as MODEL")
    return model, ticket


def write_model(options: argparse.Namespace, save: Callable[..., float]) -> dict[str, Any]:
    """Write a model under a ticket by one of the `save_…` functions, and say what became smaller."""
    from tombola.architectures.dissect import dissect
    from tombola.architectures.parameters import count_parameters
    from tombola.checkpoints.model_card import bytes_on_disk, dense_bytes, megabytes, surviving_parameters
    from tombola.subnetworks.subnetwork import shrunk

    model, ticket = load_model_and_ticket(options)
    difference = save(model, ticket, options.out, tokenizer=options.model, force=options.force)
    result: dict[str, Any] = {
        "model": str(options.out),
        "sparsity": ticket.sparsity(dissect(model)),
        "parameters": surviving_parameters(shrunk(model, ticket)),
        "parameters_before": count_parameters(model),
        "bytes": bytes_on_disk(options.out),
        "bytes_before": dense_bytes(model),
        "difference": difference,
    }
    if not options.json:
        sizes = f"{megabytes(result['bytes']).removesuffix(' MB')} of {megabytes(result['bytes_before'])} on disk"
        if result["bytes"] >= result["bytes_before"] and len(ticket) < ticket.total:
            sizes += " (what is pruned takes room as zeros or as one bit each)"
        say(
            f"{options.out}: {short_count(result['parameters'])} of "
            f"{short_count(result['parameters_before'])} parameters, {sizes}; largest difference from the "
            f"masked model {difference:.1e} of the largest output"
        )
    return result


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_and_ticket(parser, "new folder", "write a ticket that removes nothing, too")
    formats = "zeros: the original's shapes, for from_pretrained; onnx: a graph for ONNX Runtime"
    parser.add_argument("--format", choices=("zeros", "onnx"), required=True, help=formats)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    check_model_and_ticket(options)
    from tombola.checkpoints.checkpoint import save_zeros
    from tombola.checkpoints.export_onnx import save_onnx

    return write_model(options, save_onnx if options.format == "onnx" else save_zeros)


COMMAND = Command(
    "export", "a model for tools that know nothing of tickets, proved equal to the masked one", _add_arguments, _run
)
