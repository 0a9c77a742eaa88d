"""`tombola shrink`: a smaller model on disk, and what it gained."""

import argparse
import warnings
from typing import Any

from rich.console import Console
from safetensors import SafetensorError

from tombola.cli.command import Command, counts
from tombola.cli.export import add_model_and_ticket, check_model_and_ticket, write_model
from tombola.cli.given_ticket import load_ticket
from tombola.foundations.errors import TombolaError
from tombola.foundations.plurals import plural


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_and_ticket(parser, "new folder; tombola.load reads it", "write files that are not smaller, too")
    measure = "time the model dense, masked and shrunk side by side, and its peak memory, when it is written (yes)"
    parser.add_argument("--measure", action=argparse.BooleanOptionalAction, default=True, help=measure)
    length = "of a measured example (128, or half of what the model takes where that is less)"
    parser.add_argument("--length", type=int, metavar="TOKENS", help=length)
    parser.add_argument("--steps", type=int, default=25, metavar="N", help="of a denoiser, an image (25)")
    batches = "examples at a time that are measured (1,32; images: 1,4,16 as far as that takes seconds)"
    parser.add_argument("--batches", type=counts, metavar="1,32", help=batches)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    check_model_and_ticket(options)
    for name in ("length", "steps"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise TombolaError(f"--{name} must be 1 or more, not {getattr(options, name)}")
    from tombola.checkpoints.checkpoint import save_shrunk

    result = write_model(options, save_shrunk)
    if options.measure:
        result["cost"] = _measured(options)
    return result


def _measured(options: argparse.Namespace) -> dict[str, object] | None:
    """Cost of the model dense, masked and shrunk, printed; None where it could not be measured."""
    from tombola.checkpoints.model_libraries import load_any
    from tombola.profiling.model_cost import CostOptions, compare, sentence, table

    try:
        with Console(stderr=True, markup=False, emoji=False).status("measuring time and memory"):
            measured = CostOptions(options.length or 128, options.batches, options.steps, memory=True)
            costs = compare(load_any(options.model), load_ticket(options.ticket)[1], measured, folder=options.out)
    except (TombolaError, SafetensorError, OSError, MemoryError, RuntimeError, KeyboardInterrupt) as error:
        # The model is there and proved; neither a small machine nor a user in a hurry undoes that.
        reason = "stopped" if isinstance(error, KeyboardInterrupt) else " ".join(str(error).split())
        warnings.warn(f"the cost was not measured: {reason}", stacklevel=1)
        return None
    if costs.length is not None and costs.length < (options.length or 0):
        taken = f"measured on {plural(costs.length, 'token')}, not {options.length}"
        warnings.warn(f"{taken}: no example is longer than half of what the model takes", stacklevel=1)
    if not options.json:
        console = Console(markup=False, emoji=False)
        console.print(table(costs))
        if costs.variants["shrunk"].multiply_adds < costs.variants["dense"].multiply_adds:
            console.print(sentence(costs), highlight=False)
    return costs.entry()


COMMAND = Command("shrink", "a physically smaller model, proved equal to the masked one", _add_arguments, _run)
