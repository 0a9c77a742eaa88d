"""Default number of worker processes of a study: what cores, memory and the steps allow."""

import heapq
import itertools
from collections.abc import Sequence

from tombola.foundations import resources
from tombola.study.scheduler import Schedule, apart
from tombola.study.step import StudyStep

COPIES = 6
"""Parameters that a worker holds, in models: the full one, the one that trains, its gradients, two moments, a copy."""
IMPORTS = 600_000_000
"""Bytes that a worker takes for PyTorch and the data."""
WORTH = 1e11
"""Forward passes of an example times parameters below which a study is over about as soon as workers have started."""
THREADS_POWER = 0.5
"""A step is as fast as so many threads to this power: what a second core gains in one process, for a small model."""


def worker_count(steps: Sequence[StudyStep], parameters: int) -> int:
    """The number of workers that is expected to be done first.

    Args:
        steps: all of the study.
        parameters: of the whole model.
    """
    left = [step for step in apart(steps)[0] if not step.done()]
    cost = sum(step.cost for step in left)
    if cost * parameters < WORTH:
        return 1
    cores = resources.cores()
    fit = int(resources.memory() // (COPIES * 4 * parameters + IMPORTS))
    return min(
        range(1, max(1, min(cores, fit, len(left))) + 1),
        # Of equals the smallest number, which leaves each the most threads.
        key=lambda workers: makespan(left, workers) / threads(workers) ** THREADS_POWER,
    )


def threads(workers: int) -> int:
    """The share of the cores of each worker."""
    return max(1, resources.cores() // workers)


def makespan(steps: Sequence[StudyStep], workers: int) -> float:
    """Cost that passes until so many workers have run all steps.

    Args:
        steps: those that are not done.
        workers: how many, all equally fast.
    """
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
