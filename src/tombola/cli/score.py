"""`tombola score`: how good a fine-tuned model is, under a ticket or whole."""

import argparse
from pathlib import Path
from typing import Any

from tombola.cli.command import Command
from tombola.cli.score_line import score_line
from tombola.cli.settings import given_settings


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ticket", type=Path, metavar="DIR", help="folder of the ticket; whole model without")


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.pruning.evaluation import evaluate
    from tombola.study.session import Session
    from tombola.tickets.ticket import Ticket

    ticket = None if options.ticket is None else Ticket.load(options.ticket)
    session = Session.open(given_settings(options), options.preset)
    part = session.load_subnetwork(ticket)
    with session.bars("score", session.task.size("dev")) as bars:
        found = evaluate(part, session.task, session.evaluation(bars))
    result = session.score_entry(found)
    if not options.json:
        print(score_line(result))
    return result


COMMAND = Command(
    name="score",
    what="score of a fine-tuned model, under a ticket or whole",
    add_arguments=_add_arguments,
    run=_run,
    groups=("what to study", "how much data", "running"),
)
