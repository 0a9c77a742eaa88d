"""`tombola compare`: what tickets have in common, beside what random ones of their sizes have."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from tombola.cli.command import Command, add_out, say
from tombola.study.folder_layout import check_not_renewed

_WIDTH = 160
"""Characters of a line where there is no terminal to ask."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    folders = "folders of tickets, or that hold tickets: studies, sweeps, imported masks"
    parser.add_argument("tickets", nargs="+", type=Path, metavar="TICKETS", help=folders)
    parser.add_argument(
        "--ticket", default="good", metavar="NAME", help="tickets to take from those folders: good, random, bad… (good)"
    )
    parser.add_argument("--draws", type=int, default=1000, help="of random tickets of the same sizes (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of those draws (0)")
    what = "new folder: a report, comparison.json, and each task's super-survivors and their controls as tickets"
    add_out(parser, what, required=False)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.tickets.find_tickets import find_tickets

    for place in options.tickets:
        check_not_renewed(place)
    # Once more when they are compared: this takes no PyTorch.
    find_tickets(options.tickets, options.ticket)
    from tombola import report
    from tombola.analysis.agreement.comparison import compare, save_comparison
    from tombola.cli.comparison_tables import tables

    comparison = compare(options.tickets, ticket=options.ticket, draws=options.draws, seed=options.seed)
    result = comparison.entry()
    if options.out is not None:
        save_comparison(comparison, options.out)
        result["report"] = str(report.build(options.out))
    if not options.json:
        console = Console(markup=False, emoji=False)
        if not console.is_terminal:
            console = Console(width=_WIDTH, markup=False, emoji=False)
        for part in tables(comparison):
            console.print(part)
        if options.out is not None:
            say(f"report: {result['report']}")
    return result


COMMAND = Command(
    "compare",
    "survival, overlap and agreement of tickets, beside those of random tickets; needs no model",
    _add_arguments,
    _run,
)
