"""Heads, neurons and channels of every class of denoisers: gates, cuts and zeros compute the same."""

import copy
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from builders.denoisers import KINDS, computed, tickets
from tombola.architectures.denoisers import DENOISER_CLASSES
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import count_parameters
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import expanded, masked, shrunk
from tombola.tickets.ticket import Ticket

TOLERANCE = 1e-10


def test_every_known_class_is_tried() -> None:
    assert {kind.name for kind in KINDS.values()} == set(DENOISER_CLASSES)


@pytest.mark.parametrize("name", KINDS)
def test_the_anatomy_is_that_of_the_configuration(name: str) -> None:
    kind = KINDS[name]
    model = kind.make()
    anatomy = dissect(model)
    assert anatomy.model_type == kind.name
    assert anatomy.sizes("heads") == kind.heads
    assert anatomy.sizes("neurons") == kind.neurons
    assert anatomy.sizes("channels") == kind.channels
    expected = {
        f"{path}.weight": tuple(module.get_parameter("weight").shape)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
        and not any(path.startswith(one) or ("." in one[0] and one in f".{path}.") for one in kind.outside)
    }
    assert {matrix.parameter: matrix.shape for matrix in anatomy.matrices} == expected
    assert len({matrix.name for matrix in anatomy.matrices}) == len(anatomy.matrices) == len(expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_gates_at_zero_are_deletions(name: str) -> None:
    kind = KINDS[name]
    model = kind.make()
    anatomy = dissect(model)
    before, state = computed(model, kind), {key: tensor.clone() for key, tensor in model.state_dict().items()}
    seen = [before]
    for what, ticket in tickets(model, kind).items():
        part = shrunk(model, ticket)
        found = computed(part, kind)
        torch.testing.assert_close(computed(masked(model, ticket), kind), found, rtol=0, atol=TOLERANCE, msg=what)
        back = expanded(part)
        assert {key: tensor.shape for key, tensor in back.state_dict().items()} == {
            key: tensor.shape for key, tensor in state.items()
        }
        torch.testing.assert_close(computed(back, kind), found, rtol=0, atol=TOLERANCE, msg=what)
        gone = anatomy.weights - ticket.survivors(anatomy)["weights"]
        zeros = sum(int((parameter == 0).sum()) for _, parameter in anatomy.prunable(back))
        assert zeros == gone, what
        # A row that lost everything keeps one head or group of zeros.
        assert count_parameters(model) - count_parameters(part.model) > 0.6 * gone
        seen.append(found)
    assert min(float((a - b).abs().max()) for i, a in enumerate(seen) for b in seen[:i]) > 1e-8
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


def delete(linear: Any, gone: list[int], axis: int) -> None:
    linear.weight = nn.Parameter(torch.from_numpy(np.delete(linear.weight.detach().numpy(), gone, axis=axis)))
    if axis == 0 and linear.bias is not None:
        linear.bias = nn.Parameter(torch.from_numpy(np.delete(linear.bias.detach().numpy(), gone)))


def test_heads_of_two_streams_are_deleted_by_hand() -> None:
    for name in ("sd3", "flux"):
        kind = KINDS[name]
        model = kind.make()
        cut = copy.deepcopy(model)
        attention = cast(Any, cut).transformer_blocks[0].attn
        gone = list(range(8, 16))
        for projection in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj"):
            delete(getattr(attention, projection), gone, 0)
        delete(attention.to_out[0], gone, 1)
        delete(attention.to_add_out, gone, 1)
        attention.heads = 2
        ticket = Ticket.full(dissect(model), "heads").without({"heads": [[0, 1]]})
        for part in (masked(model, ticket), shrunk(model, ticket)):
            torch.testing.assert_close(computed(part, kind), computed(cut, kind), rtol=0, atol=TOLERANCE)


def test_heads_and_neurons_of_one_projection_are_deleted_by_hand() -> None:
    kind = KINDS["flux"]
    model = kind.make()
    cut = copy.deepcopy(model)
    block = cast(Any, cut).single_transformer_blocks[1]
    for projection in ("to_q", "to_k", "to_v"):
        delete(getattr(block.attn, projection), list(range(8)), 0)
    block.attn.heads = 2
    delete(block.proj_mlp, list(range(16, 32)), 0)
    # 24 units of heads come before those of neurons.
    delete(block.proj_out, [*range(8), *range(24 + 16, 24 + 32)], 1)
    every = Ticket.full(dissect(model), "heads+neurons", 16)
    # The attentions and MLPs of two double blocks, with two MLPs each, come before those of single ones.
    ticket = every.without({"heads": [[3, 0]], "neurons": [[5, 1]]})
    for part in (masked(model, ticket), shrunk(model, ticket)):
        torch.testing.assert_close(computed(part, kind), computed(cut, kind), rtol=0, atol=TOLERANCE)


def test_gated_neurons_are_deleted_by_hand() -> None:
    kind = KINDS["unet of texts"]
    model = kind.make()
    cut = copy.deepcopy(model)
    feed_forward = cast(Any, cut).down_blocks[0].attentions[0].transformer_blocks[0].ff
    delete(feed_forward.net[0].proj, [*range(8, 16), *range(32 + 8, 32 + 16)], 0)
    delete(feed_forward.net[2], list(range(8, 16)), 1)
    ticket = Ticket.full(dissect(model), "neurons", 8).without({"neurons": [[0, 1]]})
    for part in (masked(model, ticket), shrunk(model, ticket)):
        torch.testing.assert_close(computed(part, kind), computed(cut, kind), rtol=0, atol=TOLERANCE)


def test_norms_over_all_heads_are_refused() -> None:
    model = KINDS["dit"].make()
    attention = cast(Any, model).transformer_blocks[1].attn1
    attention.norm_q = nn.LayerNorm(24)
    with pytest.raises(TombolaError, match=r"has a norm over all heads \(norm_q\)"):
        dissect(model)


def test_neurons_of_unequal_mlps_come_in_blocks_that_divide_each() -> None:
    model = KINDS["unet of texts"].make()
    anatomy = dissect(model)
    ticket = Ticket.full(anatomy, "neurons", 16)
    assert [len(row) for row in ticket.rows("neurons")] == [2, 4, 2, 2]
    ticket.check(anatomy)
    with pytest.raises(TombolaError, match="cannot be divided into blocks of 24; blocks of 16 or 32 can"):
        Ticket.full(anatomy, "neurons", 24)
