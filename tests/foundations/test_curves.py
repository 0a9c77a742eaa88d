"""Curves that a tracker is given: each goes forward, under a name that every tracker takes; a failure is a warning."""

from pathlib import Path

import pytest
import torch

from builders.kept_tracker import Kept, register
from tombola.foundations.curves import NOWHERE, TrackedCurves, check_tracker, tracked
from tombola.foundations.errors import TombolaError
from tombola.foundations.progress import ProgressBars, ProgressLine


def test_a_step_that_trains_several_times_has_one_curve() -> None:
    kept = Kept("run", Path())
    curves = TrackedCurves(kept)
    for step in (1, 2, 3, 1, 2, 1, 2):
        curves.add("search heads+mlps", step, {"loss": float(step)})
    curves.add("search heads+mlps", 0, {"score": 0.5})
    curves.add("search heads+mlps", 1, {"score": 0.4})
    points = [(*values.items(), step) for values, step in kept.points]
    assert points[:7] == [
        (("search heads-mlps/loss", float(v)), x) for x, v in enumerate((1, 2, 3, 1, 2, 1, 2), start=1)
    ]
    assert points[7:] == [(("search heads-mlps/score", 0.5), 0), (("search heads-mlps/score", 0.4), 1)]


def test_a_tracker_whose_steps_are_of_a_whole_run_is_given_them_as_values() -> None:
    kept = Kept("run", Path())
    kept.name = "wandb"
    TrackedCurves(kept).add("a", 3, {"loss": 0.5})
    assert kept.points == [({"a/loss": 0.5, "a/loss step": 3}, None)]


def test_what_fails_costs_one_warning_and_no_random_number() -> None:
    kept = Kept("run", Path())
    kept.lasts = 2
    curves, state = TrackedCurves(kept), torch.get_rng_state()
    for step in range(2):
        curves.add("a", step, {"loss": 0.5})
    with pytest.warns(UserWarning, match=r"curves are not tracked any more \(no route to host\)") as caught:
        curves.add("a", 2, {"loss": 0.5, "more": 1.0})
    curves.add("a", 3, {"loss": 0.5})
    curves.finish()
    assert len(caught) == 1
    assert len(kept.points) == 2
    assert torch.equal(torch.get_rng_state(), state)


def test_the_whole_has_a_curve_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register()
    check_tracker("kept")
    with tracked("kept", tmp_path) as curves, ProgressBars("study", 10, curves=curves, done=4) as bars:
        line = ProgressLine(bars)
        for what in ("a", "b"):
            with line.step(what, cost=5):
                line.measured(1, {"loss": 0.5})
    assert isinstance(curves, TrackedCurves)
    kept = curves.tracker
    assert (kept.run, kept.place, kept.finished) == ("tracking", tmp_path, True)
    assert kept.points == [
        ({"a/loss": 0.5}, 1),
        ({"study/share done": 0.5}, 5),
        ({"b/loss": 0.5}, 1),
        ({"study/share done": 1.0}, 6),
    ]
    with tracked(None, tmp_path) as curves:
        assert curves is NOWHERE


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_study_that_is_resumed_goes_on_in_its_run_and_in_no_other(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    class Run(Kept):
        requires_logging_directory = False

        def __init__(self, project: str, **options: str) -> None:
            super().__init__(project, tmp_path)
            given.append(options.get("id", options["name"]))
            assert (project, options["resume"]) == ("tombola", "allow")

    monkeypatch.setattr("tombola.foundations.curves.check_tracker", lambda _: None)
    monkeypatch.setattr("accelerate.tracking.LOGGER_TYPE_TO_CLASS", {name: Run})
    for folder in ("here/out", "here/out", "there/out"):
        with tracked(name, tmp_path / folder):
            pass
    assert given[0] == given[1] != given[2]
    (tmp_path / "here/out/tracking/run").write_text("../../x", encoding="ascii")
    with tracked(name, tmp_path / "here/out"):
        pass
    assert "/" not in given[3]


def test_trackers_that_there_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TombolaError, match="track: unknown tracker 'tensorbord'; did you mean tensorboard"):
        check_tracker("tensorbord")
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    with pytest.raises(TombolaError, match="track: comet_ml is not installed; pip install comet-ml"):
        check_tracker("comet_ml")
    monkeypatch.setattr(Kept, "start", lambda self: (tmp_path / "no" / "such").read_text())
    register()
    with pytest.raises(TombolaError, match="the tracker kept cannot be started"), tracked("kept", tmp_path):
        pass
