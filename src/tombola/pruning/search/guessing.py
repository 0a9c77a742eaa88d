"""Guessing beside a full model: what a search must know before it begins.

A ticket that holds 90 % of a score says nothing where a constant predictor holds as much.
"""

import numpy as np

from tombola.foundations.errors import TombolaError
from tombola.metrics import statistics
from tombola.metrics.scores import NOTHING, metric_title
from tombola.tasks.base import Predictions, Task

_RESAMPLES = 1000


def accepted(task: Task, full: float, share: float, split: str, *, over_chance: bool = False) -> float:
    """Worst score on a split that still holds this share of the full model's.

    Raises:
        TombolaError: over chance, of a model that is not better than guessing.
    """
    return task.metric.bound(full, share, task.metric.chance(task.references(split)) if over_chance else None)


def check_full_model(task: Task, predictions: Predictions, split: str) -> None:
    """Refuse a full model of which no ticket can be drawn, by its predictions, [examples] of the split to search on.

    Raises:
        TombolaError: its outputs mean something else than the labels do, or the split has one label alone.
    """
    check_labels(task, split)
    if (why := task.misread(predictions, split)) is not None:
        raise TombolaError(why)


def check_labels(task: Task, split: str) -> None:
    """Refuse a split of one label alone, on which nothing can be judged; a TombolaError."""
    if task.metric.kind in ("abilities", "features"):
        return
    references = task.references(split)
    if len(np.unique(references[references != NOTHING])) == 1:
        raise TombolaError(
            f"all rows of {task.title} to judge on ({split}: {task.size(split)}) have one label, so that whoever "
            "always says it is right; give rows with several"
        )


class GuessingWarning(UserWarning):
    """Warning of a search that will say little: guessing is as good as the full model, or holds the threshold."""


def no_better(task: Task, predictions: Predictions, split: str, bound: float) -> str | None:
    """Sentence on what makes a search say little: a full model at chance, or a threshold that guessing holds.

    `bound` is the worst score that holds the threshold. None where there is nothing to say.
    """
    metric, references = task.metric, task.references(split)
    score, chance = metric.score(predictions, references), metric.chance(references)
    low, high = score, score
    # That of features takes minutes.
    if metric.kind != "features":
        low, high = statistics.interval(metric, predictions, references, seed=0, resamples=_RESAMPLES)
    # Accuracy hardly sees the rows of small classes.
    other = ", or take a metric that weighs classes alike (balanced_accuracy, f1_macro)" * (metric.name == "accuracy")
    if not metric.beats(low, high, chance):
        return (
            f"the full model does not clearly beat guessing on {task.title} ({metric_title(metric.name)} {score:.3f}, "
            f"guessing {chance:.3f}): its tickets will say nothing; train it on more rows or for longer{other}"
        )
    if metric.holds(chance, bound):
        return (
            f"who always guesses alike scores {chance:.3f} on {task.title} and holds the threshold ({bound:.3f}): the "
            f"ticket need be no better; take the threshold over chance (--over-chance){other}"
        )
    return None
