"""Estimates before the first step runs: number of workers, time of the analyses asked for."""

import heapq
import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from rich.console import Console
from torch import nn

from tombola.architectures.parameters import device_of
from tombola.foundations import resources
from tombola.foundations.errors import printable
from tombola.foundations.precision import Precision, autocast
from tombola.pruning.evaluation import on_device
from tombola.study.scheduler import Schedule, apart, threads
from tombola.study.step import StudyStep, left_of
from tombola.tasks.base import Task

COPIES = 6
"""Parameters that a worker holds, in models: the full one, the one that trains, its gradients, two moments, a copy."""
BESIDE = 900_000_000
"""Bytes that a worker takes beside its models: PyTorch, the data, the activations of a part of a batch. With the copies
it is what `benchmarks/memory.py` sees, and a little more."""
WORTH = 1e11
"""Forward passes of an example times parameters below which a study is over about as soon as workers have started."""
THREADS_POWER = 0.5
"""A step is as fast as so many threads to this power: what a second core gains in one process, for a small model."""


def worker_count(steps: Sequence[StudyStep], parameters: int) -> int:
    """The number of workers that is expected to be done first with all steps of a study of so large a model."""
    left = [step for step in apart(steps)[0] if not step.done()]
    cost = sum(step.cost for step in left)
    if cost * parameters < WORTH:
        return 1
    cores = resources.cores()
    fit = int(resources.memory() // (COPIES * 4 * parameters + BESIDE))
    return min(
        range(1, max(1, min(cores, fit, len(left))) + 1),
        # Of equals the smallest number, which leaves each the most threads.
        key=lambda workers: makespan(left, workers) / threads(workers) ** THREADS_POWER,
    )


def makespan(steps: Sequence[StudyStep], workers: int) -> float:
    """Cost that passes until so many workers, equally fast, have run steps that are not done."""
    schedule, number = Schedule(steps), itertools.count()
    running: list[tuple[float, int, StudyStep]] = []
    now = 0.0
    while True:
        while len(running) < workers and (step := schedule.take()) is not None:
            heapq.heappush(running, (now + step.cost, next(number), step))
        if not running:
            return now
        now, _, done = heapq.heappop(running)
        schedule.finish(done)


@dataclass(frozen=True)
class Plan:
    """Plan of a study, or a command, before it runs.

    Attributes:
        left: steps that it would run, and the seconds of each where it has the machine for itself.
        done: steps that are done.
        workers: processes.
        seconds: of all that is left, in so many processes.
        bytes: of the models that it would write, at most.
        trainings: of models, among the steps.
    """

    left: tuple[tuple[str, float], ...]
    done: int
    workers: int
    seconds: float
    bytes: int
    trainings: int = 0

    @classmethod
    def of(cls, left: Iterable[tuple[str, float]], size: int = 0, done: int = 0) -> Self:
        """Plan of steps that run one after the other, and write so many bytes."""
        steps = tuple(left)
        return cls(steps, done, 1, sum(seconds for _, seconds in steps), size)


def plan(steps: Sequence[StudyStep], workers: int, seconds: float, model: int) -> Plan:
    """Plan of the steps, where a forward pass of one example takes `seconds`, and a model `model` bytes on disk."""
    left = left_of(steps)
    shared, here = apart(left)
    # Each process has a share of the cores.
    expected = makespan(shared, workers) * stretch(workers) + sum(step.cost for step in here)
    return Plan(
        tuple((step.what, step.cost * seconds) for step in left),
        len(steps) - len(left),
        workers,
        expected * seconds,
        model * sum(step.models for step in left),
        sum(step.trains for step in left),
    )


def stretch(workers: int) -> float:
    """Times as long that a step takes in one of so many processes, each with its share of the cores."""
    return float((threads(1) / threads(workers)) ** THREADS_POWER)


_BATCHES = 4


def pass_seconds(model: nn.Module, task: Task, precision: Precision) -> float:
    """Seconds of a forward pass of one example, measured on a few batches of all lengths."""
    batches = list(task.packed_batches("dev", 64))
    # Batches are sorted by length.
    chosen = batches[:: max(1, len(batches) // _BATCHES)]
    device = device_of(model)
    model.eval()
    with torch.no_grad(), autocast(device, precision):
        task.output(model, on_device(chosen[0], model))
        started = time.perf_counter()
        for batch in chosen:
            # The predictions are asked for, so that a device that runs ahead has come to the end.
            task.output(model, on_device(batch, model)).predictions.cpu()
        seconds = time.perf_counter() - started
    return seconds / sum(len(batch.indices) for batch in chosen) / task.passes


def announcement(steps: Iterable[StudyStep], seconds: float) -> str:
    """Line that says how long each kind of analysis will take, where a forward pass of one example takes `seconds`."""
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
    Console(stderr=True, markup=False, emoji=False).print(printable(text), highlight=False, soft_wrap=True)
