"""Bars of calls from Python: `progress=True` shows one, and a receiver of one's own hears the same."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from torch import nn

from builders.encoders import synthetic
from tombola.pruning.evaluation import EvaluationOptions, score
from tombola.pruning.one_shot import one_shot
from tombola.pruning.search.loop import search_ticket
from tombola.pruning.search.options import SearchOptions
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.training.loop import train
from tombola.training.recipe import Recipe


@dataclass
class Heard:
    examples: int = 0
    notes: list[str] = field(default_factory=list)

    def advance(self, examples: int) -> None:
        self.examples += examples

    def measured(self, step: int, values: Mapping[str, float]) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def trained(checkpoint: Path) -> tuple[nn.Module, TextTask]:
    task = synthetic()
    model = task.load(str(checkpoint), seed=0)
    train(model, task, Recipe(epochs=6, learning_rate=3e-3))
    return model, task


def test_a_bar_counts_examples(trained: tuple[nn.Module, TextTask], capsys: pytest.CaptureFixture[str]) -> None:
    model, task = trained
    examples = task.size("dev")
    score(model, task, progress=True)
    assert f"{examples:,} examples" in capsys.readouterr().err
    score(model, task, options=EvaluationOptions(progress=True))
    assert f"{examples:,} examples" in capsys.readouterr().err
    score(model, task, progress=False)
    one_shot(model, task, 0.5, progress=True)
    assert f"{task.size('train'):,} examples" in capsys.readouterr().err
    train(copy.deepcopy(model), task, Recipe(epochs=2), progress=True)
    said = capsys.readouterr()
    assert f"{2 * task.size('train'):,} examples" in said.err
    assert said.out == ""


def test_one_bar_is_that_of_the_whole_search(
    trained: tuple[nn.Module, TextTask], capsys: pytest.CaptureFixture[str]
) -> None:
    model, task = trained
    options, heard = SearchOptions(threshold=0.8, heads_step=0.25), Heard()
    found = search_ticket(model, task, "heads", options=options, progress=heard)
    assert heard.examples == len(found.passes) * task.size("dev")
    assert len(heard.notes) == len(found.passes)
    search_ticket(model, task, "heads", options=options, progress=True)
    said = capsys.readouterr().err
    assert f"{heard.examples:,} examples" in said
    assert said.count("examples") == 1
    assert said.startswith("search of heads")
    assert f"    {heard.notes[-1][:60]}" in said
