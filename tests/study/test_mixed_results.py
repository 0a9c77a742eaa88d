"""Results of other settings, data or code that might be taken for these: after a kill, a loss, a change under way."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from builders import shared_folder, small_study
from builders.small_study import study_in
from tombola.cli import main
from tombola.foundations.errors import TombolaError
from tombola.foundations.progress import SILENT
from tombola.pruning.importance import RankedSites
from tombola.pruning.importance_methods import IMPORTANCES, register_importance
from tombola.report.study_data import read_study
from tombola.study.renewal import SET_ASIDE
from tombola.study.seed_run import SeedRun
from tombola.study.step import StudyStep
from tombola.study.step_record import StepRecord
from tombola.study.study import Study
from tombola.study.transfer_study import FinishedStudy

SHORT: Mapping[str, Any] = {"methods": ("heads",), "controls": ("bad",), "analyses": (), "epochs": 2, "heads_step": 0.5}


def scoring(result: Path, resamples: int) -> StudyStep:
    """A step whose file is the number of resamples."""

    def write(_: object = None) -> None:
        result.write_text(str(resamples))

    settings = {"bootstrap_resamples": resamples}
    read = frozenset(settings)
    return StudyStep("score", 1, 1, result, write, mend=write, settings=settings, read=read)


def mend(step: StudyStep) -> None:
    if step.outdated():
        step.mend_scores()


def killed(step: StudyStep, *, written: bool) -> None:
    """Mend, and end in the middle: before the interval is written, or after it."""

    def deadly() -> None:
        if written and step.mend is not None:
            step.mend()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mend(StudyStep("score", 1, 1, step.result, step.run, mend=deadly, settings=step.settings, read=step.read))


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("then", [50, 60])
def test_killed_while_it_writes_an_interval_it_writes_it_again(tmp_path: Path, written: bool, then: int) -> None:
    first, second = (scoring(tmp_path / "score.json", resamples) for resamples in (50, 60))
    first(SILENT)
    killed(second, written=written)
    last = {50: first, 60: second}[then]
    mend(last)
    assert last.done()
    assert last.result.read_text() == str(then)


def test_a_damaged_file_beside_an_interval_is_not_taken_for_whole(tmp_path: Path) -> None:
    first = scoring(tmp_path / "score.json", 50)
    first(SILENT)
    first.result.write_text("damaged")
    with pytest.raises(TombolaError, match="is damaged"):
        mend(scoring(tmp_path / "score.json", 60))


@pytest.fixture(scope="module")
def finished() -> Study:
    return small_study.run_once(study_in(shared_folder.home() / "short", **SHORT))


@pytest.fixture
def copy(finished: Study, tmp_path: Path) -> Path:
    return shutil.copytree(finished.folder, tmp_path / "copy")


def scored(study: Study) -> list[tuple[str, str]]:
    return [(row["ticket"], row["stage"]) for row in study.rows()]


@pytest.mark.slow
def test_killed_while_it_sets_aside_nobody_reads_the_rest(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert FinishedStudy.read(copy).seeds == (0,)

    def deadly(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", deadly)
    with pytest.raises(KeyboardInterrupt):
        study_in(copy, **SHORT, threshold=0.99).run()
    with pytest.raises(TombolaError, match="no results yet"):
        read_study(copy)
    with pytest.raises(TombolaError, match="is being made anew with other settings"):
        FinishedStudy.read(copy)
    home, out = copy / "moods" / "seed-0", str(tmp_path / "out")
    model, ticket = str(home / "full"), str(home / "heads" / "good")
    for command in (
        ["compare", str(tmp_path), ticket],
        ["report", str(copy)],
        ["score", "--model", model, "--task", "cola"],
        ["score", "--model", str(small_study.model()), "--task", "cola", "--ticket", ticket],
        ["retrain", "--model", model, "--task", "cola", "--ticket", ticket, "--out", out],
        ["prune", "--model", model, "--task", "cola", "--out", out],
        ["shrink", model, ticket, "--out", out],
        ["export", model, ticket, "--format", "zeros", "--out", out],
        ["transfer", str(copy), str(copy), "--out", out],
    ):
        assert main(command) == 2
        assert f"the study in {copy} is being made anew with other settings" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_before_its_first_step_it_tells_nothing_of_other_settings(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadly(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tombola.study.studies_run.run_here", deadly)
    with pytest.raises(KeyboardInterrupt):
        study_in(copy, **SHORT, threshold=0.99).run()
    assert {row.ticket for row in read_study(copy).rows} == {"guessing", "full"}


@pytest.mark.slow
def test_a_control_that_nobody_asks_for_has_no_row_though_its_record_is_lost(copy: Path, finished: Study) -> None:
    assert ("bad", "retrained") in scored(finished)
    for record in (copy / "moods" / "seed-0" / "heads").rglob(".*.files.json"):
        if "bad" in str(record):
            record.unlink()
    study = study_in(copy, **{**SHORT, "controls": ()})
    study.run()
    assert scored(study) == [one for one in scored(finished) if one[0] != "bad"]


@pytest.mark.slow
def test_data_that_change_under_way_end_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = shutil.copytree(small_study.task(), tmp_path / "moods")
    before = (task / "train.tsv").read_text()
    guessing: Callable[..., None] = SeedRun.guessing

    def writing(self: SeedRun, progress: object) -> None:
        guessing(self, progress)
        (task / "train.tsv").write_text(before + "dull word1\tgood\n")

    study = study_in(tmp_path / "runs", **SHORT, task=str(task))
    with monkeypatch.context() as patch:
        patch.setattr(SeedRun, "guessing", writing)
        with pytest.raises(TombolaError, match="the data changed while the study ran"):
            study.run()
    # Nobody knows what the step saw: it is not done, not even with the data as they were.
    (task / "train.tsv").write_text(before)
    assert not any(step.done() for step in study_in(tmp_path / "runs", **SHORT, task=str(task)).steps())


def first_ones(sites: RankedSites) -> Mapping[str, Tensor]:
    masks = {kind: sites.ticket.masks[kind] for kind in sites.kinds}
    return {kind: torch.arange(mask.numel(), dtype=torch.float32).view(mask.shape) for kind, mask in masks.items()}


def last_ones(sites: RankedSites) -> Mapping[str, Tensor]:
    return {kind: -places for kind, places in first_ones(sites).items()}


@pytest.mark.slow
def test_a_ranking_that_changed_under_its_name_is_another(tmp_path: Path) -> None:
    masks, settings = (
        list[bytes](),
        {**SHORT, "controls": (), "importance": "by-place", "epochs": 6, "heads_step": 0.25},
    )
    try:
        for ranking, folder in ((first_ones, "one"), (last_ones, "two"), (last_ones, "one")):
            register_importance("by-place", ranking)
            there = tmp_path / folder
            study = study_in(next(there.iterdir()) if there.is_dir() else there, **settings)
            study.run()
            masks.append((study.seed_folder(0).ticket("heads", "good") / "masks.safetensors").read_bytes())
    finally:
        IMPORTANCES.forget("by-place")
    assert masks[0] != masks[1] == masks[2]


@pytest.mark.slow
def test_a_model_that_another_study_did_not_keep_is_trained(tmp_path: Path) -> None:
    study_in(tmp_path, save="none", **{**SHORT, "controls": ()}).run()
    kept = study_in(tmp_path, save="good", **SHORT)
    kept.run()
    assert kept.task.saved(kept.seed_folder(0).ticket("heads", "good") / "retrained")


@pytest.mark.slow
def test_what_cannot_be_set_aside_or_is_lost_there_is_one_line(copy: Path) -> None:
    (copy / SET_ASIDE).write_text("")
    with pytest.raises(TombolaError, match="a part of the path is a file"):
        study_in(copy, **SHORT, threshold=0.99).run()
    (copy / SET_ASIDE).unlink()
    next(copy.rglob("pruned/score.json")).unlink()
    with pytest.raises(TombolaError, match=r"score\.json is missing; delete .* and start again"):
        study_in(copy, **SHORT).run()


def test_a_result_that_is_listed_again_does_not_hold_those_that_lie_in_it(tmp_path: Path) -> None:
    search = scoring(tmp_path / "good", 50)
    (tmp_path / "good").mkdir()

    def write(step: StudyStep) -> StudyStep:
        def run(_: object) -> None:
            (step.result / "masks").write_text("")

        return dataclasses.replace(step, run=run, mend=lambda: None)

    write(search)(SILENT)
    inner = scoring(tmp_path / "good" / "cost.json", 50)
    inner(SILENT)
    write(scoring(tmp_path / "good", 60)).mend_scores()
    scoring(tmp_path / "good" / "cost.json", 60)(SILENT)
    assert search.done()
    assert [*(StepRecord.read(StepRecord.path(search.result)).files or ())] == ["good/masks"]
