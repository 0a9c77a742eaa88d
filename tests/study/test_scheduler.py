"""The order of steps, how many workers they are worth, and what becomes of what workers say."""

import dataclasses
import functools
import re
import time
import warnings
from pathlib import Path
from typing import Any, Self, cast

import pytest
import torch

from tombola.foundations import resources
from tombola.foundations.errors import FailedError, MemoryRanOutError, StaleError, TombolaError
from tombola.foundations.progress import ProgressBars, ProgressLine
from tombola.study import estimates, scheduler
from tombola.study.claim import Claim
from tombola.study.scheduler import Budget, Schedule, apart, lone_steps, nearness, run_here, run_steps
from tombola.study.seed_context import SeedContext
from tombola.study.step import StudyStep
from tombola.study.worker_pool import Job, Worker, WorkerPool


class Context:
    """Of one seed, with its model as long as that is held."""

    def __init__(self, seed: int) -> None:
        self.seed_folder = self.setting = self
        self.device = torch.device("cpu")
        self.seed = seed
        self.full_model: object = "model"

    def release(self) -> None:
        self.full_model = None


CONTEXTS = [Context(seed) for seed in range(3)]


def step(name: str, cost: float = 1.0, needs: str = "", seed: int | None = None, **more: Any) -> StudyStep:
    context = None if seed is None else cast(SeedContext, CONTEXTS[seed])
    return StudyStep(name, cost, 1.0, Path(name), lambda _: None, tuple(map(Path, needs.split())), context, **more)


def order(steps: list[StudyStep], last: StudyStep | None = None) -> list[str]:
    """Names as one worker is given them, after a step that it had."""
    schedule, names = Schedule(steps), []
    while (taken := schedule.take(last)) is not None:
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
    assert order(steps, step("before", seed=1)) == ["d", "b", "c", "a"]
    assert Schedule(steps).take(step("before", seed=2), near=2) is None


def test_a_worker_is_given_steps_of_the_study_that_it_holds() -> None:
    mine: dict[str, Any] = {"study": Path("mine")}
    steps = [step("a", 9, seed=0), step("b", seed=0, **mine), step("c", seed=1, **mine)]
    before = step("before", seed=1, **mine)
    assert order(steps, before) == ["c", "b", "a"]
    assert [nearness(one, before) for one in steps] == [0, 1, 2]


def test_a_rank_goes_before_the_longest_chain() -> None:
    steps = [step("a", 1), step("b", 9), step("c", 5), step("d", 1, "a")]
    schedule, names = Schedule(steps, lambda one: int(one.what in "bc")), []
    while (taken := schedule.take()) is not None:
        names.append(taken.what)
        schedule.finish(taken)
    assert names == ["a", "d", "b", "c"]


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
        assert scheduler.threads(8) == 1
        assert scheduler.threads(3) == 2

    def test_no_more_than_can_run_at_once(self) -> None:
        assert estimates.worker_count([step("a", 1e6), step("b", 1e6, "a"), step("c", 1e6, "b")], 10**7) == 1
        two = [step(f"{name}{n}", 1e6, f"{name}{n - 1}") for n in range(9) for name in "ab"]
        assert estimates.worker_count(two, 10**7) == 2

    def test_no_more_than_memory_holds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resources, "memory", lambda: 8 * 10**9)
        steps = [step(str(n), 1e6) for n in range(80)]
        # 2.64 GB for 110 million parameters and their training, and 0.9 GB.
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


class FakePool(WorkerPool):
    """Workers of no process; whichever has the step that comes first in the alphabet says the next word."""

    def __init__(self, said: dict[str, list[dict[str, Any]]], size: int = 2) -> None:
        super().__init__(Job({}, Path("nowhere")), size)
        self.quiet = 0
        self.said = said
        self.gone = False
        self.given: list[str] = []
        self.beside: list[tuple[str, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.gone = True

    def start(self, line: ProgressLine, threads: int) -> Worker:
        name = f"w{len(self.given)}"
        self._workers[name] = Worker(name, None, line)
        return self._workers[name]

    def submit(self, worker: Worker, step: StudyStep, threads: int) -> None:
        worker.step = worker.last = step
        worker.line.start(step.what, cost=step.cost)
        self.given.append(f"{step.what}/{threads}")
        self.beside.append((step.what, sum(one.busy for one in self.workers) - 1))

    def receive(self, seconds: float | None = None) -> tuple[Worker, dict[str, Any]] | None:
        if seconds is not None and self.quiet:
            self.quiet -= 1
            return None
        worker = min((one for one in self.workers if one.busy), key=lambda one: one.what)
        words = self.said.setdefault(worker.what, [])
        return worker, words.pop(0) if words else {"done": True}


def test_what_workers_say_is_told_once_and_with_the_name_of_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    warned = {"warning": "the model is odd"}
    pool = FakePool({"a": [warned, {"advance": 3}, {"note": "halfway"}], "b": [warned, {"note": "begun"}]})
    steps = [step("a", 4), step("b", 4), step("c", 2, "a b"), step("timed", 1, "c", alone=True)]
    collected: list[bool] = []
    with warnings.catch_warnings(record=True) as caught, ProgressBars("test", 11) as bars:
        warnings.simplefilter("always")
        run_steps(steps, bars, pool, lambda *_: collected.append(pool.gone))
    assert [str(one.message) for one in caught] == ["the model is odd"]
    # What runs alone does so when the workers have gone.
    assert collected == [False, False, False, True]
    lines = [
        re.sub(r"; \d+\.\d s(, \d:\d\d:\d\d left)?$", "; when", line) for line in capsys.readouterr().err.splitlines()
    ]
    halfway = ["a ...", "b ...", "a: halfway; when", "a; when", "b: begun; when", "b; when"]
    assert lines == [*halfway, "c ...", "c; when", "timed ...", "timed; when"]


LOST = {"lost": -9, "text": ""}
FULL = {"error": "MemoryRanOutError", "text": "memory ran out"}


def run(steps: list[StudyStep], pool: FakePool, budget: Budget | None = None) -> list[str]:
    """What was done while the pool ran the steps."""
    done: list[str] = []

    def heard(one: StudyStep, error: Exception | None) -> None:
        if error is None:
            done.append(one.what)

    with ProgressBars("test", len(steps)) as bars:
        run_steps(steps, bars, pool, heard, budget)
    assert pool.gone
    return done


def test_what_does_not_need_a_failed_step_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [
        step("a"),
        step("b", needs="a"),
        step("c", needs="b"),
        step("d"),
        step("e", needs="d"),
        step("f", needs="c"),
    ]
    pool = FakePool({"a": [{"error": "TombolaError", "text": "the file is damaged; delete it"}]})
    line = "the file is damaged; delete it; 3 steps not run that need what failed"
    with pytest.raises(TombolaError, match=f"^{line}$"):
        run(steps, pool)
    assert [one[0] for one in pool.given] == ["a", "d", "e"]
    assert "a failed: the file is damaged; delete it" in capsys.readouterr().err


def test_every_step_that_failed_is_named() -> None:
    bad = {name: [{"error": "FailedError", "text": f"{name} is at chance"}] for name in "ac"}
    with pytest.raises(FailedError, match=r"^a is at chance; 'c' failed too; 2 steps not run that need what failed$"):
        run([step("a"), step("b", needs="a"), step("c"), step("d", needs="c"), step("e")], FakePool(bad))


def test_files_that_changed_end_all_at_once() -> None:
    pool = FakePool({"a": [{"error": "StaleError", "text": "the data changed"}]})
    with pytest.raises(StaleError, match=r"^the data changed$"):
        run([step("a"), step("b"), step("c"), step("d")], pool)
    assert len(pool.given) == 2


@pytest.mark.parametrize("word", [LOST, FULL])
def test_what_is_lost_or_ran_out_of_memory_is_tried_again_with_less_beside_it(word: dict[str, Any]) -> None:
    steps = [step("a", 9), *(step(name) for name in "bcdefgh")]
    pool = FakePool({"a": [word, word]}, size=3)
    assert len(run(steps, pool)) == len(steps)
    assert [beside for name, beside in pool.beside if name == "a"] == [0, 1, 0]
    # The threads of a step are the same however often it is tried: its result depends on them.
    assert len({one for one in pool.given if one.startswith("a/")}) == 1


def test_a_cluster_keeps_its_workers_whatever_is_lost() -> None:
    pool = FakePool({}, size=8)
    pool.shrink(alone=False)
    assert pool.size == 7
    pool.shrink(alone=True)
    assert pool.size == 1
    cluster = WorkerPool(Job({}, Path("nowhere")), 8, "tls://10.0.0.1:8786")
    cluster.shrink(alone=True)
    assert cluster.size == 8


@pytest.mark.parametrize(("word", "kind"), [(LOST, TombolaError), (FULL, MemoryRanOutError)])
def test_after_three_times_a_step_has_failed(word: dict[str, Any], kind: type[Exception]) -> None:
    pool = FakePool({"a": [word] * 3})
    with pytest.raises(kind, match="--workers 1"):
        run([step("a"), step("b", needs="a"), step("c")], pool)
    assert [one[0] for one in pool.given].count("a") == 3
    assert [one[0] for one in pool.given].count("c") == 1


def test_a_step_beside_which_none_can_run_has_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tombola.foundations.resources.cores", lambda: 8)
    steps = [step("a"), step("b", needs="a"), step("c", needs="a"), step("d", needs="b c"), step("e", needs="d")]
    assert lone_steps(steps) == {Path("a"), Path("d"), Path("e")}
    assert lone_steps([*steps, step("other")]) == set()
    # What takes no time beside it counts for nothing.
    assert lone_steps([*steps, step("guess", 0.001)]) == {Path("a"), Path("d"), Path("e")}
    pool = FakePool({})
    run(steps, pool)
    assert pool.given == ["a/8", "b/4", "c/4", "d/8", "e/8"]


def test_in_one_process_what_does_not_need_a_failed_step_is_done_too() -> None:
    done: list[str] = []

    def fail(_: object) -> None:
        raise TombolaError("no")

    steps = [step("a"), step("b", needs="a"), step("c")]
    steps = [dataclasses.replace(one, run=lambda _: done.append("ran")) for one in steps]
    steps[0] = dataclasses.replace(steps[0], run=fail)
    with (
        pytest.raises(TombolaError, match=r"^no; 1 step not run that needs what failed$"),
        ProgressBars("test", 3) as bars,
    ):
        run_here(steps, bars)
    assert done == ["ran"]


def claimed(steps: list[StudyStep], **found: list[str]) -> list[StudyStep]:
    """Steps of which other studies make some: name → what a claim finds, time after time."""

    def claim(one: StudyStep) -> Claim | None:
        word = found[one.what].pop(0) if found.get(one.what) else "free"
        return {"busy": None, "copied": Claim(copied=True), "free": Claim()}[word]

    return [dataclasses.replace(one, claim=claim) for one in steps]


def test_what_another_study_is_at_waits_and_is_copied_or_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "SOON", 0.0)
    steps = [step("a", 9), step("b", needs="a"), step("c"), step("d", 5)]
    pool = FakePool({})
    pool.quiet = 2
    done = run(claimed(steps, a=["busy", "busy", "copied"], d=["busy", "free"]), pool)
    assert sorted(done) == ["a", "b", "c", "d"]
    # The copied one is given to nobody, and what waits for others keeps nobody from the rest.
    assert sorted(one[0] for one in pool.given) == ["b", "c", "d"]
    assert pool.given[0].startswith("c")
    ran: list[str] = []

    def make(name: str, _: object) -> None:
        ran.append(name)

    here = [dataclasses.replace(one, run=functools.partial(make, one.what)) for one in steps]
    with ProgressBars("test", 9) as bars:
        run_here(claimed(here, a=["busy", "copied"]), bars)
    assert ran == ["c", "d", "b"]


def test_what_cannot_be_claimed_has_failed_alone() -> None:
    def claim(one: StudyStep) -> Claim:
        raise TombolaError(f"the lock of {one.what} cannot be written")

    steps = [step("a", claim=claim), step("b", needs="a"), step("c")]
    with pytest.raises(TombolaError, match=r"the lock of a cannot be written; 1 step not run"):
        run(steps, pool := FakePool({}))
    assert [one[0] for one in pool.given] == ["c"]
    with ProgressBars("test", 3) as bars, pytest.raises(TombolaError, match=r"the lock of a cannot be written"):
        run_here(steps, bars)


def test_a_budget_leaves_what_would_not_end_in_time_and_what_needs_it() -> None:
    steps = [step("a", 9), step("b", needs="a"), step("c", needs="b"), step("d", 2), step("e", needs="d")]
    budget = Budget(time.monotonic() + 5, lambda one: one.cost, lambda _: 0)
    assert run(steps, FakePool({}), budget) == ["d", "e"]
    with ProgressBars("test", 9) as bars:
        assert run_here(steps, bars, budget=budget) == 3


def test_files_that_changed_end_the_steps_of_their_study_alone() -> None:
    others = [step(name, study=Path("other")) for name in "xyz"]
    pool = FakePool({"a": [{"error": "StaleError", "text": "the data changed"}]}, size=1)
    with pytest.raises(StaleError, match=r"^the data changed$"):
        run([step("a", 9), step("b"), step("c", needs="b"), *others], pool)
    assert [one[0] for one in pool.given] == ["a", "x", "y", "z"]
