"""Task types as settings: guessed from columns, opened from files and folders, and whole studies of each."""

import json
import warnings
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any, get_args

import datasets
import numpy as np
import pytest
import torch
from transformers import BertModel

from builders.encoders import config, rows
from builders.task_types import (
    choice_rows,
    image_processor,
    image_rows,
    question_rows,
    splitting_tokenizer,
    t5,
    tagged_rows,
    vit,
    written_rows,
)
from tombola.cli.main import COMMANDS, main
from tombola.foundations.errors import TombolaError
from tombola.report import build
from tombola.report.study_data import read_study
from tombola.study.config import StudyConfig, setting_groups
from tombola.study.study import Study
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedTask
from tombola.tasks.fine_tuned.regime import FineTunedSettings
from tombola.tasks.fine_tuned.task_types import TASK_TYPES, TEXT, task_type_of
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.tasks.fine_tuned.token_classification import TokenClassificationTask

SETTINGS: Mapping[str, Any] = {
    **{"train_rows": 96, "dev_rows": 48, "epochs": 2, "batch_size": 16, "learning_rate": 5e-3, "max_length": 24},
    **{"heads_step": 0.25, "bootstrap_resamples": 100, "precision": "fp32", "device": "cpu"},
}


MODELS = {"image-classification": "vit", "text2text-generation": "t5"}
MAKERS: Mapping[str, Callable[[int, int], list[dict[str, Any]]]] = {
    "token-classification": tagged_rows,
    "multiple-choice": choice_rows,
    "question-answering": question_rows,
    TEXT: rows,
    "text2text-generation": written_rows,
}


def write_lines(folder: Path, make: Callable[[int, int], list[dict[str, Any]]], seeds: tuple[int, int]) -> None:
    folder.mkdir()
    for split, count, seed in (("train", 96, seeds[0]), ("dev", 48, seeds[1])):
        text = "".join(f"{json.dumps(row)}\n" for row in make(count, seed))
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")


def write_images(folder: Path, seed: int) -> None:
    for number, row in enumerate(image_rows(120, seed)):
        home = folder / "train" / row["label"]
        home.mkdir(parents=True, exist_ok=True)
        row["image"].save(home / f"{number}.png")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and data of every type."""
    folder = tmp_path_factory.mktemp("types")
    torch.manual_seed(0)
    BertModel(config("bert", initializer_range=0.1)).save_pretrained(folder / "bert")
    splitting_tokenizer().save_pretrained(folder / "bert")
    vit(scale=0.1).vit.save_pretrained(folder / "vit")
    image_processor().save_pretrained(folder / "vit")
    t5(scale=0.1).save_pretrained(folder / "t5")
    splitting_tokenizer().save_pretrained(folder / "t5")
    for other, seeds in (("", (1, 2)), ("-other", (3, 4))):
        for name, make in MAKERS.items():
            write_lines(folder / f"{name}{other}", make, seeds)
        write_images(folder / f"image-classification{other}", seeds[0])
    return folder


def opened(home: Path, name: str, **settings: Any) -> FineTunedTask[Any]:
    flat = {"model": str(home / MODELS.get(name, "bert")), "task": str(home / name), **SETTINGS, **settings}
    task = StudyConfig.of("quick", **flat).open_task()
    assert isinstance(task, FineTunedTask)
    return task


def test_the_setting_names_every_type() -> None:
    hint = FineTunedSettings.__annotations__["task_type"]
    assert get_args(get_args(hint)[0]) == ("auto", TEXT, *TASK_TYPES)


@pytest.mark.filterwarnings("ignore:.*has training rows only")
@pytest.mark.parametrize("name", [name for name, kind in TASK_TYPES.items() if kind.known_by])
def test_a_type_is_known_by_its_columns_and_that_is_said(home: Path, name: str) -> None:
    with pytest.warns(UserWarning, match=rf"is taken for {name}, as it has the columns .*, .*; .*--task-type"):
        guessed = opened(home, name)
    assert guessed.facts()["task_type"] == name
    named = opened(home, name, task_type=name)
    assert type(named) is type(guessed)
    assert np.array_equal(named.references("dev"), guessed.references("dev"))


def test_labels_beside_words_and_no_text_are_tags(tmp_path: Path, home: Path) -> None:
    made = [{"tokens": row["tokens"], "labels": row["ner_tags"]} for row in tagged_rows(20, 1)]
    for more, kind in ({}, "token-classification"), ({"text": "of one label"}, TEXT):
        (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row | more)}\n" for row in made))
        options = StudyConfig.of("quick", model=str(home / "bert"), task=str(tmp_path / "rows.jsonl"))
        with warnings.catch_warnings(record=True):
            assert task_type_of(options, options.regime_settings) == kind


def test_data_that_were_looked_at_are_not_read_again(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.chdir(tmp_path)
    warnings.simplefilter("always")
    lines = "".join(f"{json.dumps(row)}\n" for row in rows(96, 1))
    Path("rows.jsonl").write_text(lines)
    config = StudyConfig.of("quick", **{"model": str(home / "bert"), "task": "rows.jsonl", **SETTINGS})
    config.check_models()
    # What else lies here is none of theirs.
    Path("log.txt").write_text("new")
    config.open_task()
    assert len(recwarn) == 1
    config.check_models()
    Path("rows.jsonl").write_text(lines + lines)
    config.open_task()
    assert len(recwarn) == 3


@pytest.mark.parametrize(
    ("model", "data", "what"), [("vit", TEXT, "tokenizer"), ("bert", "image-classification", "image")]
)
def test_a_model_that_reads_something_else_is_told_so(home: Path, model: str, data: str, what: str) -> None:
    with pytest.raises(TombolaError, match=f"{model} has no {what}.*: save it beside the model, or give a model that"):
        opened(home, data, model=str(home / model), task_type=data)


@pytest.mark.filterwarnings("error", "ignore:.*have the text of a training row")
def test_labelled_texts_are_what_they_were(home: Path) -> None:
    assert "task_type" not in opened(home, TEXT).facts()
    with pytest.raises(TombolaError, match="regression is for the task type text-classification, not for token"):
        opened(home, TEXT, task_type="token-classification", regression=True)
    with pytest.raises(
        TombolaError, match=r"no column 'tokens' or 'words' .*; name one of: text, label .--text-column"
    ):
        opened(home, TEXT, task_type="token-classification")
    with pytest.raises(TombolaError, match="unknown metric of tags 'accuracy'; did you mean token_accuracy"):
        opened(home, "token-classification", task_type="token-classification", metric="accuracy")
    with pytest.raises(TombolaError, match="unknown metric 'entity_f1'"):
        opened(home, TEXT, task_type=TEXT, metric="entity_f1")


def test_a_file_of_conll_is_the_rows_that_it_holds(home: Path, tmp_path: Path) -> None:
    def text(made: list[dict[str, Any]]) -> str:
        sentences = (zip(row["tokens"], row["ner_tags"], strict=True) for row in made)
        return "\n\n".join("\n".join(f"{word} NN {tag}" for word, tag in sentence) for sentence in sentences)

    for name, count, seed in (("train.txt", 96, 1), ("valid.txt", 48, 2)):
        (tmp_path / name).write_text(f"-DOCSTART- -X- O\n\n{text(tagged_rows(count, seed))}\n", encoding="utf-8")
    expected = opened(home, "token-classification", task_type="token-classification")
    found = opened(home, "token-classification", task_type="token-classification", task=str(tmp_path))
    assert np.array_equal(found.references("dev"), expected.references("dev"))
    assert found.facts()["rows"] == expected.facts()["rows"]
    # One file alone, which its name gives away.
    alone = tmp_path / "all.conll"
    alone.write_text("# sent_id = 1\nword1\tB-A\n# is\tO\n\nfine1\tO\n\nword2\tI-A\nword2\tO\n", encoding="utf-8")
    with (
        pytest.warns(UserWarning, match="taken for token-classification"),
        pytest.warns(UserWarning, match="training rows only: 1 of its 3 rows, drawn with seed 0"),
    ):
        one = opened(home, "", task=str(alone), validation_split=0.4, dev_rows=None)
    assert (one.size("train"), one.size("dev")) == (2, 1)
    alone.write_text("word1 O\nword2\n", encoding="utf-8")
    with pytest.raises(TombolaError, match=r"all\.conll, line 2 has no word and tag"):
        opened(home, "", task=str(alone), task_type="token-classification")


def test_images_without_dev_images_are_split(home: Path) -> None:
    with pytest.warns(UserWarning, match="training rows only: 23 of its 120 rows"):
        task = opened(home, "image-classification", task_type="image-classification")
    assert (task.size("train"), task.size("dev")) == (96, 23)


def settings_of(home: Path, name: str, other: str = "") -> dict[str, Any]:
    flat = {"model": str(home / MODELS.get(name, "bert")), "task": str(home / f"{name}{other}"), "task_type": name}
    return {**flat, **SETTINGS, **({"learning_rate": 1e-2, "epochs": 6} if name == "text2text-generation" else {})}


def sampled(*names: str) -> list[Any]:
    """All types, of which those that are not named are exhaustive: a study here, single commands there take each."""
    return [pytest.param(one, marks=() if one in names else pytest.mark.exhaustive) for one in TASK_TYPES]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sampled("text2text-generation", "question-answering"))
def test_a_study_of_each_type_ends_with_its_report(home: Path, tmp_path: Path, name: str) -> None:
    """Fine-tuned, searched, retrained, shrunk, timed and analysed; what cannot be asked is left out."""
    analyses = ("survivors", "attention", "interactions", "representations")
    flat = {**settings_of(home, name), "methods": ("heads+mlps",), "analyses": analyses}
    study = Study(StudyConfig.of("quick", **flat), out=tmp_path, seeds=(0,))
    page = build(study.run())
    found = {
        row["ticket"] + row["stage"]: row for row in map(json.loads, study.folder.joinpath("results.jsonl").open())
    }
    assert found["fullnone"]["score"] > found["guessingnone"]["score"]
    seed = study.folder / name / "seed-0"
    assert (seed / "heads+mlps" / "good" / "retrained" / "config.json").is_file()
    assert (seed / "heads+mlps" / "good" / "cost.json").is_file()
    assert (seed / "analysis" / "interactions.json").is_file()
    one_text = name in ("token-classification", "question-answering")
    assert (seed / "analysis" / "attention.json").is_file() == one_text
    probed = name == "image-classification"
    assert (seed / "analysis" / "heads+mlps" / "representations.json").is_file() == probed
    assert "entity F1" in page.read_text(encoding="utf-8") or name != "token-classification"
    left_out = {one.analysis: one.why for one in read_study(study.folder).omitted_analyses}
    assert {*left_out} == {*(["attention"] if not one_text else []), *(["representations"] if not probed else [])}
    for why in left_out.values():
        assert escape(why) in page.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sampled("token-classification", "multiple-choice", "image-classification"))
def test_every_command_takes_each_type(
    home: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(command: str, *arguments: object, **settings: Any) -> dict[str, Any]:
        heeded = {one.name for title in COMMANDS[command].groups for one in setting_groups()[title][1]}
        # That of the regime, whose settings whoever opens a task has.
        heeded |= {"task_type"} if "task" in heeded else set()
        few = {"train_rows": 48, "dev_rows": 24, "epochs": 1, "bootstrap_resamples": 20}
        given = {**settings_of(home, name), **few, **settings}
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in given.items() if key in heeded]
        assert main([command, *map(str, arguments), *flags, "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    few_tickets = {"methods": "heads+mlps", "controls": "random", "analyses": "none", "at_chance": "continue"}
    studies = [
        run("study", "--out", tmp_path / "runs", task=home / f"{name}{other}", **few_tickets)["folder"]
        for other in ("", "-other")
    ]
    assert len(run("transfer", *studies, "--out", tmp_path / "transfer")["cells"]) == 2
    full, found = Path(studies[0]) / name / "seed-0" / "full", tmp_path / "found"
    assert run("prune", "--density", "heads=0.5,mlps=0.5", "--out", found, model=full)["ticket"]
    under = run("score", "--ticket", found, model=full)["score"]
    again = run("retrain", "--ticket", found, "--out", tmp_path / "again")["score"]
    assert run("score", model=tmp_path / "again")["score"] == pytest.approx(again)
    run("shrink", full, found, "--no-measure", "--force", "--out", tmp_path / "small")
    run("export", full, found, "--format", "zeros", "--out", tmp_path / "zeros")
    for folder in ("small", "zeros"):
        assert run("score", model=tmp_path / folder)["score"] == pytest.approx(under)
    run("prune", "--density", "heads=0.5,mlps=0.5", "--out", tmp_path / "further", model=tmp_path / "small")
    run("compare", found, studies[0], "--out", tmp_path / "compared")


def test_rows_as_people_give_them(home: Path) -> None:
    made = rows(20, 1)
    columns = {name: [row[name] for row in made] for name in made[0]}
    expected = TextTask.from_rows(made, made, splitting_tokenizer())
    found = TextTask.from_rows(columns, columns, str(home / "bert"))  # type: ignore[arg-type]
    assert found.corpus.splits["train"].first == expected.corpus.splits["train"].first
    assert (repr(found), repr(found.metric)) == ("TextTask(your-data)", "Metric(accuracy, higher is better)")
    splits = datasets.DatasetDict(train=datasets.Dataset.from_list(made), test=datasets.Dataset.from_list(made))
    for both in (splits, {"train": made, "test": made}):
        at_once = TextTask.from_rows(both, None, home / "bert")  # type: ignore[arg-type]
        assert at_once.corpus.splits["dev"].first == expected.corpus.splits["dev"].first
    with pytest.warns(UserWarning, match="has training rows only: 3 of its 20 rows"):
        assert TextTask.from_rows(iter(made), None, str(home / "bert")).size("dev") == 3
    tagged = datasets.Dataset.from_list(tagged_rows(40, 1))
    with pytest.warns(UserWarning, match="has training rows only: . of its 40 rows"):
        assert TokenClassificationTask.from_rows(tagged, None, splitting_tokenizer()).size("dev") in (7, 8)
    with pytest.raises(TombolaError, match="the model's tokenizer is wanted, or its folder or name, not None"):
        TextTask.from_rows(made, made, None)  # type: ignore[arg-type]
    with pytest.raises(TombolaError, match="rows are wanted: a Dataset, a DataFrame or dictionaries, not 3"):
        TextTask.from_rows(3, made, splitting_tokenizer())  # type: ignore[arg-type]
    for given, said in (
        ("rows.csv", "not the name of a file: read 'rows.csv' first"),
        ([("a", 0), ("b", 1)], r"a row is a dictionary of columns, .*, not \('a', 0\)"),
        ({"text": ["a", "b"], "label": [0]}, "the columns text, label differ in length"),
        ({"train": made, "dev": made}, "give them one by one, as 'train'"),
    ):
        with pytest.raises(TombolaError, match=said):
            TextTask.from_rows(given, made, splitting_tokenizer())  # type: ignore[arg-type]
