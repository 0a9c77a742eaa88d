"""Values are copied and pickled like any other, also into another process, and stay read-only."""

import copy
import functools
import multiprocessing
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from builders import language_models
from builders.encoders import classifier, rows, some_sites, some_weights, tokenizer
from builders.task_types import choice_rows, question_rows, splitting_tokenizer, tagged_rows, written_rows
from tombola.architectures.dissect import dissect
from tombola.foundations.frozen_dict import FrozenDict
from tombola.metrics.image_metrics import FID, KID, PRECISION, RECALL, class_balance
from tombola.pruning.evaluation import EvaluationOptions, score
from tombola.pruning.search.loop import search_ticket
from tombola.pruning.search.options import SearchOptions
from tombola.pruning.weight_criteria import WeightCut
from tombola.study.config import StudyConfig
from tombola.subnetworks.subnetwork import Subnetwork, masked, shrunk
from tombola.tasks.base import Task
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions
from tombola.tasks.fine_tuned.multiple_choice import MultipleChoiceTask
from tombola.tasks.fine_tuned.question_answering import QuestionAnsweringTask
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.tasks.fine_tuned.text_to_text import TextToTextTask
from tombola.tasks.fine_tuned.token_classification import TokenClassificationTask
from tombola.tickets.ticket import Ticket
from tombola.training.recipe import Recipe

TASKS: tuple[tuple[Any, Any, dict[str, Any]], ...] = (
    (TokenClassificationTask, tagged_rows, {}),
    (MultipleChoiceTask, choice_rows, {}),
    (QuestionAnsweringTask, question_rows, {}),
    (TextToTextTask, written_rows, {"score": "rougeL"}),
)
MODEL = classifier(dtype=torch.float32)
TASK = TextTask.from_rows(rows(60, 1), rows(40, 2), tokenizer())
VALUES: dict[str, Callable[[], Any]] = {
    "ticket of sites": lambda: some_sites(MODEL, 0),
    "ticket of weights": lambda: some_weights(MODEL, 0),
    "anatomy": lambda: dissect(MODEL),
    "importance": lambda: score(MODEL, TASK, importance=True).importance,
    "evaluation": lambda: score(MODEL, TASK),
    "search": lambda: search_ticket(MODEL, TASK, "heads"),
    "subnetwork": lambda: shrunk(MODEL, some_sites(MODEL, 0)),
    "masked subnetwork": lambda: masked(MODEL, some_sites(MODEL, 0)),
    "task": lambda: TASK,
    "task of another metric": lambda: TextTask(
        TASK.corpus, tokenizer(), FineTunedOptions(score="matthews_correlation")
    ),
    "task of a function": lambda: TextTask(TASK.corpus, tokenizer(), FineTunedOptions(score=balanced_accuracy_score)),
    **{
        kind.__name__: functools.partial(kind.from_rows, made(8, 0), made(6, 1), splitting_tokenizer(), **options)
        for kind, made, options in TASKS
    },
    "language task": language_models.task,
    "image metrics": lambda: (FID, KID, PRECISION, RECALL, class_balance(np.argmax, 3)),
    "corpus": lambda: TASK.corpus,
    "cut": lambda: WeightCut("wanda", 0.5),
    "recipe": Recipe,
    "search options": SearchOptions,
    "evaluation options": EvaluationOptions,
    "configuration": StudyConfig.of,
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Subnetwork):
        given = next(TASK.batches("dev", 8)).inputs
        return bool(one.ticket == other.ticket) and torch.equal(one.model(**given).logits, other.model(**given).logits)
    if isinstance(one, TextTask):
        return bool((score(MODEL, one).losses == score(MODEL, other).losses).all())
    if isinstance(one, Task):
        found, right = ((of.metric.name, of.references("dev"), of.guess("dev")) for of in (one, other))
        scores = {of.metric.score(*pair) for of in (one, other) for pair in (found[:0:-1], right[:0:-1])}
        return found[0] == right[0] and bool((found[1] == right[1]).all()) and len(scores) == 1
    if isinstance(one, EvaluationOptions):
        return bool(replace(other, progress=one.progress) == one)
    return repr(one) == repr(other) and (not isinstance(one, Ticket) or one == other)


@pytest.mark.parametrize("how", list(COPIES))
@pytest.mark.parametrize("what", list(VALUES))
def test_a_copy_is_the_same_value(what: str, how: str) -> None:
    value = VALUES[what]()
    assert same(COPIES[how](value), value)


@pytest.mark.slow
def test_a_ticket_goes_to_another_process_and_back() -> None:
    ticket = some_sites(MODEL, 0)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(len, (ticket,)) == len(ticket)
        assert pool.apply(copy.copy, (ticket,)) == ticket


def test_a_frozen_dictionary_is_read_only_and_a_copy() -> None:
    given = {"a": 1}
    frozen: Any = FrozenDict(given)
    given["a"] = 2
    assert dict(frozen) == frozen == {"a": 1}
    assert frozen | {"b": 2} == {"a": 1, "b": 2}
    with pytest.raises(TypeError):
        frozen["a"] = 3
    with pytest.raises(AttributeError):
        frozen.clear()
