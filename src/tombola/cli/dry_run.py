"""`--dry-run`: which steps a command would run, how long they would take and how much they would write, and no more."""

import argparse
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tombola.foundations.figures import figures
from tombola.foundations.plain_table import PlainTable

if TYPE_CHECKING:
    from torch import nn

    from tombola.study.estimates import Plan
    from tombola.study.session import Session


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add `--dry-run`."""
    what = "only say which steps it would run, how long they would take, and how much they would write"
    parser.add_argument("--dry-run", action="store_true", help=what)


def planned(options: argparse.Namespace, found: "Plan") -> dict[str, Any]:
    """Result of a dry run, printed for people.

    Raises:
        TombolaError: the folder of a command that writes a new one is taken.
    """
    from tombola.foundations.atomic_files import check_new
    from tombola.study.estimates import in_words

    if not options.command.resumes and options.out is not None:
        check_new(options.out)
    if not options.json:
        console, table = Console(markup=False, emoji=False), PlainTable()
        table.heads("step", numbers=("seconds",))
        for what, seconds in found.left:
            table.line(what, f"{seconds:,.1f}")
        console.print(table)
        workers = f", with --workers {found.workers}" if found.workers > 1 else ""
        console.print(
            f"steps: {len(found.left)} to run, {found.done} done\n"
            f"expected time: {in_words(found.seconds)}{workers}\n"
            f"models on disk: {figures(found.bytes / 1e6, 1)} MB more at most",
            highlight=False,
        )
    return {
        "steps": [{"step": what, "seconds": round(seconds, 3)} for what, seconds in found.left],
        "done": found.done,
        "workers": found.workers,
        "seconds": round(found.seconds, 1),
        "bytes": found.bytes,
    }


def planned_step(
    options: argparse.Namespace, session: "Session", model: "nn.Module", what: str, cost: float, *, writes: bool
) -> dict[str, Any]:
    """Result of a dry run of one step, printed for people.

    Args:
        options: of the command.
        session: task and settings.
        model: on which a pass is measured.
        what: the step does.
        cost: of it, in forward passes of one example.
        writes: it writes a model as large.
    """
    from tombola.architectures.parameters import count_parameters
    from tombola.study.estimates import Plan, pass_seconds

    seconds = cost * pass_seconds(model, session.task, session.precision)
    return planned(options, Plan.of([(what, seconds)], 4 * count_parameters(model) if writes else 0))
