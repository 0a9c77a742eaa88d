"""`tombola score`: how good a fine-tuned model is, under a ticket or whole."""

import argparse
import warnings
from typing import Any

from tombola.cli.command import Command, add_out, checked_config, say
from tombola.cli.dry_run import add_dry_run, planned_step
from tombola.cli.given_ticket import (
    add_ticket,
    load_ticket,
    method_of,
    other_weights,
    score_line,
    seed_of,
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_ticket(parser, required=False)
    what = "new folder of the scores, in a study's layout, with those of the full model and of guessing"
    add_out(parser, f"{what}; report and compare read it", required=False)
    add_dry_run(parser)
    parser.add_argument("--seed", type=int, help="that --out is named after (the ticket's own, else 0)")


def _run(options: argparse.Namespace) -> dict[str, Any]:
    config = checked_config(options)
    from tombola.foundations.atomic_files import publish
    from tombola.pruning.evaluation import evaluate
    from tombola.study.session import Session
    from tombola.study.trail import Trail
    from tombola.subnetworks.subnetwork import shrunk

    folder, ticket = (None, None) if options.ticket is None else load_ticket(options.ticket)
    session = Session.open(config)
    if folder is None or ticket is None or not ticket.provenance.get("updated_weights"):
        part = session.load_subnetwork(ticket)
    else:
        full = session.load_subnetwork().model
        if (why := other_weights(full, ticket, folder)) is not None:
            warnings.warn(f"{why}, as --model; here the ticket is scored on other weights", stacklevel=1)
        part = shrunk(full, ticket)
    passes = session.task.passes
    cost = (1 if options.out is None else 2) * session.task.size("dev") * passes
    if options.dry_run:
        return planned_step(options, session, part.model, "score", cost, writes=False)
    if options.out is None:
        with session.bars("score", cost, passes) as bars:
            found = evaluate(part, session.task, session.evaluation(bars))
            result = session.score_entry(found, seed_of(options, part.ticket))
    else:
        # Without a ticket it is a whole model, or one that was shrunk under a ticket of its own.
        entire = len(part.ticket) == part.ticket.total and folder is None
        with publish(options.out) as draft, session.bars("score", cost, passes) as bars:
            trail = Trail(session, draft, part.anatomy, method_of(part.ticket), seed_of(options, part.ticket))
            if entire:
                trail.score_full(part.model, bars)
                place = trail.seed_folder.full
            else:
                name = trail.add_ticket(part.ticket)
                if folder is None:
                    trail.run.guessing(bars)
                elif not trail.take_over(folder):
                    trail.score_full(session.load_subnetwork().model, bars)
                trail.score(part, name, bars)
                place = trail.ticket(name) / "pruned"
            trail.finish(options.typed, "pruned")
            result = {**trail.score_entry(place), "folder": str(options.out)}
    if not options.json:
        say(score_line(result) if options.out is None else f"{score_line(result)}: {options.out}")
    return result


COMMAND = Command(
    "score",
    "score of a fine-tuned model, under a ticket or whole",
    _add_arguments,
    _run,
    groups=("what to study", "how much data", "running"),
)
