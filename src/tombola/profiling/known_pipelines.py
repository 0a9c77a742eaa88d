"""Well-known pipelines by the configurations of their networks: enough to reckon with, without any weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tombola.architectures.denoiser_preset import DenoiserPreset


@dataclass(frozen=True)
class KnownPipeline:
    """A pipeline whose configurations are known, as far as they differ from the defaults of their classes.

    Attributes:
        denoiser: what is pruned.
        pipeline: its class in diffusers.
        parts: the other networks: name in the pipeline → class of diffusers or transformers, and the arguments of its
            configuration.
    """

    denoiser: DenoiserPreset
    pipeline: str
    parts: Mapping[str, tuple[str, Mapping[str, Any]]]


_SD_UNET: Mapping[str, Any] = {"sample_size": 64, "cross_attention_dim": 768}
_XL_UNET: Mapping[str, Any] = {
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
_TINY_UNET: Mapping[str, Any] = {
    "layers_per_block": 1,
    "mid_block_type": None,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3,
}
_SD3_TRANSFORMER: Mapping[str, Any] = {
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,
}
_VAE: Mapping[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "sample_size": 512,
}
_VAE_16: Mapping[str, Any] = {
    **_VAE,
    "latent_channels": 16,
    "sample_size": 1024,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
_CLIP_L: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
_CLIP_BIG_G: Mapping[str, Any] = {
    **_CLIP_L,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
_T5_XXL: Mapping[str, Any] = {
    "d_model": 4096,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
_SD_PARTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "text_encoder": ("CLIPTextModel", _CLIP_L),
    "vae": ("AutoencoderKL", _VAE),
}


def _stable_diffusion(**changes: Any) -> KnownPipeline:
    unet = DenoiserPreset("UNet2DConditionModel", {**_SD_UNET, **changes})
    return KnownPipeline(unet, "StableDiffusionPipeline", _SD_PARTS)


KNOWN_PIPELINES: Mapping[str, KnownPipeline] = {
    "sd-1.5": _stable_diffusion(),
    "bk-sdm-base": _stable_diffusion(layers_per_block=1),
    "bk-sdm-small": _stable_diffusion(layers_per_block=1, mid_block_type=None),
    "bk-sdm-tiny": _stable_diffusion(**_TINY_UNET),
    "sdxl": KnownPipeline(
        DenoiserPreset("UNet2DConditionModel", _XL_UNET),
        "StableDiffusionXLPipeline",
        {
            "text_encoder": ("CLIPTextModel", _CLIP_L),
            "text_encoder_2": ("CLIPTextModelWithProjection", _CLIP_BIG_G),
            "vae": ("AutoencoderKL", {**_VAE, "sample_size": 1024, "force_upcast": True}),
        },
    ),
    "dit-xl-2": KnownPipeline(
        DenoiserPreset("DiTTransformer2DModel", {"out_channels": 8}),
        "DiTPipeline",
        {"vae": ("AutoencoderKL", _VAE)},
    ),
    "pixart-alpha": KnownPipeline(
        DenoiserPreset("PixArtTransformer2DModel", {"caption_channels": 4096}),
        "PixArtAlphaPipeline",
        {"text_encoder": ("T5EncoderModel", _T5_XXL), "vae": ("AutoencoderKL", _VAE)},
    ),
    "sd3-medium": KnownPipeline(
        DenoiserPreset("SD3Transformer2DModel", _SD3_TRANSFORMER),
        "StableDiffusion3Pipeline",
        {
            "text_encoder": ("CLIPTextModelWithProjection", _CLIP_L),
            "text_encoder_2": ("CLIPTextModelWithProjection", _CLIP_BIG_G),
            "text_encoder_3": ("T5EncoderModel", _T5_XXL),
            "vae": ("AutoencoderKL", _VAE_16),
        },
    ),
    "flux-dev": KnownPipeline(
        DenoiserPreset("FluxTransformer2DModel", {"guidance_embeds": True}),
        "FluxPipeline",
        {
            "text_encoder": ("CLIPTextModel", _CLIP_L),
            "text_encoder_2": ("T5EncoderModel", _T5_XXL),
            "vae": ("AutoencoderKL", _VAE_16),
        },
    ),
}
"""Name → pipeline. Parameters are the published ones. Of the denoisers 860 M, 579 M, 482 M, 323 M, 2,567 M, 750 M (as
diffusers builds it), 611 M, 2,028 M and 11,901 M; CLIP ViT-L/14's text model 123.06 M, OpenCLIP bigG's 694.66 M,
T5-XXL's encoder 4,762 M, the VAE of Stable Diffusion 83.65 M."""
