"""Classes of a task: their names and order in a model, their weights in a loss, and models that mean other ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import NOTHING, Metric
from tombola.metrics.statistics import interval, paired_difference
from tombola.tasks.base import Output, Predictions
from tombola.tasks.fine_tuned.class_order import order_of

SURE = 0.999
"""Level at which a model's outputs are said to mean something else: a model at chance must not be accused."""


def names_of(classes: Sequence[str]) -> dict[str, Any]:
    """Options of a configuration that name the outputs of a model as a task names its classes."""
    return {"id2label": dict(enumerate(classes)), "label2id": {name: i for i, name in enumerate(classes)}}


def class_order(model: nn.Module, classes: Sequence[str] | None, title: str) -> list[int] | None:
    """Places of a task's classes (None for a single value) in a model's order of them, if that is another one.

    Raises:
        TombolaError: the model has other outputs; `title` names the task.
    """
    names: dict[int, str] = getattr(getattr(model, "config", None), "id2label", None) or {}
    return order_of(names, classes, title)


def balanced_weights(labels: NDArray[np.int64], classes: int) -> Tensor:
    """Weights fp32 [classes] with which each of the labels' classes counts as much, as scikit-learn's `balanced`."""
    counts = np.bincount(labels, minlength=classes)
    return torch.from_numpy(counts.sum() / (np.count_nonzero(counts) * counts.clip(min=1))).float()


def class_losses(logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Cross entropies of logits [batch, classes, ...] with targets [batch, ...], weighted by class; 0 for `NOTHING`."""
    losses = nn.functional.cross_entropy(logits, targets, reduction="none")
    return losses if weights is None else losses * weights.to(losses.device)[targets.clamp_min(0)]


def class_output(logits: Tensor, targets: Tensor, weights: Tensor | None, metric: Metric) -> Output:
    """Output of logits [batch, classes] in the task's order: classes, or probabilities of class 1 for a ranking."""
    found = logits.softmax(-1)[:, 1].double() if metric.kind == "ranking" else logits.argmax(-1)
    return Output(class_losses(logits, targets, weights), found)


def guess_of_classes(labels: NDArray[np.int64], metric: Metric, size: int) -> Predictions:
    """Guesses [size] by training labels: their most common class, or for a ranking the share of class 1."""
    return np.full(size, labels.mean() if metric.kind == "ranking" else np.bincount(labels).argmax())


def check_of_one_kind(metrics: Sequence[Metric]) -> None:
    """Raise a TombolaError where some metrics go by probabilities, others by classes: a model predicts one of them."""
    for one in metrics[1:]:
        if (one.kind == "ranking") != (metrics[0].kind == "ranking"):
            raise TombolaError(
                f"{metrics[0].name} and {one.name} cannot score one model: one goes by probabilities, the other "
                "by classes; give metrics of one kind"
            )


def misread_values(metric: Metric, predictions: Predictions, references: Predictions, title: str) -> str | None:
    """Line on values, or a ranking, that run against the references [examples]; None where they do not."""
    chance = metric.chance(references)
    # Correlations and rankings have a worse side of chance; an error only grows.
    signed = chance == 0 or metric.kind == "ranking"
    if signed and interval(metric, predictions, references, seed=0, level=SURE)[1] < chance:
        return (
            f"the model's values run against those of {title} ({metric.name} "
            f"{metric.score(predictions, references):.3f}), as if it was trained on the opposite; turn the labels "
            "round, or give a model fine-tuned on this task"
        )
    return None


def misread_classes(
    metric: Metric, predictions: Predictions, references: Predictions, classes: Sequence[str], title: str
) -> str | None:
    """Line on a model whose classes mean other ones, by its predictions of class ids; None where there is no doubt.

    Args:
        metric: of the task, which `title` names.
        predictions, references: [examples], or several an example, [examples, answers] with `NOTHING` for none.
        classes: names by id.
    """
    score, chance = metric.score(predictions, references), metric.chance(references)
    if score > chance:
        return None
    given, right = predictions.astype(np.int64), references.astype(np.int64)
    there = (given != NOTHING) & (right != NOTHING)
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (given[there], right[there]), 1)
    _, best = linear_sum_assignment(counts, maximize=True)
    renamed = np.where(given == NOTHING, NOTHING, best[given.clip(min=0)])
    low, _ = interval(metric, renamed, references, seed=0, level=SURE)
    _, _, high = paired_difference(metric, predictions, renamed, references, seed=0, level=SURE)
    # Clearly worse than with its outputs renamed, which are better than guessing, while its own are not.
    if low <= chance or high >= 0:
        return None
    names = ", ".join(f"{index}: {classes[label]}" for index, label in enumerate(best))
    return (
        f"the model scores {score:.3f} on {title} ({metric.name}), below guessing ({chance:.3f}), and "
        f"{metric.score(renamed, references):.3f} with its outputs in another order: name them in id2label of its "
        f"config.json ({names}), or give a model fine-tuned on this task"
    )
