"""A whole study by the library: its folder, its rows, its models, and what a second run does."""

import dataclasses
import gc
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    PreTrainedModel,
)

import tombola
import tombola.study.seed_context
import tombola.training.loop
from builders import shared_folder, small_study
from builders.report_pages import read
from builders.small_study import read_rows, study_in, timeless
from tombola.analysis.locality.random_tickets import RETRAINED, RandomTickets
from tombola.architectures.dissect import dissect
from tombola.checkpoints.checkpoint import load
from tombola.foundations.atomic_files import read_lines
from tombola.foundations.errors import FailedError, TombolaError
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.search.guessing import GuessingWarning
from tombola.pruning.search.records import NoTicketWarning, Search
from tombola.report import build
from tombola.study.config import StudyConfig
from tombola.study.folder_layout import EVALUATION, SEARCH_EVALUATION
from tombola.study.results import Row
from tombola.study.seed_context import SeedContext
from tombola.study.study import Study
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.tickets.kinds import SUPER_TICKETS, TICKETS
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow

METHODS = StudyConfig().methods

CONTRACT = [
    *("model", "task", "seed", "method", "ticket", "stage", "metric", "score", "score_low", "score_high", "n"),
    *("heads", "mlps", "neurons", "weights", "sparsity", "parameters", "bytes", "seconds"),
]
ORDER = [
    ("none", "guessing", "none"),
    ("none", "full", "none"),
    *(
        (method, ticket, stage)
        for method in ("heads+mlps", "weights")
        for ticket in ("good", "random", "layer-matched", "bad")
        for stage in ("pruned", "retrained")
    ),
]
SUPER = [("heads+mlps", ticket, stage) for ticket in SUPER_TICKETS for stage in ("pruned", "retrained")]
"""Of the rows of several seeds, those that come last."""


@pytest.fixture(scope="module")
def done() -> Study:
    return small_study.finished()


@pytest.fixture
def copied(done: Study, tmp_path: Path) -> Path:
    """A folder of studies that holds a copy of the finished one."""
    shutil.copytree(done.folder, tmp_path / "runs" / done.folder.name)
    return tmp_path / "runs"


def order_of(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(row["method"], row["ticket"], row["stage"]) for row in rows]


def row_of(study: Study, method: str, ticket: str, stage: str) -> dict[str, Any]:
    (row,) = (r for r in study.rows() if (r["method"], r["ticket"], r["stage"]) == (method, ticket, stage))
    return row


def steps_of(folder: Path) -> dict[str, int]:
    """When each file of each step was written."""
    return {str(file): file.stat().st_mtime_ns for file in (folder / "moods").rglob("*") if file.is_file()}


def tickets_of(study: Study, seed: int = 0) -> dict[tuple[str, str], Ticket]:
    seed_folder = study.seed_folder(seed)
    return {(method, name): Ticket.load(seed_folder.ticket(method, name)) for method in METHODS for name in TICKETS}


def text_task(study: Study) -> TextTask:
    assert isinstance(study.task, TextTask)
    return study.task


def predictions_of(folder: Path, study: Study, model: PreTrainedModel | None = None) -> np.ndarray[Any, Any]:
    """What somebody gets who knows nothing of Tombola, unless the model is given."""
    model = model or AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = list(text_task(study).corpus.splits["dev"].first)
    with torch.no_grad():
        logits = model(**tokenizer(texts, padding=True, truncation=True, max_length=16, return_tensors="pt")).logits
    found: np.ndarray[Any, Any] = logits.argmax(-1).numpy()
    return found


class TestFolder:
    def test_the_layout_is_that_of_the_contract(self, done: Study) -> None:
        assert done.folder == shared_folder.home() / "runs" / f"tiny-bert-moods-{done.hash}"
        for name in ("study.json", "results.jsonl", "verdicts.json", "report.html"):
            assert (done.folder / name).is_file(), name
        seed = done.folder / "moods" / "seed-0"
        own, lists = (
            ["analysis", "full", "guessing", "heads+mlps", "weights"],
            [".full.files.json", ".guessing.files.json"],
        )
        assert sorted(path.name for path in seed.iterdir()) == sorted([*own, *lists])
        for name in ("config.json", "model.safetensors", "tokenizer.json", "score.json"):
            assert (seed / "full" / name).is_file(), name
        for method in METHODS:
            assert (seed / method / "search.jsonl").is_file()
            for ticket in TICKETS:
                for name in ("ticket.json", "masks.safetensors", "pruned/score.json", "retrained/score.json"):
                    assert (seed / method / ticket / name).is_file(), (method, ticket, name)

    def test_the_study_says_what_it_is(self, done: Study) -> None:
        said = json.loads((done.folder / "study.json").read_text())
        assert said["config"] == done.config.settings()
        assert said["seeds"] == [0]
        assert said["hash"] == done.hash
        assert said["versions"]["torch"] == torch.__version__
        assert said["architecture"]["layers"] == small_study.LAYERS
        assert said["architecture"]["heads"] == small_study.HEADS
        assert said["task"]["rows"] == {"train": 192, "dev": 96}
        assert said["seconds"]["total"] == pytest.approx(
            sum(value for name, value in said["seconds"].items() if name != "total"), abs=0.1
        )

    def test_the_search_has_a_line_an_iteration(self, done: Study) -> None:
        for method in METHODS:
            lines = read_lines(done.seed_folder(0).folder / method / "search.jsonl")
            assert [line["iteration"] for line in lines] == list(range(len(lines)))
            assert len(lines) > 2
            floor = 0.9 * lines[0]["score"]
            for line in lines:
                assert {"removed", "heads", "mlps", "weights", "score", "seconds"} <= line.keys()
                assert line["holds"] == (line["score"] >= floor - 1e-9)


class TestRows:
    def test_every_model_has_its_row_in_a_fixed_order(self, done: Study) -> None:
        rows = read_rows(done.folder)
        assert order_of(rows) == ORDER
        assert rows == list(done.rows())

    def test_a_row_has_every_field_of_the_contract(self, done: Study) -> None:
        kinds = {
            **dict.fromkeys(("model", "task", "method", "ticket", "stage", "metric"), str),
            **dict.fromkeys(("seed", "n", "heads", "mlps", "neurons", "weights", "parameters", "bytes"), int),
            **dict.fromkeys(("score", "score_low", "score_high", "sparsity", "seconds"), float),
        }
        assert sorted(kinds) == sorted(CONTRACT)
        for row in read_rows(done.folder):
            assert list(row) == [field.name for field in dataclasses.fields(Row)]
            assert {name: type(row[name]) for name in CONTRACT} == kinds
            assert row["task"] == "moods"
            assert row["n"] == 96
            assert row["score_low"] <= row["score"] <= row["score_high"]
            assert 0 <= row["sparsity"] <= 1

    def test_tickets_of_a_pruning_have_one_size(self, done: Study) -> None:
        for method in METHODS:
            for stage in ("pruned", "retrained"):
                rows = [row_of(done, method, ticket, stage) for ticket in TICKETS]
                names = ("heads", "mlps", "neurons", "channels", "weights", "sparsity", "parameters")
                sizes = {tuple(row[name] for name in names) for row in rows}
                assert len(sizes) == 1
            good = Ticket.load(done.seed_folder(0).ticket(method, "good"))
            assert sizes.pop()[:5] == tuple(good.survivors(done.anatomy).values())

    def test_sizes_are_those_of_the_models(self, done: Study) -> None:
        full = row_of(done, "none", "full", "none")
        whole = AutoModelForSequenceClassification.from_pretrained(done.seed_folder(0).full)
        assert full["parameters"] == sum(p.numel() for p in whole.parameters())
        assert full["bytes"] == 4 * full["parameters"]
        assert (full["heads"], full["mlps"], full["sparsity"]) == (
            small_study.LAYERS * small_study.HEADS,
            small_study.LAYERS,
            0,
        )
        weights = row_of(done, "weights", "good", "retrained")
        assert weights["bytes"] == full["bytes"]
        assert weights["parameters"] == full["parameters"] - (full["weights"] - weights["weights"])
        sites = row_of(done, "heads+mlps", "good", "retrained")
        assert sites["bytes"] == 4 * sites["parameters"] < full["bytes"]

    def test_the_task_is_learnt_and_the_floor_is_kept(self, done: Study) -> None:
        guessing = row_of(done, "none", "guessing", "none")
        full = row_of(done, "none", "full", "none")
        labels = text_task(done).corpus.splits["dev"].labels
        assert guessing["score"] == max(labels.mean(), 1 - labels.mean())
        assert full["score"] > guessing["score"] + 0.05
        for method in METHODS:
            assert row_of(done, method, "good", "pruned")["score"] >= 0.9 * full["score"] - 1e-9

    def test_scores_are_those_of_the_predictions_on_disk(self, done: Study) -> None:
        labels = text_task(done).references("dev")
        for place in done.seed_folder(0).scored(METHODS):
            if place.name != "guessing":
                found = Evaluation.read(place / EVALUATION)
                assert json.loads((place / "score.json").read_text())["score"] == (found.predictions == labels).mean()


class TestModels:
    @pytest.mark.parametrize("method", METHODS)
    def test_a_retrained_winner_loads_with_transformers_alone(self, done: Study, method: str) -> None:
        row = row_of(done, method, "good", "retrained")
        predicted = predictions_of(done.seed_folder(0).ticket(method, "good") / "retrained", done)
        assert (predicted == text_task(done).references("dev")).mean() == row["score"]

    def test_the_full_model_loads_with_transformers_alone(self, done: Study) -> None:
        predicted = predictions_of(done.seed_folder(0).full, done)
        assert (predicted == text_task(done).references("dev")).mean() == row_of(done, "none", "full", "none")["score"]

    def test_pruned_weights_are_exactly_zero_on_disk(self, done: Study) -> None:
        place = done.seed_folder(0).ticket("weights", "good")
        ticket = Ticket.load(place)
        model = AutoModelForSequenceClassification.from_pretrained(place / "retrained")
        alive = 0
        for matrix, weight in dissect(model).prunable(model):
            mask = ticket.masks[f"{matrix.layer}.{matrix.role}"]
            assert torch.count_nonzero(weight[~mask]) == 0
            alive += int(torch.count_nonzero(weight[mask]))
        assert alive > 0.99 * len(ticket)

    def test_removed_sites_are_zero_on_disk(self, done: Study) -> None:
        place = done.seed_folder(0).ticket("heads+mlps", "good")
        ticket = Ticket.load(place)
        model = AutoModelForSequenceClassification.from_pretrained(place / "retrained")
        wide = small_study.HIDDEN // small_study.HEADS
        for matrix, weight in dissect(model).prunable(model):
            if matrix.role == "query":
                blocks = weight.reshape(small_study.HEADS, wide, -1).abs().sum((1, 2)) > 0
                assert torch.equal(blocks, ticket.heads[matrix.layer])
            if matrix.role == "mlp_out":
                assert bool(weight.any()) == bool(ticket.mlps[matrix.layer])

    @pytest.mark.parametrize("method", METHODS)
    def test_the_winner_is_there_as_a_smaller_model_that_predicts_the_same(self, done: Study, method: str) -> None:
        good = done.seed_folder(0).ticket(method, "good")
        found = predictions_of(good / "shrunk", done, load(good / "shrunk"))
        assert np.array_equal(found, predictions_of(good / "retrained", done))
        file = (good / "shrunk" / "shrunk.safetensors").stat().st_size
        assert file < (good / "retrained" / "model.safetensors").stat().st_size
        row = row_of(done, method, "good", "retrained")
        if method == "weights":
            assert not (good / "cost.json").exists()
        else:
            cost = json.loads((good / "cost.json").read_text())["variants"]
            assert cost["shrunk"]["parameters"] == row["parameters"] < cost["dense"]["parameters"]
            assert cost["shrunk"]["multiply_adds"] < cost["dense"]["multiply_adds"] == cost["masked"]["multiply_adds"]

    def test_only_winners_are_saved(self, done: Study) -> None:
        for method in METHODS:
            for ticket in TICKETS:
                there = (done.seed_folder(0).ticket(method, ticket) / "retrained" / "model.safetensors").is_file()
                assert there == (ticket == "good")

    @pytest.mark.parametrize(("save", "models"), [("none", 0), ("all", 4)])
    @pytest.mark.slow
    def test_all_or_none_are_saved(self, tmp_path: Path, save: str, models: int) -> None:
        study = study_in(tmp_path, save=save, methods=("weights",), epochs=1)
        study.run()
        assert len(list(study.seed_folder(0).folder.glob("*/*/retrained/model.safetensors"))) == models
        assert len(list(study.seed_folder(0).folder.glob("*/*/shrunk"))) == min(models, 1)
        assert len(list(study.seed_folder(0).folder.glob("*/*/retrained/score.json"))) == 4

    def test_another_choice_of_models_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TombolaError, match="cannot save 'some'; choose none, good, all"):
            study_in(tmp_path, save="some")


STRUCTURED = ("heads+mlps", "heads+neurons")
BLOCK = 8


def structured() -> Study:
    return study_in(shared_folder.home() / "neurons", methods=STRUCTURED, neuron_block=BLOCK)


@pytest.fixture(scope="module")
def both() -> Study:
    return small_study.run_once(structured())


@pytest.mark.slow
class TestNeurons:
    def test_rows_have_the_sizes_of_the_tickets(self, both: Study) -> None:
        rows = read_rows(both.folder)
        assert order_of(rows) == [
            *ORDER[:2],
            *((p, t, s) for p in STRUCTURED for t in TICKETS for s in ("pruned", "retrained")),
        ]
        full = row_of(both, "none", "full", "none")
        assert full["neurons"] == small_study.LAYERS * small_study.INNER
        ticket = Ticket.load(both.seed_folder(0).ticket("heads+neurons", "good"))
        assert ticket.neurons.shape == (small_study.LAYERS, small_study.INNER // BLOCK)
        for stage in ("pruned", "retrained"):
            row = row_of(both, "heads+neurons", "good", stage)
            assert row["heads"] == int(ticket.heads.sum()) < full["heads"]
            assert row["neurons"] == BLOCK * int(ticket.neurons.sum()) < full["neurons"]
            assert row["mlps"] == int(ticket.neurons.any(1).sum())
            assert row["bytes"] == 4 * row["parameters"] < full["bytes"]
            lost = BLOCK * int((~ticket.neurons).sum()) * 2 * small_study.HIDDEN
            lost += int((~ticket.heads).sum()) * 4 * small_study.HIDDEN * small_study.HIDDEN // small_study.HEADS
            assert row["weights"] == full["weights"] - lost

    def test_controls_have_the_size_of_the_good_ticket(self, both: Study) -> None:
        names = ("heads", "neurons", "weights", "sparsity", "bytes")
        for stage in ("pruned", "retrained"):
            rows = [row_of(both, "heads+neurons", ticket, stage) for ticket in TICKETS]
            assert len({tuple(row[name] for name in names) for row in rows}) == 1
        tickets = {name: Ticket.load(both.seed_folder(0).ticket("heads+neurons", name)) for name in TICKETS}
        assert len({ticket.counts()["neurons"] for ticket in tickets.values()}) == 1
        assert torch.equal(tickets["layer-matched"].neurons.sum(1), tickets["good"].neurons.sum(1))
        assert tickets["good"] not in (tickets["random"], tickets["bad"])

    def test_removed_neurons_are_exactly_zero_on_disk(self, both: Study) -> None:
        place = both.seed_folder(0).ticket("heads+neurons", "good")
        alive = Ticket.load(place).neurons.repeat_interleave(BLOCK, dim=1)
        model = AutoModelForSequenceClassification.from_pretrained(place / "retrained")
        for layer, kept in zip(model.bert.encoder.layer, alive, strict=True):
            into, out = layer.intermediate.dense, layer.output.dense
            for dead in (into.weight[~kept], into.bias[~kept], out.weight[:, ~kept]):
                assert torch.count_nonzero(dead) == 0
            assert into.weight[kept].any(1).all()
            assert out.weight[:, kept].any(0).all()
        predicted = predictions_of(place / "retrained", both)
        score = (predicted == text_task(both).references("dev")).mean()
        assert score == row_of(both, "heads+neurons", "good", "retrained")["score"]

    def test_the_search_speaks_of_blocks(self, both: Study) -> None:
        found = Search.load(both.seed_folder(0).folder / "heads+neurons")
        assert {step.phase for step in found.passes} == {"full", "joint", "heads", "neurons"}
        blocks = small_study.LAYERS * small_study.INNER // BLOCK
        gone = [tuple(block) for step in found.passes if step.holds for block in step.removed.get("neurons", [])]
        assert len(set(gone)) == len(gone) == blocks - found.good.counts()["neurons"] > 0
        assert not any(bool(found.good.neurons[block]) for block in gone)

    def test_a_second_run_computes_nothing(self, both: Study, monkeypatch: pytest.MonkeyPatch) -> None:
        before = steps_of(both.folder)
        monkeypatch.setattr("tombola.study.seed_run.train", lambda *_, **__: pytest.fail("trained again"))
        monkeypatch.setattr("tombola.study.seed_context.evaluate", lambda *_, **__: pytest.fail("scored again"))
        assert structured().run() == both.folder
        assert steps_of(both.folder) == before

    def test_the_report_tells_of_them(self, both: Study) -> None:
        architecture = json.loads((both.folder / "study.json").read_text())["architecture"]
        assert architecture["neurons"] == small_study.INNER
        assert architecture["layer_names"] == architecture["attention_names"] == ["0", "1", "2"]
        page = (both.folder / "report.html").read_text(encoding="utf-8")
        for words in (
            "Heads, MLPs and neurons that survive",
            "What pruning neurons buys",
            "the other blocks of 8 neurons; both stop at 90 % of the full score.",
            "Pruning heads and neurons could go on until",
            "the good ticket of heads and neurons",
            "heads and neurons together",
            "among blocks of neurons importance looks",
        ):
            assert words in page, words


class TestVerdicts:
    def test_every_retrained_ticket_is_judged(self, done: Study) -> None:
        found = json.loads((done.folder / "verdicts.json").read_text())["verdicts"]
        assert [(v["method"], v["ticket"]) for v in found] == [(p, t) for p in METHODS for t in TICKETS]
        full = row_of(done, "none", "full", "none")["score"]
        for verdict in found:
            score = row_of(done, verdict["method"], verdict["ticket"], "retrained")["score"]
            assert verdict["mean"] == pytest.approx(score)
            assert verdict["difference"] == pytest.approx(score - full)
            assert verdict["low"] <= verdict["difference"] <= verdict["high"]
            assert (verdict["n_seeds"], verdict["n_examples"], verdict["rule"]) == (1, 96, "bootstrap")
            assert verdict["matches"] == (verdict["high"] >= 0 and not verdict["empty"] + verdict["alike"])
            assert "With one seed" in verdict["sentence"]
            assert f"{score:.3f}" in verdict["sentence"]


class TestAgain:
    def test_a_second_run_computes_nothing(self, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        study = study_in(copied)
        before = steps_of(study.folder)
        rows = (study.folder / "results.jsonl").read_bytes()
        verdicts = (study.folder / "verdicts.json").read_bytes()
        monkeypatch.setattr("tombola.study.seed_run.train", lambda *_, **__: pytest.fail("trained again"))
        monkeypatch.setattr("tombola.study.seed_context.retrain", lambda *_, **__: pytest.fail("retrained"))
        monkeypatch.setattr("tombola.study.seed_context.evaluate", lambda *_, **__: pytest.fail("scored again"))
        assert study.run() == study.folder
        assert steps_of(study.folder) == before
        assert (study.folder / "results.jsonl").read_bytes() == rows
        assert (study.folder / "verdicts.json").read_bytes() == verdicts

    @pytest.mark.slow
    def test_a_missing_step_alone_is_made_again(self, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
        study = study_in(copied)
        before = steps_of(study.folder)
        rows = read_rows(study.folder)
        gone = study.seed_folder(0).ticket("weights", "bad") / "retrained"
        shutil.rmtree(gone)
        study.run()
        steps = len(study.steps())
        assert f"{steps - 1} of {steps} steps are done" in capsys.readouterr().err
        after = steps_of(study.folder)
        assert {name for name in after if after[name] != before[name]} == {
            *(name for name in before if name.startswith(str(gone))),
            str(gone.with_name(f".{gone.name}.files.json")),
        }
        assert timeless(read_rows(study.folder)) == timeless(rows)

    @pytest.mark.exhaustive
    def test_the_same_seed_elsewhere_finds_the_same(self, done: Study, tmp_path: Path) -> None:
        torch.manual_seed(99)  # the state of the caller's generator must not matter
        other = study_in(tmp_path)
        other.run()
        assert tickets_of(other) == tickets_of(done)
        assert timeless(read_rows(other.folder)) == timeless(read_rows(done.folder))
        assert (other.folder / "verdicts.json").read_bytes() == (done.folder / "verdicts.json").read_bytes()

    @pytest.mark.slow
    def test_the_callers_random_numbers_are_left_alone(self, tmp_path: Path) -> None:
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        study_in(tmp_path, methods=("heads+mlps",), epochs=1).run()
        assert torch.rand(1) == expected


@pytest.mark.slow
class TestSeeds:
    def test_seeds_add_up(self, done: Study, copied: Path) -> None:
        first = steps_of(copied / done.folder.name)
        later = study_in(copied, seeds=(1,))
        later.run()
        assert later.folder == copied / done.folder.name
        assert {name: steps_of(later.folder)[name] for name in first} == first
        assert json.loads((later.folder / "study.json").read_text())["seeds"] == [0, 1]
        rows = read_rows(later.folder)
        assert [row["seed"] for row in rows] == [0] * len(ORDER) + [1] * len(ORDER) + [0] * 6 + [1] * 6
        assert order_of(rows) == ORDER * 2 + SUPER * 2
        assert timeless(rows[: len(ORDER)]) == timeless(read_rows(done.folder))

        zero, one = tickets_of(later, 0), tickets_of(later, 1)
        assert all(zero[key] != one[key] for key in (("weights", "good"), ("weights", "random")))

        both = study_in(copied, seeds=(0, 1))
        before = steps_of(both.folder)
        both.run()
        assert steps_of(both.folder) == before
        assert timeless(read_rows(both.folder)) == timeless(rows)

        for verdict in both.verdicts():
            assert (verdict["n_seeds"], verdict["rule"]) == (2, "seeds")
            scores = [
                row["score"]
                for row in rows
                if (row["method"], row["ticket"], row["stage"]) == (verdict["method"], verdict["ticket"], "retrained")
            ]
            full = [row["score"] for row in rows if row["ticket"] == "full"]
            assert verdict["mean"] == pytest.approx(np.mean(scores))
            assert verdict["std"] == pytest.approx(np.std(scores, ddof=1))
            assert verdict["full_std"] == pytest.approx(np.std(full, ddof=1))
            close = np.mean(full) - np.mean(scores) <= np.std(full, ddof=1) + 1e-9
            guesses = verdict["empty"] or verdict["alike"]
            assert verdict["matches"] == (close and not guesses)
            assert "Over 2 seeds" in str(verdict["sentence"])
            assert ("says nothing" if guesses else "standard deviation") in str(verdict["sentence"])

    def test_what_always_survives_is_scored_and_retrained_like_any_ticket(self, tmp_path: Path) -> None:
        settings: dict[str, Any] = {"methods": ("heads+mlps",), "controls": (), "analyses": ("survivors",)}
        study = study_in(tmp_path, seeds=(0, 1), **settings)
        study.run()
        zero, one = (Ticket.load(study.seed_folder(seed).ticket("heads+mlps", "good")) for seed in (0, 1))
        home = study.folder / "moods" / "seeds-0..1"
        survivors = Ticket.load(home / "heads+mlps" / "super-survivors")
        assert survivors == zero & one
        for name in ("super-random", "super-bad"):
            assert Ticket.load(home / "heads+mlps" / name).counts() == survivors.counts()
        evaluation = Evaluation.read(home / "heads+mlps" / "super-survivors" / "seed-1" / "retrained" / EVALUATION)
        pretrained = study.task.load(study.config.model, seed=1)
        again = tombola.retrain(pretrained, survivors, study.task, study.config.recipe, seed=1)
        assert np.array_equal(evaluation.predictions, tombola.evaluate(again, study.task).predictions)
        row = next(
            row
            for row in study.rows()
            if (row["ticket"], row["seed"], row["stage"]) == (*SUPER[1][1:2], 1, "retrained")
        )
        assert row["score"] == evaluation.score
        assert row["heads"] == survivors.counts()["heads"]

        compared = json.loads((home / "comparison.json").read_text())["kinds"]["heads+mlps"]["tasks"]["moods"]
        assert compared["agreement"]["heads"]["super_survivors"] == survivors.counts()["heads"]
        assert [one["folder"] for one in compared["tickets"]] == [f"seed-{seed}/heads+mlps/good" for seed in (0, 1)]

        third = study_in(tmp_path, seeds=(2,), **settings)
        third.run()
        assert (third.folder / "moods" / "seeds-0..2" / "comparison.json").is_file()
        assert [row["seed"] for row in third.rows() if row["ticket"] == "super-bad"] == [0, 0, 1, 1, 2, 2]

    def test_no_analyses_are_made_that_nobody_wants(self, tmp_path: Path) -> None:
        study = study_in(tmp_path, seeds=(0, 1), methods=("heads+mlps",), epochs=1, controls=(), analyses=())
        study.run()
        home = study.folder / "moods"
        assert sorted(path.name for path in home.iterdir()) == ["seed-0", "seed-1"]
        assert not (home / "seed-0" / "analysis").exists()

    @pytest.mark.exhaustive
    def test_random_tickets_say_first_how_long_they_take(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        study = study_in(tmp_path, methods=("heads+mlps",), epochs=1, controls=(), analyses=("random-tickets",))
        study.run()
        told = capsys.readouterr().err
        assert told.index("expected time of the analyses: random tickets") < told.index("fine-tune the full model")
        found = RandomTickets.read(study.seed_folder(0).analysis("random-tickets", "heads+mlps"))
        assert [len(size.scores) for size in found.sizes][-1] == RETRAINED
        assert found.full == next(row["score"] for row in study.rows() if row["ticket"] == "full")
        study.run()
        assert "expected time" not in capsys.readouterr().err

    @pytest.mark.exhaustive
    @pytest.mark.filterwarnings("ignore::FutureWarning")  # of what the garbage collector looks at
    def test_a_seed_at_work_holds_no_model_of_another(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def models() -> int:
            gc.collect()
            return sum(isinstance(one, BertForSequenceClassification) for one in gc.get_objects())

        held, write = [], SeedContext.write_row

        def watched(self: SeedContext, *row: Any, **more: Any) -> None:
            if "guessing" in row:
                held.append(models())
            write(self, *row, **more)

        monkeypatch.setattr(SeedContext, "write_row", watched)
        before = models()
        study_in(tmp_path, seeds=(0, 1, 2), methods=("heads+mlps",), epochs=1).run()
        assert held == [before] * 3

    @pytest.mark.parametrize("seeds", [(), (0, 0), (-1,)])
    def test_bad_seeds_are_refused(self, tmp_path: Path, seeds: tuple[int, ...]) -> None:
        with pytest.raises(TombolaError, match="seeds must be different whole numbers from 0"):
            study_in(tmp_path, seeds=seeds)

    def test_what_is_no_configuration_or_list_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TombolaError, match=r"seeds must be a list, as \[3\], not 3"):
            Study(small_study.config(), out=tmp_path, seeds=3)  # type: ignore[arg-type]
        with pytest.raises(TombolaError, match="give a configuration, as "):
            Study("quick")  # type: ignore[arg-type]


@pytest.mark.slow
class TestSettings:
    def test_the_search_can_stay_off_the_dev_rows(self, tmp_path: Path) -> None:
        study = study_in(tmp_path, search_split="train", search_rows=48, epochs=2, controls=(), analyses=())
        study.run()
        splits = text_task(study).corpus.splits
        assert {name: len(texts) for name, texts in splits.items()} == {"train": 192, "dev": 96, "search": 48}
        # Every text of the small task is another, so that texts tell rows apart.
        assert not set(splits["search"].first) & set(splits["train"].first)
        assert not set(splits["search"].first) & set(splits["dev"].first)
        seed_folder = study.seed_folder(0)
        dev, search = (Evaluation.read(seed_folder.full / name) for name in (EVALUATION, SEARCH_EVALUATION))
        assert (len(dev.predictions), len(search.predictions)) == (96, 48)
        for method in METHODS:
            found = Search.load(seed_folder.folder / method)
            assert found.full_score == search.score
            assert found.good.provenance["split"] == "search"
        assert row_of(study, "none", "full", "none")["n"] == 96
        assert row_of(study, "none", "full", "none")["score"] == dev.score

    @pytest.mark.exhaustive
    def test_rewinding_to_random_weights(self, tmp_path: Path) -> None:
        study = study_in(tmp_path, rewind="init", save="all")
        study.run()
        seed_folder = study.seed_folder(0)
        words = "embeddings.word_embeddings.weight"
        checkpoint = load_file(small_study.model() / "model.safetensors")[words].flatten()
        full, ticket = (
            load_file(folder / "model.safetensors")[f"bert.{words}"].flatten()
            for folder in (seed_folder.full, seed_folder.ticket("weights", "good") / "retrained")
        )
        # The classical lottery ticket: reference and ticket start from the same random weights, not the checkpoint.
        assert torch.corrcoef(torch.stack([checkpoint, full]))[0, 1] < 0.3
        assert torch.corrcoef(torch.stack([checkpoint, ticket]))[0, 1] < 0.3
        assert torch.corrcoef(torch.stack([full, ticket]))[0, 1] > 0.9

    def test_rewinding_to_a_step_of_the_training(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        starts: list[int] = []
        states: list[dict[str, torch.Tensor]] = []
        retrain = tombola.training.loop.retrain

        def watched(model: Any, *rest: Any, first_step: int, **options: Any) -> Any:
            starts.append(first_step)
            states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
            return retrain(model, *rest, first_step=first_step, **options)

        monkeypatch.setattr(tombola.study.seed_context, "retrain", watched)
        study = study_in(tmp_path, rewind="step-3", epochs=2, batch_size=16, learning_rate=5e-3, methods=("weights",))
        study.run()
        assert order_of(list(study.rows())) == [key for key in ORDER if key[0] != "heads+mlps"]
        assert starts == [3] * 4
        kept = load_file(study.seed_folder(0).full / "step-3.safetensors")
        for state in states:
            assert all(torch.equal(state[name], kept[name]) for name in kept)
        # Three steps of 24 lie nearer to the start than to the end, but are neither.
        start, end = (load_file(f / "model.safetensors") for f in (small_study.model(), study.seed_folder(0).full))
        name = "encoder.layer.0.attention.self.query.weight"
        there = kept[f"bert.{name}"]
        assert 0 < (there - start[name]).norm() < (there - end[f"bert.{name}"]).norm()

    def test_a_step_beyond_the_training_is_refused_before_anything_is_written(self, tmp_path: Path) -> None:
        study = study_in(tmp_path / "runs", rewind="step-1000")
        with pytest.raises(TombolaError, match=r"step 1000.* 12 steps"):
            study.run()
        assert list(tmp_path.iterdir()) == []

    def test_iterative_magnitude_pruning_trains_between_the_cuts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[int] = []
        retrain = tombola.training.loop.retrain

        def counted(model: Any, ticket: Ticket, *rest: Any, **options: Any) -> Any:
            sizes.append(len(ticket))
            return retrain(model, ticket, *rest, **options)

        monkeypatch.setattr(tombola.study.seed_context, "retrain", counted)
        study = study_in(tmp_path, iterative=True, methods=("weights",), epochs=2, weights_step=0.5)
        study.run()
        found = Search.load(study.seed_folder(0).folder / "weights")
        # The good ticket was trained by the search already, unless no cut held.
        again = 4 if found.last is found.passes[0] else 3
        assert sizes == [step.weights for step in found.passes[1:]] + [len(found.good)] * again
        assert order_of(list(study.rows())) == [key for key in ORDER if key[0] != "heads+mlps"]

    def test_another_setting_is_another_folder(self, done: Study, tmp_path: Path) -> None:
        changes: list[Mapping[str, Any]] = [
            {"threshold": 0.8},
            {"epochs": 6},
            {"rewind": "init"},
            {"iterative": True},
            {"precision": "bf16"},
            {"methods": ("weights",)},
            {"max_length": 8},
            {"dev_rows": 90},
        ]
        folders = {study_in(tmp_path, **change).folder for change in changes}
        assert len(folders | {tmp_path / done.folder.name}) == len(changes) + 1
        assert study_in(tmp_path, seeds=(1, 2), save="all").folder.name == done.folder.name

    @pytest.mark.parametrize("part", ["model", "task"])
    def test_changed_content_is_another_folder(self, tmp_path: Path, part: str) -> None:
        source = shutil.copytree(small_study.model() if part == "model" else small_study.task(), tmp_path / part)
        changed: dict[str, Any] = {part: str(source)}
        before = study_in(tmp_path, **changed).folder
        assert study_in(tmp_path, **changed).folder == before
        file = source / ("model.safetensors" if part == "model" else "train.tsv")
        content = bytearray(file.read_bytes())
        content[-2] ^= 1
        file.write_bytes(content)
        assert study_in(tmp_path, **changed).folder != before

    def test_the_folder_itself_can_be_named(self, done: Study, copied: Path) -> None:
        assert study_in(copied / done.folder.name).folder == copied / done.folder.name
        # With other settings too: what they change is made anew there.
        assert study_in(copied / done.folder.name, epochs=1).folder == copied / done.folder.name
        other = shutil.copytree(small_study.task(), copied / "others")
        with pytest.raises(TombolaError, match=r"holds another study \(tiny-bert-moods-.*choose another folder"):
            study_in(copied / done.folder.name, task=str(other))


@pytest.mark.slow
def test_a_full_model_at_chance_stops_the_study_before_any_search(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "model": str(small_study.untrained()),
        "learning_rate": 1e-7,
        "epochs": 1,
        "methods": ("heads",),
        "controls": (),
        "analyses": (),
    }
    stopping = study_in(tmp_path, at_chance="stop", **settings)
    with pytest.raises(FailedError, match=r"does not clearly beat guessing .*train it .*--continue"):
        stopping.run()
    home = stopping.seed_folder(0)
    assert home.full.is_dir()
    # But for the record of the step that was begun.
    assert not list((home.folder / "heads").glob("[!.]*"))
    trained = (home.full / "model.safetensors").stat().st_mtime_ns
    # What was trained is not trained again.
    going_on = study_in(tmp_path, at_chance="continue", **settings)
    with pytest.warns(GuessingWarning, match="^the full model does not clearly beat guessing"):
        assert going_on.run() == stopping.folder
    assert (home.full / "model.safetensors").stat().st_mtime_ns == trained
    assert (home.ticket("heads", "good") / "retrained").is_dir()


def test_several_seeds_at_chance_are_named(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    settings: dict[str, Any] = {"learning_rate": 1e-7, "epochs": 1, "methods": ("heads",), "controls": ()}
    settings |= {"model": str(small_study.untrained()), "analyses": (), "train_rows": 32, "dev_rows": 32}
    with pytest.raises(FailedError, match=r"^seed 3: the full model does not clearly beat guessing"):
        study_in(tmp_path, seeds=(3, 5), at_chance="stop", **settings).run()
    study_in(tmp_path, seeds=(3, 5), at_chance="continue", **settings).run()
    said = [str(one.message)[:35] for one in recwarn if one.category is GuessingWarning]
    assert said == [f"seed {seed}: the full model does not cle" for seed in (3, 5)]


@pytest.mark.slow
def test_a_search_that_finds_nothing_is_told_and_the_study_goes_on(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"methods": ("weights",), "controls": (), "analyses": ()}
    study = study_in(tmp_path, threshold=1, weights_step=0.99, **settings)
    found = "no ticket of weights was found on moods: the first cut, of 99.0 % of the weights"
    larger = r"the good ticket of weights makes no smaller files: 0\.\d+ MB instead of 0\.\d+ MB"
    with pytest.warns(NoTicketWarning, match=found), pytest.warns(UserWarning, match=larger):
        study.run()
    (verdict,) = study.verdicts()
    assert "says nothing, because it is the full model itself" in str(verdict["sentence"])
    assert [row["sparsity"] for row in read_rows(study.folder)] == [1, 0, 0, 0]
    words = read(build(study.folder)).words
    assert "found no ticket, as no cut held" in words
