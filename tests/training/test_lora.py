"""Adapters against W + s B A written out by hand, on every kind of map that a shrunk or masked model has."""

import copy
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from builders.encoders import some_weights
from builders.families import ZOO, computed, sampled, tickets
from builders.language_models import llama, task
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import Subnetwork, expanded, shrunk, whole
from tombola.training import lora
from tombola.training.loop import retrain
from tombola.training.lora import LowRank, adapters
from tombola.training.recipe import Recipe

RECIPE = Recipe(epochs=3, batch_size=4, learning_rate=1e-2)
LORA = LowRank(3, 2e-2)


def part_of(model: nn.Module, which: str) -> Subnetwork:
    """What is trained of a model: with zeros in place of weights, or without some sites."""
    ticket = some_weights(model, 0) if which == "masked" else tickets(model)[which]
    part = shrunk(model, ticket)
    return replace(part, model=copy.deepcopy(part.model))


def filled(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Give every B numbers; the path of each map with its A and B."""
    found: dict[str, dict[str, Tensor]] = {}
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            path, _, which = name.replace(".adapter", "").partition(".lora_")
            if which.startswith("B"):
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.data = 0.1 * noise
            found.setdefault(path, {})[which[0]] = parameter.detach().clone()
    return {path: (one["A"], one["B"]) for path, one in found.items()}


def by_hand(part: Subnetwork, thin: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The state that the merged model should have: the only arithmetic of it that is not Tombola's or peft's."""
    weights = {name: tensor.clone() for name, tensor in part.model.state_dict().items()}
    matrices = {matrix.module: matrix for matrix in part.anatomy.matrices}
    for path, (a, b) in thin.items():
        change = 2 * torch.einsum("or,ri->oi", b, a)
        weight = weights[f"{path}.weight"]
        if type(part.model.get_submodule(path)).__name__ == "Conv1D":
            change = change.T
        if part.ticket.kind == "weights":
            change = change * part.ticket.masks[matrices[path].name]
        weights[f"{path}.weight"] = weight + change
    return weights


@pytest.mark.parametrize("which", ["masked", "uneven groups", "first layer emptied", "no MLP"])
@pytest.mark.parametrize("name", sampled())
def test_what_is_trained_is_what_is_merged(name: str, which: str) -> None:
    part, inputs = part_of(ZOO[name].make(), which), ZOO[name].given(padded=False)
    before = replace(part, model=copy.deepcopy(part.model))
    mask_ticket = part.ticket if which == "masked" else None
    names = [name for name, _ in part.model.named_parameters()]
    kinds = {path: type(module) for path, module in part.model.named_modules()}
    with adapters(part.model, part.anatomy, 3, mask_ticket=mask_ticket, seed=0):
        torch.testing.assert_close(computed(part, inputs), computed(before, inputs))
        assert all(p.requires_grad == (".lora_" in name) for name, p in part.model.named_parameters())
        thin = filled(part.model)
        trained = computed(part, inputs)
    # All that is prunable, but for what zeros stand in for, or nothing.
    left = {one.module for one in part.anatomy.matrices if before.model.get_parameter(one.parameter).any()}
    assert thin.keys() == left
    expected = by_hand(before, thin)
    assert [name for name, _ in part.model.named_parameters()] == names
    assert {path: type(module) for path, module in part.model.named_modules()} == kinds
    assert all(parameter.requires_grad for parameter in part.model.parameters())
    for tensor, merged in part.model.state_dict().items():
        torch.testing.assert_close(merged, expected[tensor], msg=tensor)
    assert not hasattr(part.model, "peft_config")
    torch.testing.assert_close(computed(part, inputs), trained)
    assert not torch.allclose(trained, computed(before, inputs))


@pytest.mark.parametrize("which", ["masked", "uneven groups"])
def test_training_through_adapters_recovers_and_keeps_what_is_pruned(which: str) -> None:
    model, made = llama(dtype=torch.float32), task()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ticket = part_of(model, which).ticket
    one = retrain(model, ticket, made, RECIPE, low_rank=LORA)
    again = retrain(model, ticket, made, RECIPE, low_rank=LORA)
    other = retrain(model, ticket, made, RECIPE, low_rank=LORA, seed=1)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name])
    before = shrunk(model, ticket)
    matrices = {matrix.parameter for matrix in one.anatomy.matrices}
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])
        was = before.model.state_dict()[name]
        if name not in matrices or not was.any():
            assert torch.equal(tensor, was)
        else:
            assert not torch.equal(tensor, other.model.state_dict()[name])
            # A sum of so few products of thin matrices.
            assert int(torch.linalg.matrix_rank((tensor - was).double(), rtol=1e-4)) > 0
    if which == "masked":
        for name, weight in one.anatomy.weights_of(one.model).items():
            gone = weight[~ticket.masks[name]]
            assert not gone.any()
            assert not gone.signbit().any()
    losses = [_loss(part) for part in (before, one)]
    assert losses[1] < losses[0]
    assert computed(expanded(one), {"input_ids": torch.arange(6)[None]}).isfinite().all()


def _loss(part: Subnetwork) -> float:
    made = task()
    total = [made.output(part.model, batch).losses for batch in made.batches("train", 4)]
    return float(torch.cat(total).mean())


def test_an_unmasked_change_has_the_rank_that_was_asked_for() -> None:
    model = llama()
    part = retrain(model, whole(model).ticket, task(), RECIPE, low_rank=LORA)
    for matrix in part.anatomy.matrices:
        change = part.model.get_parameter(matrix.parameter) - model.get_parameter(matrix.parameter)
        assert int(torch.linalg.matrix_rank(change, rtol=1e-8)) == 3


def test_what_cannot_be_adapted_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TombolaError, match="rank of 1 or more"):
        LowRank(0)
    model = llama()
    nothing = whole(model, "weights").ticket
    part = shrunk(model, replace(nothing, masks={name: mask & False for name, mask in nothing.masks.items()}))
    with (
        pytest.raises(TombolaError, match="nothing is left"),
        adapters(part.model, part.anatomy, 2, mask_ticket=part.ticket, seed=0),
    ):
        pass
    monkeypatch.setattr(lora, "find_spec", lambda _: None)
    with pytest.raises(TombolaError, match=r"pip install 'tombola\[language\]'"):
        LowRank(4)
