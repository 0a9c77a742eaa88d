"""Gates against models that were really cut: whose columns are deleted or scaled by hand."""

import contextlib
import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from builders.encoders import CPU, FAMILIES, HEAD_SIZE, HEADS, LAYERS, classifier, inputs, parts, sites
from tombola.architectures.dissect import dissect
from tombola.subnetworks.gates import attach
from tombola.tickets.ticket import Ticket


def delete_heads(model: nn.Module, family: str, layer: int, heads: Sequence[int]) -> None:
    projections, out, _ = parts(model, family, layer)
    gone = np.concatenate([np.arange(h * HEAD_SIZE, (h + 1) * HEAD_SIZE) for h in heads])
    for linear in projections:
        linear.weight = nn.Parameter(torch.from_numpy(np.delete(linear.weight.detach().numpy(), gone, axis=0)))
        linear.bias = nn.Parameter(torch.from_numpy(np.delete(linear.bias.detach().numpy(), gone, axis=0)))
    out.weight = nn.Parameter(torch.from_numpy(np.delete(out.weight.detach().numpy(), gone, axis=1)))


def gated(model: nn.Module, given: dict[str, Tensor], values: Ticket | None) -> Tensor:
    anatomy = dissect(model)
    with torch.no_grad(), attach(model, anatomy, Ticket.full(anatomy, "heads+mlps"), values) as gates:
        gates.open(len(given["input_ids"]), CPU, grad=False)
        found: Tensor = model(**given).logits
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gates_at_one_leave_logits_bit_equal(family: str, attention: str, dtype: torch.dtype) -> None:
    model, given = classifier(family, attention=attention, dtype=dtype), inputs()
    assert model.config._attn_implementation == attention
    with torch.no_grad():
        expected = model(**given).logits
    assert torch.equal(gated(model, given, None), expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("padded", [False, True])
def test_a_head_gate_at_zero_is_the_head_deleted(family: str, attention: str, padded: bool) -> None:
    model, given = classifier(family, attention=attention), inputs(padded=padded)
    heads = torch.ones(LAYERS, HEADS)
    heads[0, 1] = heads[2, 0] = heads[2, 3] = 0
    cut = copy.deepcopy(model)
    delete_heads(cut, family, 0, [1])
    delete_heads(cut, family, 2, [0, 3])
    with torch.no_grad():
        before, expected = model(**given).logits, cut(**given).logits
    assert not torch.allclose(before, expected, atol=1e-3)
    torch.testing.assert_close(gated(model, given, sites(model, heads, [1, 1, 1])), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_an_mlp_gate_at_zero_removes_the_sublayer_with_its_bias(family: str, attention: str) -> None:
    model, given = classifier(family, attention=attention), inputs()
    cut = copy.deepcopy(model)
    _, _, mlp = parts(cut, family, 1)
    with torch.no_grad():
        mlp.weight.zero_()
        only_weight = cut(**given).logits
        mlp.bias.zero_()
        expected = cut(**given).logits
    found = gated(model, given, sites(model, torch.ones(LAYERS, HEADS), [1, 0, 1]))
    assert not torch.allclose(only_weight, expected, atol=1e-3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_example_has_gates_of_its_own(family: str) -> None:
    model, given = classifier(family), inputs()
    anatomy = dissect(model)
    torch.manual_seed(0)
    with torch.no_grad(), attach(model, anatomy, Ticket.full(anatomy, "heads+mlps")) as gates:
        for gate in gates.open(5, CPU, grad=False):
            gate.copy_(torch.rand_like(gate) * 2)
        found = model(**given).logits
    for example in range(5):
        scaled = copy.deepcopy(model)
        with torch.no_grad():
            for layer in range(LAYERS):
                _, out, mlp = parts(scaled, family, layer)
                out.weight.mul_(gates.opened["heads", layer][example].double().repeat_interleave(HEAD_SIZE))
                mlp.weight.mul_(gates.opened["mlps", layer][example].double())
                mlp.bias.mul_(gates.opened["mlps", layer][example].double())
            one = {name: tensor[example : example + 1] for name, tensor in given.items()}
            torch.testing.assert_close(found[example : example + 1], scaled(**one).logits, rtol=0, atol=1e-12)


def test_all_gates_at_zero_are_not_taken_for_the_default() -> None:
    model, given = classifier(), inputs()
    nothing = sites(model, torch.zeros(LAYERS, HEADS), torch.zeros(LAYERS))
    cut = copy.deepcopy(model)
    for layer in range(LAYERS):
        _, out, mlp = parts(cut, "bert", layer)
        with torch.no_grad():
            out.weight.zero_()
            mlp.weight.zero_()
            mlp.bias.zero_()
    with torch.no_grad():
        torch.testing.assert_close(gated(model, given, nothing), cut(**given).logits, rtol=0, atol=1e-12)


def test_gates_come_in_fp32_one_a_site_and_example() -> None:
    model = classifier()
    anatomy = dissect(model)
    with attach(model, anatomy, Ticket.full(anatomy, "heads+mlps")) as gates:
        opened = gates.open(7, CPU, grad=True)
    assert [tuple(gate.shape) for gate in opened] == [(7, 4)] * 3 + [(7, 1)] * 3
    assert all(gate.dtype == torch.float32 and gate.requires_grad and gate.is_leaf for gate in opened)


@pytest.mark.parametrize("fails", [False, True])
def test_hooks_and_frozen_parameters_are_as_before_afterwards(fails: bool) -> None:
    model, given = classifier(), inputs()
    anatomy = dissect(model)
    frozen = model.get_parameter("bert.embeddings.word_embeddings.weight")
    frozen.requires_grad_(False)
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    plain = model(**given).logits
    refused = pytest.raises(RuntimeError, match="stop") if fails else contextlib.nullcontext()
    with refused, attach(model, anatomy, Ticket.full(anatomy, "heads+mlps")) as gates:
        assert not any(parameter.requires_grad for parameter in model.parameters())
        for gate in gates.open(5, CPU, grad=False):
            gate.zero_()
        assert not torch.allclose(model(**given).logits, plain, atol=1e-3)
        if fails:
            raise RuntimeError("stop")
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(model(**given).logits, plain)
