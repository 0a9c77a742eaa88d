"""`tombola shrink`: a smaller model on disk, and what it gained."""

import argparse
import time
import warnings
from typing import TYPE_CHECKING, Any

from rich.console import Console
from safetensors import SafetensorError

from tombola.cli.command import Command, counts
from tombola.cli.dry_run import add_dry_run, planned
from tombola.cli.export import add_model_and_ticket, check_model_and_ticket, load_model_and_ticket, write_model
from tombola.cli.given_ticket import load_ticket
from tombola.foundations.errors import TombolaError
from tombola.foundations.plurals import plural

if TYPE_CHECKING:
    from tombola.profiling.model_cost import CostOptions


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_and_ticket(parser, "new folder; tombola.load reads it", "write files that are not smaller, too")
    measure = "time the model dense, masked and shrunk side by side, and its peak memory, when it is written (yes)"
    parser.add_argument("--measure", action=argparse.BooleanOptionalAction, default=True, help=measure)
    length = "of a measured example (128, or half of what the model takes where that is less)"
    parser.add_argument("--length", type=int, metavar="TOKENS", help=length)
    parser.add_argument("--steps", type=int, default=25, metavar="N", help="of a denoiser, an image (25)")
    batches = "examples at a time that are measured (1,32; images: 1,4,16 as far as that takes seconds)"
    parser.add_argument("--batches", type=counts, metavar="1,32", help=batches)
    add_dry_run(parser)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    check_model_and_ticket(options)
    for name in ("length", "steps"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise TombolaError(f"--{name} must be 1 or more, not {getattr(options, name)}")
    if options.dry_run:
        return _planned(options)
    from tombola.checkpoints.checkpoint import save_shrunk

    result = write_model(options, save_shrunk)
    if options.measure:
        result["cost"] = _measured(options)
    return result


def _measurement(options: argparse.Namespace) -> "CostOptions":
    from tombola.profiling.model_cost import CostOptions

    return CostOptions(options.length or 128, options.batches, options.steps, memory=True)


def _planned(options: argparse.Namespace) -> dict[str, Any]:
    """Result of a dry run: writing, and reading back, take about as long as reading and shrinking do."""
    from tombola.checkpoints.checkpoint import shrunk_bytes
    from tombola.profiling.model_cost import expected_seconds
    from tombola.study.estimates import Plan

    started = time.perf_counter()
    model, ticket = load_model_and_ticket(options)
    size = shrunk_bytes(model, ticket, force=options.force)
    steps = [("shrink, and prove it equal", 2 * (time.perf_counter() - started))]
    if options.measure:
        steps.append(("measure time and memory", expected_seconds(model, _measurement(options))))
    return planned(options, Plan.of(steps, size))


def _measured(options: argparse.Namespace) -> dict[str, object] | None:
    """Cost of the model dense, masked and shrunk, printed; None where it could not be measured."""
    from tombola.checkpoints.model_libraries import load_any
    from tombola.profiling.model_cost import compare, sentence, table

    try:
        with Console(stderr=True, markup=False, emoji=False).status("measuring time and memory"):
            loaded = load_any(options.model), load_ticket(options.ticket)[1]
            costs = compare(*loaded, _measurement(options), folder=options.out)
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
