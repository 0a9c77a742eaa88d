"""Heads, neurons and channels of every class of denoisers: gates, cuts and zeros compute the same."""

import contextlib
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tombola.anatomy import count_parameters, dissect
from tombola.denoisers import KNOWN, random_inputs
from tombola.errors import TombolaError
from tombola.gates import attach
from tombola.subnetwork import Subnetwork, expanded, masked, shrunk
from tombola.ticket import Pruning, Ticket
from unets import UNET, made

CPU = torch.device("cpu")
TOLERANCE = 1e-10


@dataclass(frozen=True)
class Kind:
    """A class with a tiny configuration.

    Attributes:
        name: of the class.
        config: its arguments.
        heads, neurons: of each row.
        channels: groups of each residual block.
        outside: what is not prunable of its linear maps and convolutions, by how their names begin or what they hold.
        size: of the images.
    """

    name: str
    config: Mapping[str, Any]
    heads: tuple[int, ...]
    neurons: tuple[int, ...]
    outside: tuple[str, ...]
    channels: tuple[int, ...] = ()
    size: int = 8

    def make(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        return made(self.name, self.config, dtype)


_BLOCKS = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
_COND = {
    "sample_size": 8,
    "layers_per_block": 1,
    "block_out_channels": (8, 16),
    "cross_attention_dim": 12,
    "norm_num_groups": 4,
    "attention_head_dim": 2,
}
_TRANSFORMER = {"num_attention_heads": 3, "attention_head_dim": 8, "num_layers": 2, "patch_size": 2, "sample_size": 8}
_SD3 = {
    "sample_size": 8,
    "patch_size": 2,
    "in_channels": 4,
    "num_layers": 3,
    "attention_head_dim": 8,
    "num_attention_heads": 3,
    "joint_attention_dim": 20,
    "caption_projection_dim": 24,
    "pooled_projection_dim": 16,
    "out_channels": 4,
    "pos_embed_max_size": 8,
}
_EMBEDDINGS = (
    "time_embedding",
    "time_text_embed",
    "pos_embed",
    "x_embedder",
    "context_embedder",
    "proj_out",
    "norm_out",
)
_FLUX = {
    "patch_size": 1,
    "in_channels": 4,
    "num_layers": 2,
    "num_single_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 3,
    "joint_attention_dim": 20,
    "pooled_projection_dim": 16,
    "axes_dims_rope": (2, 2, 4),
    "guidance_embeds": True,
}

KINDS = {
    "unet": Kind("UNet2DModel", UNET, (4,) * 4, (), ("conv_in", "conv_out", "time_embedding"), (4,) * 8),
    "unet of texts": Kind(
        "UNet2DConditionModel",
        {**_COND, **_BLOCKS},
        # Self and cross attention of 1 + 1 + 2 transformer blocks; 4 x 8 neurons outside, 4 x 16 in the middle.
        (2,) * 8,
        (32, 64, 32, 32),
        ("conv_in", "conv_out", "time_embedding"),
        (4,) * 8,
    ),
    "unet of texts with unequal heads": Kind(
        "UNet2DConditionModel",
        {**_COND, **_BLOCKS, "attention_head_dim": (2, 4), "use_linear_projection": True},
        # In the order of data: down, the middle, up.
        (2, 2, 4, 4, 2, 2, 2, 2),
        (32, 64, 32, 32),
        ("conv_in", "conv_out", "time_embedding"),
        (4,) * 8,
    ),
    "dit": Kind(
        "DiTTransformer2DModel",
        {**_TRANSFORMER, "in_channels": 4, "out_channels": 4, "num_embeds_ada_norm": 5, "norm_num_groups": 4},
        (3, 3),
        (96, 96),
        ("pos_embed", "proj_out_1", "proj_out_2", ".norm1."),
    ),
    "pixart": Kind(
        "PixArtTransformer2DModel",
        {
            **_TRANSFORMER,
            "in_channels": 4,
            "out_channels": 8,
            "cross_attention_dim": 24,
            "caption_channels": 20,
            "norm_num_groups": 4,
        },
        (3,) * 4,
        (96, 96),
        ("pos_embed", "proj_out", "adaln_single", "caption_projection"),
    ),
    "sd3": Kind(
        "SD3Transformer2DModel",
        {**_SD3, "qk_norm": "rms_norm"},
        (3,) * 3,
        # The last block drops the text: no MLP for it.
        (96,) * 5,
        (*_EMBEDDINGS, ".norm1.", ".norm1_context."),
    ),
    "sd3 with a second attention": Kind(
        "SD3Transformer2DModel",
        {**_SD3, "dual_attention_layers": (0,)},
        (3,) * 4,
        (96,) * 5,
        (*_EMBEDDINGS, ".norm1.", ".norm1_context."),
    ),
    "flux": Kind(
        "FluxTransformer2DModel",
        _FLUX,
        (3,) * 4,
        (96,) * 6,
        (*_EMBEDDINGS, ".norm1.", ".norm1_context.", ".norm."),
    ),
}


def computed(subnetwork: Subnetwork | nn.Module, kind: Kind) -> Tensor:
    model = subnetwork.model if isinstance(subnetwork, Subnetwork) else subnetwork
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if isinstance(subnetwork, Subnetwork) and subnetwork.gated:
            gates = stack.enter_context(attach(model, subnetwork.anatomy, subnetwork.present, subnetwork.ticket))
            gates.open(3, CPU, grad=False)
        found = model(**random_inputs(model, 3, kind.size), return_dict=False)[0]
    assert found.dtype == torch.float64
    assert found.isfinite().all()
    return cast(Tensor, found)


def prunings(kind: Kind) -> tuple[Pruning, ...]:
    if not kind.neurons:
        return ("heads+channels",)
    return ("heads+neurons+channels", "heads+mlps") if kind.channels else ("heads+neurons", "heads+mlps")


def tickets(model: nn.Module, kind: Kind) -> dict[str, Ticket]:
    anatomy = dissect(model)
    found = {}
    for pruning in prunings(kind):
        every = Ticket.everything(anatomy, pruning, 8)
        found[f"nothing of {pruning}"] = ~every
        first = {name: mask[:1].nonzero().tolist() for name, mask in every.masks.items()}
        if "mlps" in first:
            first["mlps"] = [0]
        found[f"without the first of {pruning}"] = every.without(first)
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            masks = {n: mask & (torch.rand(mask.shape, generator=generator) < 0.6) for n, mask in every.masks.items()}
            found[f"random {seed} of {pruning}"] = Ticket(pruning, anatomy.signature, masks, sizes=every.sizes)
    return found


def test_every_known_class_is_tried() -> None:
    assert {kind.name for kind in KINDS.values()} == set(KNOWN)


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
        ticket = Ticket.everything(dissect(model), "heads").without({"heads": [[0, 1]]})
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
    every = Ticket.everything(dissect(model), "heads+neurons", 16)
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
    ticket = Ticket.everything(dissect(model), "neurons", 8).without({"neurons": [[0, 1]]})
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
    ticket = Ticket.everything(anatomy, "neurons", 16)
    assert [len(row) for row in ticket.rows("neurons")] == [2, 4, 2, 2]
    ticket.check(anatomy)
    with pytest.raises(TombolaError, match="cannot be divided into blocks of 24; blocks of 16 or 32 can"):
        Ticket.everything(anatomy, "neurons", 24)
