"""A study that is killed, again and again, wherever it stands; and one that finds its files damaged."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from builders import lost_files, small_study
from builders.small_study import read_rows, study_in, timeless
from tombola.foundations.atomic_files import read_json
from tombola.foundations.errors import TombolaError
from tombola.report import build
from tombola.study.config import StudyConfig
from tombola.study.study import Study
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow

METHODS = StudyConfig().methods

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tombola.study.study", "builders.small_study"])


def run(out: Path, model: Path, task: Path) -> None:
    """The study, in a process of its own."""
    torch.set_num_threads(1)
    study_in(out, model=str(model), task=str(task)).run()


def run_until(out: Path, model: Path, task: Path, renames: int, after: bool) -> None:
    """The study, killed just before or just after it gives a file or folder its final name for the n-th time."""
    left = renames

    def deadly(rename: Callable[[Path, Any], Any]) -> Callable[[Path, Any], Any]:
        def wrapper(self: Path, target: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0 and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            found = rename(self, target)
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return wrapper

    Path.rename = deadly(Path.rename)  # type: ignore[method-assign, assignment]
    Path.replace = deadly(Path.replace)  # type: ignore[method-assign, assignment]
    run(out, model, task)


def start(target: Callable[..., None], out: Path, *more: Any) -> BaseProcess:
    process = CONTEXT.Process(target=target, args=(out, small_study.model(), small_study.task(), *more))
    process.start()
    return process


@pytest.fixture(scope="module")
def undisturbed() -> Study:
    """The same study, never killed."""
    return small_study.finished()


def drafts(folder: Path) -> list[Path]:
    return list(folder.rglob(".draft-*"))


def assert_equal(study: Study, other: Study) -> None:
    """The same rows and tickets, and nothing half-written; a page is none of the study's own."""
    assert timeless(read_rows(study.folder)) == timeless(read_rows(other.folder))
    assert len(read_rows(study.folder)) == 18
    for method in METHODS:
        for name in ("good", "random", "layer-matched", "bad"):
            assert Ticket.load(study.seed_folder(0).ticket(method, name)) == Ticket.load(
                other.seed_folder(0).ticket(method, name)
            )
    assert (study.folder / "verdicts.json").read_bytes() == (other.folder / "verdicts.json").read_bytes()
    assert drafts(study.folder) == []
    found, expected = ({str(f.relative_to(one.folder)) for f in one.folder.rglob("*")} for one in (study, other))
    assert found | {"report.html"} == expected


@pytest.mark.exhaustive
def test_killed_at_random_moments_it_ends_as_if_undisturbed(tmp_path: Path, undisturbed: Study) -> None:
    # The first process pays for the imports of all.
    first = CONTEXT.Process(target=torch.set_num_threads, args=(1,))
    first.start()
    first.join()
    started = time.monotonic()
    process = start(run, tmp_path / "alone")
    process.join(100)
    assert process.exitcode == 0
    takes = time.monotonic() - started
    seed = random.randrange(1000)
    draw = random.Random(seed)
    killed = 0
    for attempt in range(5):
        delay = draw.uniform(0.1, 0.6) * takes
        print(f"seed {seed}, attempt {attempt}: kill after {delay:.2f} s")  # noqa: T201 - for who must repeat it
        process = start(run, tmp_path / "killed")
        process.join(delay)
        if process.exitcode is None:
            process.kill()
            killed += 1
        process.join()
    assert killed >= 1
    study = study_in(tmp_path / "killed")
    study.run()
    assert_equal(study, undisturbed)


@pytest.mark.exhaustive
def test_killed_while_it_publishes_it_ends_as_if_undisturbed(tmp_path: Path, undisturbed: Study) -> None:
    # Coprime to the renames of most steps, so that folders, score files and result files are all met.
    killed, left = 0, False
    for attempt in range(60):
        process = start(run_until, tmp_path, 19, attempt % 2 == 0)
        process.join(100)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        left = left or bool(drafts(tmp_path))
    assert killed >= 4
    assert left, "no kill ever left a draft, so nothing was tested"
    assert_equal(study_in(tmp_path), undisturbed)


@pytest.mark.exhaustive
def test_a_second_process_is_turned_away(tmp_path: Path) -> None:
    process = start(run, tmp_path)
    study = study_in(tmp_path)
    while not (study.seed_folder(0).full).is_dir():
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGSTOP)
    try:
        with pytest.raises(TombolaError, match=r"^another process is at work on [^\n]*$"):
            study.run()
    finally:
        process.kill()
        process.join()
    # A killed process holds no lock.
    study.run()


def test_a_study_at_work_is_left_alone(tmp_path: Path) -> None:
    study = study_in(tmp_path)
    study.folder.mkdir()
    with FileLock(study.folder / ".lock"), pytest.raises(TombolaError, match=r"^another process is at work on [^\n]*$"):
        study.run()
    assert [path.name for path in study.folder.iterdir()] == [".lock"]


DAMAGE = (
    "guessing/score.json",
    "full/score.json",
    "full/config.json",
    "full/model.safetensors",
    "full/evaluation.safetensors",
    "heads+mlps/search.jsonl",
    "heads+mlps/good/ticket.json",
    "weights/good/masks.safetensors",
    "weights/good/pruned/score.json",
)


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("share", [0.0, 0.6], ids=["emptied", "truncated"])
def test_a_damaged_file_is_named_in_one_line(tmp_path: Path, undisturbed: Study, name: str, share: float) -> None:
    folder = shutil.copytree(undisturbed.folder, tmp_path / undisturbed.folder.name)
    seed = folder / "moods" / "seed-0"
    # What came after the damaged step is not there yet: the study must read the file to go on.
    for method in METHODS:
        for step in seed.glob(f"{method}/bad"):
            shutil.rmtree(step)
        for step in seed.glob(f"{method}/*/retrained"):
            shutil.rmtree(step)
    damaged = seed / name
    content = damaged.read_bytes()
    damaged.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TombolaError) as caught:
        study_in(tmp_path).run()
    said = str(caught.value)
    assert "\n" not in said
    assert str(damaged.parent) in said
    assert any(word in said for word in ("delete", "find it again"))
    assert drafts(folder) == []


def test_after_the_damaged_step_is_deleted_it_goes_on(tmp_path: Path, undisturbed: Study) -> None:
    folder = shutil.copytree(undisturbed.folder, tmp_path / undisturbed.folder.name)
    shutil.rmtree(folder / "moods" / "seed-0" / "weights" / "random")
    study = study_in(tmp_path)
    study.run()
    assert_equal(study, undisturbed)


def test_every_lost_or_damaged_file_is_noticed(tmp_path: Path) -> None:
    assert lost_files.unnoticed(small_study.analysed(), tmp_path) == []


def test_results_and_report_are_never_the_only_copy(tmp_path: Path, undisturbed: Study) -> None:
    folder = shutil.copytree(undisturbed.folder, tmp_path / undisturbed.folder.name)
    for name in ("results.jsonl", "verdicts.json", "report.html"):
        (folder / name).write_bytes(b"")
    study = study_in(tmp_path)
    assert build(study.run()).stat().st_size > 0
    assert_equal(study, undisturbed)


def test_a_damaged_description_is_named(tmp_path: Path, undisturbed: Study) -> None:
    folder = shutil.copytree(undisturbed.folder, tmp_path / undisturbed.folder.name)
    (folder / "study.json").write_text("{")
    with pytest.raises(TombolaError, match=r"study\.json is damaged.*delete it and start again"):
        study_in(tmp_path)
    (folder / "study.json").unlink()
    study_in(tmp_path).run()
    assert read_json(folder / "study.json")["seeds"] == [0]
