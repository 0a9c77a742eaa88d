"""The command line as people and scripts use it."""

import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoTokenizer, pipeline

from builders import small_study
from builders.families import computed
from builders.small_study import command, environment, flags, tombola
from tombola.architectures.dissect import dissect
from tombola.checkpoints.checkpoint import load
from tombola.checkpoints.semi_structured import not_semi_structured
from tombola.cli import main
from tombola.foundations.errors import TombolaError
from tombola.foundations.figures import figures
from tombola.pruning.evaluation import score
from tombola.pruning.search.loop import search_ticket
from tombola.study.config import StudyConfig
from tombola.study.folder_layout import SeedFolder
from tombola.study.study import Study
from tombola.subnetworks.subnetwork import expanded, masked
from tombola.tickets.find_tickets import ticket_folder
from tombola.tickets.ticket import Ticket
from tombola.training.loop import retrain

pytestmark = pytest.mark.slow

COMMANDS = ("study", "prune", "retrain", "score", "shrink", "export", "memory", "compare", "import-masks", "report")


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Run a command with `--json` in this process and parse all that it wrote to stdout."""
    assert main([*map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


class TestHelp:
    def test_help_lists_every_command(self) -> None:
        done = tombola("--help")
        assert done.returncode == 0
        assert done.stderr == ""
        for name in COMMANDS:
            assert re.search(rf"^    {name}\s+\S", done.stdout, re.MULTILINE), name

    @pytest.mark.parametrize(
        "arguments", [["--help"], ["shrink", "--help"], ["export", "--help"], ["report", "--help"]]
    )
    def test_help_does_not_wait_for_pytorch(self, arguments: list[str]) -> None:
        code = (
            "import sys; from tombola.cli import main\n"
            f"try: main({arguments})\n"
            "finally: assert not {'torch', 'transformers'} & set(sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
        )
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("name", COMMANDS)
    def test_each_command_has_help_and_json(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        said = capsys.readouterr().out
        assert "--json" in said
        assert said.startswith(f"usage: tombola {name} ")

    def test_every_setting_is_a_flag_with_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["study", "--help"])
        said = capsys.readouterr().out
        for name in StudyConfig().settings():
            assert re.search(rf"--{name.replace('_', '-')}\b", said), name

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["--version"])
        assert ended.value.code == 0
        assert re.fullmatch(r"tombola \d+\.\d+\S*\n", capsys.readouterr().out)

    def test_no_command_is_bad_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([]) == 2
        assert "usage: tombola" in capsys.readouterr().out


def test_pytorch_is_imported_with_patient_threads(tmp_path: Path) -> None:
    code = (
        "import os, sys; from tombola.cli import main\n"
        "class Watch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch': sys.exit('policy: ' + os.environ.get('OMP_WAIT_POLICY', ''))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "main(['report', '.'])"
    )
    (tmp_path / "study.json").write_text("{}")
    given = {name: value for name, value in environment().items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=given, check=False
    )
    assert done.stderr.splitlines()[-1] == "policy: PASSIVE"


class TestExitCodes:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["raffle"],
            ["study", "--epochs", "many"],
            ["study", "--nonsense"],
            ["study", "--save", "some"],
            ["study", "--seeds", "0;1"],
            ["study", "--seeds", ""],
            ["prune", "--task", "sst2"],
            ["score", "--ticket"],
            ["report"],
            ["export", "model", "ticket", "--out", "there"],
            ["export", "model", "ticket", "--out", "there", "--format", "gguf"],
            ["prune", "--out", "there", "--pattern", "2:4"],
        ],
        ids=" ".join,
    )
    def test_bad_usage_is_2(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert re.search(r"^tombola.*: error: ", said.err, re.MULTILINE)
        assert "_seeds" not in said.err

    def test_a_defect_is_no_error_of_the_user(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(folder: Path) -> None:
            raise AssertionError("a defect")

        (tmp_path / "study.json").write_text("{}")
        monkeypatch.setattr("tombola.report.build", broken)
        with pytest.raises(AssertionError, match="a defect"):
            main(["report", str(tmp_path)])

    @pytest.mark.exhaustive
    def test_a_defect_is_1_with_its_traceback(self, tmp_path: Path) -> None:
        code = (
            "import sys; import tombola.report; from tombola.cli import main\n"
            "def broken(folder): raise AssertionError('a defect')\n"
            "tombola.report.build = broken\n"
            f"sys.exit(main(['report', {str(tmp_path)!r}]))"
        )
        (tmp_path / "study.json").write_text("{}")
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
        )
        assert done.returncode == 1
        assert "AssertionError: a defect" in done.stderr


class TestStudy:
    @pytest.mark.slow
    def test_a_whole_study_in_a_process_of_its_own(self, tmp_path: Path, done: Study) -> None:
        ran = tombola("study", *flags(), "--out", tmp_path, "--device", "cpu")
        assert ran.returncode == 0, ran.stderr
        # Progress is on stderr, results are on stdout.
        for step in ("fine-tune the full model", "search weights", "retrain bad heads and MLPs", "iteration 1: "):
            assert step in ran.stderr
            assert step not in ran.stdout
        assert "Traceback" not in ran.stderr
        assert "Warning" not in ran.stderr
        (folder,) = tmp_path.glob("tiny-bert-*")
        assert f"report: {folder / 'report.html'}" in ran.stdout
        for verdict in done.verdicts():
            if verdict["ticket"] == "good":
                assert str(verdict["sentence"]) in " ".join(ran.stdout.split())
        assert small_study.timeless(small_study.read_rows(folder)) == small_study.timeless(
            small_study.read_rows(done.folder)
        )
        assert json.loads((folder / "study.json").read_text())["command"].startswith("tombola study --model ")

    def test_json_is_all_that_is_on_stdout(
        self, done: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = shutil.copytree(done.folder, tmp_path / done.folder.name)
        found = run_json(capsys, "study", *flags(), "--out", tmp_path)
        assert found["folder"] == str(folder)
        assert found["report"] == str(folder / "report.html")
        assert found["rows"] == list(done.rows())
        assert found["verdicts"] == json.loads((done.folder / "verdicts.json").read_text())["verdicts"]

    @pytest.mark.exhaustive
    @pytest.mark.slow
    def test_the_file_goes_before_the_preset_and_flags_before_the_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "study.yaml"
        settings = {"model": str(small_study.model()), "task": str(small_study.task()), **small_study.SETTINGS}
        file.write_text(
            yaml.safe_dump(
                {
                    **settings,
                    "preset": "paper",
                    "methods": ["heads+mlps"],
                    "seeds": [3],
                    "epochs": 2,
                    "threshold": 0.7,
                    "learning_rate": "4e-3",
                }
            )
        )
        found = run_json(
            capsys, "study", file, "--out", tmp_path, "--epochs", "1", "--no-refine", "--preset", "quick", "--json"
        )
        config = json.loads((Path(found["folder"]) / "study.json").read_text())["config"]
        assert config["epochs"] == 1  # the flag's
        assert config["refine"] is False  # the flag's
        assert config["threshold"] == 0.7  # the file's
        assert config["learning_rate"] == 4e-3  # the file's, not the preset's
        assert config["dev_rows"] == 96  # the file's, not the preset's
        assert config["weight_decay"] == 0.01  # the default
        assert {row["seed"] for row in found["rows"]} == {3}
        flags = ("--epochs", "1", "--no-refine", "--preset", "quick", "--seeds", "0,1")
        again = run_json(capsys, "study", file, "--out", tmp_path, *flags)
        assert again["folder"] == found["folder"]
        assert [row["seed"] for row in again["rows"]] == [0] * 10 + [1] * 10 + [3] * 10 + [0] * 6 + [1] * 6 + [3] * 6
        assert [row["ticket"] for row in again["rows"][30:36]] == [
            *("super-survivors", "super-survivors", "super-random", "super-random", "super-bad", "super-bad")
        ]

    @pytest.mark.parametrize("given", [[], ["--preset", "paper"]])
    def test_the_preset_decides_what_nobody_said(
        self, given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Where no study is: that of `make study` would be found finished.
        monkeypatch.chdir(tmp_path)
        seen: list[tuple[StudyConfig, dict[str, Any]]] = []

        def stop(self: Study, config: StudyConfig, **options: Any) -> None:
            seen.append((config, options))
            raise KeyboardInterrupt

        monkeypatch.setattr(Study, "__init__", stop)
        assert main(["study", *given]) == 130
        ((config, options),) = seen
        assert (config.model, config.task) == ("minilm", "rotten-tomatoes")
        assert (config.recipe.epochs, config.train_rows) == ((3, None) if given else (1, 6000))
        assert options["seeds"] == ((1337, 42, 86, 71, 166) if given else (0,))
        assert Path(options["out"]) == Path("runs")

    def test_on_a_terminal_the_bars_are_drawn(
        self, done: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        screen = io.StringIO()
        monkeypatch.setattr(
            "tombola.foundations.progress.Console", lambda **_: Console(file=screen, force_terminal=True, width=120)
        )
        folder = shutil.copytree(done.folder, tmp_path / done.folder.name)
        shutil.rmtree(folder / "moods" / "seed-0" / "weights" / "bad" / "retrained")
        small_study.study_in(tmp_path).run()
        shown = screen.getvalue()
        assert "retrain bad weights" in shown
        assert "retrain good weights" not in shown
        assert "100%" in shown.splitlines()[-1] + shown.splitlines()[-2]

    @pytest.mark.exhaustive
    def test_stopped_by_the_keyboard(self, tmp_path: Path) -> None:
        process = subprocess.Popen(
            command("study", *flags(epochs=200), "--out", tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            # Where the tests run in the background of a shell, it has them ignore the keyboard.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("fine-tune"):
                break
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert out == ""
        assert err == "tombola: stopped; the same command goes on where it was\n"
        (folder,) = tmp_path.glob("tiny-bert-*")
        assert list(folder.rglob(".draft-*")) == []
        assert not list(folder.glob("*/seed-0/full"))


class TestSteps:
    def test_a_full_model_scores_what_its_row_says(
        self, done: Study, seed_folder: SeedFolder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = run_json(capsys, "score", *flags("score", model=seed_folder.full))
        (row,) = (row for row in done.rows() if row["ticket"] == "full")
        assert {name: found[name] for name in ("metric", "score", "n")} == {
            name: row[name] for name in ("metric", "score", "n")
        }
        assert found["score_low"] <= found["score"] <= found["score_high"]
        assert found["chance"] == pytest.approx(2 / 3)

    def test_outputs_in_another_order_are_named(
        self, seed_folder: SeedFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(seed_folder.full, tmp_path / "model")
        config = json.loads((tmp_path / "model" / "config.json").read_text())
        names = [*config["id2label"].values()]
        config["id2label"] = {str(index): name for index, name in enumerate(names[1:] + names[:1])}
        (tmp_path / "model" / "config.json").write_text(json.dumps(config))
        assert main(["score", *flags("score", model=tmp_path / "model")]) == 0
        assert "with its outputs in another order: name them in id2label" in capsys.readouterr().err

    @pytest.mark.parametrize("method", ["heads+mlps", "weights"])
    @pytest.mark.parametrize("name", ["good", "bad"])
    def test_a_ticket_scores_what_its_row_says(
        self, done: Study, seed_folder: SeedFolder, method: str, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = run_json(
            capsys, "score", *flags("score", model=seed_folder.full), "--ticket", seed_folder.ticket(method, name)
        )
        (row,) = (
            row for row in done.rows() if (row["method"], row["ticket"], row["stage"]) == (method, name, "pruned")
        )
        assert found["score"] == row["score"]

    @pytest.mark.parametrize("method", ["heads+mlps", "weights"])
    def test_prune_score_retrain_agree_with_the_study_and_the_library(
        self, done: Study, seed_folder: SeedFolder, method: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "deep" / "found"
        pruned = run_json(capsys, "prune", *flags("prune", model=seed_folder.full), "--method", method, "--out", out)
        assert pruned["ticket"] == str(out / "moods" / "seed-0" / method / "good")
        ticket = Ticket.load(pruned["ticket"])
        assert ticket == Ticket.load(seed_folder.ticket(method, "good"))
        config = small_study.config(model=str(seed_folder.full))
        task = config.open_task()
        full = task.load(str(seed_folder.full), seed=0, state="trained")
        library = search_ticket(full, task, method, options=config.search_options)
        assert library.good == ticket
        assert (pruned["score"], pruned["full_score"]) == (library.last.score, library.full_score)
        assert pruned["weights"] == ticket.survivors(dissect(full))["weights"]
        assert pruned["sparsity"] == ticket.sparsity(dissect(full))

        scored = run_json(capsys, "score", *flags("score", model=seed_folder.full), "--ticket", pruned["ticket"])
        assert scored["score"] == pruned["score"] == score(full, task, ticket).score

        model = tmp_path / "again"
        again = run_json(capsys, "retrain", *flags("retrain"), "--ticket", out, "--out", model)
        (row,) = (
            row for row in done.rows() if (row["method"], row["ticket"], row["stage"]) == (method, "good", "retrained")
        )
        assert again["score"] == row["score"]
        assert again["model"] == str(model)
        part = retrain(task.load(str(small_study.model()), seed=0), ticket, task, config.recipe)
        assert again["score"] == score(expanded(part), task).score
        assert run_json(capsys, "score", *flags("score", model=model))["score"] == again["score"]

    def test_another_seed_of_retraining_is_another_model(
        self, seed_folder: SeedFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ticket = seed_folder.ticket("weights", "good")
        for seed in (0, 1):
            run_json(
                capsys,
                "retrain",
                *flags("retrain", epochs=1),
                "--ticket",
                ticket,
                "--out",
                tmp_path / str(seed),
                "--seed",
                seed,
            )
        one, other = (load_file(tmp_path / name / "model.safetensors")["classifier.weight"] for name in "01")
        assert not one.equal(other)

    @pytest.mark.parametrize("method", ["heads+mlps", "weights"])
    def test_a_shrunk_model_says_its_sizes_and_works_in_a_pipeline(
        self, capsys: pytest.CaptureFixture[str], done: Study, seed_folder: SeedFolder, tmp_path: Path, method: str
    ) -> None:
        out = tmp_path / "small"
        said = run_json(
            capsys, "shrink", seed_folder.full, seed_folder.ticket(method, "good"), "--no-measure", "--out", out
        )
        assert "cost" not in said
        row = next(r for r in done.rows() if (r["ticket"], r["stage"], r["method"]) == ("good", "pruned", method))
        assert said["parameters"] == row["parameters"] < said["parameters_before"]
        assert said["sparsity"] == row["sparsity"]
        assert said["difference"] < 1e-5
        assert said["bytes"] == sum((out / name).stat().st_size for name in ("shrunk.safetensors", "masks.safetensors"))
        assert said["bytes"] < (seed_folder.full / "model.safetensors").stat().st_size
        classify = pipeline("text-classification", model=load(out), tokenizer=AutoTokenizer.from_pretrained(out))
        assert {found["label"] for found in classify(["bright", "dull"])} <= set(
            dict(load(out).config.id2label or {}).values()
        )
        card = ModelCard.load(out / "README.md")
        (result,) = card.data.eval_results or []
        assert (result.dataset_name, result.metric_type) == (row["task"], row["metric"])
        assert result.metric_value == row["score"]

    def test_a_shrunk_model_is_measured_beside_the_dense_and_the_masked_one(
        self,
        capsys: pytest.CaptureFixture[str],
        seed_folder: SeedFolder,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # A process for each variant takes seconds; test_cost has them.
        monkeypatch.setattr("tombola.profiling.peak_memory.measure", lambda *_, **__: 1_000_000)
        arguments = [seed_folder.full, seed_folder.ticket("heads+mlps", "good"), "--length", 8]
        said = run_json(capsys, "shrink", *arguments, "--out", tmp_path / "a")
        dense, shrunk = (said["cost"]["variants"][name] for name in ("dense", "shrunk"))
        assert (said["cost"]["length"], dense["memory"]) == (8, 1_000_000)
        assert (dense["parameters"], shrunk["parameters"]) == (said["parameters_before"], said["parameters"])
        assert shrunk["disk"] == said["bytes"]
        assert main(["shrink", *map(str, arguments[:-1]), "4096", "--out", str(tmp_path / "b")]) == 0
        shown, noted = capsys.readouterr()
        assert re.search(r"note: measured on \d+ tokens, not 4096: no example is longer than half of what", noted)
        for words in (
            "latency, batch 1, ms",
            "peak of the process, batch 32, MB",
            "parameters in memory, MB",
            "theoretical speed-up",
        ):
            assert words in shown

    def test_a_machine_that_cannot_measure_still_has_its_model(
        self,
        capsys: pytest.CaptureFixture[str],
        seed_folder: SeedFolder,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def full(*_: Any, **__: Any) -> None:
            raise TombolaError("no memory left")

        monkeypatch.setattr("tombola.profiling.model_cost.compare", full)
        assert (
            main(
                [
                    "shrink",
                    str(seed_folder.full),
                    str(seed_folder.ticket("heads+mlps", "good")),
                    "--out",
                    str(tmp_path / "a"),
                ]
            )
            == 0
        )
        assert "note: the cost was not measured: no memory left" in capsys.readouterr().err
        assert load(tmp_path / "a")

    def test_density_makes_a_ticket_of_that_size_with_its_score(
        self, capsys: pytest.CaptureFixture[str], seed_folder: SeedFolder, tmp_path: Path
    ) -> None:
        given = [
            *flags("prune", model=seed_folder.full),
            "--method",
            "heads+neurons",
            "--neuron-block",
            8,
            "--density",
            0.5,
        ]
        said = run_json(capsys, "prune", *given, "--out", tmp_path / "half")
        ticket = Ticket.load(ticket_folder(tmp_path / "half"))
        assert ticket.counts() == {
            "heads": small_study.LAYERS * small_study.HEADS // 2,
            "neurons": small_study.LAYERS * small_study.INNER // 16,
        }
        assert (said["heads"], said["neurons"]) == (
            small_study.LAYERS * small_study.HEADS // 2,
            small_study.LAYERS * small_study.INNER // 2,
        )
        scored = run_json(capsys, "score", *flags("score", model=seed_folder.full), "--ticket", tmp_path / "half")
        assert scored["score"] == said["score"] == ticket.provenance["score"]
        told = {name: ticket.provenance[name] for name in ("method", "ticket", "split", "seed", "density")}
        density = {"heads": 0.5, "neurons": 0.5}
        assert told == {"method": "heads+neurons", "ticket": "good", "split": "dev", "seed": 0, "density": density}
        assert str(ticket.provenance["importance"]).startswith("{'text': 'train split of ")
        assert main([*map(str, ["prune", *given[:-1], 1.5]), "--out", str(tmp_path / "no")]) == 2
        assert "must be a number from 0 to 1, not 1.5" in capsys.readouterr().err
        assert not (tmp_path / "no").exists()

    def test_exported_zeros_score_as_the_ticket_does(
        self, capsys: pytest.CaptureFixture[str], done: Study, seed_folder: SeedFolder, tmp_path: Path
    ) -> None:
        out = tmp_path / "zeros"
        said = run_json(
            capsys, "export", seed_folder.full, seed_folder.ticket("weights", "good"), "--format", "zeros", "--out", out
        )
        assert said["difference"] == 0
        row = next(r for r in done.rows() if (r["ticket"], r["stage"], r["method"]) == ("good", "pruned", "weights"))
        assert run_json(capsys, "score", *flags("score", model=out))["score"] == row["score"]

    def test_an_exported_graph_classifies(
        self, capsys: pytest.CaptureFixture[str], seed_folder: SeedFolder, tmp_path: Path
    ) -> None:
        out = tmp_path / "onnx"
        ticket = seed_folder.ticket("heads+mlps", "good")
        assert main(["export", str(seed_folder.full), str(ticket), "--format", "onnx", "--out", str(out)]) == 0
        said = capsys.readouterr()
        assert re.fullmatch(
            r".*/onnx: [\d,]+ of [\d,]+ parameters, 0\.\d+ of 0\.\d+ MB on disk; "
            r"largest difference from the masked model \d\.\de-\d\d of the largest output\n",
            said.out,
        )
        assert said.err == ""
        tokens = AutoTokenizer.from_pretrained(out)(["bright word1 word2", "dull"], padding=True, return_tensors="pt")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(out / "model.onnx", options)
        given = {
            found.name: tokens.get(found.name, torch.zeros_like(tokens["input_ids"])) for found in session.get_inputs()
        }
        found = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})[0]
        task = small_study.config().open_task()
        expected = masked(task.load(str(seed_folder.full), seed=0, state="trained"), Ticket.load(ticket))
        torch.testing.assert_close(torch.from_numpy(found), computed(expected, dict(tokens)), atol=1e-4, rtol=1e-4)

    def test_a_pattern_is_a_ticket_with_its_score(
        self, capsys: pytest.CaptureFixture[str], done: Study, seed_folder: SeedFolder, tmp_path: Path
    ) -> None:
        arguments = [*flags("prune", model=seed_folder.full), "--method", "magnitude-2:4"]
        said = run_json(capsys, "prune", *arguments, "--out", tmp_path / "one")
        assert said["ticket"] == str(tmp_path / "one" / "moods" / "seed-0" / "magnitude-2of4" / "good")
        assert said["sparsity"] == 0.5
        ticket = Ticket.load(said["ticket"])
        model = small_study.config().open_task().load(str(seed_folder.full), seed=0, state="trained")
        assert not_semi_structured(model, ticket) == ()
        assert (
            ticket.provenance["full_score"]
            == said["full_score"]
            == next(r for r in done.rows() if r["ticket"] == "full")["score"]
        )
        scored = run_json(capsys, "score", *flags("score", model=seed_folder.full), "--ticket", said["ticket"])
        assert ticket.provenance["score"] == said["score"] == scored["score"]
        assert main([*map(str, ["prune", *arguments, "--out", tmp_path / "two"])]) == 0
        assert capsys.readouterr().out.startswith("50.0 % of the weights: accuracy 0.")

    @pytest.mark.parametrize("name", ["prune", "cut", "retrain", "score", "shrink"])
    def test_a_dry_run_says_how_long_and_writes_nothing(
        self, seed_folder: SeedFolder, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model, ticket = seed_folder.full, str(seed_folder.ticket("heads+mlps", "good"))
        if name == "shrink":
            asked = [name, str(model), ticket, "--no-measure", "--out"]
        elif name == "cut":
            asked = ["prune", "--model", str(model), "--method", "magnitude-2:4", "--out"]
        else:
            given = flags(name, model=small_study.model() if name == "retrain" else model)
            asked = [name, *given, *(["--ticket", ticket] if name != "prune" else []), "--out"]
        out = str(tmp_path / "out")
        assert main([*asked, out, "--dry-run"]) == 0
        said = capsys.readouterr().out
        assert re.search(r"step +seconds\n.+ [\d.]+ *\nsteps: 1 to run, 0 done\nexpected time: under a minute\n", said)
        found = run_json(capsys, *asked, out, "--dry-run")
        assert f"models on disk: {figures(found['bytes'] / 1e6, 1)} MB more at most" in said
        assert not any(tmp_path.iterdir())
        if name == "shrink":
            # Headers of the files are left out, some kilobytes.
            assert 0 <= run_json(capsys, *asked, out)["bytes"] - found["bytes"] < 10_000
        taken = shutil.copytree(seed_folder.folder / "guessing", tmp_path / "taken")
        assert main([*asked, str(taken), "--dry-run"]) == 2
        assert f"{taken} exists already" in capsys.readouterr().err

    def test_people_get_one_line_on_stdout(
        self, seed_folder: SeedFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["score", *flags("score", model=seed_folder.full)]) == 0
        said = capsys.readouterr()
        assert re.fullmatch(
            r"accuracy 0\.\d{4} \(95 % interval 0\.\d{4} to [01]\.\d{4}, n = 96; chance 0\.6667\)\n", said.out
        )
        assert re.fullmatch(r"score \.\.\.\nscore; \d+\.\d s, 0:00:00 left\n", said.err)
        assert main(["prune", *flags("prune", model=seed_folder.full), "--out", str(tmp_path / "found")]) == 0
        said = capsys.readouterr()
        place = f"{tmp_path}/found/moods/seed-0/heads[+]mlps/good"
        interval = r"\(95 % interval 0\.\d{4} to [01]\.\d{4}\)"
        pattern = rf"\d+ heads and \d MLPs?: accuracy 0\.\d{{4}} {interval}, the full model 0\.\d{{4}}: {place}\n"
        assert re.fullmatch(pattern, said.out)
        assert "iteration 1" in said.err

    def test_stopped_by_the_keyboard_a_step_leaves_nothing(
        self,
        seed_folder: SeedFolder,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def stopped(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("tombola.study.seed_run.search_ticket", stopped)
        assert main(["prune", *flags("prune", model=seed_folder.full), "--out", str(tmp_path / "found")]) == 130
        said = capsys.readouterr()
        # Only a study goes on where it was.
        assert said.err.splitlines()[-1] == "tombola: stopped; nothing was written"
        assert list(tmp_path.iterdir()) == []

    def test_the_report_is_written_again(self, done: Study, capsys: pytest.CaptureFixture[str]) -> None:
        before = (done.folder / "report.html").stat().st_mtime_ns
        assert main(["report", str(done.folder)]) == 0
        assert capsys.readouterr().out == f"{done.folder / 'report.html'}\n"
        assert (done.folder / "report.html").stat().st_mtime_ns > before
        assert run_json(capsys, "report", done.folder) == {"report": str(done.folder / "report.html")}
