"""`tombola retrain`: from a ticket to a retrained model.

The processes of `accelerate launch --num_processes 2 -m tombola retrain` train it together; the main one writes.
"""

import argparse
import json
import time
from typing import Any

from tombola.cli.command import Command, add_out, checked_config, say
from tombola.cli.dry_run import add_dry_run, planned_step
from tombola.cli.given_ticket import add_ticket, load_ticket, method_of, score_line, seed_of
from tombola.foundations.errors import TombolaError


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_ticket(parser, required=True)
    add_out(parser, "new folder of the model, with its scores in a study's layout: report and score read it")
    add_dry_run(parser)
    parser.add_argument("--seed", type=int, help="of output layer, order and dropout (the ticket's own, else 0)")


def _run(options: argparse.Namespace) -> dict[str, Any]:
    config = checked_config(options, trained=False)
    from tombola.architectures.dissect import dissect
    from tombola.foundations.atomic_files import publish, temporary_folder
    from tombola.foundations.launcher import is_main_process
    from tombola.foundations.resources import keep_freed_memory
    from tombola.study.session import Session
    from tombola.study.step import TRAINING_COST
    from tombola.study.trail import Trail
    from tombola.subnetworks.subnetwork import expanded
    from tombola.training.kept_training import TrainingFolder

    keep_freed_memory()
    folder, ticket = load_ticket(options.ticket)
    seed, session = seed_of(options, ticket), Session.open(config)
    if not session.config.retrains:
        raise TombolaError(f"retrain trains the ticket again: {session.config.regime_settings.to_retrain}")
    rewinding = session.config.rewinding
    if rewinding.to == "step":
        raise TombolaError(
            "step-K needs the full model's training, which only tombola study has; use it, or another --rewind"
        )
    model = session.task.load(session.config.model, seed=seed, state=rewinding.initial_state).to(session.device)
    # Before the output folder is begun, so that a wrong ticket leaves no trace.
    ticket.check(anatomy := dissect(model))
    session.check_memory(model, "training")
    size, epochs = session.task.size, session.config.recipe.epochs
    cost = TRAINING_COST * epochs * size("train") + size("dev") * session.task.passes
    if options.dry_run:
        return planned_step(options, session, model, "retrain", cost, writes=True)
    # Beside the model to be, where the next start finds it.
    settings = session.config.inputs(session.config.identity(), seed)
    keep = TrainingFolder(options.out.with_name(f".{options.out.name}.training"), json.dumps(settings, sort_keys=True))
    written = publish(options.out) if is_main_process() else temporary_folder("tombola-retrain-")
    with written as draft, session.bars("retrain", cost, TRAINING_COST) as bars:
        trail, started = Trail(session, draft, anatomy, method_of(ticket), seed), time.perf_counter()
        name = trail.add_ticket(ticket)
        if not trail.take_over(folder, retrains=True):
            if session.task.trained:
                trail.run.guessing(bars)
            else:
                # What is judged as it comes is the full model itself.
                trail.score_full(model, bars)
        part = trail.run.trained(ticket, bars, keep, model)
        if not is_main_process():
            return {}
        trail.run.publish_retrained(trail.method, name, part, started, bars)
        session.task.save(expanded(part), draft)
        trail.finish(options.typed, "retrained")
        result = {"model": str(options.out), **trail.score_entry(trail.ticket(name) / "retrained")}
    keep.remove()
    if not options.json:
        say(f"{score_line(result)}: {options.out}")
    return result


COMMAND = Command(
    "retrain",
    "from a ticket to a retrained model",
    _add_arguments,
    _run,
    groups=("what to study", "how much data", "training", "running"),
    distributed=True,
)
