"""Before a search: a full model at chance, below it, or of whom a constant predictor is as good."""

import copy
import functools
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import pytest
import torch

from builders.encoders import classifier, rows, tokenizer
from tombola.foundations.errors import TombolaError
from tombola.foundations.progress import ProgressBars, ProgressLine
from tombola.metrics.scores import METRICS, bound
from tombola.pruning.evaluation import EvaluationOptions, score
from tombola.pruning.one_shot import one_shot
from tombola.pruning.search.guessing import GuessingWarning, check_full_model, no_better
from tombola.pruning.search.loop import search_ticket
from tombola.pruning.search.options import SearchOptions
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.training.loop import train
from tombola.training.recipe import Recipe

THREE = [{"text": f"word{i}", "label": ("low", "middle", "high")[i % 3]} for i in range(90)]


def task(dev: Any = None, **options: Any) -> TextTask:
    return TextTask.from_rows(rows(120, 1), dev or rows(80, 2), tokenizer(), **options)


@functools.cache
def trained() -> Any:
    model = classifier(dtype=torch.float32)
    train(model, TextTask.from_rows(rows(400, 1), rows(80, 2), tokenizer()), Recipe(epochs=8, learning_rate=3e-3))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "matthews_correlation", "f1"])
def test_outputs_in_another_order_are_told_from_a_bad_model_and_named(metric: str) -> None:
    model, own = copy.deepcopy(trained()), task(score=metric)
    assert score(model, own).score > 0.9
    assert own.misread(score(model, own).predictions, "dev") is None
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight.flip(0))
        model.classifier.bias.copy_(model.classifier.bias.flip(0))
    assert score(model, own).score < 0.1
    with pytest.raises(TombolaError, match=r"name them in id2label of its config.json \(0: good, 1: bad\)"):
        search_ticket(model, own)
    with pytest.raises(TombolaError, match="name them in id2label"):
        one_shot(model, own, {"heads": 0.5})
    # As it says:
    model.config.id2label = {0: "good", 1: "bad"}
    assert score(model, own).score > 0.9
    assert len(search_ticket(model, own, "heads").good)


def test_three_classes_that_are_turned_round_are_put_right() -> None:
    own = TextTask.from_rows(THREE, THREE, tokenizer())
    right = own.references("dev")
    assert own.misread(right, "dev") is None
    why = own.misread((right + 1) % 3, "dev")
    assert why is not None
    # Output 1 stands for class 0, 2 for 1 and 0 for 2.
    classes = own.corpus.classes
    assert classes is not None
    assert f"(0: {classes[2]}, 1: {classes[0]}, 2: {classes[1]})" in why


def test_models_at_chance_are_not_accused() -> None:
    own = task()
    drawn = np.random.default_rng(0).integers(0, 2, size=(300, own.size("dev")))
    assert [own.misread(predictions, "dev") for predictions in drawn] == [None] * 300


def test_values_that_run_the_other_way_are_refused() -> None:
    values = [{"text": f"word{i}", "label": float(i)} for i in range(40)]
    own = TextTask.from_rows(values, values, tokenizer(), regression=True)
    right = own.references("dev").astype(np.float64)
    assert own.misread(right, "dev") is None
    why = own.misread(-right, "dev")
    assert why is not None
    assert "run against" in why


@pytest.mark.parametrize("dev", [[row for row in rows(80, 2) if row["label"] == "good"], rows(80, 2)[:1]])
def test_rows_of_one_label_are_refused(dev: list[dict[str, Any]]) -> None:
    with pytest.raises(TombolaError, match="have one label, so that whoever always says it is right"):
        search_ticket(classifier(dtype=torch.float32), task(dev))


def test_constant_values_are_refused() -> None:
    values = [{"text": f"word{i}", "label": 1.5} for i in range(40)]
    changing = [{"text": f"word{i}", "label": float(i)} for i in range(40)]
    own = TextTask.from_rows(changing, values, tokenizer(), regression=True)
    with pytest.raises(TombolaError, match="have one label"):
        check_full_model(own, np.zeros(40), "dev")


def test_a_model_at_chance_is_said_before_the_search() -> None:
    # A note in the bar would be gone with it.
    evaluation = EvaluationOptions(progress=ProgressLine(ProgressBars("a job", 1.0)))
    with pytest.warns(GuessingWarning, match="does not clearly beat guessing"):
        search_ticket(classifier(dtype=torch.float32), task(), "heads", evaluation=evaluation)


def test_a_threshold_that_guessing_holds_is_said_and_can_be_taken_over_chance() -> None:
    model, own = trained(), task()
    with pytest.warns(GuessingWarning, match="holds the threshold"):
        found = search_ticket(model, own, "heads", options=SearchOptions(threshold=0.5))
    full, right = found.full_score, own.references("dev")
    guessed = max(float((right == label).mean()) for label in (0, 1))
    assert full / 2 < guessed < 0.6 < full
    with catch_warnings():
        simplefilter("error")
        over = search_ticket(model, own, "heads", options=SearchOptions(threshold=0.5, over_chance=True))
    holds = True
    for step in over.passes[1:]:
        holds = step.score >= (guessed + full) / 2 and (holds or step.phase != over.passes[step.iteration - 1].phase)
        assert step.holds == holds


def test_the_bound_over_chance() -> None:
    assert bound(0.9, 0.9, 0.5, higher_is_better=True) == pytest.approx(0.86)
    assert bound(2.0, 0.9, 5.0, higher_is_better=False) == pytest.approx(2.3)
    assert METRICS["accuracy"].bound(0.9, 1.0, 0.5) == 0.9
    with pytest.raises(TombolaError, match="nothing over chance"):
        bound(0.5, 0.9, 0.5, higher_is_better=True)
    with pytest.raises(TombolaError, match="nothing over chance"):
        bound(6.0, 0.9, 5.0, higher_is_better=False)


def test_a_model_that_is_good_has_no_warnings() -> None:
    own = task()
    assert no_better(own, own.references("dev"), "dev", 0.9) is None


def test_where_accuracy_hardly_sees_a_class_another_metric_is_named() -> None:
    data = [{"text": f"word {n}", "label": "rare" if n % 20 == 0 else "usual"} for n in range(400)]
    train_rows, dev = data[:200], data[200:]
    by_accuracy, balanced = (
        TextTask.from_rows(train_rows, dev, tokenizer(), score=metric) for metric in ("accuracy", "balanced_accuracy")
    )
    predictions = by_accuracy.references("dev").copy()
    predictions[np.flatnonzero(predictions == 0)[:2]] = 1
    score, bound = by_accuracy.metric.score(predictions, by_accuracy.references("dev")), 0.9 * 0.99
    assert score == 0.99
    said = no_better(by_accuracy, predictions, "dev", bound)
    assert said is not None
    assert "who always guesses alike scores 0.950" in said
    assert "a metric that weighs classes alike (balanced_accuracy, f1_macro)" in said
    assert no_better(balanced, predictions, "dev", 0.9 * 0.9) is None
    at_chance = no_better(by_accuracy, np.ones_like(predictions), "dev", bound)
    assert at_chance is not None
    assert "does not clearly beat guessing" in at_chance
    assert "a metric that weighs classes alike (balanced_accuracy, f1_macro)" in at_chance
