"""`tombola retrain`: from a ticket to a retrained model."""

import argparse
from pathlib import Path
from typing import Any

from tombola.cli.command import Command
from tombola.cli.score_line import score_line
from tombola.cli.settings import given_settings
from tombola.foundations.errors import TombolaError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ticket", type=Path, required=True, metavar="DIR", help="folder of the ticket")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder of the model")
    parser.add_argument("--seed", type=int, default=0, help="of output layer, order and dropout (0)")


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.architectures.dissect import dissect
    from tombola.foundations.atomic_files import publish
    from tombola.foundations.resources import keep_freed_memory
    from tombola.pruning.evaluation import evaluate
    from tombola.study.session import Session
    from tombola.study.step import TRAINING_COST
    from tombola.subnetworks.subnetwork import expanded
    from tombola.tickets.ticket import Ticket
    from tombola.training.loop import retrain

    keep_freed_memory()
    ticket = Ticket.load(options.ticket)
    session = Session.open(given_settings(options), options.preset)
    rewinding = session.config.rewinding
    if rewinding.to == "step":
        raise TombolaError(
            "step-K needs the full model's training, which only tombola study has; use it, or another --rewind"
        )
    model = session.task.load(session.config.model, seed=options.seed, state=rewinding.initial_state).to(session.device)
    # Before the output folder is begun, so that a wrong ticket leaves no trace.
    ticket.check(dissect(model))
    session.check_memory(model, "training")
    with publish(options.out) as draft, session.bars("retrain", session.training_cost(), TRAINING_COST) as bars:
        part = retrain(
            model,
            ticket,
            session.task,
            session.config.recipe,
            seed=options.seed,
            precision=session.precision,
            progress=bars,
        )
        found = evaluate(part, session.task, session.evaluation(bars))
        session.task.save(expanded(part), draft)
    result = {"model": str(options.out), **session.score_entry(found)}
    if not options.json:
        print(f"{score_line(result)}: {options.out}")
    return result


COMMAND = Command(
    name="retrain",
    what="from a ticket to a retrained model",
    add_arguments=_add_arguments,
    run=_run,
    groups=("what to study", "how much data", "training", "running"),
)
