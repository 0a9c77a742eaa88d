"""Order in which the steps of a job run: one after the other, or those that may run at once in worker processes."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from pathlib import Path

from tombola.foundations import resources
from tombola.foundations.errors import FailedError, MemoryRanOutError, StaleError, TombolaError, reason
from tombola.foundations.plurals import plural
from tombola.foundations.progress import Progress, ProgressBars, ProgressLine
from tombola.study.seed_context import SeedContext
from tombola.study.step import StudyStep
from tombola.study.worker_pool import Worker, WorkerPool, failure

TRIES = 3
"""Times that a step is tried which is lost with its worker, or runs out of memory."""


class Schedule:
    """Schedule of steps not done: those whose needs are met, and of them first the one that most work waits for."""

    def __init__(self, steps: Sequence[StudyStep]) -> None:
        self._steps = tuple(steps)
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
        """Let the steps that need it begin, even if it is an analysis that published nothing."""
        self._missing.discard(step.result)

    @property
    def waiting(self) -> int:
        """Number of steps that have not been taken."""
        return len(self._waiting)

    def put_back(self, step: StudyStep) -> None:
        """Let a step wait again that was taken."""
        self._waiting.append(step)

    def drop(self, blocked: Callable[[StudyStep], bool]) -> Iterator[StudyStep]:
        """Take out the steps that are `blocked`, each asked after those that it needs."""
        for step in [one for one in self._steps if one in self._waiting and blocked(one)]:
            self._waiting.remove(step)
            yield step


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


class Failures:
    """Steps that failed, in their order, and the results that are missing for it."""

    def __init__(self, bars: ProgressBars) -> None:
        self._bars = bars
        self._errors: list[tuple[StudyStep, Exception]] = []
        self._missing: set[Path] = set()
        self._waiting = 0

    def add(self, step: StudyStep, error: Exception) -> None:
        """Add a step, and say so at once: what does not need it goes on.

        Raises:
            StaleError: no other step can be right either.
        """
        if isinstance(error, StaleError):
            raise error
        self._errors.append((step, error))
        self._missing.add(step.result)
        self._bars.say(f"{step.what} failed: {reason(error, 300)}")

    def blocks(self, step: StudyStep) -> bool:
        """True if a step needs one that failed; it is missing then, too."""
        if self._missing.isdisjoint(step.needs):
            return False
        self._missing.add(step.result)
        self._waiting += 1
        return True

    def finish(self) -> None:
        """Raise what the first step that failed raised, with the names of the others."""
        if not self._errors:
            return
        (_, error), *others = self._errors
        more = [f"{', '.join(repr(step.what) for step, _ in others)} failed too"] if others else []
        if self._waiting and (others or not isinstance(error, FailedError)):
            more.append(
                f"{plural(self._waiting, 'step')} not run that need{'s' if self._waiting == 1 else ''} what failed"
            )
        if more and isinstance(error, TombolaError):
            raise type(error)("; ".join([str(error), *more])) from error
        raise error


def run_here(steps: Iterable[StudyStep], bars: ProgressBars, published: Callable[[], None] = lambda: None) -> None:
    """Run what is not done, one step after the other, each after those that it needs; call `published` after each.

    Raises:
        TombolaError: a step failed, and all that does not need it is done.
    """
    failures = Failures(bars)
    _run_here(steps, bars, published, failures)
    failures.finish()


def _run_here(
    steps: Iterable[StudyStep], bars: ProgressBars, published: Callable[[], None], failures: Failures
) -> None:
    runner, line = StepRunner(), ProgressLine(bars)
    for step in steps:
        if step.done() or failures.blocks(step):
            bars.skip(step.cost)
            continue
        try:
            with line.step(step.what, cost=step.cost, weight=step.weight):
                runner.run(step, line)
        except TombolaError as error:
            failures.add(step, error)
        else:
            published()


def run_steps(steps: Sequence[StudyStep], bars: ProgressBars, pool: WorkerPool, published: Callable[[], None]) -> None:
    """Run what is not done in workers, and what must run alone here, when they have ended.

    A step that was lost with its worker, or ran out of memory, is tried again, on this machine with one worker fewer
    beside it, and then with none.

    Raises:
        TombolaError: a step failed, and all that does not need it is done.
    """
    shared, here = apart(steps)
    left = [step for step in shared if not step.done()]
    bars.skip(sum(step.cost for step in shared) - sum(step.cost for step in left))
    job = _SharedJob(Schedule(left), pool, bars, lone_steps(steps))
    with pool:
        job.run(published)
    _run_here(here, bars, published, job.failures)
    job.failures.finish()


class _SharedJob:
    """Steps that workers of a pool run."""

    def __init__(self, schedule: Schedule, pool: WorkerPool, bars: ProgressBars, lone: Set[Path]) -> None:
        self.failures = Failures(bars)
        self._schedule, self._pool, self._bars, self._lone = schedule, pool, bars, lone
        # Each worker's share of the cores, which a step has wherever it is tried: results depend on it in last bits.
        self._threads = threads(pool.size)
        self._tries: Counter[Path] = Counter()
        self._told: set[str] = set()

    def run(self, published: Callable[[], None]) -> None:
        self._give()
        while self._pool.busy() or self._schedule.waiting:
            if not self._pool.busy():
                self._bars.say("waiting for a worker of the cluster")
                self._pool.await_worker()
                self._give()
                continue
            worker, message = self._pool.receive()
            match message:
                case {"advance": int(examples)}:
                    worker.line.advance(examples)
                    for step, values in message.get("points", ()):
                        worker.line.measured(step, values)
                    # A cluster may have grown.
                    self._give()
                case {"note": str(text)}:
                    worker.line.note(text)
                case {"warning": str(text)}:
                    if text not in self._told:
                        self._told.add(text)
                        warnings.warn(text, stacklevel=2)
                case {"done": _}:
                    self._schedule.finish(worker.finished())
                    # The others have work before this process reads the results.
                    self._give()
                    published()
                case _:
                    self._failed(worker, failure(worker, message), lost="lost" in message)
                    self._give()

    def _failed(self, worker: Worker, error: Exception, *, lost: bool) -> None:
        step = worker.give_up()
        if lost or isinstance(error, MemoryRanOutError):
            # What it holds of memory is given back at once.
            self._pool.dismiss(worker)
            self._tries[step.result] += 1
            if self._tries[step.result] < TRIES:
                self._pool.shrink(alone=self._tries[step.result] > 1)
                self._bars.say(f"{step.what}: {reason(error, 300)}; it is tried again, with less beside it")
                self._schedule.put_back(step)
                return
        self.failures.add(step, error)
        for blocked in self._schedule.drop(self.failures.blocks):
            self._bars.skip(blocked.cost)

    def _give(self) -> None:
        """Give idle workers what may begin: first what they have the model for, then anything."""
        while len(self._pool.workers) > self._pool.size and (idle := self._pool.idle()):
            self._pool.dismiss(idle[0])
        for only in (True, False):
            for worker in self._pool.idle():
                step = self._schedule.take(worker.seed, only=only)
                if step is not None:
                    self._submit(worker, step)
        while self._pool.can_start() and (step := self._schedule.take()) is not None:
            self._submit(self._pool.start(ProgressLine(self._bars), self._threads), step)

    def _submit(self, worker: Worker, step: StudyStep) -> None:
        self._pool.submit(
            worker, step, seed_of(step), resources.cores() if step.result in self._lone else self._threads
        )


def lone_steps(steps: Sequence[StudyStep]) -> set[Path]:
    """Results of the steps beside which no other can run: each other one comes before, or after."""
    before: dict[Path, set[Path]] = {}
    for step in steps:
        before[step.result] = {*step.needs, *(one for need in step.needs for one in before.get(need, ()))}
    after = Counter(one for ancestors in before.values() for one in ancestors)
    return {one for one, ancestors in before.items() if len(ancestors & before.keys()) + after[one] == len(before) - 1}


def threads(workers: int) -> int:
    """The share of the cores of each of so many workers."""
    return max(1, resources.cores() // workers)


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
