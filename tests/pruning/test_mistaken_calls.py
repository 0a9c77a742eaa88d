"""Calls from Python with what is easily taken for an argument: one line says what to give."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import tombola
from builders.encoders import classifier, synthetic


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return classifier()


called: Any = tombola
"""The package, as those see it who check no types."""
CALLS: tuple[tuple[Callable[[Any, Any, Path], object], str], ...] = (
    (
        lambda m, t, _: called.score(m, t, "good"),
        "the ticket must be of the type Ticket, as Ticket.load(folder), not 'good'",
    ),
    (
        lambda m, _, p: called.save_shrunk(m, p, p / "x"),
        "the ticket must be of the type Ticket, as Ticket.load(folder), not ",
    ),
    (
        lambda m, *_: called.score(m, "cola"),
        "the task must be of the type Task, as TextTask.from_rows(train, dev, tokenizer), ",
    ),
    (
        lambda m, t, _: called.search_ticket(m, t, "heads", options={"threshold": 0.8}),
        "the options must be of the type SearchOptions, as SearchOptions(threshold=0.9), not {'threshold'",
    ),
    (
        lambda m, t, _: called.train(m, t, {"epochs": 1}),
        "the recipe must be of the type Recipe, as Recipe(epochs=3), not {",
    ),
    (
        lambda m, t, _: called.prune_weights(m, called.WeightCut("wanda", 0.5), calibration=t),
        "the calibration text must be of the type Iterable, as [tokenizer(",
    ),
    (lambda *_: called.WeightCut("wanda", pattern=(2, 4)), "2"),
    (lambda m, t, _: called.compare([called.one_shot(m, t, 0.5)]), "folders of tickets are compared, not Ticket("),
    (lambda m, t, p: called.save(called.masked(m, called.one_shot(m, t, 0.5)), p / "x"), "gates are no part of a"),
)


@pytest.mark.parametrize(("call", "said"), CALLS, ids=range(len(CALLS)))
def test_one_line_says_what_to_give(
    call: Callable[[Any, Any, Path], object], said: str, model: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(tombola.TombolaError, match=re.escape(said)) as caught:
        call(model, synthetic(40, 20), tmp_path)
    assert "\n" not in str(caught.value)


def test_what_retraining_gives_is_saved_as_it_is(model: nn.Module, tmp_path: Path) -> None:
    part = tombola.shrunk(model, tombola.one_shot(model, synthetic(40, 20), 0.5))
    tombola.save(part, tmp_path / "small")
    back = tombola.load(tmp_path / "small")
    assert isinstance(back, nn.Module)
    assert back.state_dict().keys() == part.model.state_dict().keys()
    assert len(tombola.compare(_saved(part.ticket, tmp_path)).kinds) == 1


def _saved(ticket: tombola.Ticket, home: Path) -> Path:
    ticket.save(home / "ticket")
    return home / "ticket"
