"""A ticket of a given size by a single cut: for who knows how small the model shall be, rather than how good."""

from collections.abc import Mapping

from torch import nn

from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.foundations.precision import Precision
from tombola.foundations.progress import SILENT, Progress
from tombola.pruning.evaluation import evaluate
from tombola.pruning.magnitude import keep_largest
from tombola.subnetworks.subnetwork import whole
from tombola.tasks.base import Task
from tombola.tickets.ticket import TICKET_KINDS, Ticket


def one_shot(
    model: nn.Module,
    task: Task,
    densities: Mapping[str, float],
    *,
    block: int = 1,
    split: str = "train",
    normalise_layers: bool | None = None,
    batch_size: int = 64,
    precision: Precision = "fp32",
    progress: Progress = SILENT,
) -> Ticket:
    """The most important sites of each kind, or the largest weights, of a model: so many, whatever the score.

    Args:
        model: a fine-tuned whole model; it is not changed.
        task: gives data and loss; a ticket of weights asks for none.
        densities: kind of site (`heads`, `mlps`, `neurons`) or `weights` → share that stays, from 0 to 1. The count is
            rounded.
        block: neurons of a block. Single ones make the better tickets; larger blocks leave MLPs of rounder sizes.
        split: where importance is measured, unless the task has a split for that; training rows by default, so that the
            dev rows can judge.
        normalise_layers: divide the importance of heads by their layer's norm; by default as the task says.
        batch_size: examples at a time.
        precision: of the pass.
        progress: counts examples.

    Raises:
        TombolaError: unknown architecture or kinds, or a share that is none.
    """
    kind = next((one for one in TICKET_KINDS if set(one.split("+")) == set(densities)), None)
    if kind is None:
        raise TombolaError(
            f"cannot prune {' and '.join(densities) or 'nothing'} at once; choose of {', '.join(TICKET_KINDS)}"
        )
    for site, share in densities.items():
        if not 0 <= share <= 1:
            raise TombolaError(f"the density of {site} must lie between 0 and 1, not {share}")
    facts = {"ticket": "one-shot", "density": dict(densities), "task": task.name}
    if kind == "weights":
        anatomy = dissect(model)
        masks = keep_largest(anatomy.weights_of(model), round(densities["weights"] * anatomy.weights))
        return Ticket(kind, anatomy.signature, masks, facts)
    part = whole(model, kind, block)
    split = task.importance_split or split
    found = evaluate(
        part, task, split, importance=True, batch_size=batch_size, precision=precision, progress=progress
    ).importance
    assert found is not None
    layers = task.normalise_layers if normalise_layers is None else normalise_layers
    importance, removed = found.normalised(layers), {}
    for site, share in densities.items():
        least = importance.least_first(site)
        removed[site] = least[: len(least) - round(share * len(least))]
    return part.ticket.without(removed).with_provenance(**facts, split=split)
