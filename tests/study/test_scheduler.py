"""The order of steps, how many workers they are worth, and what becomes of what workers say."""

import re
import warnings
from pathlib import Path
from typing import Any, cast

import pytest

from tombola.foundations import resources
from tombola.foundations.errors import TombolaError
from tombola.foundations.progress import ProgressBars, ProgressLine
from tombola.study import estimates
from tombola.study.scheduler import Schedule, apart, run_here, run_steps
from tombola.study.seed_context import SeedContext
from tombola.study.step import StudyStep
from tombola.study.worker_pool import WorkerPool


class Context:
    """Of one seed, with its model as long as that is held."""

    def __init__(self, seed: int) -> None:
        self.seed_folder = self
        self.seed = seed
        self.full_model: object = "model"


CONTEXTS = [Context(seed) for seed in range(3)]


def step(name: str, cost: float = 1.0, needs: str = "", seed: int | None = None, **more: Any) -> StudyStep:
    context = None if seed is None else cast(SeedContext, CONTEXTS[seed])
    return StudyStep(name, cost, 1.0, Path(name), lambda _: None, tuple(map(Path, needs.split())), context, **more)


def order(steps: list[StudyStep], seed: int | None = None) -> list[str]:
    """Names as one worker is given them."""
    schedule, names = Schedule(steps), []
    while (taken := schedule.take(seed)) is not None:
        names.append(taken.what)
        schedule.finish(taken)
    return names


def test_a_step_waits_for_what_it_needs_and_not_for_what_is_there() -> None:
    schedule = Schedule([step("a"), step("b", needs="a"), step("c", needs="there")])
    first, second = schedule.take(), schedule.take()
    assert first is not None
    assert second is not None
    assert (first.what, second.what) == ("a", "c")
    assert schedule.take() is None
    schedule.finish(second)
    assert schedule.take() is None
    schedule.finish(first)
    third = schedule.take()
    assert third is not None
    assert third.what == "b"
    assert schedule.take() is None


def test_the_longest_chain_goes_first_and_among_equals_the_order_of_the_list() -> None:
    steps = [step("x", 3), step("y", 3), step("a", 1), step("b", 1, "a"), step("c", 2, "b")]
    assert order(steps) == ["a", "x", "y", "b", "c"]


def test_a_worker_is_given_steps_of_the_seed_that_it_holds() -> None:
    steps = [step("a", 5, seed=0), step("b", 1, seed=1), step("c", 9), step("d", 2, seed=1)]
    assert order(steps, seed=1) == ["d", "b", "c", "a"]
    assert Schedule(steps).take(2, only=True) is None


def test_steps_that_measure_time_are_set_apart_with_all_that_need_them() -> None:
    steps = [step("a"), step("timed", needs="a", alone=True), step("b", needs="timed"), step("c", needs="a")]
    shared, here = apart(steps)
    assert [one.what for one in shared] == ["a", "c"]
    assert [one.what for one in here] == ["timed", "b"]


@pytest.mark.parametrize(("workers", "expected"), [(1, 13.0), (2, 7.0), (3, 5.0), (9, 5.0)])
def test_the_time_of_workers_is_that_of_a_list_schedule(workers: int, expected: float) -> None:
    # By hand, of two: a, b, e on one, f, c, d on the other.
    steps = [step("a", 2), step("b", 3, "a"), step("c", 2), step("d", 2), step("e", 1), step("f", 3)]
    assert estimates.makespan(steps, workers) == expected


class TestSize:
    @pytest.fixture(autouse=True)
    def eight_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resources, "cores", lambda: 8)
        monkeypatch.setattr(resources, "memory", lambda: 64 * 10**9)

    def test_a_worker_for_each_core_where_there_is_work(self) -> None:
        assert estimates.worker_count([step(str(n), 1e6) for n in range(80)], 10**7) == 8
        assert estimates.threads(8) == 1
        assert estimates.threads(3) == 2

    def test_no_more_than_can_run_at_once(self) -> None:
        assert estimates.worker_count([step("a", 1e6), step("b", 1e6, "a"), step("c", 1e6, "b")], 10**7) == 1
        two = [step(f"{name}{n}", 1e6, f"{name}{n - 1}") for n in range(9) for name in "ab"]
        assert estimates.worker_count(two, 10**7) == 2

    def test_no_more_than_memory_holds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resources, "memory", lambda: 7 * 10**9)
        steps = [step(str(n), 1e6) for n in range(80)]
        # 2.64 GB for 100 million parameters and their training, and 0.6 GB.
        assert estimates.worker_count(steps, 110 * 10**6) == 2
        assert estimates.worker_count(steps, 10**9) == 1

    def test_one_for_what_is_done_before_workers_have_started(self) -> None:
        assert estimates.worker_count([step(str(n), 100) for n in range(80)], 30_000) == 1


def test_a_container_has_the_cores_and_memory_that_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    free = resources.cores(), resources.memory()
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert (resources.cores(), resources.memory()) == free
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1000000\n")
    assert (resources.cores(), resources.memory()) == (1, 1_000_000)


def test_one_process_holds_the_model_of_one_seed() -> None:
    steps = [step("a", seed=0), step("b", seed=0), step("c", seed=1), step("d"), step("e", seed=2)]
    with ProgressBars("test", 5) as bars:
        run_here(steps, bars)
    assert [context.full_model for context in CONTEXTS] == [None, None, "model"]


class FakeWorker:
    def __init__(self, line: ProgressLine) -> None:
        self.line = line
        self.seed: int | None = None
        self.step: StudyStep | None = None

    @property
    def busy(self) -> bool:
        return self.step is not None

    def submit(self, step: StudyStep, seed: int | None) -> None:
        self.step, self.seed = step, seed
        self.line.start(step.what, cost=step.cost)

    def finished(self) -> StudyStep:
        assert self.step is not None
        step, self.step = self.step, None
        self.line.end()
        return step


class FakePool:
    """Two workers; whichever has the step that comes first in the alphabet says the next word."""

    def __init__(self, said: dict[str, list[dict[str, Any]]]) -> None:
        self.said = said
        self.workers: list[FakeWorker] = []
        self.gone = False

    def __enter__(self) -> "FakePool":
        return self

    def __exit__(self, *_: object) -> None:
        self.gone = True

    def idle(self) -> list[FakeWorker]:
        return [worker for worker in self.workers if not worker.busy]

    def busy(self) -> bool:
        return any(worker.busy for worker in self.workers)

    def can_start(self) -> bool:
        return len(self.workers) < 2

    def start(self, line: ProgressLine) -> FakeWorker:
        self.workers.append(FakeWorker(line))
        return self.workers[-1]

    def receive(self) -> tuple[FakeWorker, dict[str, Any]]:
        worker = min((w for w in self.workers if w.step), key=lambda w: w.step.what if w.step else "")
        assert worker.step is not None
        words = self.said.setdefault(worker.step.what, [])
        return worker, words.pop(0) if words else {"done": True}


def test_what_workers_say_is_told_once_and_with_the_name_of_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    warned = {"warning": "the model is odd"}
    pool = FakePool({"a": [warned, {"advance": 3}, {"note": "halfway"}], "b": [warned, {"note": "begun"}]})
    steps = [step("a", 4), step("b", 4), step("c", 2, "a b"), step("timed", 1, "c", alone=True)]
    collected: list[bool] = []
    with warnings.catch_warnings(record=True) as caught, ProgressBars("test", 11) as bars:
        warnings.simplefilter("always")
        run_steps(steps, bars, cast(WorkerPool, pool), lambda: collected.append(pool.gone))
    assert [str(one.message) for one in caught] == ["the model is odd"]
    # What runs alone does so when the workers have gone.
    assert collected == [False, False, False, True]
    lines = [
        re.sub(r"; \d+\.\d s(, \d:\d\d:\d\d left)?$", "; when", line) for line in capsys.readouterr().err.splitlines()
    ]
    halfway = ["a ...", "b ...", "a: halfway; when", "a; when", "b: begun; when", "b; when"]
    assert lines == [*halfway, "c ...", "c; when", "timed ...", "timed; when"]


def test_a_failure_ends_all_workers() -> None:
    class Failing(FakePool):
        def receive(self) -> tuple[FakeWorker, dict[str, Any]]:
            raise TombolaError("the file is damaged; delete it")

    pool = Failing({})
    with pytest.raises(TombolaError, match="the file is damaged"), ProgressBars("test", 2) as bars:
        run_steps([step("a"), step("b")], bars, cast(WorkerPool, pool), lambda: None)
    assert pool.gone
