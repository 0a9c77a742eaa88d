"""Trail from step to step: prune, retrain and score write folders that report and compare read, and the next step."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from builders import small_study
from builders.report_pages import read
from builders.small_study import flags
from tombola.analysis.agreement.comparison import compare
from tombola.cli import main
from tombola.report import build
from tombola.study.folder_layout import SeedFolder
from tombola.study.study import Study
from tombola.tickets.find_tickets import ticket_folder
from tombola.tickets.pruning_methods import METHODS
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *arguments: object) -> dict[str, Any]:
    assert main([*map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def prune(capsys: Capture, full: Path, out: Path, *more: object) -> dict[str, Any]:
    return run(capsys, "prune", *flags("prune", model=full), *more, "--out", out)


def rows(folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    (seed,) = {row["seed"] for row in small_study.read_rows(folder)}
    return rows_of(folder, seed)


def rows_of(folder: Path, seed: int) -> dict[tuple[str, str, str], dict[str, Any]]:
    found = [row for row in small_study.timeless(small_study.read_rows(folder)) if row["seed"] == seed]
    return {(row["method"], row["ticket"], row["stage"]): row for row in found}


def study_row(done: Study, *key: str) -> dict[str, Any]:
    return rows(done.folder)[key[0], key[1], key[2]]


FULL, GUESSING = ("none", "full", "none"), ("none", "guessing", "none")


@pytest.mark.parametrize("method", ["heads+mlps", "weights"])
def test_the_trail_from_prune_to_compare_agrees_with_the_study(
    method: str, done: Study, seed_folder: SeedFolder, tmp_path: Path, capsys: Capture
) -> None:
    pruned, retrained = (method, "good", "pruned"), (method, "good", "retrained")
    found, again, scored = tmp_path / "found", tmp_path / "again", tmp_path / "scored"

    # Prune: the ticket, its search and its scores beside those of the full model and of guessing.
    prune(capsys, seed_folder.full, found, "--method", method)
    assert list(rows(found)) == [GUESSING, FULL, pruned]
    for key in rows(found):
        expected = study_row(done, *key)
        assert rows(found)[key] == {**expected, "model": str(seed_folder.full)}
    page = read(build(found))
    assert "How far each search could go" in page.words
    survivors = "Heads and MLPs that survive" if method == "heads+mlps" else "Where the surviving weights lie"
    assert survivors in page.words
    (verdict,) = json.loads((found / "verdicts.json").read_text())["verdicts"]
    assert (verdict["ticket"], verdict["stage"], verdict["mean"]) == ("good", "pruned", rows(found)[pruned]["score"])
    assert verdict["sentence"].endswith("It was not trained again.")

    # Retrain: what was known goes along.
    run(capsys, "retrain", *flags("retrain"), "--ticket", found, "--out", again)
    assert list(rows(again)) == [GUESSING, FULL, pruned, retrained]
    assert {key: rows(again)[key] for key in rows(found)} == rows(found)
    assert rows(again)[retrained] == study_row(done, *retrained)
    (verdict,) = json.loads((again / "verdicts.json").read_text())["verdicts"]
    of_study = next(one for one in done.verdicts() if (one["method"], one["ticket"]) == (method, "good"))
    # The study has controls to hold it against.
    same = verdict.keys() - {"sentence", "against"}
    assert {key: verdict[key] for key in same} == {key: of_study[key] for key in same}
    assert str(of_study["sentence"]).startswith(verdict["sentence"])
    assert not verdict["against"]
    assert of_study["against"]
    page = read(build(again))
    assert "How far each search could go" in page.words
    assert str(of_study["sentence"]).partition(":")[0] in page.words

    # Score: the model that was written, and the ticket on the full model.
    model = AutoModelForSequenceClassification.from_pretrained(again)
    assert model.config.num_labels == 2
    whole = run(capsys, "score", *flags("score", model=again), "--out", tmp_path / "whole")
    assert whole["score"] == rows(again)[retrained]["score"]
    assert list(rows(tmp_path / "whole")) == [GUESSING, FULL]
    assert "the full model is scored here, and no ticket" in read(build(tmp_path / "whole")).words
    run(capsys, "score", *flags("score", model=seed_folder.full), "--ticket", again, "--out", scored)
    assert rows(scored) == rows(found)
    assert "It was not trained again" in read(build(scored)).words

    # Compare: all hold the same ticket, which counts once of the study and once of the trail, that searched by itself.
    for folder in (found, again, scored):
        assert Ticket.load(ticket_folder(folder)) == Ticket.load(seed_folder.ticket(method, "good"))
    compared = compare([done.folder / "moods" / "seed-0" / method, found, again, scored], draws=10)
    ((kind, tasks),) = ((kind, one.tasks) for kind, one in compared.kinds.items())
    assert kind == method
    assert {task: [one.seed for one in part.tickets] for task, part in tasks.items()} == {"moods": ["0"] * 2}


def test_the_trail_begins_in_a_study_too(done: Study, seed_folder: SeedFolder, tmp_path: Path, capsys: Capture) -> None:
    ticket = seed_folder.ticket("heads+mlps", "bad")
    run(capsys, "retrain", *flags("retrain"), "--ticket", ticket, "--out", tmp_path / "again")
    keys = [GUESSING, FULL, ("heads+mlps", "bad", "pruned"), ("heads+mlps", "bad", "retrained")]
    assert list(rows(tmp_path / "again")) == keys
    assert rows(tmp_path / "again") == {key: study_row(done, *key) for key in keys}
    # The study's full model is there, so that only the ticket is scored.
    given = flags("score", model=seed_folder.full)
    run(capsys, "score", *given, "--ticket", ticket, "--out", tmp_path / "scored")
    assert rows(tmp_path / "scored")[FULL] == study_row(done, *FULL)
    assert rows(tmp_path / "scored")["heads+mlps", "bad", "pruned"]["score"] == study_row(done, *keys[2])["score"]
    build(tmp_path / "scored")


def test_other_rows_are_not_mixed_in(seed_folder: SeedFolder, tmp_path: Path, capsys: Capture) -> None:
    ticket = seed_folder.ticket("heads+mlps", "good")
    given = flags("score", model=seed_folder.full, dev_rows=48, metric="f1")
    assert main(["score", *given, "--ticket", str(ticket), "--out", str(tmp_path / "scored")]) == 0
    said = capsys.readouterr()
    assert "are not taken over: dev_rows is 96 there and 48 here; metric is not given there and f1 here" in said.err
    assert said.out.endswith(f": {tmp_path / 'scored'}\n")
    assert {row["n"] for row in rows(tmp_path / "scored").values()} == {48}
    assert list(rows(tmp_path / "scored")) == [GUESSING, FULL, ("heads+mlps", "good", "pruned")]


@pytest.mark.parametrize("first", ["study", "prune"])
def test_a_ticket_is_not_judged_against_a_full_model_of_another_training(
    first: str, seed_folder: SeedFolder, tmp_path: Path, capsys: Capture
) -> None:
    ticket = seed_folder.ticket("heads+mlps", "good")
    if first == "prune":
        ticket = Path(prune(capsys, seed_folder.full, tmp_path / "cut", "--density", 0.5)["ticket"])
    other = shutil.copytree(small_study.model(), tmp_path / "other")
    short = flags("retrain", epochs=1, model=other)
    assert main(["retrain", *short, "--ticket", str(ticket), "--out", str(tmp_path / "again")]) == 0
    said = capsys.readouterr().err
    assert "are not taken over: epochs is 2 there and 1 here; model is " in said
    assert f" there and {other} here" in said
    assert list(rows(tmp_path / "again")) == [GUESSING, ("heads+mlps", "good", "retrained")]
    assert "is not scored here" in read(build(tmp_path / "again")).words


def test_super_survivors_are_judged_like_any_ticket(tmp_path: Path, capsys: Capture) -> None:
    study = small_study.study_in(tmp_path / "runs", (0, 1), methods=("heads+mlps",), controls=(), epochs=1)
    study.run()
    ticket = study.folder / "moods" / "seeds-0..1" / "heads+mlps" / "super-survivors"
    keys = [GUESSING, FULL, *(("heads+mlps", "super-survivors", stage) for stage in ("pruned", "retrained"))]
    for seed in (0, 1):
        of_study = {key: row for key, row in rows_of(study.folder, seed).items() if key in keys}
        scored, again = tmp_path / f"scored-{seed}", tmp_path / f"again-{seed}"
        given = flags("score", model=study.seed_folder(seed).full)
        run(capsys, "score", *given, "--ticket", ticket, "--seed", seed, "--out", scored)
        assert rows(scored)[FULL] == of_study[FULL]
        assert rows(scored)[keys[2]]["score"] == of_study[keys[2]]["score"]
        given = flags("retrain", epochs=1)
        run(capsys, "retrain", *given, "--ticket", ticket, "--seed", seed, "--out", again)
        assert rows(again) == of_study
        for folder, stage in ((scored, "pruned"), (again, "retrained")):
            (verdict,) = json.loads((folder / "verdicts.json").read_text())["verdicts"]
            assert (verdict["ticket"], verdict["stage"]) == ("super-survivors", stage)
            page = read(build(folder)).words
            assert str(verdict["sentence"]).partition(":")[0] in page
            assert "What the super-survivors can do" in page
    # The next step begins where the last one ended.
    run(
        capsys,
        "retrain",
        *given,
        "--ticket",
        again / "moods/seed-1/heads+mlps/super-survivors",
        "--out",
        tmp_path / "b",
    )
    assert rows(tmp_path / "b") == of_study
    assert main(["retrain", *given, "--ticket", str(ticket), "--seed", "2", "--out", str(tmp_path / "c")]) == 0
    assert "are not taken over: they are of seeds 0..1, not of seed 2" in capsys.readouterr().err


def test_a_ticket_from_elsewhere_has_a_trail_without_a_full_model(
    seed_folder: SeedFolder, tmp_path: Path, capsys: Capture
) -> None:
    ticket = Ticket.load(seed_folder.ticket("heads+mlps", "good"))
    Ticket(ticket.kind, ticket.architecture, ticket.masks).save(tmp_path / "theirs")
    short = flags("retrain", epochs=1)
    run(capsys, "retrain", *short, "--ticket", tmp_path / "theirs", "--out", tmp_path / "again", "--seed", 3)
    assert list(rows(tmp_path / "again")) == [GUESSING, ("heads+mlps", "good", "retrained")]
    page = read(build(tmp_path / "again"))
    assert "the full model, which a ticket is judged against, is not scored here" in page.words
    assert "retrained" in page.words
    found = Ticket.load(tmp_path / "again" / "moods" / "seed-3" / "heads+mlps" / "good")
    assert (found, found.provenance["task"], found.provenance["seed"]) == (ticket, "moods", 3)


ONCE = [name for name, one in METHODS.items() if "channels" not in one.kind]


@pytest.mark.parametrize("method", ONCE)
def test_every_method_makes_one_cut(method: str, seed_folder: SeedFolder, tmp_path: Path, capsys: Capture) -> None:
    chosen = METHODS[method]
    density = [] if chosen.pattern else ["--density", 0.5]
    said = prune(capsys, seed_folder.full, tmp_path / "cut", "--method", method, "--neuron-block", 8, *density)
    ticket = Ticket.load(said["ticket"])
    assert Path(said["ticket"]) == tmp_path / "cut" / "moods" / "seed-0" / method / "good"
    assert (ticket.kind, ticket.provenance["ticket"], ticket.method) == (chosen.kind, "good", method)
    if chosen.kind == "weights":
        assert len(ticket) == pytest.approx(ticket.total / 2, abs=len(ticket.masks))
    elif method == "layers":
        # Of three layers, two: with all heads and the MLP of each.
        assert ticket.counts() == {"heads": 8, "mlps": 2}
    else:
        totals = {kind: mask.numel() for kind, mask in ticket.masks.items()}
        assert ticket.counts() == {kind: round(total / 2) for kind, total in totals.items()}
    pruned = rows(tmp_path / "cut")[method, "good", "pruned"]
    assert (pruned["score"], pruned["sparsity"]) == (said["score"], said["sparsity"])
    assert ("model" in said) == method.startswith("sparsegpt")
    assert "How far each search could go" not in read(build(tmp_path / "cut")).words
    (kind,) = compare([tmp_path / "cut"], draws=10).kinds
    assert kind == chosen.kind


def test_a_single_cut_says_what_ran_and_nothing_of_a_search(
    seed_folder: SeedFolder, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "cut"
    said = prune(capsys, seed_folder.full, out, "--method", "heads+neurons", "--density", 0.5)
    assert Ticket.load(said["ticket"]).neurons.shape == (small_study.LAYERS, small_study.INNER)
    assert json.loads((out / "study.json").read_text())["config"]["neuron_block"] == 1
    words = read(build(out)).words
    assert "neuron block" in words
    for of_search in ("searched on", "threshold", "heads step", "refine", "search split", "search rows"):
        assert of_search not in words, of_search


def test_weights_that_a_method_left_are_scored_from_its_model(
    seed_folder: SeedFolder, tmp_path: Path, capsys: Capture
) -> None:
    said = prune(capsys, seed_folder.full, tmp_path / "cut", "--method", "sparsegpt", "--density", 0.4)
    scored = run(
        capsys,
        "score",
        *flags("score", model=said["model"]),
        "--ticket",
        tmp_path / "cut",
        "--out",
        tmp_path / "scored",
    )
    assert scored["score"] == said["score"]
    assert rows(tmp_path / "scored")[FULL] == rows(tmp_path / "cut")[FULL]
    # The full model has other weights: no smaller model is made of them, and a score of them is told.
    command = ["shrink", "--no-measure", seed_folder.full, tmp_path / "cut", "--out", tmp_path / "small"]
    assert main(list(map(str, command))) == 2
    assert f"changed the weights that survive: give its model, {said['model']}, as MODEL" in capsys.readouterr().err
    assert main(["score", *flags("score", model=seed_folder.full), "--ticket", str(tmp_path / "cut")]) == 0
    assert f"give its model, {said['model']}, as --model" in capsys.readouterr().err
    command[2] = said["model"]
    assert run(capsys, *command)["sparsity"] == said["sparsity"]


@pytest.mark.parametrize("method", ["weights", "magnitude-1:4", "random-3:8"])
def test_a_cut_that_needs_no_task_is_made_without_one(
    method: str, seed_folder: SeedFolder, tmp_path: Path, capsys: Capture
) -> None:
    out, density = tmp_path / "cut", ["--density", 0.25] if method == "weights" else []
    given = ["prune", "--model", seed_folder.full, "--device", "cpu", "--method", method, *density, "--out", out]
    said = run(capsys, *given)
    assert not {"score", "full_score"} & {*said}
    assert said["sparsity"] == pytest.approx(0.625 if "8" in method else 0.75, abs=1e-3)
    ticket = Ticket.load(said["ticket"])
    assert (ticket.method, ticket.provenance["seed"]) == (method.replace(":", "of"), 0)
    assert "task" not in ticket.provenance
    # What comes next takes it, or says in one line what there is.
    assert run(capsys, "shrink", "--no-measure", seed_folder.full, out, "--out", tmp_path / "small")["sparsity"] > 0.6
    scored = tmp_path / "scored"
    run(capsys, "score", *flags("score", model=seed_folder.full), "--ticket", out, "--out", scored)
    assert ticket.method.split("-")[0] in read(build(scored)).words
    assert compare([out], draws=10).kinds
    assert main(["report", str(out)]) == 2
    assert "holds tickets without scores; give one a score with `tombola score" in capsys.readouterr().err


def test_seeds_name_folders_and_rows(seed_folder: SeedFolder, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "cut"
    said = prune(capsys, seed_folder.full, out, "--method", "random-weights", "--density", 0.5, "--seed", 2)
    assert Path(said["ticket"]) == out / "moods" / "seed-2" / "random-weights" / "good"
    assert {row["seed"] for row in rows(out).values()} == {2}
    # One interval of one score, whichever command tells it.
    scored = run(capsys, "score", *flags("score", model=seed_folder.full), "--ticket", out)
    row = rows(out)["random-weights", "good", "pruned"]
    for name in ("score", "score_low", "score_high"):
        assert scored[name] == row[name]
    other = prune(capsys, seed_folder.full, tmp_path / "o", "--method", "random-weights", "--density", 0.5, "--seed", 1)
    assert Ticket.load(said["ticket"]) != Ticket.load(other["ticket"])
    (part,) = compare([out, tmp_path / "o"], draws=10).kinds["weights"].tasks.values()
    assert [one.seed for one in part.tickets] == ["1", "2"]


def test_several_tickets_of_a_folder_are_named(done: Study, tmp_path: Path, capsys: Capture) -> None:
    arguments = ["score", *flags("score", model=done.seed_folder(0).full), "--ticket", str(done.folder)]
    assert main(arguments) == 2
    assert re.search(rf"{done.folder} holds 2 good tickets; name one of them, such as .*good", capsys.readouterr().err)


def test_a_trail_is_no_study_to_go_on_with(seed_folder: SeedFolder, tmp_path: Path, capsys: Capture) -> None:
    prune(capsys, seed_folder.full, tmp_path / "cut", "--density", 0.5)
    for arguments in (
        ["study", *flags(), "--out", str(tmp_path / "cut")],
        ["transfer", str(tmp_path / "cut"), str(tmp_path / "cut"), "--out", str(tmp_path / "transferred")],
    ):
        assert main(arguments) == 2
        assert "holds a single step, and no study" in capsys.readouterr().err


def test_scores_of_another_model_are_not_those_of_the_full_one(
    seed_folder: SeedFolder, tmp_path: Path, capsys: Capture
) -> None:
    ticket = seed_folder.ticket("heads+mlps", "good")
    other = flags("score", model=ticket / "retrained")
    entire = run(capsys, "score", *other)
    run(capsys, "score", *other, "--ticket", ticket, "--out", tmp_path / "s")
    assert rows(tmp_path / "s")[FULL]["score"] == entire["score"]
    assert entire["score"] != rows_of(seed_folder.folder.parents[1], 0)[FULL]["score"]


def test_a_step_keeps_the_threshold_of_the_search(seed_folder: SeedFolder, tmp_path: Path, capsys: Capture) -> None:
    prune(capsys, seed_folder.full, tmp_path / "p", "--threshold", "0.8")
    scored = flags("score", model=seed_folder.full)
    run(capsys, "score", *scored, "--ticket", tmp_path / "p", "--out", tmp_path / "s")
    assert json.loads((tmp_path / "s" / "study.json").read_text())["config"]["threshold"] == 0.8


@pytest.mark.parametrize("density", [(), ("--density", 0.5)])
def test_a_model_that_always_says_the_same_leaves_no_empty_ticket(
    density: tuple[object, ...], tmp_path: Path, capsys: Capture
) -> None:
    full, data = tmp_path / "full", small_study.write_task(tmp_path / "moods", train=40, dev=20)
    model = AutoModelForSequenceClassification.from_pretrained(
        small_study.model(), id2label={0: "bad", 1: "good"}, label2id={"bad": 0, "good": 1}
    )
    torch.nn.init.zeros_(model.classifier.weight)
    model.save_pretrained(full)
    AutoTokenizer.from_pretrained(small_study.model()).save_pretrained(full)
    if density:
        # A cut is of the size that is asked for; what is judged on one label says nothing.
        lines = (data / "dev.tsv").read_text().splitlines()
        (data / "dev.tsv").write_text("\n".join(line for line in lines if not line.endswith("bad")))
    out = tmp_path / "cut"
    given = flags("prune", model=full, task=data)
    if not density:
        stopping = flags("prune", model=full, task=data, at_chance="stop")
        assert main([*map(str, ("prune", *stopping, "--device", "cpu", "--out", out))]) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "failed: the full model does not clearly beat guessing on " in said
        assert "go on all the same (--continue" in said
    assert main([*map(str, ("prune", *given, *density, "--device", "cpu", "--out", out))]) == (2 if density else 1)
    said = capsys.readouterr().err
    assert ("to judge on (dev: " if density else "nothing of the model left") in " ".join(said.split())
    assert not out.exists()


def test_a_search_that_finds_nothing_is_one_line_and_code_1(
    seed_folder: SeedFolder, tmp_path: Path, capsys: Capture
) -> None:
    given = flags("prune", model=seed_folder.full, threshold=1, weights_step=0.99)
    assert main(["prune", *given, "--method", "weights", "--out", str(tmp_path / "found")]) == 1
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("tombola:")]
    full = json.loads((seed_folder.full / "score.json").read_text())["score"]
    assert re.search(
        r"failed: no ticket of weights was found on moods: the first cut, of 99\.0 % of the weights, scores 0\.\d+, "
        rf"and the threshold is {full:.3f}; .*\(--density\)",
        line,
    )
    assert not (tmp_path / "found").exists()


def test_a_ticket_that_removes_nothing_is_written_as_no_smaller_model(
    seed_folder: SeedFolder, tmp_path: Path, capsys: Capture
) -> None:
    said = prune(capsys, seed_folder.full, tmp_path / "cut", "--method", "weights", "--density", 1)
    for command in (["shrink", "--no-measure"], ["export", "--format", "zeros"]):
        out = tmp_path / command[0]
        given = [*command, seed_folder.full, tmp_path / "cut", "--out", out]
        assert main(list(map(str, given))) == 1
        assert re.search(r"failed: this ticket removes nothing: .* \(0\.\d+ MB\).*--force", capsys.readouterr().err)
        assert not out.exists()
        found = run(capsys, *given, "--force")
        assert found["bytes"] >= found["bytes_before"]
    assert said["sparsity"] == 0


def test_what_prune_wrote_is_told_from_a_model(seed_folder: SeedFolder, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "cut"
    said = prune(capsys, seed_folder.full, out, "--method", "sparsegpt", "--density", 0.5)
    for folder in (out, Path(said["ticket"])):
        for arguments in (["score", *flags("score", model=folder)], ["shrink", folder, out, "--out", tmp_path / "s"]):
            assert main(list(map(str, arguments))) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert f"{folder} holds tickets and their scores, and is no model: give it with --ticket" in line
            assert ("a model that it holds is" in line) == (folder == out)
            assert folder != out or said["model"] in line
