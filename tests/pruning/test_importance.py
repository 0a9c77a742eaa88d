"""Importance against finite differences, a loop over single examples, and sums by hand."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from builders.encoders import (
    CPU,
    FAMILIES,
    HEAD_SIZE,
    HEADS,
    LAYERS,
    Exact,
    classifier,
    inputs,
    logits,
    parts,
    sites,
    some_sites,
    synthetic,
)
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions, evaluate, score
from tombola.pruning.importance import FirstOrder, Importance, checked, gate_gradients
from tombola.subnetworks.gates import attach
from tombola.subnetworks.subnetwork import masked, shrunk, whole
from tombola.tickets.ticket import Ticket

TARGETS = torch.tensor([0, 1, 1, 0, 1])


def first_order(
    model: nn.Module, given: dict[str, Tensor], chunk: int, ticket: Ticket | None = None, *, accumulated: bool = False
) -> Importance:
    anatomy = dissect(model)
    with attach(model, anatomy, Ticket.full(anatomy, "heads+mlps"), ticket) as gates:
        measure = FirstOrder(accumulated=accumulated)
        for start in range(0, 5, chunk):
            part = {name: tensor[start : start + chunk] for name, tensor in given.items()}
            gates.open(len(part["input_ids"]), CPU, grad=True)
            found = model(**part).logits
            losses = nn.functional.cross_entropy(found, TARGETS[start : start + chunk], reduction="none")
            measure.add(gate_gradients(gates, losses))
    return checked("per-example", measure.result(), gates.values, gates.present, None)


def single_gradients(model: nn.Module, family: str, given: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Signed dL(x)/dξ, [examples, layers, heads] and [examples, layers], one example at a time.

    By the chain rule the gradient of a factor on some weights is the sum of weight times weight's gradient, so
    that neither gates nor hooks are needed.
    """
    heads, mlps = torch.zeros(5, LAYERS, HEADS, dtype=torch.float64), torch.zeros(5, LAYERS, dtype=torch.float64)
    for example in range(5):
        model.zero_grad()
        found = model(**{name: tensor[example : example + 1] for name, tensor in given.items()}).logits
        nn.functional.cross_entropy(found, TARGETS[example : example + 1]).backward()
        for layer in range(LAYERS):
            _, out, mlp = parts(model, family, layer)
            assert out.weight.grad is not None
            assert mlp.weight.grad is not None
            assert mlp.bias.grad is not None
            columns = (out.weight.grad * out.weight).detach().sum(0)
            heads[example, layer] = columns.reshape(HEADS, HEAD_SIZE).sum(1)
            mlps[example, layer] = ((mlp.weight.grad * mlp.weight).sum() + (mlp.bias.grad * mlp.bias).sum()).detach()
    model.zero_grad()
    return heads, mlps


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_importance_is_the_mean_of_absolute_gradients_of_single_examples(family: str, attention: str) -> None:
    model, given = classifier(family, attention=attention), inputs()
    heads, mlps = single_gradients(model, family, given)
    found = first_order(model, given, chunk=3)
    torch.testing.assert_close(found["heads"], heads.abs().mean(0), rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(found["mlps"], mlps.abs().mean(0), rtol=1e-5, atol=1e-9)
    # The gradients of different examples do cancel here, so that the place of the absolute value shows.
    assert (heads.mean(0).abs() < 0.9 * heads.abs().mean(0)).any()
    assert (mlps.mean(0).abs() < 0.9 * mlps.abs().mean(0)).any()


def test_importance_agrees_with_central_finite_differences() -> None:
    model, given = classifier(), inputs()
    epsilon = 1e-4

    def losses(layer: int, head: int | None, factor: float) -> Tensor:
        scaled = copy.deepcopy(model)
        _, out, mlp = parts(scaled, "bert", layer)
        with torch.no_grad():
            if head is None:
                mlp.weight.mul_(factor)
                mlp.bias.mul_(factor)
            else:
                out.weight[:, head * HEAD_SIZE : (head + 1) * HEAD_SIZE].mul_(factor)
        return nn.functional.cross_entropy(logits(scaled, given), TARGETS, reduction="none")

    def slope(layer: int, head: int | None) -> float:
        difference = losses(layer, head, 1 + epsilon) - losses(layer, head, 1 - epsilon)
        return float((difference / (2 * epsilon)).abs().mean())

    found = first_order(model, given, chunk=5)
    for layer in range(LAYERS):
        assert found["mlps"][layer] == pytest.approx(slope(layer, None), rel=1e-5, abs=1e-8)
        for head in range(HEADS):
            assert found["heads"][layer, head] == pytest.approx(slope(layer, head), rel=1e-5, abs=1e-8)


def test_accumulated_importance_is_the_mean_size_of_the_running_sum_of_batches() -> None:
    model, given = classifier(), inputs()
    for found, signed in zip(
        (first_order(model, given, chunk=2, accumulated=True)[kind] for kind in ("heads", "mlps")),
        single_gradients(model, "bert", given),
        strict=True,
    ):
        batches = torch.stack([signed[start : start + 2].mean(0) for start in (0, 2, 4)])
        torch.testing.assert_close(found, batches.cumsum(0).abs().mean(0), rtol=1e-5, atol=1e-9)
        assert not torch.allclose(found, signed.abs().mean(0), rtol=1e-2)


def test_norms_over_all_heads_have_the_gradients_of_masked_ones() -> None:
    model, given, epsilon = classifier(), inputs(), 1e-4
    ticket = some_sites(model, 1, share=0.5)
    found = first_order(model, given, chunk=5, ticket=ticket)

    def losses(moved: tuple[int, int], step: float) -> Tensor:
        scaled = copy.deepcopy(model)
        for layer in range(LAYERS):
            _, out, mlp = parts(scaled, "bert", layer)
            with torch.no_grad():
                if not ticket.mlps[layer]:
                    mlp.weight.zero_()
                    mlp.bias.zero_()
                for head in range(HEADS):
                    gate = float(ticket.heads[layer, head]) + (step if (layer, head) == moved else 0.0)
                    out.weight[:, head * HEAD_SIZE : (head + 1) * HEAD_SIZE].mul_(gate)
        return nn.functional.cross_entropy(logits(scaled, given), TARGETS, reduction="none")

    slopes = torch.zeros(LAYERS, HEADS, dtype=torch.float64)
    for layer in range(LAYERS):
        for head in range(HEADS):
            difference = losses((layer, head), epsilon) - losses((layer, head), -epsilon)
            slopes[layer, head] = (difference / (2 * epsilon)).abs().mean()
    assert found.head_norms is not None
    torch.testing.assert_close(found.head_norms, slopes.norm(dim=1), rtol=1e-4, atol=1e-8)
    assert (found.head_norms > found["heads"].nan_to_num().norm(dim=1)).any()
    assert first_order(model, given, chunk=5).head_norms is None


def test_importance_does_not_depend_on_the_batch_size(task: Exact) -> None:
    model = classifier()
    found = [evaluate(whole(model), task, EvaluationOptions(batch_size=size), importance=True) for size in (1, 7, 60)]
    for other in found[1:]:
        assert other.score == found[0].score
        assert other.importance is not None
        assert found[0].importance is not None
        torch.testing.assert_close(other.importance["heads"], found[0].importance["heads"], rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(other.importance["mlps"], found[0].importance["mlps"], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_importance_is_the_same_masked_and_shrunk(family: str, seed: int, task: Exact) -> None:
    model = classifier(family)
    ticket = some_sites(model, seed, share=0.6)
    a = evaluate(masked(model, ticket), task, importance=True)
    b = evaluate(shrunk(model, ticket), task, importance=True)
    assert a.score == b.score
    assert a.importance is not None
    assert b.importance is not None
    assert torch.equal(~a.importance["heads"].isnan(), ticket.heads)
    assert torch.equal(~a.importance["mlps"].isnan(), ticket.mlps)
    torch.testing.assert_close(a.importance["heads"], b.importance["heads"], rtol=1e-5, atol=1e-9, equal_nan=True)
    torch.testing.assert_close(a.importance["mlps"], b.importance["mlps"], rtol=1e-5, atol=1e-9, equal_nan=True)


def test_the_empty_ticket_has_no_importance_and_one_score(task: Exact) -> None:
    model = classifier()
    nothing = sites(model, torch.zeros(LAYERS, HEADS), torch.zeros(LAYERS))
    a = evaluate(masked(model, nothing), task, importance=True)
    b = evaluate(shrunk(model, nothing), task, importance=True)
    torch.testing.assert_close(torch.from_numpy(a.losses), torch.from_numpy(b.losses), rtol=1e-6, atol=1e-6)
    for found in (a, b):
        assert found.importance is not None
        assert found.importance["heads"].isnan().all()
        assert found.importance["mlps"].isnan().all()


def test_taking_importance_leaves_no_gradient_and_the_mode_of_the_model(task: Exact) -> None:
    model = classifier().train()
    evaluate(whole(model), task, importance=True)
    assert model.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_normalised_is_layer_norm_then_range_by_hand() -> None:
    nan = math.nan
    heads = torch.tensor([[3.0, 4.0, nan], [0.0, 0.0, 0.0], [nan, nan, nan], [nan, 2.0, nan]], dtype=torch.float64)
    mlps = torch.tensor([5.0, nan, 2.0, 3.0], dtype=torch.float64)
    found = Importance({"heads": heads, "mlps": mlps}).normalised()
    # Layer norms 5, 0 (left alone), none, 2: the range is 0 to 1 already.
    expected = torch.tensor([[0.6, 0.8, nan], [0.0, 0.0, 0.0], [nan, nan, nan], [nan, 1.0, nan]], dtype=torch.float64)
    torch.testing.assert_close(found["heads"], expected, equal_nan=True)
    torch.testing.assert_close(found["mlps"], torch.tensor([1.0, nan, 0.0, 1 / 3], dtype=torch.float64), equal_nan=True)


def test_by_norms_over_all_heads_a_lone_survivor_is_not_always_first() -> None:
    nan = math.nan
    heads = torch.tensor([[3.0, nan], [4.0, 3.0]], dtype=torch.float64)
    found = Importance({"heads": heads}, head_norms=torch.tensor([30.0, 5.0], dtype=torch.float64))
    assert found.normalised().least_first("heads") == [[1, 1], [1, 0], [0, 0]]
    assert found.normalised(every=True).least_first("heads") == [[0, 0], [1, 1], [1, 0]]
    assert found.normalised(False, every=True)["heads"].nan_to_num().tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_neurons_are_compared_over_the_whole_model() -> None:
    neurons = torch.tensor([[1.0, 3.0], [5.0, math.nan]], dtype=torch.float64)
    found = Importance({"neurons": neurons}).normalised()["neurons"]
    # No layer's norm: 1 to 5 becomes 0 to 1.
    assert found.nan_to_num(-1).tolist() == [[0.0, 0.5], [1.0, -1.0]]


def test_normalised_stretches_heads_to_the_whole_range() -> None:
    heads = torch.tensor([[3.0, 4.0], [6.0, 8.0], [5.0, 12.0]], dtype=torch.float64)
    found = Importance({"heads": heads, "mlps": torch.tensor([7.0, 7.0, 7.0], dtype=torch.float64)}).normalised()
    low, high = 5 / 13, 12 / 13
    expected = [[(v - low) / (high - low) for v in row] for row in ((0.6, 0.8), (0.6, 0.8), (5 / 13, 12 / 13))]
    torch.testing.assert_close(found["heads"], torch.tensor(expected, dtype=torch.float64))
    # All alike: nothing to stretch.
    assert found["mlps"].tolist() == [0.0, 0.0, 0.0]


def test_lists_have_none_for_the_pruned_and_are_read_again() -> None:
    heads, mlps = torch.tensor([[0.25, math.nan]], dtype=torch.float64), torch.tensor([math.nan], dtype=torch.float64)
    importance = Importance({"heads": heads, "mlps": mlps})
    assert importance.lists() == {"heads": [[0.25, None]], "mlps": [None]}
    again = Importance.from_lists({"heads": [[0.25, None]], "mlps": [None]})
    assert torch.equal(again["heads"].nan_to_num(-1), importance["heads"].nan_to_num(-1))
    assert torch.equal(again["mlps"].nan_to_num(-1), importance["mlps"].nan_to_num(-1))
    assert again["heads"].dtype == torch.float64


def test_an_importance_that_is_not_finite_is_no_pruned_site() -> None:
    model: Any = classifier(dtype=torch.float32)
    own = synthetic()
    handle = model.bert.encoder.layer[1].output.dense.register_full_backward_hook(
        lambda module, given, taken: (torch.full_like(given[0], torch.nan),)
    )
    with pytest.raises(TombolaError, match=r"importance per-example of heads \[\d, \d\] is nan, which ranks nothing"):
        score(model, own, importance=True)
    handle.remove()
    assert score(model, own, importance=True).importance is not None
