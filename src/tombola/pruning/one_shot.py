"""One-shot pruning: a ticket of a given size by a single cut."""

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions, evaluate
from tombola.pruning.magnitude import keep_largest
from tombola.subnetworks.subnetwork import whole
from tombola.tasks.base import Task
from tombola.tickets.ticket import TICKET_KINDS, Ticket

ON_TRAINING_ROWS = EvaluationOptions(split="train")
"""Options of the pass that measures importance, on rows that do not judge."""


def one_shot(
    model: nn.Module,
    task: Task,
    densities: Mapping[str, float],
    *,
    block: int = 1,
    normalise_layers: bool | None = None,
    evaluation: EvaluationOptions = ON_TRAINING_ROWS,
) -> Ticket:
    """Prune once: keep the most important sites of each kind, or the largest weights, whatever the score.

    Args:
        model: a fine-tuned whole model; it is not changed.
        task: gives data and loss; a ticket of weights asks for none.
        densities: kind of site (`heads`, `mlps`, `neurons`) or `weights` → share that stays, from 0 to 1. The count is
            rounded.
        block: neurons of a block. Single ones make the better tickets; larger blocks leave MLPs of rounder sizes.
        normalise_layers: divide the importance of heads by their layer's norm; by default as the task says.
        evaluation: of the pass that measures importance, over training rows by default, so that the dev rows can judge;
            if the task has a split for that, over its own.

    Raises:
        TombolaError: unknown architecture or kinds, or a share that is none.
    """
    kind = next((one for one in TICKET_KINDS if set(one.split("+")) == set(densities)), None)
    if kind is None:
        raise TombolaError(
            f"cannot prune {' and '.join(densities) or 'nothing'} at once; choose of {', '.join(TICKET_KINDS)}"
        )
    for site, share in densities.items():
        check_density(site, share)
    facts = {"ticket": "one-shot", "density": dict(densities), "task": task.name}
    if kind == "weights":
        anatomy = dissect(model)
        masks = keep_largest(anatomy.weights_of(model), round(densities["weights"] * anatomy.weights))
        return Ticket(kind, anatomy.signature, masks, facts)
    part = whole(model, kind, block)
    evaluation = replace(evaluation, split=task.importance_split or evaluation.split)
    found = evaluate(part, task, evaluation, importance=True).importance
    assert found is not None
    layers = task.normalise_layers if normalise_layers is None else normalise_layers
    importance, removed = found.normalised(layers), {}
    for site, share in densities.items():
        least = importance.least_first(site)
        removed[site] = least[: len(least) - round(share * len(least))]
    return part.ticket.without(removed).with_provenance(**facts, split=evaluation.split)


def check_density(what: str, density: float) -> None:
    """Raise a TombolaError unless a density is a share."""
    if not 0 <= density <= 1:
        raise TombolaError(f"the density of {what} must lie between 0 and 1, not {density}")
