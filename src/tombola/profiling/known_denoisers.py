"""The denoisers of well-known pipelines by their configurations: enough to reckon with, without any weights."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tombola.architectures.denoisers import DenoiserPreset

_SD: Mapping[str, Any] = {"sample_size": 64, "cross_attention_dim": 768}
_XL: Mapping[str, Any] = {
    "sample_size": 128,
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_TINY: Mapping[str, Any] = {
    "layers_per_block": 1,
    "mid_block_type": None,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3,
}
_PATCHES: Mapping[str, Any] = {
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": 8,
    "num_layers": 28,
}
_SD3: Mapping[str, Any] = {
    "sample_size": 128,
    "num_layers": 24,
    "attention_head_dim": 64,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,
}

DENOISERS: Mapping[str, DenoiserPreset] = MappingProxyType(
    {
        "sd-1.5": DenoiserPreset("UNet2DConditionModel", _SD),
        "bk-sdm-base": DenoiserPreset("UNet2DConditionModel", {**_SD, "layers_per_block": 1}),
        "bk-sdm-small": DenoiserPreset("UNet2DConditionModel", {**_SD, "layers_per_block": 1, "mid_block_type": None}),
        "bk-sdm-tiny": DenoiserPreset("UNet2DConditionModel", {**_SD, **_TINY}),
        "sdxl": DenoiserPreset("UNet2DConditionModel", _XL),
        "dit-xl-2": DenoiserPreset("DiTTransformer2DModel", {**_PATCHES, "sample_size": 32}),
        "pixart-alpha": DenoiserPreset(
            "PixArtTransformer2DModel",
            {**_PATCHES, "sample_size": 128, "cross_attention_dim": 1152, "caption_channels": 4096},
        ),
        "sd3-medium": DenoiserPreset("SD3Transformer2DModel", _SD3),
        "flux-dev": DenoiserPreset("FluxTransformer2DModel", {"guidance_embeds": True}),
    }
)
"""Name → denoiser. Their parameters are the published ones: 860 M, 579 M, 482 M, 323 M, 2,567 M, 750 M (as diffusers
builds it), 611 M, 2,028 M and 11,901 M."""
