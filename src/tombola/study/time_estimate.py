"""Time estimate of the analyses that a user asked for, said before any of them starts."""

import time
from collections.abc import Iterable

import torch
from rich.console import Console
from torch import nn

from tombola.architectures.parameters import device_of
from tombola.foundations.precision import Precision, autocast
from tombola.pruning.evaluation import on_device
from tombola.study.step import StudyStep
from tombola.tasks.base import Task

_BATCHES = 4


def pass_seconds(model: nn.Module, task: Task, precision: Precision, batch_size: int = 64) -> float:
    """Seconds of a forward pass of one example, measured on a few batches of all lengths."""
    batches = list(task.packed_batches("dev", batch_size))
    # Batches are sorted by length.
    chosen = batches[:: max(1, len(batches) // _BATCHES)]
    device = device_of(model)
    model.eval()
    with torch.no_grad(), autocast(device, precision):
        task.output(model, on_device(chosen[0], device))
        started = time.perf_counter()
        for batch in chosen:
            # The predictions are asked for, so that a device that runs ahead has come to the end.
            task.output(model, on_device(batch, device)).predictions.cpu()
        seconds = time.perf_counter() - started
    return seconds / sum(len(batch.indices) for batch in chosen) / task.passes


def announcement(steps: Iterable[StudyStep], seconds: float) -> str:
    """Line that says how long each kind of analysis will take.

    Args:
        steps: those that are still to be done.
        seconds: of a forward pass of one example.
    """
    costs: dict[str, float] = {}
    for step in steps:
        costs[step.analysis] = costs.get(step.analysis, 0.0) + step.cost * seconds
    parts = ", ".join(f"{what.replace('-', ' ')} {in_words(cost)}" for what, cost in costs.items())
    whole = f", {in_words(sum(costs.values()))} together" if len(costs) > 1 else ""
    return f"expected time of the analyses: {parts}{whole}"


def in_words(seconds: float) -> str:
    """A rough time: `under a minute`, `about 12 minutes`, `about 3.5 hours`."""
    if seconds < 45:
        return "under a minute"
    minutes = max(1, round(seconds / 60))
    if minutes < 100:
        return f"about {minutes} minute{'s' if minutes > 1 else ''}"
    return f"about {seconds / 3600:.1f} hours"


def announce(text: str) -> None:
    """Print a text on stderr, where progress is shown."""
    Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)
