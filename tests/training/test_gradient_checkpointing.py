"""Activations that are computed again: the same weights bit by bit, dropout and all."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from builders import language_models
from builders.encoders import classifier, synthetic
from tombola.foundations.errors import TombolaError
from tombola.tasks.base import Task
from tombola.training.loop import train
from tombola.training.recipe import Recipe

RECIPE = Recipe(epochs=1, learning_rate=3e-3, batch_size=16)


@pytest.mark.parametrize(
    ("make", "inner"),
    [
        ((lambda: (classifier(dropout=0.3), synthetic(train=40, dev=20))), "bert.encoder.layer.0.intermediate"),
        ((lambda: (language_models.llama(), language_models.task())), "model.layers.0.self_attn"),
    ],
    ids=("encoder", "decoder"),
)
def test_what_is_computed_again_is_the_same(make: Callable[[], tuple[nn.Module, Task]], inner: str) -> None:
    found, passes = [], []
    for again in (False, True):
        model, task = make()
        calls: list[int] = []

        def count(module: nn.Module, *_: object, calls: list[int] = calls) -> None:
            # Passes before the training look at what it may leave out.
            calls += [1] * module.training

        hook = model.get_submodule(inner).register_forward_hook(count)
        train(model, task, replace(RECIPE, gradient_checkpointing=again), seed=3)
        hook.remove()
        found.append(model.state_dict())
        passes.append(len(calls))
        assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    assert passes[1] == 2 * passes[0]
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


def test_a_model_without_it_is_refused() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

    with pytest.raises(TombolaError, match="Plain has no gradient checkpointing"):
        train(Plain(), synthetic(train=40, dev=20), replace(RECIPE, gradient_checkpointing=True))
