"""A study whose steps run in worker processes: it finds what one process finds, and ends as cleanly."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal, cast

import psutil
import pytest
import torch

from builders import kept_tracker, small_study
from builders.small_study import command, environment, flags, read_rows, timeless
from tombola.foundations.atomic_files import read_json, read_lines, write_json
from tombola.foundations.errors import TombolaError
from tombola.foundations.progress import ProgressBars, ProgressLine
from tombola.study.step import StudyStep
from tombola.study.study import Study
from tombola.study.worker_pool import Job, Worker, WorkerPool, failure
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow

AUTO: Literal["auto"] = "auto"
SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "methods": ("heads+mlps",),
    "controls": ("random", "bad"),
    "analyses": ("survivors",),
}


def shared(out: Path, workers: int = 2, track: str | None = None, **settings: Any) -> Study:
    config = small_study.config(**{**SETTINGS, **settings})
    return Study(config, out=out, seeds=(0, 1), workers=workers, track=track)


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study in one process, with as many threads as each of two workers has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    study = shared(tmp_path_factory.mktemp("alone"), workers=1)
    study.run()
    torch.set_num_threads(before)
    return study


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Any:
    """Each of two workers has one thread, whatever machine this is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tombola.foundations.resources.cores", lambda: 1)
        yield


@pytest.mark.exhaustive
def test_a_tracker_that_fails_changes_nothing(alone: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_tracker.register()
    monkeypatch.setattr(kept_tracker.Kept, "lasts", 30)
    study = shared(tmp_path, track="kept")
    with pytest.warns(UserWarning, match="curves are not tracked any more"):
        study.run()
    assert timeless(read_rows(study.folder)) == timeless(read_rows(alone.folder))
    assert (study.folder / "verdicts.json").read_bytes() == (alone.folder / "verdicts.json").read_bytes()
    assert len(kept_tracker.Kept.last.points) == 30


def check_curves(study: Study, kept: kept_tracker.Kept) -> None:
    """Curves of the steps of workers, and of those that are alone and run here."""
    curves: dict[str, list[tuple[int | None, float]]] = {}
    for values, step in kept.points:
        for name, value in values.items():
            curves.setdefault(name, []).append((step, value))
    steps = study.config.recipe.steps(study.task.size("train"))
    for name in ("loss", "learning rate"):
        found = curves[f"seed 1: fine-tune the full model/{name}"]
        assert [step for step, _ in found] == list(range(1, steps + 1))
    full, _ = next(iter(curves["seed 1: fine-tune the full model/dev score"]))
    rows = {(row["seed"], row["ticket"], row["stage"]): row["score"] for row in read_rows(study.folder)}
    assert curves["seed 1: fine-tune the full model/dev score"] == [(full, rows[1, "full", "none"])]
    passes = read_lines(study.seed_folder(0).folder / "heads+mlps" / "search.jsonl")
    search = "seed 0: search heads and MLPs"
    assert curves[f"{search}/score"] == [(one["iteration"], one["score"]) for one in passes]
    assert curves[f"{search}/share of the weights left"] == [(one["iteration"], 1 - one["sparsity"]) for one in passes]
    assert [step for step, _ in curves["study/share done"]] == list(range(1, len(study.steps()) + 1))
    assert curves["study/share done"][-1][1] == pytest.approx(1)


def test_two_workers_find_what_one_process_finds_and_track_it(alone: Study, tmp_path: Path) -> None:
    kept_tracker.register()
    study = shared(tmp_path, track="kept")
    study.run()
    assert timeless(read_rows(study.folder)) == timeless(read_rows(alone.folder))
    assert (study.folder / "verdicts.json").read_bytes() == (alone.folder / "verdicts.json").read_bytes()
    assert files(study.folder) == files(alone.folder)
    for seed in (0, 1):
        for name in ("good", "random", "bad"):
            folders = (one.seed_folder(seed).ticket("heads+mlps", name) for one in (study, alone))
            assert len({Ticket.load(folder) for folder in folders}) == 1
        models = [one.seed_folder(seed).full / "model.safetensors" for one in (study, alone)]
        assert models[0].read_bytes() == models[1].read_bytes()
    assert read_json(study.folder / "study.json")["machine"]["workers"] == 2
    assert read_json(alone.folder / "study.json")["machine"]["workers"] == 1
    check_curves(study, kept_tracker.Kept.last)


def with_a_step_missing(study: Study, out: Path) -> Path:
    """A copy of the finished study without two retrainings."""
    folder = shutil.copytree(study.folder, out / study.folder.name)
    for seed in (0, 1):
        shutil.rmtree(folder / "moods" / f"seed-{seed}" / "heads+mlps" / "bad" / "retrained")
    return folder


def test_what_a_user_can_mend_is_said_in_the_same_line(alone: Study, tmp_path: Path) -> None:
    folder = with_a_step_missing(alone, tmp_path)
    damaged = folder / "moods" / "seed-1" / "heads+mlps" / "bad" / "ticket.json"
    damaged.write_text("{")
    with pytest.raises(TombolaError) as expected:
        shared(tmp_path, workers=1).run()
    with pytest.raises(TombolaError) as caught:
        shared(tmp_path).run()
    assert str(caught.value) == str(expected.value)
    assert list(folder.rglob(".draft-*")) == []
    assert children() == []


@pytest.mark.exhaustive
def test_a_worker_that_the_system_kills_is_told_of(
    alone: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_a_step_missing(alone, tmp_path)
    receive = WorkerPool.receive

    def deadly(self: WorkerPool, seconds: float | None = None) -> tuple[Worker, dict[str, Any]] | None:
        worker, message = cast(tuple[Worker, dict[str, Any]], receive(self, seconds))
        if worker.process is not None:
            worker.process.kill()
        return worker, message

    monkeypatch.setattr(WorkerPool, "receive", deadly)
    with pytest.raises(TombolaError, match=r"^the system killed a worker .*'seed \d: retrain bad .*--workers 1[^\n]*$"):
        shared(tmp_path).run()
    assert list(folder.rglob(".draft-*")) == []
    assert children() == []


def job_of(study: Study) -> Job:
    return Job({study.folder: study.made_of()}, study.folder)


def answer(pool: WorkerPool) -> tuple[Worker, dict[str, Any]]:
    found = pool.receive()
    assert found is not None
    return found


def a_step(study: Study, what: str, result: str) -> StudyStep:
    return StudyStep(what, 1, 1, study.folder / result, lambda _: None, study=study.folder)


def test_a_defect_in_a_worker_comes_with_its_traceback(tmp_path: Path) -> None:
    study = shared(tmp_path)
    study.folder.mkdir()
    write_json(study.folder / "study.json", {"name": study.config.name, "hash": study.hash})
    with ProgressBars("test", 1) as bars, WorkerPool(job_of(study), 1) as pool:
        pool.submit(pool.start(ProgressLine(bars), 1), a_step(study, "unknown", "no such step"), 1)
        with pytest.raises(RuntimeError, match=r"KeyError: '.*no such step'"):
            raise failure(*answer(pool))
    assert children() == []


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped")
def test_a_worker_that_hangs_is_ended_and_one_that_works_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tombola.study.worker_pool.PAUSE", 0.2)
    monkeypatch.setattr("tombola.study.worker_pool.HUNG", 2.0)
    study = shared(tmp_path)
    step = a_step(study, "seed 0: guessing", "moods/seed-0/guessing")
    with ProgressBars("test", 1) as bars, WorkerPool(job_of(study), 1) as pool:
        worker = pool.start(ProgressLine(bars), 1)
        pool.submit(worker, step, 1)
        # It imports for seconds, in which it says nothing.
        time.sleep(3)
        assert pool.busy()
        (child,) = children()
        child.suspend()
        with pytest.raises(match=r"^a worker process did nothing .* 'seed 0: guessing', and was ended: "):
            raise failure(*answer(pool))
    assert children() == []


def test_a_worker_that_ends_between_two_steps_is_replaced(tmp_path: Path) -> None:
    study = shared(tmp_path)
    with ProgressBars("test", 1) as bars, WorkerPool(job_of(study), 2) as pool:
        idle = pool.start(ProgressLine(bars), 1)
        assert idle.process is not None
        idle.process.kill()
        pool.submit(pool.start(ProgressLine(bars), 1), a_step(study, "unknown", "no such step"), 1)
        answer(pool)
        assert idle not in pool.workers
    assert children() == []


def test_a_task_that_was_put_in_by_hand_stays_in_this_process(
    alone: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_step_missing(alone, tmp_path)
    study = shared(tmp_path)
    study.task = alone.task
    monkeypatch.setattr(WorkerPool, "start", lambda *_: pytest.fail("started a worker"))
    with pytest.warns(UserWarning, match="runs in one process"):
        study.run()
    assert timeless(read_rows(study.folder)) == timeless(read_rows(alone.folder))


def test_workers_are_no_part_of_the_hash_and_must_be_some(tmp_path: Path) -> None:
    assert shared(tmp_path, workers=3).hash == shared(tmp_path, workers=1).hash
    with pytest.raises(TombolaError, match="workers must be auto, or 1 or more, not 0"):
        shared(tmp_path, workers=0)


def test_a_gpu_has_one_worker_unless_more_are_asked_for(tmp_path: Path) -> None:
    for asked, expected in ((AUTO, 1), (3, 3)):
        study = Study(small_study.config(device="cpu"), out=tmp_path, workers=asked)
        study.device = torch.device("meta")
        assert study.worker_count([]) == expected


def children() -> list[psutil.Process]:
    """Workers of this process that still run."""
    return workers_of(psutil.Process())


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    found = []
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("tombola.study.worker" in part for part in child.cmdline()):
                found.append(child)
    return found


def patiently(what: Any, seconds: float = 300) -> Any:
    """What a call gives as soon as that is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


SCRIPT = """
import sys
from tombola.study.config import StudyConfig
from tombola.study.step import StudyStep
from tombola.study.study import Study
settings = dict(zip(sys.argv[2::2], sys.argv[3::2]))
config = StudyConfig.of("quick", train_rows=192, dev_rows=96, epochs=100000, device="cpu", **settings)
Study(config, out=sys.argv[1], seeds=(0, 1), workers=2).run()
"""
"""As people write them: without a guard of `__main__`."""


@pytest.mark.exhaustive
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    given = [tmp_path / "runs", "model", small_study.model(), "task", small_study.task()]
    parent = subprocess.Popen([sys.executable, script, *map(str, given)], env=environment(), stderr=subprocess.DEVNULL)
    process = psutil.Process(parent.pid)
    try:
        patiently(lambda: len(workers_of(process)) == 2)
        # In the middle of a step: its draft is there.
        patiently(lambda: list(tmp_path.rglob(".draft-full-*")))
        workers = workers_of(process)
    finally:
        parent.kill()
        parent.wait()
    assert psutil.wait_procs(workers, timeout=60)[1] == []


@pytest.mark.exhaustive
def test_the_keyboard_ends_all(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("study", *flags(epochs=100000), "--seeds", "0,1", "--workers", "2", "--out", tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        # The keyboard reaches all processes of the group.
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        patiently(lambda: list(tmp_path.rglob(".draft-full-*")))
        workers = workers_of(psutil.Process(process.pid))
        for one in [psutil.Process(process.pid), *workers]:
            one.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "tombola: stopped; the same command goes on where it was"
    assert "Traceback" not in err
    assert list(tmp_path.rglob(".draft-*")) == []
    assert psutil.wait_procs(workers, timeout=60)[1] == []
