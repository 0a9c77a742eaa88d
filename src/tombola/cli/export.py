"""`tombola export`: a model under a ticket for tools that know nothing of tickets."""

import argparse
from typing import Any

from tombola.cli.command import Command
from tombola.cli.written_model import add_model_and_ticket, write_model


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_and_ticket(parser, "new folder")
    parser.add_argument(
        "--format",
        choices=("zeros", "onnx"),
        required=True,
        help="zeros: the original's shapes, for from_pretrained; onnx: a graph for ONNX Runtime",
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    if options.format == "onnx":
        from tombola.checkpoints.export_onnx import save_onnx

        return write_model(options, save_onnx)
    from tombola.checkpoints.checkpoint import save_zeros

    return write_model(options, save_zeros)


COMMAND = Command(
    name="export",
    what="a model for tools that know nothing of tickets, proved equal to the masked one",
    add_arguments=_add_arguments,
    run=_run,
)
