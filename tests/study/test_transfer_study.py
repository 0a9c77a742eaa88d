"""Transfer between two tiny studies: what is retrained, what is reused, what is refused."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tombola
import tombola.study.seed_context
from builders import small_study
from builders.small_study import study_in
from tombola.analysis.transfer import Scored, Transfer, TransferScores, transferred
from tombola.cli import main
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import Evaluation
from tombola.study.folder_layout import EVALUATION
from tombola.study.study import Study
from tombola.study.transfer_study import FinishedStudy, TransferStudy
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {"methods": ("heads+mlps",), "analyses": (), "controls": ()}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Study]:
    home = tmp_path_factory.mktemp("transfer")
    other = small_study.write_task(home / "tempers", seed=7)
    made = [
        study_in(home, seeds=(0, 1), save="none", task=str(task), **SETTINGS) for task in (small_study.task(), other)
    ]
    for study in made:
        study.run()
    return made


@pytest.fixture(scope="module")
def done(studies: list[Study], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("done") / "transfer"
    TransferStudy([study.folder for study in studies], out).run()
    return out


def test_a_cell_is_what_retraining_by_hand_gives(studies: list[Study], done: Path) -> None:
    moods, tempers = studies
    found = Transfer.read(done / "transfer.json")
    assert [(seed_folder.source, seed_folder.target, seed_folder.n) for seed_folder in found.cells] == [
        ("tempers", "moods", 2),
        ("moods", "tempers", 2),
    ]
    scores: list[float] = []
    randoms: list[float] = []
    for seed in (0, 1):
        ticket = Ticket.load(moods.seed_folder(seed).ticket("heads+mlps", "good"))
        for one, kept in ((ticket, scores), (tombola.pruning.controls.random(ticket, seed), randoms)):
            pretrained = tempers.task.load(tempers.config.model, seed=seed)
            again = tombola.retrain(pretrained, one, tempers.task, tempers.config.recipe, seed=seed)
            kept.append(tombola.evaluate(again, tempers.task).score)
    seed_folder = found.cells[1]
    assert seed_folder.score == pytest.approx(np.mean(scores))
    assert seed_folder.std == pytest.approx(np.std(scores, ddof=1))
    assert seed_folder.random == pytest.approx(np.mean(randoms))
    own = [row["score"] for row in tempers.rows() if (row["ticket"], row["stage"]) == ("good", "retrained")]
    assert seed_folder.own == pytest.approx(np.mean(own))
    assert seed_folder.beyond_own == pytest.approx(seed_folder.score - seed_folder.own)
    rows = [json.loads(line) for line in (done / "results.jsonl").read_text().splitlines()]
    assert {(row["source"], row["task"]) for row in rows} == {("moods", "tempers"), ("tempers", "moods")}
    assert len(rows) == 8


def test_what_is_done_is_not_done_again(
    studies: list[Study],
    done: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "transfer"
    shutil.copytree(done, out)
    gone = out / "heads+mlps" / "tempers" / "moods" / "seed-1" / "random"
    shutil.rmtree(gone)
    (out / "transfer.json").unlink()
    trained = []
    retrain = tombola.retrain

    def watched(*args: Any, **options: Any) -> Any:
        trained.append(options["seed"])
        return retrain(*args, **options)

    monkeypatch.setattr(tombola.study.seed_context, "retrain", watched)
    transferring = TransferStudy([study.folder for study in studies], out)
    assert transferring.plan().seconds > 0
    transferring.run()
    assert trained == [1]
    assert (out / "transfer.json").read_bytes() == (done / "transfer.json").read_bytes()
    told = capsys.readouterr().err
    assert told.index("expected time of the transfer") < told.index("a random ticket of heads and MLPs")
    assert transferring.plan().left == ()


def test_the_command(studies: list[Study], done: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folders = [str(study.folder) for study in studies]
    assert main(["transfer", *folders, "--out", str(tmp_path / "t"), "--dry-run"]) == 0
    assert "expected time: under a minute" in capsys.readouterr().out
    assert not (tmp_path / "t").exists()
    shutil.copytree(done, tmp_path / "t")
    assert main(["transfer", *folders, "--out", str(tmp_path / "t"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    page = Path(found["report"]).read_text()
    for seed_folder in found["cells"]:
        assert f"Tickets of {seed_folder['source']} are" in page
    (tmp_path / "t" / "report.html").unlink()
    assert main(["report", str(tmp_path / "t")]) == 0
    assert (tmp_path / "t" / "report.html").read_text() == page


def test_a_folder_says_nothing_of_trust(studies: list[Study], tmp_path: Path) -> None:
    shutil.copytree(studies[0].folder, tmp_path / "s")
    values = json.loads((tmp_path / "s" / "study.json").read_text())
    assert "trust_remote_code" not in values["config"]
    values["config"]["trust_remote_code"] = True
    (tmp_path / "s" / "study.json").write_text(json.dumps(values))
    assert not FinishedStudy.read(tmp_path / "s").config.trust_remote_code
    others = [tmp_path / "s", studies[1].folder]
    trusting = TransferStudy(others, tmp_path / "out", trust_remote_code=True)
    assert all(study.config.trust_remote_code for study in trusting.studies)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda a, b: [a], "give the folders of two studies at least"),
        (lambda a, b: [a, a], "two of the studies are of one task"),
        (lambda a, b: [a, b.parent], r"is no study, it holds 2; name one, such as "),
    ],
)
def test_studies_that_do_not_go_together(
    studies: list[Study], tmp_path: Path, given: Callable[[Path, Path], list[Path]], message: str
) -> None:
    with pytest.raises(TombolaError, match=message):
        TransferStudy(given(*(study.folder for study in studies)), tmp_path)


def test_another_model_and_missing_seeds_are_refused(studies: list[Study], tmp_path: Path) -> None:
    moods, tempers = (study.folder for study in studies)
    other = tmp_path / "other"
    shutil.copytree(tempers, other)
    values = json.loads((other / "study.json").read_text())
    values["architecture"]["signature"] = "elephant-1"
    (other / "study.json").write_text(json.dumps(values))
    with pytest.raises(TombolaError, match="tickets fit one architecture only"):
        TransferStudy([moods, other], tmp_path / "out")
    with pytest.raises(TombolaError, match="no retrained good ticket of heads and MLPs for seed 5"):
        TransferStudy([moods, tempers], tmp_path / "out", seeds=(5,))
    with pytest.raises(TombolaError, match="no retrained good ticket of weights"):
        TransferStudy([moods, tempers], tmp_path / "out", methods=("weights",))


def test_what_is_given_twice_and_other_pretrained_weights_are_refused(studies: list[Study], tmp_path: Path) -> None:
    folders = [study.folder for study in studies]
    with pytest.raises(TombolaError, match=r"seeds must be different, not 0, 0"):
        TransferStudy(folders, tmp_path / "out", seeds=(0, 0))
    with pytest.raises(TombolaError, match=r"methods must be different"):
        TransferStudy(folders, tmp_path / "out", methods=("heads+mlps", "heads+mlps"))
    other = small_study.write_model(tmp_path / "other-bert", seed=9)
    study = study_in(tmp_path / "runs", model=str(other), **SETTINGS)
    study.run()
    with pytest.raises(TombolaError, match="the studies are of different models"):
        TransferStudy([study.folder, folders[1]], tmp_path / "out")


def test_data_that_changed_since_the_study_are_refused(studies: list[Study], tmp_path: Path) -> None:
    data = small_study.write_task(tmp_path / "humours")
    study = study_in(tmp_path / "runs", task=str(data), **SETTINGS)
    study.run()
    TransferStudy([study.folder, studies[0].folder], tmp_path / "out")
    rows = (data / "dev.tsv").read_text().splitlines()
    (data / "dev.tsv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(TombolaError, match=r"the model or the data of .* are not there any more as the study saw them"):
        TransferStudy([study.folder, studies[0].folder], tmp_path / "out")


def test_full_models_that_changed_in_place_and_tickets_made_of_others(studies: list[Study], tmp_path: Path) -> None:
    """A pattern names full models that are the same for another name of the folder, and others later."""
    moods, tempers = studies
    home = tmp_path / "given"
    for seed in (0, 1):
        shutil.copytree(moods.seed_folder(seed).full, home / f"seed-{seed}")
    given = study_in(tmp_path, (0, 1), save="none", full=str(home / "seed-{seed}"), **SETTINGS)
    given.run()
    out = tmp_path / "transfer"
    TransferStudy([given.folder, tempers.folder], out).run()
    made = {file: file.stat().st_mtime_ns for file in out.rglob("score.json")}
    shutil.rmtree(home / "seed-1")
    shutil.copytree(moods.seed_folder(0).full, home / "seed-1")
    with pytest.raises(TombolaError, match=r"the model or the data of .* are not there any more as the study saw them"):
        TransferStudy([given.folder, tempers.folder], out)
    study_in(tmp_path, (0, 1), save="none", full=str(home / "seed-{seed}"), **SETTINGS).run()
    TransferStudy([given.folder, tempers.folder], out).run()
    again = {file for file, then in made.items() if file.stat().st_mtime_ns != then}
    assert again == {file for file in made if "seed-1" in file.parts}
    alone = tmp_path / "alone"
    TransferStudy([given.folder, tempers.folder], alone).run()
    assert (out / "transfer.json").read_bytes() == (alone / "transfer.json").read_bytes()


def test_unfinished_seeds_are_passed_over(studies: list[Study], tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(studies[0].folder, half)
    shutil.rmtree(half / studies[0].config.task_name / "seed-1" / "heads+mlps" / "good" / "retrained")
    assert TransferStudy([half, studies[1].folder], tmp_path / "out").seeds == (0,)


def test_a_folder_of_other_studies_is_refused(studies: list[Study], done: Path, tmp_path: Path) -> None:
    out = tmp_path / "transfer"
    shutil.copytree(done, out)
    digests = json.loads((out / "studies.json").read_text())
    (out / "studies.json").write_text(json.dumps({**digests, "moods": "00000000"}))
    with pytest.raises(TombolaError, match="holds a transfer between other studies"):
        TransferStudy([study.folder for study in studies], out).run()


def test_the_place_between_the_ends(studies: list[Study]) -> None:
    task = studies[0].task
    right = task.references("dev")
    wrong = 1 - right

    def scored(share: float) -> Scored:
        predictions = right.copy()
        lost = round((1 - share) * len(right))
        predictions[:lost] = wrong[:lost]
        return Scored(predictions, float((predictions == right).mean()), 0.5)

    def seed_folder(moved: float, own: float, random: float) -> Any:
        first, second, third = ([scored(one)] * 2 for one in (moved, own, random))
        return transferred("heads", "a", "b", TransferScores(first, second, third, [1.0, 1.0]), task)

    middle = seed_folder(0.75, 1.0, 0.5)
    assert middle.share == pytest.approx(0.5, abs=0.02)
    assert "better than random ones" in middle.sentence()
    assert "worse than its own" in middle.sentence()
    assert seed_folder(0.5, 0.7, 0.7).share is None
    same = seed_folder(0.7, 0.7, 0.7)
    assert same.share is None
    assert "not clearly better or worse than random" in same.sentence()
    assert "sparsity" not in same.sentence()
    larger = dataclasses.replace(same, own_sparsity=0.3)
    assert larger.sentence().endswith(
        "than its own (+0.000, -0.038 to +0.038), which are larger (sparsity 0.30, not 0.50)."
    )


def test_evaluations_are_kept(done: Path) -> None:
    place = done / "heads+mlps" / "tempers" / "moods" / "seed-0" / "transferred"
    assert Evaluation.read(place / EVALUATION).score == json.loads((place / "score.json").read_text())["score"]
