"""A model of 30,000 parameters and a task that it learns in a second, as folders: what studies are tested on."""

import contextlib
import functools
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from builders.shared_folder import home, once
from tombola.analysis.locality.random_tickets import DrawOptions
from tombola.cli.main import COMMANDS
from tombola.report import build
from tombola.study.config import StudyConfig, setting_groups
from tombola.study.study import Study
from tombola.training.loop import train

LAYERS, HEADS, HIDDEN, INNER = 3, 4, 32, 64
GOOD = ("bright", "warm", "funny", "lovely", "moving")
BAD = ("dull", "cold", "boring", "ugly", "tired")
FILLING = tuple(f"word{number}" for number in range(30))
SETTINGS: Mapping[str, Any] = {
    "train_rows": 192,
    "dev_rows": 96,
    "epochs": 2,
    "batch_size": 32,
    "learning_rate": 1e-2,
    "max_length": 16,
    "weights_step": 0.3,
    "heads_step": 0.25,
    "bootstrap_resamples": 200,
    "precision": "fp32",
    # Some tests train for too short a time to beat guessing.
    "at_chance": "continue",
}
"""The recipe under which the model learns the task, in few and large steps, of which it took some before."""


@functools.cache
def model() -> Path:
    """The shared folder of the tiny BERT, which knows already what the words mean: studies of it are short."""
    return once("tiny-bert", _write_learned)


@functools.cache
def untrained() -> Path:
    """The shared folder of the tiny BERT as it was before, which knows nothing."""
    return once("untrained-bert", write_model)


@functools.cache
def task() -> Path:
    """The shared folder of the task."""
    return once("moods", write_task)


@functools.cache
def finished() -> Study:
    """A finished study of the shared model and task, seed 0, with its report."""
    return run_once(study_in(home() / "runs"))


@functools.cache
def analysed() -> Study:
    """A finished study of two seeds with every analysis, of few random tickets, and its report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tombola.study.analysis_steps.DrawOptions", functools.partial(DrawOptions, draws=6))
        patch.setattr("tombola.study.analysis_steps.RETRAINED", 1)
        return run_once(study_in(home() / "asked", seeds=(0, 1), analyses=("all",), threshold=0.97))


def run_once(study: Study) -> Study:
    """A study of `home` that has run, with its report: run by the first process of the tests that asks for it."""
    with FileLock(home() / f".{study.folder.name}.lock"):
        if not (study.folder / "report.html").is_file():
            build(study.run())
    return study


def config(**settings: Any) -> StudyConfig:
    """The configuration of the small study."""
    return StudyConfig.of("quick", **{"model": str(model()), "task": str(task()), **SETTINGS, **settings})


def study_in(out: Path, seeds: Sequence[int] = (0,), save: str = "good", **settings: Any) -> Study:
    """A small study that has not run yet."""
    return Study(config(**{"device": "cpu", **settings}), out=out, seeds=seeds, save=save)


def flags(command: str = "study", **settings: Any) -> list[str]:
    """The settings of the small study as a user types them: those that the command heeds."""
    groups = setting_groups()
    heeded = {one.name for title in COMMANDS[command].groups for one in groups[title][1]}
    values = {"model": model(), "task": task(), **{k: v for k, v in SETTINGS.items() if k in heeded}, **settings}
    return [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def _write_learned(folder: Path) -> None:
    """The tiny BERT after three epochs of the task, without its output layer."""
    given = StudyConfig.of("quick", **{**SETTINGS, "model": str(untrained()), "task": str(task()), "epochs": 3})
    opened = given.open_task()
    learned = opened.load(given.model, seed=0)
    train(learned, opened, given.recipe, seed=0)
    body = learned.get_submodule("bert")
    assert isinstance(body, BertModel)
    with quiet():
        body.save_pretrained(folder)
    write_tokenizer(folder)


def write_model(folder: Path, seed: int = 8, layers: int = LAYERS) -> Path:
    """A BERT that was never trained, in the layout of the hub, with a tokenizer."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        with quiet():
            BertModel(bert(layers)).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the bars of `save_pretrained`."""
    transformers_logging.disable_progress_bar()
    yield
    transformers_logging.enable_progress_bar()


def bert(layers: int = LAYERS, **options: Any) -> BertConfig:
    """The configuration of the tiny BERT."""
    return BertConfig(
        vocab_size=len(_vocabulary()),
        hidden_size=HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=32,
        # Wide enough that a few steps move it.
        initializer_range=0.1,
        **options,
    )


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of whole words."""
    vocabulary = _vocabulary()
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=32,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(folder)


def _vocabulary() -> dict[str, int]:
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *GOOD, *BAD, *FILLING)
    return {word: index for index, word in enumerate(words)}


def write_task(folder: Path, train: int = 240, dev: int = 120, seed: int = 0) -> Path:
    """Sentences with one word that decides; one label in twelve is wrong, so that no model is perfect."""
    folder.mkdir(parents=True)
    draw = random.Random(seed)
    for split, rows in (("train", train), ("dev", dev)):
        lines = ["sentence\tlabel", *(_row(draw, row) for row in range(rows))]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _row(draw: random.Random, number: int) -> str:
    good = number % 5 < 3
    words = draw.choices(FILLING, k=draw.randint(3, 8))
    words.insert(draw.randrange(len(words) + 1), draw.choice(GOOD if good else BAD))
    label = good if draw.random() > 1 / 12 else not good
    return f"{' '.join(words)}\t{'good' if label else 'bad'}"


def environment(**more: str) -> dict[str, str]:
    """That of a subprocess: no hub, one thread a process."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **more}


def command(*arguments: object) -> list[str]:
    """The command line of a subprocess."""
    return [str(Path(sys.executable).with_name("tombola")), *map(str, arguments)]


def tombola(*arguments: object, timeout: float = 120, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=timeout, env=environment(**more), check=False
    )


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of `results.jsonl`."""
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def timeless(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows without what differs between two runs of the same: the seconds."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def listing(*folders: Path) -> dict[str, int]:
    """Everything under the folders, hidden files too, with sizes: equal when nothing was written."""
    return {
        str(path): path.stat().st_size if path.is_file() else -1 for folder in folders for path in folder.rglob("*")
    }
