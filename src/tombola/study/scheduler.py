"""Order in which the steps of a job run: one after the other, or those that may run at once in worker processes."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tombola.foundations.progress import Progress, ProgressBars, ProgressLine
from tombola.study.seed_context import SeedContext
from tombola.study.step import StudyStep
from tombola.study.worker_pool import WorkerPool


class Schedule:
    """Schedule of steps not done: those whose needs are met, and of them first the one that most work waits for."""

    def __init__(self, steps: Sequence[StudyStep]) -> None:
        self._waiting = list(steps)
        self._missing = {step.result for step in steps}
        self._chain: dict[Path, float] = {}
        behind: dict[Path, float] = {}
        for step in reversed(steps):
            length = step.cost + behind.get(step.result, 0.0)
            self._chain[step.result] = length
            for need in step.needs:
                behind[need] = max(behind.get(need, 0.0), length)

    def take(self, seed: int | None = None, *, only: bool = False) -> StudyStep | None:
        """A step that may begin now, of the seed whose model a worker has if there is one, or of that `only`."""
        ready = [step for step in self._waiting if self._missing.isdisjoint(step.needs)]
        mine = [step for step in ready if seed is not None and seed_of(step) == seed]
        # The longest chain of steps decides when the job ends; among equals the first as listed.
        chosen = max(mine or ([] if only else ready), key=lambda step: self._chain[step.result], default=None)
        if chosen is not None:
            self._waiting.remove(chosen)
        return chosen

    def finish(self, step: StudyStep) -> None:
        """Let the steps that need it begin, even if it failed and published nothing."""
        self._missing.discard(step.result)


class StepRunner:
    """Runs steps in this process, and holds the full model of one seed at a time."""

    def __init__(self) -> None:
        self._context: SeedContext | None = None

    def run(self, step: StudyStep, progress: Progress) -> None:
        """Run a step; the model of another seed leaves the memory first."""
        if self._context is not None and self._context is not step.context:
            self._context.full_model = None
        self._context = step.context
        step(progress)


def run_here(steps: Iterable[StudyStep], bars: ProgressBars, published: Callable[[], None] = lambda: None) -> None:
    """Run what is not done, one step after the other, each after those that it needs; call `published` after each."""
    runner, line = StepRunner(), ProgressLine(bars)
    for step in steps:
        if step.done():
            bars.skip(step.cost)
            continue
        with line.step(step.what, cost=step.cost, weight=step.weight):
            runner.run(step, line)
        published()


def run_steps(steps: Sequence[StudyStep], bars: ProgressBars, pool: WorkerPool, published: Callable[[], None]) -> None:
    """Run what is not done in worker processes, and what must run alone here, when they have ended.

    Raises:
        TombolaError: a step failed by what the user can mend, or a worker ran out of memory. The other workers are
            stopped at once.
    """
    shared, here = apart(steps)
    left = [step for step in shared if not step.done()]
    bars.skip(sum(step.cost for step in shared) - sum(step.cost for step in left))
    schedule = Schedule(left)
    told: set[str] = set()
    with pool:
        _give(schedule, pool, bars)
        while pool.busy():
            worker, message = pool.receive()
            match message:
                case {"advance": int(examples)}:
                    worker.line.advance(examples)
                case {"note": str(text)}:
                    worker.line.note(text)
                case {"warning": str(text)} if text not in told:
                    told.add(text)
                    warnings.warn(text, stacklevel=2)
                case {"done": _}:
                    step = worker.finished()
                    schedule.finish(step)
                    # The others have work before this process reads the results.
                    _give(schedule, pool, bars)
                    published()
    run_here(here, bars, published)


def _give(schedule: Schedule, pool: WorkerPool, bars: ProgressBars) -> None:
    """Give idle workers what may begin: first what they have the model for, then anything."""
    for only in (True, False):
        for worker in pool.idle():
            step = schedule.take(worker.seed, only=only)
            if step is not None:
                worker.submit(step, seed_of(step))
    while pool.can_start() and (step := schedule.take()) is not None:
        pool.start(ProgressLine(bars)).submit(step, seed_of(step))


def apart(steps: Sequence[StudyStep]) -> tuple[list[StudyStep], list[StudyStep]]:
    """The steps that may run beside others, and those that may not, with all that need one of these."""
    shared: list[StudyStep] = []
    here: list[StudyStep] = []
    for step in steps:
        alone = step.alone or any(other.result in step.needs for other in here)
        (here if alone else shared).append(step)
    return shared, here


def seed_of(step: StudyStep) -> int | None:
    """The seed whose full model a step may use; None if it uses none."""
    return None if step.context is None else step.context.seed_folder.seed
