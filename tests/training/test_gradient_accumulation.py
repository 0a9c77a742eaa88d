"""Batches in parts, one after another: the gradients are those of the whole batch."""

from dataclasses import replace

import pytest
import torch

from builders import language_models
from builders.encoders import classifier, some_weights, synthetic
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import evaluate
from tombola.subnetworks.subnetwork import whole
from tombola.tasks.base import Batch
from tombola.training.loop import retrain, train
from tombola.training.recipe import Recipe

RECIPE = Recipe(epochs=2, learning_rate=3e-3, batch_size=16, weight_decay=0.3, max_grad_norm=0.5)


@pytest.mark.parametrize("parts", [3, 20])
def test_a_batch_in_parts_trains_as_a_whole(parts: int) -> None:
    # The last batch has 12 examples; of 20 parts some have none.
    task, found = synthetic(train=60, dev=40), []
    for steps in (1, parts):
        part = retrain(
            model := classifier(dropout=0.0),
            some_weights(model, 0),
            task,
            replace(RECIPE, gradient_accumulation_steps=steps),
            seed=3,
        )
        found.append(part.model.state_dict())
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=0, atol=1e-8, msg=name)


@pytest.mark.parametrize("trees", [True, False])
def test_items_of_a_language_task_have_their_own_losses_in_any_part(trees: bool) -> None:
    task, model = language_models.task(), language_models.llama()
    if trees:
        task.settle(model)
    whole: Batch = next(task.batches("dev", 16, shuffle=0))
    losses = task.output(model, whole).losses
    for rank in range(3):
        places = torch.arange(rank, len(whole.indices), 3).numpy()
        part = whole.take(places)
        assert part.indices.tolist() == whole.indices[places].tolist()
        torch.testing.assert_close(task.output(model, part).losses, losses[rank::3])


def test_half_precision_scales_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    task = synthetic(train=60, dev=40)
    with pytest.raises(TombolaError, match="fp16 is for GPUs"):
        train(classifier(dtype=torch.float32), task, RECIPE, precision="fp16")
    # As on a GPU: a CPU can do it, and is slow.
    monkeypatch.setattr("tombola.foundations.precision.resolve_precision", lambda name, _: name)
    model, exact = classifier(dropout=0.0, dtype=torch.float32), classifier(dropout=0.0, dtype=torch.float32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(model, task, replace(RECIPE, learning_rate=1e-3), precision="fp16")
    train(exact, task, replace(RECIPE, learning_rate=1e-3))
    name = "classifier.weight"
    moved, expected = (one.state_dict()[name] - before[name] for one in (model, exact))
    assert torch.isfinite(moved).all()
    assert float(torch.cosine_similarity(moved.flatten(), expected.flatten(), dim=0)) > 0.9


def test_a_batch_of_many_tokens_goes_in_parts_on_a_cpu_and_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    task, found = synthetic(train=60, dev=40), []
    for tokens in (10**6, 40):
        monkeypatch.setattr("tombola.tasks.base.TOKENS_AT_ONCE", tokens)
        train(model := classifier(dropout=0.0), task, RECIPE, seed=3)
        found.append((model.state_dict(), evaluate(whole(model), task, importance=True)))
    (expected, at_once), (state, parts) = found
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=1e-7, msg=name)
    assert at_once.score == parts.score
    assert at_once.importance is not None
    assert parts.importance is not None
    for kind, values in at_once.importance.sites.items():
        torch.testing.assert_close(parts.importance[kind], values)
    batch = next(task.batches("train", 16))
    assert batch.parts_for(model, torch.device("cpu")) > 1
    assert batch.parts_for(model, torch.device("cuda")) == 1
