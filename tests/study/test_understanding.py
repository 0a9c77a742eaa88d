"""A study of a language model: judged as it comes, pruned by many methods, ability by ability."""

import dataclasses
import functools
import html
import io
import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import LlamaForCausalLM

from builders import browser, lost_files, shared_folder, small_study
from builders.language_models import WORDS, llama, tokenizer
from builders.planted_text import plant
from builders.renewed_study import assert_renewed
from tombola import report
from tombola.analysis.agreement.comparison import compare
from tombola.analysis.generation_profile import GenerationProfile
from tombola.analysis.retention_profile import RetentionProfile, Scored
from tombola.architectures.dissect import dissect
from tombola.checkpoints.checkpoint import load
from tombola.cli import main
from tombola.foundations.atomic_files import read_json, read_lines
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import Evaluation, evaluate, score
from tombola.pruning.search.records import PREDICTIONS, Search, read_predictions
from tombola.pruning.weight_criteria import WeightCut
from tombola.pruning.weight_pruning import prune_weights
from tombola.report.study_data import read_study
from tombola.report.terminal import generation_table, recovery_table
from tombola.study.config import StudyConfig
from tombola.study.folder_layout import EVALUATION
from tombola.study.study import Study
from tombola.subnetworks.subnetwork import masked, shrunk, whole
from tombola.tasks.capabilities import GeneratesTexts, GenerationSettings
from tombola.tasks.language.text_generation import NOTHING
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow

METHODS = ("heads", "kv-groups", "layers", "weights", "wanda", "sparsegpt", "wanda-2of4")
SPARSITIES = (0.2, 0.5, 0.8)
ROWS = 40


def chain(first: int, length: int) -> list[str]:
    """Words of which each is followed by the one after it: all that there is to know of this language."""
    return [f"w{(first + place) % 40}" for place in range(length)]


@functools.cache
def language() -> Path:
    """A tiny Llama that has learned the chain, a corpus of it, and questions about it; nobody writes there."""
    folder = shared_folder.home() / "chain"
    model = llama(dtype=torch.float32)
    ids = {word: number for number, word in enumerate(WORDS)}
    rows = torch.tensor([[ids["<s>"], *(ids[word] for word in chain(first, 20))] for first in range(40)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(60):
        loss = model(rows, labels=rows).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    # A text a line.
    lines = [" ".join(chain(7 * number, 12 + number % 5)) for number in range(60)]
    (folder.parent / "chain.txt").write_text("\n\n".join(lines))
    rng = np.random.default_rng(0)
    pairs = []
    for first, other in rng.integers((0, 2), (40, 38), (ROWS, 2)):
        words = chain(int(first), 6)
        pairs.append(
            {
                "sentence_good": " ".join(words),
                "sentence_bad": " ".join([*words[:4], f"w{(first + 4 + other) % 40}", words[5]]),
            }
        )
    (folder.parent / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    golds = rng.permutation(ROWS) % 2
    guesses = [{"query": "? :", "choices": ["w1", "w2"], "gold": int(gold)} for gold in golds]
    (folder.parent / "guess.jsonl").write_text("\n".join(map(json.dumps, guesses)))
    return folder


def config(**settings: Any) -> StudyConfig:
    home = language().parent
    values: dict[str, Any] = {
        "model": str(home / "chain"),
        "task": "understanding",
        "abilities": (f"grammar={home / 'pairs.jsonl'}", f"reasoning={home / 'guess.jsonl'}", "language-modelling"),
        "text_file": str(home / "chain.txt"),
        "bos_token": "bos",
        "methods": METHODS,
        "sparsities": SPARSITIES,
        "heads_step": 0.25,
        "mlps_step": 1,
        "dev_rows": ROWS,
        "calibration_samples": 8,
        "sequence_length": 16,
        "importance_samples": 12,
        "importance_sequence_length": 12,
        "max_length": 24,
        "bootstrap_resamples": 100,
        "precision": "fp32",
        "analyses": ("text-generation",),
    }
    return StudyConfig.of("quick", **(values | settings))


@functools.cache
def finished() -> Study:
    study = Study(config(), out=shared_folder.home() / "language-runs")
    report.build(study.run())
    return study


@pytest.fixture(scope="module")
def done() -> Study:
    return finished()


def home(study: Study) -> Path:
    return study.seed_folder(0).folder


def test_a_study_judges_the_model_as_it_comes(done: Study) -> None:
    rows = list(done.rows())
    assert {row["stage"] for row in rows} == {"none", "pruned"}
    assert not (home(done) / "full" / "config.json").is_file()
    model = done.task.load(str(language()), seed=0)
    full = Evaluation.read(done.seed_folder(0).full / EVALUATION)
    found = score(model, done.task)
    np.testing.assert_allclose(found.predictions, full.predictions, rtol=1e-5)


def test_every_method_has_rows_of_its_own(done: Study) -> None:
    rows = [(row["method"], row["ticket"]) for row in done.rows() if row["method"] != "none"]
    assert rows == [(name, ticket) for name in METHODS for ticket in ("good", "random")]
    for name in METHODS:
        good = next(row for row in done.rows() if (row["method"], row["ticket"]) == (name, "good"))
        assert good["score"] == pytest.approx(Search.load(home(done) / name).last.score)


def test_what_the_full_model_cannot_do_does_not_count(done: Study) -> None:
    full = next(row for row in done.rows() if row["ticket"] == "full")
    curves = {
        curve.name: curve for curve in RetentionProfile.read(done.seed_folder(0).analysis("retention", "wanda")).curves
    }
    assert [name for name, curve in curves.items() if not curve.learned] == ["reasoning"]
    known = [curve for curve in curves.values() if curve.learned]
    corrected = [
        1 - c.full / c.chance if c.measure == "bits per byte" else (c.full - c.chance) / (1 - c.chance) for c in known
    ]
    assert full["score"] == pytest.approx(sum(corrected) / len(corrected))
    assert full["more"]["grammar"] > 0.9
    assert read_json(done.folder / "study.json")["task"]["counted"] == ["grammar", "language-modelling"]


@pytest.mark.parametrize("method", METHODS)
def test_every_step_of_a_search_is_what_its_method_gives(done: Study, method: str) -> None:
    found = Search.load(home(done) / method)
    predictions = read_predictions(home(done) / method / PREDICTIONS)
    assert len(predictions) == len(found.passes)
    assert found.good.provenance["method"] == method
    task, model = done.task.with_full_model(predictions[0]), done.task.load(str(language()), seed=0)
    for step, predicted in zip(found.passes, predictions, strict=True):
        assert task.metric.score(predicted, task.references("dev")) == pytest.approx(step.score)
        assert set(step.more) == {"grammar", "reasoning", "language-modelling"}
    if method in ("heads", "kv-groups", "layers"):
        read = {"text": "training text of understanding", "examples": 12, "window": 12, "bos_token": "<s>"}
        assert found.good.provenance["importance"] == read
    if method in ("wanda", "sparsegpt"):
        # Drawn anew from the full model at every sparsity, and scored as it was pruned there.
        assert [round(step.sparsity, 2) for step in found.passes[1:]] == pytest.approx(SPARSITIES, abs=0.02)
        text = task.calibration_text(8, 16, 0)
        read = cast(dict[str, object], found.good.provenance["calibration"])
        assert [read[name] for name in ("examples", "window", "bos_token", "seed")] == [8, 16, "<s>", 0]
        pruned = prune_weights(model, WeightCut(method, SPARSITIES[1]), calibration=text)
        again = score(pruned.model, task).predictions
        np.testing.assert_allclose(again, predictions[2], rtol=1e-3, atol=1e-3)


def test_units_go_together(done: Study) -> None:
    anatomy = dissect(done.task.load(str(language()), seed=0))
    groups = Ticket.load(home(done) / "kv-groups" / "good").heads.reshape(anatomy.heads[0], -1, 2)
    assert bool((groups.any(-1) == groups.all(-1)).all())
    blocks = Ticket.load(home(done) / "layers" / "good")
    assert bool((blocks.heads.all(1) == blocks.mlps).all())
    assert bool((blocks.heads.any(1) == blocks.mlps).all())


def test_a_method_that_changes_weights_keeps_them(done: Study) -> None:
    found = Search.load(home(done) / "sparsegpt")
    assert found.good.sparsity(dissect(done.task.load(str(language()), seed=0))) > 0, "no sparsity held"
    updated = done.task.load(str(done.seed_folder(0).updated("sparsegpt")), seed=0)
    assert score(updated, done.task, found.good).predictions == pytest.approx(
        Evaluation.read(home(done) / "sparsegpt" / "good" / "pruned" / EVALUATION).predictions, rel=1e-4
    )
    small_one = load(home(done) / "sparsegpt" / "good" / "shrunk")
    for name, parameter in masked(updated, found.good).model.named_parameters():
        torch.testing.assert_close(parameter, small_one.get_parameter(name), rtol=0, atol=0)


def test_the_report_shows_every_ability(done: Study) -> None:
    page = (done.folder / "report.html").read_text()
    assert "What is left of each ability" in page
    assert "at chance in" in page


def test_a_killed_study_goes_on_where_it_stopped(done: Study, tmp_path: Path) -> None:
    shutil.copytree(done.folder, tmp_path / done.folder.name)
    seed_folder = tmp_path / done.folder.name / "understanding" / "seed-0"
    shutil.rmtree(seed_folder / "wanda")
    shutil.rmtree(seed_folder / "analysis" / "wanda")
    again = Study(config(), out=tmp_path)
    again.run()
    for name in ("results.jsonl", "verdicts.json"):
        first, second = (read_lines(one.folder / name) if name.endswith("l") else [] for one in (done, again))
        assert [{**row, "seconds": 0} for row in first] == [{**row, "seconds": 0} for row in second]
    profile = RetentionProfile.read(again.seed_folder(0).analysis("retention", "wanda"))
    assert profile == RetentionProfile.read(done.seed_folder(0).analysis("retention", "wanda"))


@pytest.mark.parametrize(
    "adapters", [pytest.param({}, marks=pytest.mark.exhaustive), {"lora_rank": 4, "lora_learning_rate": 1e-2}]
)
def test_tickets_are_trained_again_where_asked(adapters: dict[str, Any], tmp_path: Path) -> None:
    settings = config(
        methods=("heads", "weights"), recovery_tokens=1200, learning_rate=1e-3, controls=("random", "bad"), **adapters
    )
    study = Study(settings, out=tmp_path)
    report.build(study.run())
    rows = {(row["ticket"], row["stage"]): row["score"] for row in study.rows()}
    assert rows["bad", "retrained"] > rows["bad", "pruned"]
    good = Ticket.load(study.seed_folder(0).ticket("weights", "good"))
    model = LlamaForCausalLM.from_pretrained(study.seed_folder(0).ticket("weights", "good") / "retrained")
    for name, weight in dissect(model).weights_of(model).items():
        assert bool((weight[~good.masks[name]] == 0).all())
    stages = {ticket.scored.stage for ticket in _profile(study, "weights").curves[0].tickets}
    assert stages == {"pruned", "retrained"}
    # Both stand side by side.
    assert "What training again brings back" in (study.folder / "report.html").read_text()
    kept = {one.scored: one.retained.share for one in _profile(study, "weights").curves[0].tickets}
    ends = [f"{100 * (kept[Scored('bad', stage)] or 0):.0f}" for stage in ("pruned", "retrained")]
    table, printed = recovery_table(read_study(study.folder)), io.StringIO()
    assert table is not None
    Console(width=200, file=printed).print(table)
    lines = [line.replace("−", "-").split() for line in printed.getvalue().splitlines()]
    bad = next(line for line in lines if line[:2] == ["weights", "bad"])
    assert bad[2:5] == [ends[0], "→", ends[1]]
    smaller = load(study.seed_folder(0).ticket("heads", "good") / "shrunk")
    whole_again = LlamaForCausalLM.from_pretrained(study.seed_folder(0).ticket("heads", "good") / "retrained")
    ids = torch.arange(8)[None]
    torch.testing.assert_close(smaller(ids).logits, whole_again(ids).logits)


def _written(study: Study, method: str = "") -> GenerationProfile:
    return GenerationProfile.read(study.seed_folder(0).analysis("text-generation", method))


def test_the_full_model_and_tickets_continue_the_same_texts(done: Study) -> None:
    task = done.task
    assert isinstance(task, GeneratesTexts)
    model = done.task.load(str(language()), seed=0)
    (full,) = _written(done).models
    assert (full.ticket, full.stage, full.sparsity) == ("full", "none", 0.0)
    assert full.generated == task.generate_texts(model, model, GenerationSettings())
    assert len(full.generated.texts) == 16
    for name in METHODS:
        found = _written(done, name)
        assert [(one.ticket, one.stage) for one in found.models] == [("good", "pruned"), ("random", "pruned")]
        random = Ticket.load(done.seed_folder(0).ticket(name, "random"))
        expected = task.generate_texts(shrunk(model, random).model, model, found.settings, found.prompts)
        assert found.models[1].generated == expected
        assert found.models[1].sparsity == random.sparsity(dissect(model))
    updated = done.seed_folder(0).updated("sparsegpt")
    if updated.is_dir():
        good = Ticket.load(done.seed_folder(0).ticket("sparsegpt", "good"))
        cut = shrunk(done.task.load(str(updated), seed=0), good).model
        assert _written(done, "sparsegpt").models[0].generated == task.generate_texts(cut, model, GenerationSettings())
    page = (done.folder / "report.html").read_text()
    assert "What it writes" in page
    assert html.escape(full.generated.texts[0]) in page
    printed = io.StringIO()
    table = generation_table(read_study(done.folder))
    assert table is not None
    Console(width=200, file=printed).print(table)
    lines = [line.split() for line in printed.getvalue().splitlines()]
    assert [line[:3] for line in lines if line[:1] == ["wanda"]] == [["wanda", t, "pruned"] for t in ("good", "random")]


def test_what_a_model_wrote_cannot_change_the_page(done: Study, tmp_path: Path) -> None:
    shutil.copytree(done.folder, tmp_path / "copy")
    path = Study(config(), out=tmp_path / "copy").seed_folder(0).analysis("text-generation", "wanda")
    found = GenerationProfile.read(path)
    hostile = dataclasses.replace(found.models[0].generated, texts=("<script>alert(1)</script> & [bold]",) * 16)
    broken = dataclasses.replace(found.models[1], generated=NOTHING)
    authors = (dataclasses.replace(found.models[0], generated=hostile), broken)
    dataclasses.replace(found, models=authors).write(path)
    page = report.build(tmp_path / "copy").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; [bold]" in page
    assert "<script>alert(1)" not in page
    assert "(nothing)" in page


def test_what_tickets_wrote_when_they_were_retrained_is_kept(tmp_path: Path) -> None:
    settings = config(methods=("weights",), recovery_tokens=200, learning_rate=1e-3, analyses=())
    Study(settings, out=tmp_path).run()
    # Asked for later: only the good ticket's model was saved.
    asked = Study(dataclasses.replace(settings, analyses=("text-generation",)), out=tmp_path)
    asked.run()
    later = _written(asked, "weights")
    assert [(one.ticket, one.stage) for one in later.models] == [
        *(("good", stage) for stage in ("pruned", "retrained")),
        ("random", "pruned"),
    ]
    before = Study(dataclasses.replace(settings, analyses=("text-generation",)), out=tmp_path / "before")
    before.run()
    first = _written(before, "weights")
    assert [(one.ticket, one.stage) for one in first.models] == [
        (ticket, stage) for ticket in ("good", "random") for stage in ("pruned", "retrained")
    ]
    assert first.models[:3] == later.models


@pytest.mark.parametrize(("given", "more"), [({}, ()), ({"recovery_tokens": 100}, ("random-tickets",))])
def test_all_that_can_be_asked_of_a_language_model(given: dict[str, int], more: tuple[str, ...]) -> None:
    asked = set(config(analyses=("all",), **given).analyses)
    assert asked == {"survivors", "interactions", "representations", "random-curve", "text-generation", *more}


def _profile(study: Study, method: str) -> RetentionProfile:
    return RetentionProfile.read(study.seed_folder(0).analysis("retention", method))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"retain": "cloze>=0.9"}, "unknown ability"),
        ({"retain": "reasoning>=0.9"}, "at chance in reasoning"),
        ({"abilities": ("grammer",)}, "unknown ability"),
        ({"text_file": "/nowhere.txt"}, "nowhere"),
    ],
)
def test_bad_input_is_one_clear_line(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(TombolaError, match=message) as caught:
        Study(config(methods=("heads",), **settings), out=tmp_path).run()
    assert "\n" not in str(caught.value)


def test_a_setting_of_another_regime_is_one_clear_line() -> None:
    with pytest.raises(TombolaError, match="retain is for language models"):
        StudyConfig.of(retain="grammar>=0.9")
    with pytest.raises(TombolaError, match="nothing to rewind to"):
        dataclasses.replace(config(), rewind="step-3")


def typed(settings: dict[str, Any]) -> list[str]:
    """Settings as a user types them."""
    text = {name: ",".join(map(str, v)) if isinstance(v, tuple) else str(v) for name, v in settings.items()}
    return [part for name, value in text.items() for part in (f"--{name.replace('_', '-')}", value)]


def test_the_command_line_says_where_each_ability_falls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = config().settings()
    names = (
        "model",
        "task",
        "abilities",
        "text_file",
        "bos_token",
        "dev_rows",
        "heads_step",
        "bootstrap_resamples",
        "precision",
    )
    flags = typed({name: tuple(v) if isinstance(v := values[name], list) else v for name in names})
    assert main(["study", *flags, "--methods", "heads", "--out", str(tmp_path), "--sparsities", "0.5"]) == 0
    # Lines are as narrow as a terminal.
    text = " ".join(capsys.readouterr().out.split())
    assert "at which each ability falls under 90 %" in text
    assert "Grammar" in text


def test_single_steps_prune_language_models_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = (
        "model",
        "task",
        "abilities",
        "text_file",
        "bos_token",
        "dev_rows",
        "calibration_samples",
        "sequence_length",
    )
    values = config(sparsities=(0.1, 0.2)).settings()
    flags = typed({name: tuple(v) if isinstance(v := values[name], list) else v for name in (*names, "sparsities")})
    for method, expected in (("sparsegpt", (0.0, 0.1, 0.2)), ("sparsegpt-2of4", (0.5,))):
        assert main(["prune", *flags, "--method", method, "--out", str(tmp_path / method), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["sparsity"] in [pytest.approx(one, abs=1e-3) for one in expected]
        ticket = Ticket.load(found["ticket"])
        assert ticket.provenance["method"] == method
        assert ticket.provenance["score"] == found["score"]
        if found["sparsity"] > 0:
            model = LlamaForCausalLM.from_pretrained(found["model"])
            for name, weight in dissect(model).weights_of(model).items():
                assert bool((weight[~ticket.masks[name]] == 0).all())
    assert main(["prune", *flags, "--method", "wandering", "--out", str(tmp_path / "not")]) == 2
    assert "unknown pruning method 'wandering'" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["heads", pytest.param("weights", marks=pytest.mark.exhaustive), "sparsegpt"])
def test_the_trail_of_a_language_model_agrees_with_its_study(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Reasoning is guessed at, and grammar alone is to be retained: a score of the mean would be another.
    shared, search = {"dev_rows", "retain", "bootstrap_resamples", "precision"}, {"heads_step", "sparsities"}
    shared |= {"model", "task", "abilities", "text_file", "bos_token", "sequence_length", "calibration_samples"}
    training = {"recovery_tokens": 600, "learning_rate": 1e-3, "max_length": 12}
    chosen = config(methods=(method,), controls=(), analyses=(), retain="grammar>=0.8", refine=False, **training)
    study = Study(chosen, out=tmp_path / "runs")
    study.run()
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in chosen.settings().items()}
    common = typed({name: values[name] for name in shared - {"sequence_length", "calibration_samples"}})
    found, scored, again = (tmp_path / name for name in ("found", "scored", "again"))

    def run(*arguments: object) -> dict[str, Any]:
        assert main([*map(str, arguments), "--json"]) == 0
        said = capsys.readouterr()
        assert "not taken over" not in said.err
        result: dict[str, Any] = json.loads(said.out)
        return result

    own = typed({name: values[name] for name in ("sequence_length", "calibration_samples", *search)})
    own += ["--no-refine", "--importance-samples", "12", "--importance-sequence-length", "12"]
    pruned = run("prune", *common, *own, "--method", method, "--out", found)
    rows = small_study.timeless(small_study.read_rows(study.folder))
    assert [row["stage"] for row in rows] == ["none", "none", "pruned", "retrained"]
    assert small_study.timeless(small_study.read_rows(found)) == rows[:3]
    model = ["--model", pruned.get("model", language())]
    assert run("score", *common, *model, "--ticket", found, "--out", scored)["score"] == rows[2]["score"]
    run("retrain", *common, *model, *typed(training), "--epochs", 1, "--ticket", found, "--out", again)
    for folder, count in ((scored, 3), (again, 4)):
        there = small_study.timeless(small_study.read_rows(folder))
        assert [{**row, "model": str(language())} for row in there] == rows[:count]
    (verdict,) = json.loads((again / "verdicts.json").read_text())["verdicts"]
    assert verdict == study.verdicts()[0]
    for folder in (found, scored, again):
        report.build(folder)
    assert len(compare([found, scored, again], draws=10).kinds) == 1


def test_a_language_model_is_retrained_on_as_many_tokens_as_one_says(
    done: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticket = done.seed_folder(0).ticket("heads", "good")
    names = ("model", "task", "abilities", "text_file", "bos_token", "dev_rows")
    values = config().settings()
    flags = typed({name: tuple(v) if isinstance(v := values[name], list) else v for name in names})
    arguments = ["retrain", *flags, "--ticket", str(ticket), "--out", str(tmp_path / "again")]
    assert main(arguments) == 2
    assert "retrain trains the ticket again: say with recovery_tokens on how many tokens" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    # A ticket from elsewhere: the model is its own full model.
    ticket = shutil.copytree(ticket, tmp_path / "theirs")
    assert main([*arguments[:-3], str(ticket), *arguments[-2:], "--recovery-tokens", "200", "--seed", "3"]) == 0
    rows = small_study.read_rows(tmp_path / "again")
    assert [row["ticket"] for row in rows] == ["guessing", "full", "good"]
    assert len(read_json(tmp_path / "again" / "verdicts.json")["verdicts"]) == 1


def test_a_search_ends_where_the_model_breaks(done: Study) -> None:
    model = done.task.load(str(language()), seed=0)
    with torch.no_grad():
        model.get_parameter("model.layers.1.mlp.down_proj.weight").mul_(float("inf"))
    broken = evaluate(whole(model), done.task, importance=True)
    assert broken.importance is None
    assert np.isnan(broken.predictions).any()
    assert np.isfinite(broken.score)


def test_no_text_of_its_files_becomes_markup_or_code(done: Study, tmp_path: Path) -> None:
    shutil.copytree(done.folder, tmp_path / "study")
    plant(tmp_path / "study", browser.CODE, "understanding")
    browser.check_planted(report.build(tmp_path / "study"), tmp_path / "profile")


def test_every_lost_or_damaged_file_is_noticed(done: Study, tmp_path: Path) -> None:
    assert lost_files.unnoticed(done, tmp_path) == []


def renewable(out: Path, **settings: Any) -> Study:
    return Study(config(methods=("heads", "wanda", "sparsegpt"), at_chance="continue", **settings), out=out)


@pytest.fixture(scope="module")
def base() -> Study:
    return small_study.run_once(renewable(shared_folder.home() / "renewed-language"))


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "changed",
    [
        {"threshold": 0.97},
        {"bootstrap_resamples": 60},
        {"sparsities": (0.2, 0.5)},
        {"calibration_samples": 4},
        {"importance_samples": 8},
        {"importance_sequence_length": 8},
        {"sequence_length": 12},
        {"bos_token": "none"},
        {"abilities": ("language-modelling",)},
        {"retain": "grammar>=0.95"},
        {"text_tokens": 60},
        {"dev_rows": 20},
        {"max_length": 16},
        {"recovery_tokens": 480},
        {"controls": ()},
        {"search_split": "train"},
    ],
    ids=str,
)
def test_other_settings_in_the_same_folder_give_what_they_give_in_a_new_one(
    changed: dict[str, Any], base: Study, tmp_path: Path
) -> None:
    copy = shutil.copytree(base.folder, tmp_path / "copy")
    assert_renewed(renewable(copy, **changed), renewable(tmp_path / "fresh", **changed), renewable(copy), base)
