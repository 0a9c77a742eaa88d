"""A dry run says what a study would do, and does nothing."""

import json
from pathlib import Path

import pytest

from builders import small_study
from builders.small_study import flags
from tombola.architectures.parameters import count_parameters
from tombola.cli import main
from tombola.foundations import resources
from tombola.study import estimates
from tombola.study.scheduler import lone_steps
from tombola.study.step import StudyStep
from tombola.study.step_record import StepRecord


def test_seconds_and_bytes_are_of_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "cores", lambda: 4)
    (tmp_path / "done").mkdir()
    StepRecord({}).write(StepRecord.path(tmp_path / "done"))

    def step(name: str, cost: float, models: int = 0, *needs: str, alone: bool = False) -> StudyStep:
        places = tuple(tmp_path / need for need in needs)
        return StudyStep(name, cost, 1.0, tmp_path / name, lambda _: None, places, alone=alone, models=models)

    steps = [step("done", 100, 5), step("a", 6, 1), step("b", 6, 1, "done"), step("timed", 2, 0, "a", alone=True)]
    found = estimates.plan(steps, 1, 0.5, 1000)
    assert found == estimates.Plan((("a", 3.0), ("b", 3.0), ("timed", 1.0)), 1, 1, 7.0, 2000)
    # Side by side, each with two of four cores; and then alone.
    assert estimates.plan(steps, 2, 0.5, 1000).seconds == pytest.approx(6 * 0.5 * 2**0.5 + 1)


@pytest.mark.slow
def test_a_dry_run_writes_nothing_and_counts_what_a_run_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = small_study.study_in(tmp_path)
    found = study.plan()
    assert [what for what, _ in found.left] == [step.what for step in study.steps()]
    assert (found.done, found.workers) == (0, 1)
    # Nothing but the guess can run beside the fine-tuning, which has all cores.
    assert study.seed_folder(0).full in lone_steps(study.steps())
    assert found.seconds > 0
    # The full model, and of both methods the retrained and the smaller one.
    assert found.bytes == 5 * 4 * count_parameters(study.task.load(study.config.model, seed=0))
    assert main(["study", *flags(), "--device", "cpu", "--out", str(tmp_path), "--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (len(said["steps"]), said["bytes"]) == (len(found.left), found.bytes)
    assert main(["study", *flags(), "--device", "cpu", "--out", str(tmp_path), "--dry-run"]) == 0
    assert f"steps: {len(found.left)} to run, 0 done" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    done = small_study.finished()
    before = small_study.listing(done.folder)
    assert (done.plan().left, done.plan().bytes, done.plan().seconds) == ((), 0, 0.0)
    assert small_study.listing(done.folder) == before
