"""Verdicts of a study's folder: by what rule, and how a ticket stands to its controls."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from builders.result_rows import line
from tombola.foundations.atomic_files import write_json
from tombola.foundations.errors import TombolaError
from tombola.foundations.progress import SILENT
from tombola.metrics.scores import metric
from tombola.pruning.evaluation import Evaluation
from tombola.study.config import StudyConfig
from tombola.study.folder_layout import EVALUATION, CrossSeedFolder, seeds_of
from tombola.study.step import StudyStep
from tombola.study.step_record import StepRecord
from tombola.study.study_folder import StudyFolder
from tombola.tasks.base import Task

ANSWERS = np.arange(200, dtype=np.int64) % 2


@pytest.mark.parametrize(("trained", "rule"), [(True, "seeds"), (False, "bootstrap")])
def test_seeds_whose_full_models_predict_alike(tmp_path: Path, trained: bool, rule: str) -> None:
    verdict = judged(tmp_path, trained, {"good": ANSWERS})[0]
    assert (verdict["rule"], verdict["n_seeds"], verdict["matches"]) == (rule, 2, True)
    assert "not trained again" not in str(verdict["sentence"])


def test_a_ticket_is_held_against_its_controls_on_the_same_examples(tmp_path: Path) -> None:
    almost, half = np.where(np.arange(200) < 3, 1 - ANSWERS, ANSWERS), np.where(np.arange(200) < 100, 0, ANSWERS)
    good, *controls = judged(tmp_path, True, {"good": ANSWERS, "random": almost, "bad": half})
    against = good["against"]
    assert isinstance(against, dict)
    assert {name: found[0] for name, found in against.items()} == pytest.approx({"random": 0.015, "bad": 0.25})
    assert against["bad"][1] > 0
    # Two separate intervals would overlap: 3 of 200 are few, but they are always the same model's.
    assert all(one["against"] == {} for one in controls)
    assert "better than the bad ticket (+0.250, " in str(good["sentence"])
    assert "not clearly better or worse than the random ticket (+0.015, +0.000 to " in str(good["sentence"])


@pytest.mark.parametrize(
    ("method", "left", "empty"),
    [
        ("weights", {"weights": 0}, 2),
        # Other weights stay where sites of one kind are all gone.
        ("heads", {"heads": 0, "weights": 10}, 2),
        ("heads+mlps", {"heads": 0, "mlps": 1}, 0),
        ("heads+mlps", {"heads": 0, "mlps": 0}, 2),
    ],
)
def test_a_ticket_of_which_nothing_is_left_matches_nothing(
    method: str, left: dict[str, int], empty: int, tmp_path: Path
) -> None:
    (verdict,) = judged(tmp_path, True, {"good": ANSWERS}, method, **left)
    assert (verdict["empty"], verdict["matches"]) == (empty, not empty)
    assert ("--over-chance" in str(verdict["sentence"])) == bool(empty)


def test_a_ticket_that_a_search_did_not_find_is_the_full_model_and_no_match(tmp_path: Path) -> None:
    (verdict,) = judged(tmp_path, True, {"good": ANSWERS}, "wanda-2of4", sparsity=0.0)
    assert (verdict["entire"], verdict["matches"]) == (2, False)
    assert "says nothing, because it is the full model itself, of which nothing is removed" in str(verdict["sentence"])
    assert "--over-chance" not in str(verdict["sentence"])


def test_a_control_that_answers_all_alike_is_no_matter_of_the_threshold(tmp_path: Path) -> None:
    good, bad = judged(tmp_path, True, {"good": ANSWERS, "bad": np.zeros_like(ANSWERS)})
    assert (good["alike"], bad["alike"], bad["matches"]) == (0, 2, False)
    assert "says nothing, because it answers every example alike" in str(bad["sentence"])
    assert "--over-chance" not in str(bad["sentence"])


def judged(
    folder: Path, trained: bool, predictions: Mapping[str, NDArray[np.int64]], method: str = "weights", **left: float
) -> list[dict[str, object]]:
    """The verdicts on retrained tickets of two seeds that predict alike, beside a perfect full model."""
    layout = StudyFolder(folder, StudyConfig.of("quick", methods=(method,)))
    for seed in (0, 1):
        seed_folder = layout.seed_folder(seed)
        tickets = {seed_folder.ticket(method, name) / "retrained": found for name, found in predictions.items()}
        for place, found in {seed_folder.full: ANSWERS, **tickets}.items():
            place.mkdir(parents=True)
            Evaluation(1.0, found, np.zeros(200, np.float32), None, 0.0).write(place / EVALUATION)
            write_json(place / "score.json", line(**left))
    relative = SimpleNamespace(metric=metric("accuracy"))
    task = SimpleNamespace(trained=trained, references=lambda _: ANSWERS, with_full_model=lambda _: relative)
    return layout.verdicts(cast(Task, task), "retrained")


def test_a_copy_of_a_folder_under_a_name_of_its_own_is_nobodys(tmp_path: Path) -> None:
    config = StudyConfig.of("quick", task="cola")
    layout = StudyFolder(tmp_path, config)
    for name in (
        "seed-0",
        "seed-12",
        "seed-0.bak",
        "seed-x",
        "seed-01",
        "seed-0..1",
        "seed-",
        "seed-9" + "9" * 20,
    ):
        (layout.home / name / "full").mkdir(parents=True)
    for name in ("seeds-0,12", "seeds-x", "seeds-0..3000000", "seeds-0,1,2,3", "seeds-0.bak", "seeds-0..12.old"):
        (layout.home / name).mkdir()
    assert layout.finished_seeds() == [0, 12]
    assert CrossSeedFolder.compared(layout.home).folder.name == "seeds-0,12"
    assert seeds_of("seeds-0..2,7") == [0, 1, 2, 7]
    assert seeds_of("seeds-0..3000000") == []


@pytest.mark.parametrize("place", ["full", "weights/random/retrained"])
def test_a_scored_model_without_its_score_is_named_and_no_row_left_out(place: str, tmp_path: Path) -> None:
    layout = StudyFolder(tmp_path, StudyConfig.of("quick", task="cola", methods=("weights",)))
    found = layout.seed_folder(0)
    (found.folder / place).mkdir(parents=True)
    with pytest.raises(TombolaError, match=r"score\.json"):
        list(layout.rows([0]))


@pytest.mark.parametrize("damage", ["emptied", "changed", "deleted"])
@pytest.mark.parametrize("name", ["score.json", "deep/model.safetensors", "../search.jsonl"])
def test_a_step_is_done_only_with_all_that_it_publishes_undamaged(name: str, damage: str, tmp_path: Path) -> None:
    result = tmp_path / "good"

    def run(_: object) -> None:
        (result / "deep").mkdir(parents=True)
        for file in ("score.json", "deep/model.safetensors", "../search.jsonl"):
            (result / file).write_text("content")

    step = StudyStep("score", 1, 1, result, run, beside=(tmp_path / "search.jsonl", tmp_path / "updated"))
    assert not step.done()
    step(SILENT)
    (result / "retrained").mkdir()
    (result / "retrained" / "score.json").touch()
    assert step.done()
    file = (result / name).resolve()
    file.unlink()
    if damage != "deleted":
        file.write_text("" if damage == "emptied" else "Content")
    what = "is missing" if damage == "deleted" else "is damaged: it is not the file that was written"
    with pytest.raises(TombolaError, match=f"^{re.escape(str(file))} {what}; delete {result} and start again$"):
        step.done()
    shutil.rmtree(result)
    assert not step.done()
    step(SILENT)
    assert step.done()


def test_a_step_that_was_killed_before_it_listed_its_files_is_done(tmp_path: Path) -> None:
    step = StudyStep("analysis", 1, 1, tmp_path / "one.json", lambda _: None)
    step.result.write_text("{}")
    # Of what is there without a word on what it was made from, nobody knows.
    assert not step.done()
    StepRecord({"threshold": 0.9}).write(StepRecord.path(step.result))
    assert step.done()
    step.result.write_text("")
    with pytest.raises(TombolaError, match=r"one\.json is damaged"):
        step.done()


@pytest.mark.parametrize("content", ["{}", "[]", '{"score": "high"}', "{"])
def test_a_damaged_score_is_named(content: str, tmp_path: Path) -> None:
    layout = StudyFolder(tmp_path, StudyConfig.of("quick", task="cola"))
    full = layout.seed_folder(0).full
    full.mkdir(parents=True)
    (full / "score.json").write_text(content)
    with pytest.raises(TombolaError, match=r"score\.json.*start again"):
        list(layout.rows())
