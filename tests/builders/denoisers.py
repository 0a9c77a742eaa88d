"""A tiny configuration of every class of denoisers, and tickets of it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from builders.unets import UNET, made
from tombola.architectures.denoisers import denoiser_inputs
from tombola.architectures.dissect import dissect
from tombola.subnetworks.gates import attach
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tickets.kinds import TicketKind
from tombola.tickets.ticket import Ticket

CPU = torch.device("cpu")


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
    "unet of texts with plain attentions": Kind(
        "UNet2DConditionModel",
        {
            **_COND,
            "down_block_types": ("AttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "AttnUpBlock2D"),
            "attention_head_dim": 4,
        },
        # Of the plain ones 8 channels are 2 heads of 4; the others have 4 heads, by an old mistake in names.
        (2, *(4,) * 8, 2, 2),
        (64,) * 4,
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

TEXTS_AND_IMAGES: Mapping[str, Any] = {
    **KINDS["unet of texts"].config,
    "down_block_types": ("SimpleCrossAttnDownBlock2D", "ResnetDownsampleBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": ("ResnetUpsampleBlock2D", "SimpleCrossAttnUpBlock2D"),
    "attention_head_dim": 4,
}
"""A U-net whose attentions are to texts and images at once, and have no heads that can go."""


def computed(subnetwork: Subnetwork | nn.Module, kind: Kind) -> Tensor:
    model = subnetwork.model if isinstance(subnetwork, Subnetwork) else subnetwork
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        if isinstance(subnetwork, Subnetwork) and subnetwork.gated:
            gates = stack.enter_context(attach(model, subnetwork.anatomy, subnetwork.present, subnetwork.ticket))
            gates.open(3, CPU, grad=False)
        found = model(**denoiser_inputs(model, 3, kind.size), return_dict=False)[0]
    assert found.isfinite().all()
    return cast(Tensor, found)


def ticket_kinds(kind: Kind) -> tuple[TicketKind, ...]:
    if not kind.neurons:
        return ("heads+channels",)
    return ("heads+neurons+channels", "heads+mlps") if kind.channels else ("heads+neurons", "heads+mlps")


def tickets(model: nn.Module, kind: Kind) -> dict[str, Ticket]:
    anatomy = dissect(model)
    found = {}
    for ticket_kind in ticket_kinds(kind):
        every = Ticket.full(anatomy, ticket_kind, 8)
        found[f"nothing of {ticket_kind}"] = ~every
        first = {name: mask[:1].nonzero().tolist() for name, mask in every.masks.items()}
        if "mlps" in first:
            first["mlps"] = [0]
        found[f"without the first of {ticket_kind}"] = every.without(first)
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            masks = {n: mask & (torch.rand(mask.shape, generator=generator) < 0.6) for n, mask in every.masks.items()}
            found[f"random {seed} of {ticket_kind}"] = Ticket(ticket_kind, anatomy.signature, masks, sizes=every.sizes)
    return found
