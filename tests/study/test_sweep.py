"""A sweep finds what its studies find each by itself, makes once what they share, and says what is missing."""

import gc
import shutil
import subprocess
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from builders import small_study
from builders.small_study import command, environment, read_rows, timeless
from tombola import report
from tombola.foundations.atomic_files import read_json, work_alone, write_json
from tombola.foundations.errors import TombolaError
from tombola.report.sweep_data import SweepData
from tombola.study.config import StudyConfig
from tombola.study.seed_run import SeedRun
from tombola.study.step import StudyStep
from tombola.study.step_locks import StepLocks
from tombola.study.study import Study
from tombola.study.sweep import Sweep
from tombola.study.sweep_file import SweepFile
from tombola.study.sweep_record import SWEEP, RecordedStudy, SweepRecord
from tombola.tasks.base import Task

SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "methods": "heads+mlps",
    "controls": "random,bad",
    "analyses": "none",
    "bootstrap_resamples": 50,
}


def write(path: Path, grid: object, **settings: Any) -> Path:
    own = {"model": str(small_study.model()), "task": str(small_study.task())}
    values = {**own, **small_study.SETTINGS, **SETTINGS, **settings, "grid": grid}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def swept(path: Path, out: Path, workers: int = 1) -> Sweep:
    return Sweep(SweepFile.read(path).studies, out, workers=workers)


class TestFile:
    def test_every_value_meets_every_other(self, tmp_path: Path) -> None:
        found = SweepFile.read(write(tmp_path / "sweep.yaml", {"threshold": [0.8, 0.9], "epochs": [1, 2, 3]}))
        pairs = [(one.file.config.search.threshold, one.file.config.recipe.epochs) for one in found.studies]
        assert pairs == [(0.8, 1), (0.8, 2), (0.8, 3), (0.9, 1), (0.9, 2), (0.9, 3)]
        assert found.studies[3].label == "threshold 0.9, epochs 1"
        assert found.out == Path("runs/sweep")

    def test_a_list_of_grids_has_what_holds_for_each(self, tmp_path: Path) -> None:
        grid = [{"epochs": [1, 2]}, {"epochs": 3, "train_rows": 64, "seeds": "0-1"}]
        found = SweepFile.read(write(tmp_path / "sweep.yaml", grid, out="here", seeds=[4])).studies
        assert [one.file.config.recipe.epochs for one in found] == [1, 2, 3]
        assert [one.file.seeds for one in found] == [(4,), (4,), (0, 1)]
        assert [one.label for one in found] == ["epochs 1", "epochs 2", "epochs 3"]

    def test_a_list_of_lists_is_an_axis_of_lists(self, tmp_path: Path) -> None:
        found = SweepFile.read(write(tmp_path / "s.yaml", {"methods": ["heads+mlps", "heads+mlps,weights"]})).studies
        assert [one.file.config.methods for one in found] == [("heads+mlps",), ("heads+mlps", "weights")]

    @pytest.mark.parametrize(
        ("grid", "line"),
        [
            (None, "grid must hold settings with their values, as `task: [cola, sst2]`, or be a list of those"),
            ({}, "grid must hold settings"),
            ([{"epochs": [1]}, 3], "grid must hold settings"),
            ({"epoch": [1]}, "grid: 'epoch' is no setting; did you mean epochs?"),
            ({"workers": [1, 2]}, "grid: 'workers' is for all studies, it stands outside of the grid"),
            ({"epochs": []}, "grid: epochs has no value"),
            ({"epochs": [1, "many"]}, "epochs must be a whole number"),
            ({"epochs": [1, 1]}, "the grid has 'one study' more than once"),
            ([{"epochs": 1, "preset": "quick"}, {"epochs": 1, "preset": "full"}], "more than once"),
            ({"epochs": list(range(1, 102)), "weights_step": [0.01 * n for n in range(1, 11)]}, "1,010 studies"),
        ],
    )
    def test_what_is_wrong_is_said_in_one_line(self, tmp_path: Path, grid: object, line: str) -> None:
        path = write(tmp_path / "sweep.yaml", grid)
        with pytest.raises(TombolaError) as caught:
            SweepFile.read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert line in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_paths_with_one_last_part_are_told_apart(self, tmp_path: Path) -> None:
        found = SweepFile.read(write(tmp_path / "s.yaml", {"full": ["a/full", "b/full"], "epochs": [1, 2]})).studies
        assert len({one.label for one in found}) == 4
        assert found[0].label == "full a/full, epochs 1"

    def test_a_flag_and_an_axis_of_one_setting_contradict(self, tmp_path: Path) -> None:
        with pytest.raises(TombolaError, match="epochs is given as a flag too"):
            SweepFile.read(write(tmp_path / "sweep.yaml", {"epochs": [1, 2]}), None, epochs=4)
        with pytest.raises(TombolaError, match="seeds is given as a flag too"):
            SweepFile.read(write(tmp_path / "sweep.yaml", {"epochs": [1, 2], "seeds": 1}), given=["seeds"])


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Workers have one thread each, whatever machine this is, and so has this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tombola.foundations.resources.cores", lambda: 1)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a second task, and the file of a sweep over both tasks and two thresholds."""
    folder = tmp_path_factory.mktemp("sweep")
    small_study.write_task(folder / "weather", seed=3)
    write(folder / "sweep.yaml", {"task": [str(small_study.task()), str(folder / "weather")], "threshold": [0.9, 0.97]})
    return folder


@pytest.fixture(scope="module")
def fine_tuned() -> list[Path]:
    """Folders of the seeds whose full model was trained for `done`."""
    return []


@pytest.fixture(scope="module")
def open_tasks() -> list[int]:
    """Number of tasks that were open whenever `done` opened one."""
    return []


@pytest.fixture(scope="module")
def done(home: Path, fine_tuned: list[Path], open_tasks: list[int]) -> Sweep:
    """The sweep, run in this process."""
    sweep, opened = swept(home / "sweep.yaml", home / "done"), list[weakref.ref[Task]]()
    open_task = StudyConfig.open_task

    def noted(self: StudyConfig) -> Task:
        opened.append(weakref.ref(task := open_task(self)))
        gc.collect()
        open_tasks.append(sum(one() is not None for one in opened))
        return task

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StudyConfig, "open_task", noted)
        ran = counted(patch, "full")
        assert sweep.run() == 0
    fine_tuned += ran
    return sweep


def results(folder: Path) -> tuple[object, bytes]:
    return timeless(read_rows(folder)), (folder / "verdicts.json").read_bytes()


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Path]:
    """Folders of the seeds for which a step of this name runs in this process."""
    ran: list[Path] = []
    run: Callable[..., None] = getattr(SeedRun, name)

    def noted(self: SeedRun, *given: Any) -> None:
        ran.append(self.seed_folder.folder)
        run(self, *given)

    monkeypatch.setattr(SeedRun, name, noted)
    return ran


@pytest.mark.slow
def test_each_study_is_what_it_is_by_itself(done: Sweep, home: Path, tmp_path: Path) -> None:
    assert list(done.studies) == [f"{task}, threshold {t}" for task in ("moods", "weather") for t in ("0.9", "0.97")]
    for one in SweepFile.read(home / "sweep.yaml").studies[1:3]:
        study = Study(one.file.config, out=tmp_path, seeds=one.file.seeds)
        study.run()
        assert results(study.folder) == results(done.studies[one.label].folder)


@pytest.mark.slow
def test_what_studies_share_is_made_once(done: Sweep, fine_tuned: list[Path]) -> None:
    # Two thresholds of a task begin with one full model.
    assert [folder.parent.name for folder in fine_tuned] == ["moods", "weather"]
    assert all(study.seed_folder(0).full.is_dir() for study in done.studies.values())


@pytest.mark.slow
def test_the_data_of_few_studies_are_open_however_many_there_are(done: Sweep, open_tasks: list[int]) -> None:
    assert len(done.studies) == 4
    # One that goes, and one that comes.
    assert max(open_tasks) <= 2


def test_a_pass_is_timed_once_for_all_studies_of_a_model_and_a_task(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[object] = []
    monkeypatch.setattr("tombola.study.study.PASS_SECONDS", {})

    def timing(_: object, task: Task, __: object) -> float:
        timed.append(task)
        return 1.0

    monkeypatch.setattr("tombola.study.study.pass_seconds", timing)
    swept(home / "sweep.yaml", tmp_path).plan()
    assert len(timed) == 2


def begun(sweep: Sweep) -> None:
    """Let all studies of a sweep have begun."""
    places = {label: study.folder for label, study in sweep.studies.items()}
    for label, place in places.items():
        study = sweep.studies[label]
        described = {"name": study.config.name, "hash": study.hash, "config": study.config.settings()}
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / "study.json", described)
    SweepRecord("", [RecordedStudy(label, {}, place.name) for label, place in places.items()], {}).write(
        sweep.out / SWEEP
    )


def test_a_grid_may_grow_in_its_folder_and_another_one_may_not_take_it(tmp_path: Path) -> None:
    path, out = tmp_path / "sweep.yaml", tmp_path / "out"
    begun(swept(write(path, {"threshold": [0.8, 0.9]}), out))
    begun(swept(write(path, {"threshold": [0.8, 0.9, 0.95]}), out))
    with pytest.raises(TombolaError) as caught:
        swept(write(path, {"threshold": [0.8, 0.95]}), out)
    assert str(caught.value).startswith(
        f"{out} holds another sweep, which has 'threshold 0.9', and this grid has not; "
    )
    with pytest.raises(TombolaError) as caught:
        swept(write(path, {"threshold": [0.8, 0.9, 0.95]}, epochs=7), out)
    assert "whose 'threshold 0.8' differs in epochs; set that back" in str(caught.value)


def test_a_step_is_of_one_study_at_a_time(tmp_path: Path) -> None:
    first, second, other = (
        StepLocks(tmp_path / name, task, list) for name, task in (("a", "x"), ("b", "x"), ("c", "y"))
    )
    step = StudyStep("train", 100.0, 1.0, Path("seed-0/full"), lambda _: None)
    mine, theirs, third = (replace(step, result=one.folder / step.result) for one in (first, second, other))
    held = first.claim(mine)
    assert held is not None
    assert second.claim(theirs) is None
    # Those of another recipe or task share nothing, nor do steps that cost nothing.
    assert second.claim(replace(theirs, settings={"learning_rate": 0.1})) is not None
    assert second.claim(replace(theirs, settings={"threshold": 0.8})) is None
    assert other.claim(third) is not None
    assert second.claim(replace(theirs, cost=1.0)) is not None
    held.release()
    assert second.claim(theirs) is not None


@pytest.mark.exhaustive
def test_workers_find_what_one_process_finds(done: Sweep, home: Path, tmp_path: Path) -> None:
    sweep = swept(home / "sweep.yaml", tmp_path, workers=2)
    sweep.run()
    for label, study in sweep.studies.items():
        assert results(study.folder) == results(done.studies[label].folder)
    # Whoever was second copied the model, with the time of the first.
    models = [study.seed_folder(0).full / "model.safetensors" for study in sweep.studies.values()]
    assert len({path.stat().st_mtime_ns for path in models}) == 2
    assert list(tmp_path.rglob(".draft-*")) == []


@pytest.mark.exhaustive
def test_studies_that_run_at_the_same_time_make_once_what_they_share(tmp_path: Path) -> None:
    given = [*small_study.flags(epochs=8), "--methods", "heads+mlps", "--controls", "none", "--analyses", "none"]
    calls = [command("study", *given, "--threshold", value, "--workers", 1, "--out", tmp_path) for value in (0.9, 0.97)]
    running = [subprocess.Popen(one, env=environment(), stdout=subprocess.DEVNULL) for one in calls]
    assert [one.wait() for one in running] == [0, 0]
    # Whoever was second copied the model, with the time of the first.
    models = [folder / "moods" / "seed-0" / "full" / "model.safetensors" for folder in tmp_path.glob("tiny-*")]
    assert len(models) == 2
    assert len({path.stat().st_mtime_ns for path in models}) == 1


@pytest.mark.slow
def test_a_study_that_another_process_left_is_taken_up(
    done: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(done.out, tmp_path, dirs_exist_ok=True)
    sweep = swept(home / "sweep.yaml", tmp_path)
    busy = next(iter(sweep.studies.values())).folder
    said: list[str] = []
    monkeypatch.setattr("tombola.study.sweep.announce", said.append)
    held = work_alone(busy)
    held.__enter__()
    monkeypatch.setattr("tombola.study.sweep.time.sleep", lambda _: held.__exit__(None, None, None))
    assert sweep.run() == 0
    assert said == ["another process is at work on moods, threshold 0.9; waiting until it has ended"]


@pytest.mark.slow
def test_one_report_is_over_all(done: Sweep) -> None:
    page = report.build(done.out).read_text(encoding="utf-8")
    data = SweepData.read(done.out)
    assert [name for name, _ in data.comparisons] == ["threshold 0.9", "threshold 0.97"]
    for label, study in data.studies.items():
        assert label in page
        good = study.final("heads+mlps", "good")
        assert good is not None
        assert f"{good.score:.3f}" in page
        assert (study.folder / "report.html").is_file()
        done_steps, steps = data.steps[label]
        assert done_steps == steps > 5
        assert f"{steps} of {steps} steps done" in page
    assert "All are done." in page
    assert "Do two tasks keep the same?" in page


@pytest.mark.exhaustive
def test_a_budget_leaves_what_does_not_fit_and_does_first_what_says_most(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Study, "pass_seconds", lambda _: 1.0)
    path = write(tmp_path / "sweep.yaml", {"threshold": [0.9, 0.97]}, seeds=[0, 1])
    sweep = swept(path, tmp_path / "out")
    # Nothing that trains fits; what scores and draws does, but needs it.
    assert sweep.run(budget=1000) > 10
    ran = counted(monkeypatch, "retrained")
    again = swept(path, tmp_path / "out")
    assert again.run(budget=1e9) == 0
    # The first seed of both studies before the second of any; good tickets before their controls.
    assert [folder.name for folder in ran] == ["seed-0", "seed-0", "seed-0", "seed-0", "seed-0", "seed-0"] + [
        "seed-1"
    ] * 6


@pytest.mark.slow
def test_a_study_that_fails_in_parts_names_what_is_missing(
    done: Sweep,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(done.out, tmp_path, dirs_exist_ok=True)
    sweep = swept(home / "sweep.yaml", tmp_path)
    label, study = next(iter(sweep.studies.items()))
    # None of the others may have it.
    for other in sweep.studies.values():
        for name in ("bad", "random"):
            shutil.rmtree(other.seed_folder(0).ticket("heads+mlps", name) / "retrained")
    retrained: Callable[..., None] = SeedRun.retrained

    def broken(self: SeedRun, method: str, name: str, *more: Any) -> None:
        if name == "bad" and study.folder in self.seed_folder.folder.parents:
            raise TombolaError("the disk is <b>full</b>")
        retrained(self, method, name, *more)

    monkeypatch.setattr(SeedRun, "retrained", broken)
    with pytest.raises(TombolaError, match=r"the disk is <b>full</b>"):
        sweep.run()
    page = report.build(study.folder).read_text(encoding="utf-8")
    assert "What is missing" in page
    assert "<b>retrain bad heads and MLPs</b>: the disk is &lt;b&gt;full&lt;/b&gt;" in page
    # What did not need it is done, also in this study.
    missing = {label: of - done for label, (done, of) in SweepData.read(tmp_path).steps.items()}
    assert missing.pop(label) == 1
    assert {*missing.values()} == {0}
    assert read_json(study.folder / "verdicts.json")["verdicts"]
    assert f"{label}: retrain bad heads and MLPs failed" in capsys.readouterr().err


@pytest.mark.exhaustive
def test_from_the_command_line(done: Sweep, home: Path, tmp_path: Path) -> None:
    shutil.copytree(done.out, tmp_path / "out", dirs_exist_ok=True)

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        given: Sequence[object] = ("sweep", home / "sweep.yaml", "--out", tmp_path / "out", "--workers", "1", *more)
        return subprocess.run(command(*given), capture_output=True, text=True, env=environment(), check=False)

    found = run()
    assert found.returncode == 0, found.stderr
    assert "weather, threshold 0.97" in found.stdout
    assert f"report: {tmp_path / 'out' / 'report.html'}" in found.stdout
    planned = run("--plan")
    assert planned.returncode == 0, planned.stderr
    assert "trainings" in planned.stdout
    wrong = run("--budget", "8 hours")
    assert wrong.returncode == 2
    assert "a time such as 8h, 90m or 1h30m" in wrong.stderr
