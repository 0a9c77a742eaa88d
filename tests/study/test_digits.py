"""A study of a denoiser: iterative pruning with rewinding, random tickets along the curve, and what they all draw."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from builders import browser, lost_files
from builders.planted_text import plant
from builders.renewed_study import assert_renewed
from builders.unets import UNET
from tombola.analysis.locality import random_curve
from tombola.architectures.dissect import dissect
from tombola.cli import main
from tombola.foundations.atomic_files import read_lines
from tombola.foundations.errors import TombolaError
from tombola.metrics.image_metrics import fid
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.search.records import Search
from tombola.report import build
from tombola.report.terminal import results_table
from tombola.study.config import StudyConfig
from tombola.study.folder_layout import EVALUATION, IMAGE_GRID
from tombola.study.study import Study
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow

SPARSITIES = (0.5, 0.8)


def config(model: Path, **settings: Any) -> StudyConfig:
    values: dict[str, Any] = {
        "model": str(model),
        "task": "digits",
        "train_rows": 96,
        "dev_rows": 40,
        "epochs": 2,
        "sparsities": SPARSITIES,
        "heads_step": 0.3,
        "neurons_step": 0.3,
        "threshold": 0.5,
        "curve_until": 0.4,
        "bootstrap_resamples": 50,
        "at_chance": "continue",
    }
    return StudyConfig.of("quick", **values | settings)


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unet")
    torch.manual_seed(0)
    UNet2DModel(**UNET).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def study(unet: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    found = Study(config(unet), out=tmp_path_factory.mktemp("digits"))
    build(found.run())
    return found


def test_every_ticket_is_scored_and_drawn(study: Study) -> None:
    rows = {(row["method"], row["ticket"], row["stage"]): row for row in study.rows()}
    tickets = ("good", "random", "layer-matched", "bad")
    expected = {("none", "guessing", "none"), ("none", "full", "none")}
    for method in ("heads+channels", "weights"):
        expected |= {(method, ticket, stage) for ticket in tickets for stage in ("pruned", "retrained")}
    assert rows.keys() == expected
    full = rows["none", "full", "none"]
    assert (full["heads"], full["channels"], full["mlps"]) == (16, 32, 0)
    assert full["metric"] == "frechet_distance"
    assert full["loss"] > 0
    assert full["more"].keys() == {"kernel_distance", "precision", "recall", "class_imbalance"}
    # Tickets of one method are of one size, and those of sites really are smaller.
    for method in ("heads+channels", "weights"):
        assert len({rows[method, ticket, "retrained"]["heads"] for ticket in tickets}) == 1
    good = rows["heads+channels", "good", "retrained"]
    assert (good["parameters"] < full["parameters"]) == (good["channels"] < 32 or good["heads"] < 16)
    home = study.seed_folder(0).folder
    assert (home / "guessing" / IMAGE_GRID).is_file()
    for method, ticket, stage in expected - {("none", "guessing", "none"), ("none", "full", "none")}:
        assert (home / method / ticket / stage / IMAGE_GRID).is_file()
    page = (study.folder / "report.html").read_text()
    assert page.count('<img src="data:image/png;base64,') == len(expected)


def test_scores_are_distances_of_what_was_drawn(study: Study) -> None:
    home = study.seed_folder(0).folder
    found = Evaluation.read(home / "weights" / "bad" / "retrained" / EVALUATION)
    row = json.loads((home / "weights" / "bad" / "retrained" / "score.json").read_text())
    real = study.task.references("dev")
    assert row["score"] == pytest.approx(float(fid(found.predictions, real)))
    assert row["loss"] == pytest.approx(float(np.mean(found.losses.astype(np.float64))))
    assert row["score_low"] < row["score"] < row["score_high"]


@pytest.mark.parametrize("method", ["heads+channels", "weights"])
def test_the_search_leaves_the_good_ticket_trained_as_retraining_would(
    study: Study, method: str, tmp_path: Path
) -> None:
    home = tmp_path / study.folder.name
    shutil.copytree(study.folder, home)
    place = Study(study.config, out=home).seed_folder(0).folder / method / "good"
    search = Search.load(place.parent)
    assert search.last is not search.passes[0], "no cut held"
    before = json.loads((place / "retrained" / "score.json").read_text())
    assert before["score"] == search.last.score
    shutil.rmtree(place / "retrained")
    Study(study.config, out=home).run()
    again = json.loads((place / "retrained" / "score.json").read_text())
    assert {**before, "seconds": 0} == {**again, "seconds": 0}


def test_random_tickets_stand_beside_every_sparsity(study: Study) -> None:
    home = study.seed_folder(0).folder
    search = Search.load(home / "weights")
    points = random_curve.read_points(home / "analysis" / "weights")
    assert [point.sparsity for point in points] == [step.sparsity for step in search.passes[1:]]
    assert [point.sparsity for point in points] == pytest.approx(SPARSITIES, abs=1e-3)
    assert {point.stage for point in points} == {"retrained"}
    assert all(point.score_low < point.score < point.score_high for point in points)
    model = study.task.load(study.config.model, seed=0)
    anatomy = dissect(model)
    for step in search.passes[1:]:
        drawn = random_curve.random_like(step, anatomy, 0)
        assert [int(mask.sum()) for mask in drawn.masks.values()] == step.matrices
        assert sum(step.matrices) == step.weights
        other = random_curve.random_like(step, anatomy, 1)
        assert drawn != other
        assert drawn == random_curve.random_like(step, anatomy, 0)
    good = Ticket.load(home / "weights" / "good")
    if search.last is not search.passes[0]:
        assert search.last.matrices == [int(mask.sum()) for mask in good.masks.values()]
    with pytest.raises(TombolaError, match="did not go on to a sparsity of 0\\.99"):
        random_curve.at(search.passes, 0.99)


def test_what_real_images_reach_is_told(study: Study) -> None:
    floor = json.loads((study.folder / "study.json").read_text())["task"]["floor"]
    mean, deviation = floor["scores"]["frechet_distance"]
    assert 0 < deviation < mean
    page = (study.folder / "report.html").read_text()
    assert "real images" in page
    assert "Real images against real ones" in page
    shown = results_table(study.folder)
    assert [str(column.header) for column in shown.columns][4:6] == ["heads", "channels"]


def test_a_finished_study_is_not_run_again(study: Study) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.seed_folder(0).folder.rglob("*") if path.is_file()}
    Study(study.config, out=study.folder).run()
    assert before == {
        path: path.stat().st_mtime_ns for path in study.seed_folder(0).folder.rglob("*") if path.is_file()
    }
    assert len(read_lines(study.folder / "results.jsonl")) == 18


def test_every_lost_or_damaged_file_is_noticed(study: Study, tmp_path: Path) -> None:
    assert lost_files.unnoticed(study, tmp_path) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"analyses": ("attention",)}, "attention is asked of models of text; digits judges what is drawn"),
        ({"data": "/nowhere"}, "data is for the task images, not for"),
        ({"abilities": ("grammar",)}, "abilities is for language models"),
        ({"sparsities": ()}, "random-curve goes along the sparsities"),
    ],
)
def test_what_does_not_fit_images_is_refused(unet: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(TombolaError, match=words):
        config(unet, **settings)


def test_a_model_that_is_no_denoiser_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "DDPMScheduler"}')
    with pytest.raises(TombolaError, match="holds a DDPMScheduler, which is no model of diffusers"):
        Study(config(tmp_path), out=tmp_path / "out").run()
    assert not (tmp_path / "out").exists()


def test_weights_that_would_be_unpickled_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    UNet2DModel(**UNET).save_pretrained(tmp_path, safe_serialization=False)
    assert (tmp_path / "diffusion_pytorch_model.bin").is_file()
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(TombolaError, match="holds weights as a pickle"):
        Study(config(tmp_path, rewind="step-1"), out=tmp_path / "out").run()


def test_a_single_cut_trains_nothing_whatever_the_preset_says(
    unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cut"
    given = ["prune", "--model", unet, "--task", "digits", "--train-rows", "60", "--dev-rows", "40", "--device", "cpu"]
    assert main([*map(str, given), "--method", "magnitude-matrix", "--density", "0.5", "--out", str(out)]) == 0
    said = capsys.readouterr()
    # A cut is of the size that is asked for, whatever the model can do.
    assert "note: the full model does not clearly beat guessing" in said.err
    assert "50.0 % of the weights: Fréchet distance (lower is better)" in said.out
    assert not json.loads((out / "study.json").read_text())["config"]["iterative"]


def test_no_text_of_its_files_becomes_markup_or_code(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.folder, tmp_path / "study")
    plant(tmp_path / "study", browser.CODE, "digits", "frechet_distance", "kernel_distance")
    browser.check_planted(build(tmp_path / "study"), tmp_path / "profile")


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "changed",
    [{"threshold": 0.9}, {"bootstrap_resamples": 30}, {"sparsities": (0.5,)}, {"epochs": 1}, {"dev_rows": 32}],
    ids=str,
)
def test_other_settings_in_the_same_folder_give_what_they_give_in_a_new_one(
    changed: dict[str, Any], study: Study, unet: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(study.folder, tmp_path / "copy")
    renewed, alone = (Study(config(unet, **changed), out=out) for out in (copy, tmp_path / "fresh"))
    assert_renewed(renewed, alone, Study(config(unet), out=copy), study)
