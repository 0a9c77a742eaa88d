"""Tiny denoisers of diffusers with random weights, norms and biases included, and inputs for them."""

from collections.abc import Mapping
from typing import Any, cast

import diffusers
import torch
from torch import Tensor, nn

from builders.encoders import randomise

UNET: Mapping[str, Any] = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}
"""4 attentions of 4 heads; 8 residual blocks of 4 groups."""


def unet(dtype: torch.dtype = torch.float64, seed: int = 0, **options: Any) -> nn.Module:
    """Norms and biases are random too, as those of a fresh model would hide mistakes."""
    return made("UNet2DModel", {**UNET, **options}, dtype, seed)


def made(kind: str, config: Mapping[str, Any], dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = cast(nn.Module, getattr(diffusers, kind)(**config))
    randomise(model, 0.2)
    return model.eval().to(dtype)


def noisy(batch: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Images and timesteps."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 1, 8, 8, generator=generator, dtype=dtype), torch.tensor([3, 500, 900, 40])[:batch]


def denoised(model: nn.Module, batch: int = 3) -> Tensor:
    images, timesteps = noisy(batch, next(model.parameters()).dtype)
    with torch.no_grad():
        return cast(Tensor, model(images, timesteps, return_dict=False)[0])
