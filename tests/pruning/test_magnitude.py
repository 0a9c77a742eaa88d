"""The histogram's choice against a full stable sort, and against PyTorch's own global pruning."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune

from tombola.pruning.magnitude import keep_largest

# Few values, so that ties abound; denormals, both zeros, the largest, and neighbours that differ in the last bit only.
POOL = [0.0, -0.0, 1e-45, -1e-45, 3e-45, 1e-40, 1e-8, 0.5, -0.5, 1.0, -1.0, 1.0000001, 65504.0, 3.4e38, -3.4e38]
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Tensor], int, dict[str, Tensor] | None]:
    dtype = draw(st.sampled_from(DTYPES))
    elements = st.one_of(st.sampled_from(POOL), st.floats(width=32, allow_nan=False, allow_infinity=False))
    weights, alive = {}, {}
    for name in "cab"[: draw(st.integers(1, 3))]:
        shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 5)))
        size = shape[0] * shape[1]
        values = draw(st.lists(elements, min_size=size, max_size=size))
        weights[name] = torch.tensor(values).to(dtype).reshape(shape)
        alive[name] = torch.tensor(draw(st.lists(st.booleans(), min_size=size, max_size=size))).reshape(shape)
    given_alive = draw(st.sampled_from([None, alive]))
    living = sum(int(m.sum()) for m in alive.values()) if given_alive else sum(m.numel() for m in weights.values())
    count = draw(st.one_of(st.integers(0, living), st.sampled_from([0, living])))
    return weights, count, given_alive


def by_sorting(weights: dict[str, Tensor], count: int, alive: dict[str, Tensor] | None) -> list[bool]:
    """The last `count` of a stable sort by (alive, magnitude): among equals the later survive."""
    magnitudes = np.concatenate([w.double().abs().flatten().numpy() for w in weights.values()])
    living = np.ones(len(magnitudes), dtype=bool)
    if alive is not None:
        living = np.concatenate([alive[name].flatten().numpy() for name in weights])
    order = sorted(range(len(magnitudes)), key=lambda i: (living[i], magnitudes[i], i))
    kept = set(order[len(order) - count :])
    return [i in kept for i in range(len(magnitudes))]


@given(cases())
def test_exactly_the_largest_survive_and_among_equals_the_later(case: Any) -> None:
    weights, count, alive = case
    masks = keep_largest(weights, count, alive)
    assert list(masks) == list(weights)
    assert all(masks[name].shape == weights[name].shape and masks[name].dtype == torch.bool for name in weights)
    assert torch.cat([mask.flatten() for mask in masks.values()]).tolist() == by_sorting(weights, count, alive)


@pytest.mark.parametrize("count", [0, 1, 6, 11, 12])
def test_an_infinite_weight_is_the_largest(count: int) -> None:
    matrix = torch.arange(12.0).reshape(3, 4)
    matrix[0, 1] = -torch.inf
    assert keep_largest({"a": matrix}, count)["a"].flatten().tolist() == by_sorting({"a": matrix}, count, None)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_the_choice_is_that_of_global_unstructured_pruning(share: float) -> None:
    torch.manual_seed(0)
    module = [nn.Linear(37, 53), nn.Linear(53, 11), nn.Linear(11, 101)]
    with torch.no_grad():
        for linear, scale in zip(module, (1.0, 3.0, 0.2), strict=True):
            linear.weight.mul_(scale)
    weights = {str(i): linear.weight.detach().clone() for i, linear in enumerate(module)}
    total = sum(weight.numel() for weight in weights.values())
    assert len(torch.cat([w.flatten() for w in weights.values()]).abs().unique()) > total - 3
    removed = round(share * total)
    prune.global_unstructured(
        [(linear, "weight") for linear in module], pruning_method=prune.L1Unstructured, amount=removed
    )
    found = keep_largest(weights, total - removed)
    for name, linear in zip(weights, module, strict=True):
        assert torch.equal(found[name], linear.get_buffer("weight_mask").bool())


def test_the_weights_are_left_as_they_are_and_frozen_or_not_does_not_matter() -> None:
    weight = nn.Parameter(torch.tensor([[-3.0, 1.0], [2.0, -0.5]]))
    before = weight.detach().clone()
    assert keep_largest({"a": weight}, 2)["a"].tolist() == [[True, False], [True, False]]
    assert torch.equal(weight, before)
