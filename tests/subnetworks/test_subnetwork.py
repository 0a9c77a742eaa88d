"""Masked equals shrunk equals expanded: the same function in three forms."""

import copy
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from builders.encoders import (
    FAMILIES,
    HEADS,
    LAYERS,
    classifier,
    inputs,
    logits,
    parts,
    sites,
    some_sites,
    some_weights,
)
from builders.families import ZOO, computed, tickets
from builders.language_models import llama
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import Subnetwork, expanded, masked, shrunk, whole
from tombola.tickets.ticket import Ticket

ALL = torch.ones(LAYERS, HEADS)
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-5}


def special(model: nn.Module) -> dict[str, Ticket]:
    one = torch.zeros(LAYERS, HEADS)
    one[1, 2] = 1
    emptied = ALL.clone()
    emptied[0] = emptied[2] = 0
    single = torch.eye(HEADS)[:LAYERS]
    return {
        "everything": sites(model, ALL, [1, 1, 1]),
        "nothing": sites(model, 0 * ALL, [0, 0, 0]),
        "whole layers emptied": sites(model, emptied, [1, 0, 1]),
        "one head of a layer": sites(model, single, [1, 1, 1]),
        "one head of all": sites(model, one, [0, 0, 1]),
        "no MLP": sites(model, ALL, [0, 0, 0]),
        "no head": sites(model, 0 * ALL, [1, 1, 1]),
    }


def combined(family: str, attention: str, padded: bool, dtype: torch.dtype) -> Any:
    """A family under an attention, a padding and a precision; three of each family are not exhaustive."""
    sample = (attention == "eager") == padded if dtype == torch.float64 else attention == "sdpa" and padded
    return pytest.param(family, attention, padded, dtype, marks=() if sample else pytest.mark.exhaustive)


@pytest.mark.parametrize(
    ("family", "attention", "padded", "dtype"),
    [combined(*each) for each in itertools.product(FAMILIES, ("eager", "sdpa"), (False, True), TOLERANCES)],
)
def test_masked_and_shrunk_compute_the_same(family: str, attention: str, padded: bool, dtype: torch.dtype) -> None:
    model, given = classifier(family, attention=attention, dtype=dtype), inputs(padded=padded)
    seen = []
    for name, ticket in (special(model) | {str(seed): some_sites(model, seed) for seed in range(6)}).items():
        part = shrunk(model, ticket)
        assert not part.gated
        found = logits(part, given)
        torch.testing.assert_close(
            found, logits(masked(model, ticket), given), rtol=0, atol=TOLERANCES[dtype], msg=name
        )
        seen.append(found)
    # Different tickets compute different things, so that equality above says something.
    assert min(float((a - b).abs().max()) for i, a in enumerate(seen) for b in seen[:i]) > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_shrunk_has_the_parameters_of_the_survivors_only(family: str) -> None:
    model = classifier(family)
    ticket = special(model)["whole layers emptied"]
    before = sum(p.numel() for p in model.parameters())
    after = sum(p.numel() for p in shrunk(model, ticket).model.parameters())
    # Eight heads of 8 rows in q, k, v (with biases) and 8 columns; an MLP of 48 with both biases.
    assert before - after == 8 * (3 * (8 * 32 + 8) + 32 * 8) + 2 * 48 * 32 + 48 + 32


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_expanded_computes_the_same_in_the_original_shapes_with_exact_zeros(family: str, tmp_path: Path) -> None:
    model, given = classifier(family), inputs()
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    for name, ticket in (special(model) | {"random": some_sites(model, 3)}).items():
        part = shrunk(model, ticket)
        back = expanded(part)
        assert {key: tensor.shape for key, tensor in back.state_dict().items()} == shapes
        torch.testing.assert_close(logits(back, given), logits(part, given), rtol=0, atol=1e-10, msg=name)
        zeros = sum(int((parameter == 0).sum()) for _, parameter in dissect(back).prunable(back))
        anatomy = dissect(model)
        assert zeros == anatomy.weights - ticket.survivors(anatomy)["weights"]
        folder = tmp_path / name.replace(" ", "-")
        assert isinstance(back, PreTrainedModel)
        back.save_pretrained(folder)
        loaded = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float64, attn_implementation="eager"
        ).eval()
        torch.testing.assert_close(logits(loaded, given), logits(part, given), rtol=0, atol=1e-10, msg=name)


def test_a_masked_subnetwork_is_expanded_like_a_shrunk_one() -> None:
    model, given = classifier(), inputs()
    ticket = some_sites(model, 1)
    part = masked(model, ticket)
    torch.testing.assert_close(logits(expanded(part), given), logits(part, given), rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_original_is_left_alone_and_what_no_cut_touches_is_shared(family: str) -> None:
    model = classifier(family)
    before = copy.deepcopy(model.state_dict())
    identities = {name: id(parameter) for name, parameter in model.named_parameters()}
    # Layer 1 stays whole; of layer 0 a head goes; of layer 2 the MLP.
    heads = ALL.clone()
    heads[0, 3] = 0
    part = shrunk(model, sites(model, heads, [1, 1, 0])).model
    masked_weights = masked(model, some_weights(model, 0)).model
    for copied in (part, masked_weights):
        copied.train()
        assert copied is not model
        for parameter in copied.parameters():
            parameter.requires_grad_(parameter.requires_grad)
    assert not model.training
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == identities
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    pointers = {name: p.data_ptr() for name, p in model.named_parameters()}
    own = {name for name, p in part.named_parameters() if p.data_ptr() != pointers[name]}
    assert own
    assert all(".layer.0.attention" in name or ".layer.2." in name for name in own)
    assert not any(".layer.2.attention.self" in name or "LayerNorm" in name or "layer_norm" in name for name in own)
    matrices = {matrix.parameter for matrix in dissect(model).matrices}
    assert {n for n, p in masked_weights.named_parameters() if p.data_ptr() != pointers[n]} == matrices


def test_shrunk_keeps_what_is_frozen_and_the_mode() -> None:
    model = classifier().train()
    for parameter in model.get_submodule("bert.encoder.layer.0").parameters():
        parameter.requires_grad_(False)
    part = shrunk(model, some_sites(model, 0)).model
    assert all(module.training for module in part.modules())
    assert not any(module.training for module in shrunk(model.eval(), some_sites(model, 0)).model.modules())
    for name, parameter in part.named_parameters():
        assert parameter.requires_grad == (".layer.0." not in name)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_emptied_layers_run_under_bf16_autocast(family: str, attention: str) -> None:
    model, given = classifier(family, attention=attention, dtype=torch.float32), inputs()
    for name, ticket in special(model).items():
        part = shrunk(model, ticket)
        exact = logits(part, given)
        with torch.autocast("cpu", torch.bfloat16):
            near, gated = logits(part, given), logits(masked(model, ticket), given)
        torch.testing.assert_close(near.float(), exact, rtol=0.1, atol=0.15, msg=name)
        torch.testing.assert_close(gated.float(), exact, rtol=0.1, atol=0.15, msg=name)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_emptied_layers_can_be_trained(attention: str) -> None:
    model, given = classifier(attention=attention), inputs()
    part = copy.deepcopy(shrunk(model, special(model)["whole layers emptied"]).model).train()
    part(**given).logits.sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in part.parameters())
    value = part.get_submodule("bert.encoder.layer.1.attention.self.value")
    assert next(value.parameters()).grad is not None


@pytest.mark.parametrize("family", FAMILIES)
def test_masked_weights_are_zero_and_the_others_untouched(family: str) -> None:
    model, given = classifier(family), inputs()
    ticket = some_weights(model, 0)
    part = masked(model, ticket)
    assert not part.gated
    for (matrix, original), (_, parameter) in zip(
        dissect(model).prunable(model), dissect(model).prunable(part.model), strict=True
    ):
        mask = ticket.masks[f"{matrix.layer}.{matrix.role}"]
        assert torch.equal(parameter[mask], original[mask])
        assert not parameter[~mask].any()
    by_hand = copy.deepcopy(model)
    with torch.no_grad():
        for matrix in dissect(model).matrices:
            weight: Tensor = by_hand.get_parameter(matrix.parameter)
            weight[~ticket.masks[f"{matrix.layer}.{matrix.role}"]] = 0
    assert torch.equal(logits(part, given), logits(by_hand, given))
    assert torch.equal(logits(shrunk(model, ticket), given), logits(part, given))


def test_whole_is_the_model_itself() -> None:
    model = classifier()
    part = whole(model)
    assert part.model is model
    assert not part.gated
    assert len(part.ticket) == part.ticket.total == 15
    assert expanded(part) is model


@pytest.mark.parametrize("realise", [masked, shrunk])
@pytest.mark.parametrize("make", [some_sites, some_weights])
def test_a_ticket_for_another_model_is_refused(realise: object, make: object) -> None:
    assert callable(realise)
    assert callable(make)
    ticket = make(classifier(), 0)
    for other in (classifier("roberta"), classifier(heads=2), classifier(mlp=40)):
        with pytest.raises(TombolaError, match="another model") as caught:
            realise(other, ticket)
        assert "\n" not in str(caught.value)


def test_a_subnetwork_of_sites_is_gated_until_it_is_shrunk() -> None:
    model = classifier()
    ticket = some_sites(model, 0)
    parts: list[Subnetwork] = [masked(model, ticket), shrunk(model, ticket)]
    assert [part.gated for part in parts] == [True, False]
    assert parts[0].model is model


@pytest.mark.parametrize("name", ["bert", "vit", "llama", "t5"])
def test_no_sublayer_is_left_without_heads_where_that_is_asked(name: str) -> None:
    model, given = ZOO[name].make(), ZOO[name].given(padded=True)
    for ticket in (tickets(model)["first layer emptied"], tickets(model)["nothing"]):
        part = shrunk(model, ticket, empty=False)
        for output in ZOO[name].outputs:
            weight = part.model.get_submodule(output).weight
            assert isinstance(weight, Tensor)
            assert 0 not in weight.shape
        torch.testing.assert_close(computed(part, given), computed(masked(model, ticket), given))
        torch.testing.assert_close(computed(expanded(part), given), computed(masked(model, ticket), given))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_emptied_attention_can_go_with_its_bias(family: str, tmp_path: Path) -> None:
    model, given = classifier(family, dtype=torch.float64), inputs()
    for layer in range(LAYERS):
        nn.init.normal_(parts(model, family, layer)[1].bias)
    kept = special(model)["whole layers emptied"]
    ticket = replace(kept, attention_bias=False)
    by_hand = copy.deepcopy(model)
    for layer in (0, 2):
        nn.init.zeros_(parts(by_hand, family, layer)[1].bias)
    expected = logits(masked(by_hand, kept), given)
    part = shrunk(model, ticket)
    zeros = expanded(part)
    for found in (part, masked(model, ticket), zeros):
        torch.testing.assert_close(logits(found, given), expected, rtol=0, atol=1e-10)
    assert float((logits(shrunk(model, kept), given) - expected).abs().max()) > 1e-4
    assert [bool(parts(zeros, family, layer)[1].bias.any()) for layer in range(LAYERS)] == [False, True, False]
    assert ticket != kept
    assert not (ticket & ticket).attention_bias
    assert not (~ticket).attention_bias
    for one in (ticket, kept):
        one.save(tmp_path / str(one.attention_bias))
        assert Ticket.load(tmp_path / str(one.attention_bias)) == one


def test_an_attention_without_a_bias_of_its_own_has_none_to_lose() -> None:
    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=64, bos_token_id=3, eos_token_id=3)
    for model in (llama(), GPT2LMHeadModel(config)):
        with pytest.raises(TombolaError, match="has no bias of its own that could go with its heads"):
            Ticket.full(dissect(model), "heads", attention_bias=False)
