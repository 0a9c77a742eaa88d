"""Options that are texts: from Python a value that there is not ends in one line too, before anything is computed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from builders.encoders import classifier, rows, some_sites, tokenizer
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import METRICS, Metric
from tombola.metrics.statistics import verdict
from tombola.pruning.evaluation import EvaluationOptions, score
from tombola.pruning.search.loop import search_ticket
from tombola.pruning.weight_criteria import WeightCut
from tombola.study.config import StudyConfig
from tombola.study.study import Study
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.tickets.ticket import Ticket
from tombola.training.loop import retrain, train
from tombola.training.recipe import Recipe, Rewinding

WRONG: Any = "nonsense"
ONCE = Recipe(epochs=1)
RIGHT = np.array([0, 1, 1])


def task(**options: Any) -> TextTask:
    return TextTask.from_rows(rows(60, 1), rows(40, 2), tokenizer(), **options)


MODEL = classifier(dtype=torch.float32)
CALLS: dict[str, Callable[[], object]] = {
    "precision of a score": lambda: score(MODEL, task(), options=EvaluationOptions(precision=WRONG)),
    "precision of a training": lambda: train(MODEL, task(), ONCE, precision=WRONG),
    "precision of a retraining": lambda: retrain(MODEL, some_sites(MODEL, 0), task(), ONCE, precision=WRONG),
    "split": lambda: score(MODEL, task(), options=EvaluationOptions(split=WRONG)),
    "metric": lambda: task(score=WRONG),
    "further metric": lambda: task(more={WRONG: "dev"}),
    "split of a further metric": lambda: task(more={"f1": WRONG}),
    "pruning method": lambda: search_ticket(MODEL, task(), WRONG),
    "criterion": lambda: WeightCut(WRONG, 0.5),
    "scope": lambda: WeightCut("magnitude", 0.5, scope=WRONG),
    "pattern": lambda: WeightCut("magnitude", pattern=WRONG),
    "kind of a ticket": lambda: Ticket.full(dissect(MODEL), WRONG),
    "kind of site to prune": lambda: some_sites(MODEL, 0).without({WRONG: [0]}),
    "kind of a metric": lambda: Metric.of(lambda references, predictions: 1.0, kind=WRONG),
    "extent of a ticket": lambda: verdict(METRICS["accuracy"], [RIGHT], [RIGHT], RIGHT, 0, left=[WRONG]),
    "point to rewind to": lambda: Rewinding(WRONG),
    "preset": lambda: StudyConfig.of(WRONG),
    "precision of a study": lambda: StudyConfig.of(precision=WRONG),
    "workers of a study": lambda: Study(StudyConfig.of(), workers=WRONG),
    "what a study saves": lambda: Study(StudyConfig.of(), save=WRONG),
    "split to search on": lambda: StudyConfig.of(search_split=WRONG),
}


@pytest.mark.parametrize("what", list(CALLS))
def test_a_value_that_there_is_not_is_one_line_that_names_it(what: str) -> None:
    before = {name: value.clone() for name, value in MODEL.state_dict().items()}
    with pytest.raises(TombolaError, match=WRONG) as caught:
        CALLS[what]()
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in MODEL.state_dict().items())


def test_the_state_of_a_model(tmp_path: Path) -> None:
    MODEL.save_pretrained(tmp_path)
    with pytest.raises(TombolaError, match="unknown state of a model 'nonsense'; known: pretrained, init, trained"):
        task().load(str(tmp_path), seed=0, state=WRONG)


def test_auto_is_what_the_command_line_takes_it_for() -> None:
    # On this processor: never anything but one of the two.
    automatic: Any = "auto"
    found = [
        score(MODEL, task(), options=EvaluationOptions(precision=one)).losses for one in (automatic, "fp32", "bf16")
    ]
    assert any((found[0] == other).all() for other in found[1:])
