"""Order in which the steps of a job run: one after the other, or those that may run at once in worker processes."""

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from tombola.foundations import resources
from tombola.foundations.errors import FailedError, MemoryRanOutError, StaleError, TombolaError, reason
from tombola.foundations.plurals import plural
from tombola.foundations.progress import Progress, ProgressBars, ProgressLine
from tombola.study.claim import Claim
from tombola.study.seed_context import SeedContext
from tombola.study.step import StudyStep
from tombola.study.worker_pool import Message, Worker, WorkerPool, failure

SOON = 1.0
"""Seconds between two looks at whether another study has done a step."""
TRIES = 3
"""Times that a step is tried which is lost with its worker, or runs out of memory."""
HARDLY = 0.01
"""Share of a step's cost that others beside it are not worth a core for."""


class Schedule:
    """Schedule of steps not done: those whose needs are met, and of them first the one that most work waits for.

    Args:
        steps: each after those that it needs.
        rank: of a step; those of a lower one go first, however much waits for others.
    """

    def __init__(self, steps: Sequence[StudyStep], rank: Callable[[StudyStep], int] = lambda _: 0) -> None:
        self._steps = tuple(steps)
        self._waiting = list(steps)
        self._missing = {step.result for step in steps}
        self._rank = rank
        self._chain: dict[Path, float] = {}
        behind: dict[Path, float] = {}
        for step in reversed(steps):
            length = step.cost + behind.get(step.result, 0.0)
            self._chain[step.result] = length
            for need in step.needs:
                behind[need] = max(behind.get(need, 0.0), length)

    def take(self, last: StudyStep | None = None, near: int = 0, but: Set[Path] = frozenset()) -> StudyStep | None:
        """Take a step that may begin now, but none of these results.

        Args:
            last: step that a worker had before: one that is near to it goes first.
            near: how near it must be, see `nearness`.
            but: results of others.
        """
        ready = [step for step in self._waiting if self._missing.isdisjoint(step.needs) and step.result not in but]
        close = [(nearness(step, last), step) for step in ready]
        nearest = max((found for found, _ in close), default=0)
        if nearest < near:
            return None
        # The longest chain of steps decides when the job ends; among equals the first as listed.
        chosen = min(
            (step for found, step in close if found == nearest),
            key=lambda step: (self._rank(step), -self._chain[step.result]),
            default=None,
        )
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

    def leave(self, step: StudyStep) -> set[Path]:
        """Leave a step that was taken undone; its result with those of others that need it, which are taken out."""
        left = {step.result}
        for other in self._steps:
            if other in self._waiting and not left.isdisjoint(other.needs):
                left.add(other.result)
                self._waiting.remove(other)
        return left

    def drop(self, blocked: Callable[[StudyStep], bool]) -> Iterator[StudyStep]:
        """Take out the steps that are `blocked`, each asked after those that it needs."""
        for step in [one for one in self._steps if one in self._waiting and blocked(one)]:
            self._waiting.remove(step)
            yield step


class StepRunner:
    """Runs steps in this process, and holds the full model of one seed at a time, and what judges it."""

    def __init__(self) -> None:
        self._context: SeedContext | None = None

    def run(self, step: StudyStep, progress: Progress) -> None:
        """Run a step; the model of another seed leaves the memory first."""
        if self._context is not None and self._context is not step.context:
            self._context.release()
        self._context = step.context
        # What steps before this one have freed lies in pieces into which its tensors would not fit.
        resources.return_freed_memory()
        try:
            step(progress)
        finally:
            resources.return_freed_memory()


class Failures:
    """Steps that failed, in their order, and the results that are missing for it.

    Args:
        bars: where they are told of.
        heard: told of each.
    """

    def __init__(self, bars: ProgressBars, heard: "Heard") -> None:
        self._bars, self._heard = bars, heard
        self._errors: list[tuple[StudyStep, Exception]] = []
        self._missing: set[Path] = set()
        self._stale: set[Path] = set()
        self._waiting = 0

    def add(self, step: StudyStep, error: Exception) -> None:
        """Add a step, and say so at once: what does not need it goes on, of a study whose files are others nothing."""
        if isinstance(error, StaleError):
            if step.study in self._stale:
                return
            self._stale.add(step.study)
        self._errors.append((step, error))
        self._missing.add(step.result)
        self._bars.say(f"{step.what} failed: {reason(error, 300)}")
        self._heard(step, error)

    def blocks(self, step: StudyStep) -> bool:
        """True if a step needs one that failed; it is missing then, too."""
        if step.study in self._stale:
            return True
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


Heard = Callable[[StudyStep, Exception | None], None]
"""Called with a step that is done, or with what it failed of."""


@dataclass(frozen=True)
class Budget:
    """Time that the steps of a job may take: what does not fit is left for the next start.

    Attributes:
        until: it is spent, on the clock of `time.monotonic`.
        seconds: expected of a step.
        rank: of a step, as `Schedule` has it: what says most has the lowest.
    """

    until: float
    seconds: Callable[[StudyStep], float]
    rank: Callable[[StudyStep], int]

    def fits(self, step: StudyStep) -> bool:
        """True if a step that begins now is expected to be done in time."""
        return time.monotonic() + self.seconds(step) <= self.until


def run_here(
    steps: Sequence[StudyStep], bars: ProgressBars, heard: Heard = lambda *_: None, budget: Budget | None = None
) -> int:
    """Run what is not done, one step after the other, each after those that it needs.

    Returns:
        Number of steps that the budget left.

    Raises:
        TombolaError: a step failed, and all that does not need it is done.
    """
    failures = Failures(bars, heard)
    left = _run_here(steps, bars, heard, failures, budget)
    failures.finish()
    return left


def _run_here(
    steps: Sequence[StudyStep],
    bars: ProgressBars,
    heard: Heard,
    failures: Failures,
    budget: Budget | None,
    before: Set[Path] = frozenset(),
) -> int:
    """Run steps here; the number of results that the budget left, with those that it left `before`."""
    runner, line, left, told = StepRunner(), ProgressLine(bars), {*before}, set[Path]()
    waiting = [*steps] if budget is None else sorted(steps, key=budget.rank)
    while waiting:
        # What other studies are at, with what needs it: it keeps nobody from the rest.
        elsewhere: dict[Path, StudyStep] = {}
        for step in waiting:
            if step.done() or failures.blocks(step):
                bars.skip(step.cost)
            elif budget is not None and (not left.isdisjoint(step.needs) or not budget.fits(step)):
                left.add(step.result)
            elif not elsewhere.keys().isdisjoint(step.needs):
                elsewhere[step.result] = step
            else:
                try:
                    if (claim := _claim(step)) is None:
                        elsewhere[step.result] = step
                        continue
                    _make(step, claim, runner, line, bars)
                except TombolaError as error:
                    failures.add(step, error)
                else:
                    heard(step, None)
        if len(elsewhere) == len(waiting):
            first = waiting[0]
            if first.result not in told:
                bars.say(f"{first.what}: another study is at it; its result is copied if it is the same")
                told.add(first.result)
            time.sleep(SOON)
        waiting = [*elsewhere.values()]
    return len(left)


def _claim(step: StudyStep) -> Claim | None:
    return Claim() if step.claim is None else step.claim(step)


def _make(step: StudyStep, claim: Claim, runner: "StepRunner", line: ProgressLine, bars: ProgressBars) -> None:
    try:
        if claim.copied:
            bars.skip(step.cost)
        else:
            with line.step(step.what, cost=step.cost, weight=step.weight):
                runner.run(step, line)
    finally:
        claim.release()


def run_steps(
    steps: Sequence[StudyStep],
    bars: ProgressBars,
    pool: WorkerPool,
    heard: Heard = lambda *_: None,
    budget: Budget | None = None,
) -> int:
    """Run what is not done in workers, and what must run alone here, when they have ended.

    A step that was lost with its worker, or ran out of memory, is tried again, on this machine with one worker fewer
    beside it, and then with none.

    Returns:
        Number of steps that the budget left.

    Raises:
        TombolaError: a step failed, and all that does not need it is done.
    """
    shared, here = apart(steps)
    left = [step for step in shared if not step.done()]
    bars.skip(sum(step.cost for step in shared) - sum(step.cost for step in left))
    job = _SharedJob(left, pool, bars, lone_steps(steps), heard, budget)
    with pool:
        job.run()
    left_over = _run_here(here, bars, heard, job.failures, budget, job.left)
    job.failures.finish()
    return left_over


class _SharedJob:
    """Steps that workers of a pool run."""

    def __init__(
        self,
        steps: Sequence[StudyStep],
        pool: WorkerPool,
        bars: ProgressBars,
        lone: Set[Path],
        heard: Heard,
        budget: Budget | None,
    ) -> None:
        self.failures = Failures(bars, heard)
        self.left = set[Path]()
        self._schedule = Schedule(steps) if budget is None else Schedule(steps, budget.rank)
        self._pool, self._bars, self._lone, self._heard, self._budget = pool, bars, lone, heard, budget
        # Where all are of one study whose files are others, what workers do is for nothing.
        self._one_study = len({step.study for step in steps}) == 1
        # Each worker's share of the cores, which a step has wherever it is tried: results depend on it in last bits.
        self._threads = threads(pool.size)
        self._tries: Counter[Path] = Counter()
        self._told: set[str] = set()
        self._claims: dict[Path, Claim] = {}
        self._elsewhere: set[Path] = set()
        self._asked = time.monotonic()

    def run(self) -> None:
        try:
            self._give()
            while self._pool.busy() or self._schedule.waiting:
                if not self._pool.busy():
                    self._wait()
                elif (heard := self._pool.receive(SOON if self._elsewhere else None)) is not None:
                    self._hear(*heard)
                else:
                    self._give()
        finally:
            for claim in self._claims.values():
                claim.release()

    def _wait(self) -> None:
        """Wait for what others do: with nothing to wait for but a worker, for that."""
        if self._elsewhere:
            time.sleep(SOON)
        else:
            self._bars.say("waiting for a worker of the cluster")
            self._pool.await_worker()
        self._give()

    def _hear(self, worker: Worker, message: Message) -> None:
        match message:
            case {"advance": int(examples)}:
                worker.line.advance(examples)
                for at, values in message.get("points", ()):
                    worker.line.measured(at, values)
                # A cluster may have grown.
                self._give()
            case {"note": str(text)}:
                worker.line.note(text)
            case {"warning": str(text)}:
                if text not in self._told:
                    self._told.add(text)
                    warnings.warn(text, stacklevel=2)
            case {"done": _}:
                step = worker.finished()
                self._release(step)
                self._schedule.finish(step)
                # The others have work before this process reads the results.
                self._give()
                self._heard(step, None)
            case _:
                self._failed(worker, failure(worker, message), lost="lost" in message)
                self._give()

    def _failed(self, worker: Worker, error: Exception, *, lost: bool) -> None:
        step = worker.give_up()
        self._release(step)
        if lost and step.done():
            # It was, when the worker ended.
            self._pool.dismiss(worker)
            self._schedule.finish(step)
            self._heard(step, None)
            return
        if lost or isinstance(error, MemoryRanOutError):
            # What it holds of memory is given back at once.
            self._pool.dismiss(worker)
            self._tries[step.result] += 1
            if self._tries[step.result] < TRIES:
                self._pool.shrink(alone=self._tries[step.result] > 1)
                self._bars.say(f"{step.what}: {reason(error, 300)}; it is tried again, with less beside it")
                self._schedule.put_back(step)
                return
        if isinstance(error, StaleError) and self._one_study:
            self._heard(step, error)
            raise error
        self._fail(step, error)

    def _fail(self, step: StudyStep, error: Exception) -> None:
        self.failures.add(step, error)
        for blocked in self._schedule.drop(self.failures.blocks):
            self._bars.skip(blocked.cost)

    def _release(self, step: StudyStep) -> None:
        self._claims.pop(step.result, Claim()).release()

    def _give(self) -> None:
        """Give idle workers what may begin: first what is near to what they have at hand, then anything."""
        if time.monotonic() - self._asked >= SOON:
            self._asked = time.monotonic()
            self._elsewhere.clear()
        while len(self._pool.workers) > self._pool.size and (idle := self._pool.idle()):
            self._pool.dismiss(idle[0])
        for near in (2, 1, 0):
            for worker in self._pool.idle():
                step = self._take(worker.last, near)
                if step is not None:
                    self._submit(worker, step)
        while self._pool.can_start() and (step := self._take()) is not None:
            self._submit(self._pool.start(ProgressLine(self._bars), self._threads), step)

    def _take(self, last: StudyStep | None = None, near: int = 0) -> StudyStep | None:
        """Take a step that a worker can begin; what another study has made is copied on the way."""
        while (step := self._schedule.take(last, near, self._elsewhere)) is not None:
            if self._budget is not None and not self._budget.fits(step):
                self.left |= self._schedule.leave(step)
                continue
            try:
                claim = _claim(step)
            except TombolaError as error:
                self._fail(step, error)
                continue
            if claim is None:
                self._elsewhere.add(step.result)
                self._schedule.put_back(step)
            elif claim.copied:
                claim.release()
                self._bars.skip(step.cost)
                self._schedule.finish(step)
                self._heard(step, None)
            else:
                self._claims[step.result] = claim
                return step
        return None

    def _submit(self, worker: Worker, step: StudyStep) -> None:
        self._pool.submit(worker, step, resources.cores() if step.result in self._lone else self._threads)


def lone_steps(steps: Sequence[StudyStep]) -> set[Path]:
    """Results of the steps beside which hardly anything can run: nearly all other work comes before, or after."""
    cost = {step.result: step.cost for step in steps}
    bound = {step.result: step.cost for step in steps}
    before: dict[Path, set[Path]] = {}
    for step in steps:
        before[step.result] = {*step.needs}.union(*(before.get(need, ()) for need in step.needs)) & cost.keys()
        for one in before[step.result]:
            bound[one] += step.cost
            bound[step.result] += cost[one]
    return {one for one in cost if sum(cost.values()) - bound[one] <= HARDLY * cost[one]}


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


def nearness(step: StudyStep, other: StudyStep | None) -> int:
    """Nearness of a step to another one: 2 of the same seed, whose model is at hand, 1 of the same study, else 0."""
    if other is None or step.study != other.study:
        return 0
    same = None not in (step.context, other.context) and _seed(step) == _seed(other)
    return 2 if same else 1


def _seed(step: StudyStep) -> int | None:
    return None if step.context is None else step.context.seed_folder.seed
