"""2:4 sparsity against NumPy by brute force, and its layout against PyTorch's own conversion."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.sparse._semi_structured_conversions import (
    sparse_semi_structured_from_dense_cutlass,
    sparse_semi_structured_to_dense_cutlass,
)
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from builders.encoders import sites, some_weights
from builders.families import ZOO, computed
from tombola.architectures.dissect import dissect
from tombola.checkpoints.semi_structured import not_semi_structured, prune_semi_structured, to_semi_structured
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import masked
from tombola.tickets.ticket import Ticket


def contracted(name: str, array: np.ndarray) -> np.ndarray:
    """[out, in]: GPT-2 stores the transpose."""
    return array.T if name == "gpt2" else array


def wide(transposed: bool) -> PreTrainedModel:
    """A model whose matrices a GPU takes, but for the MLP's."""
    sizes: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    if transposed:
        return GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=40, n_inner=72, eos_token_id=None, **sizes))
    return BertForSequenceClassification(
        BertConfig(vocab_size=64, max_position_embeddings=40, intermediate_size=72, **sizes)
    )


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_the_two_largest_of_every_four_survive(name: str) -> None:
    model = ZOO[name].make(dtype=torch.float32)
    weights = dissect(model).weights_of(model)
    with torch.no_grad():
        # Few values, so that there are ties, and a group of zeros.
        next(iter(weights.values())).copy_(torch.randint(-2, 3, next(iter(weights.values())).shape))
    ticket = prune_semi_structured(model)
    assert ticket.sparsity(dissect(model)) == 0.5
    assert not_semi_structured(model, ticket) == ()
    for matrix, mask in ticket.masks.items():
        weight, kept = (contracted(name, tensor.detach().numpy()) for tensor in (weights[matrix], mask))
        for row, start in itertools.product(range(weight.shape[0]), range(0, weight.shape[1], 4)):
            four = np.abs(weight[row, start : start + 4])
            # Of equal ones the later: positions are the second key.
            best = sorted(range(4), key=lambda place: (four[place], place))[2:]
            assert sorted(best) == np.flatnonzero(kept[row, start : start + 4]).tolist()


def test_the_layout_is_that_of_pytorchs_sparse_matrices() -> None:
    model = wide(transposed=False)
    part = masked(model, prune_semi_structured(model))
    weights = [parameter.detach().half() for parameter in part.anatomy.weights_of(part.model).values()]
    # PyTorch's conversion takes blocks of 32 x 64.
    fitting = [dense for dense in weights if dense.shape == (64, 64)]
    assert len(fitting) == 4
    for dense in fitting:
        values, places = sparse_semi_structured_from_dense_cutlass(dense)
        assert values.numel() == dense.numel() // 2
        assert torch.equal(sparse_semi_structured_to_dense_cutlass(values, places), dense)
    # A third survivor of four is lost by it: the layout holds no more.
    three = torch.ones(32, 64, dtype=torch.half)
    assert not torch.equal(
        sparse_semi_structured_to_dense_cutlass(*sparse_semi_structured_from_dense_cutlass(three)), three
    )


def test_what_does_not_follow_is_named() -> None:
    model = ZOO["gpt2"].make(dtype=torch.float32)
    ticket = prune_semi_structured(model)
    mask = ticket.masks["1.mlp_in"].clone()
    one = int(mask[:4, 0].logical_not().nonzero()[0])
    mask[one, 0] = True
    spoilt = Ticket("weights", ticket.architecture, {**ticket.masks, "1.mlp_in": mask})
    assert not_semi_structured(model, spoilt) == ("1.mlp_in",)
    assert len(not_semi_structured(model, some_weights(model, 0))) == len(ticket.masks)
    # Fewer than two survivors follow too.
    nothing = {name: torch.zeros_like(mask) for name, mask in ticket.masks.items()}
    assert not_semi_structured(model, Ticket("weights", ticket.architecture, nothing)) == ()


def test_a_size_that_four_does_not_divide_stays_whole() -> None:
    model = BertForSequenceClassification(
        BertConfig(vocab_size=16, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=30)
    )
    ticket = prune_semi_structured(model)
    assert ticket.masks["0.mlp_out"].all()
    assert not_semi_structured(model, ticket) == ("0.mlp_out",)
    assert ticket.masks["0.mlp_in"].sum() == 30 * 16


def test_weights_that_are_no_numbers_leave_two_of_four() -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    with torch.no_grad():
        dissect(model).weights_of(model)["0.query"][0, :8] = torch.tensor(
            [torch.nan, torch.nan, torch.nan, 1, torch.inf, -torch.inf, 2, 3]
        )
    mask = prune_semi_structured(model).masks["0.query"][0, :8]
    assert mask.tolist() == [False, True, True, False, True, True, False, False]


@pytest.mark.parametrize("transposed", [False, True])
def test_linear_maps_are_converted_and_compute_the_same(transposed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: what would be handed to PyTorch is checked by its layout, and multiplied as it is."""
    model = wide(transposed).eval()
    ticket = prune_semi_structured(model)
    handed = []

    def sparse(weight: torch.Tensor) -> torch.Tensor:
        assert weight.is_contiguous()
        dense = weight.half()
        assert torch.equal(
            sparse_semi_structured_to_dense_cutlass(*sparse_semi_structured_from_dense_cutlass(dense)), dense
        )
        handed.append(weight.shape)
        return weight

    monkeypatch.setattr("tombola.checkpoints.semi_structured.to_sparse_semi_structured", sparse)
    monkeypatch.setattr("tombola.checkpoints.semi_structured.check_device", lambda _: None)
    made = to_semi_structured(model, ticket)
    # 72 is no multiple of 32.
    assert set(made.dense) == {"0.mlp_in", "0.mlp_out"}
    assert len(made.sparse) == len(handed) == len(ticket.masks) - 2
    given = ZOO["bert"].given(padded=True)
    torch.testing.assert_close(computed(made.model, given), computed(masked(model, ticket), given))
    assert isinstance(model.get_submodule(dissect(model).matrices[0].parameter.removesuffix(".weight")), nn.Module)
    assert prune_semi_structured(model) == ticket
    with pytest.raises(TombolaError, match="no matrix of this ticket follows 2:4"):
        to_semi_structured(model, some_weights(model, 0, 0.9))


def test_refusals() -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    ticket = prune_semi_structured(model)
    with pytest.raises(TombolaError, match="need an NVIDIA GPU, and the model is on cpu"):
        to_semi_structured(model, ticket)
    with pytest.raises(TombolaError, match="another model"):
        to_semi_structured(ZOO["gpt2"].make(), ticket)
    with pytest.raises(TombolaError, match="a pattern of weights"):
        not_semi_structured(model, sites(model, torch.ones(2, 4), torch.ones(2)))
    # An architecture of fewer bits or an older GPU cannot be had here: their checks come after that of the device.


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0), reason="needs an Ampere GPU"
)
def test_on_a_gpu_it_computes_the_same() -> None:
    model = wide(transposed=False).half().cuda().eval()
    ticket = prune_semi_structured(model)
    made = to_semi_structured(model, ticket)
    given = {name: tensor.cuda() for name, tensor in ZOO["bert"].given(padded=True).items()}
    torch.testing.assert_close(
        made.model(**given).logits, masked(model, ticket).model(**given).logits, atol=1e-2, rtol=0
    )
    with pytest.raises(TombolaError, match="need fp16 or bf16"):
        to_semi_structured(model.float(), ticket)
