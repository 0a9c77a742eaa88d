"""Parts around the denoisers of well-known pipelines, by configuration: text encoders and image decoders."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Surroundings:
    """The parts of a pipeline but its denoiser.

    Attributes:
        pipeline: its class in diffusers.
        parts: name in the pipeline → class of diffusers or transformers, and the arguments of its configuration.
    """

    pipeline: str
    parts: Mapping[str, tuple[str, Mapping[str, Any]]]


_VAE: Mapping[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "sample_size": 512,
}
_WIDE_VAE: Mapping[str, Any] = {
    **_VAE,
    "latent_channels": 16,
    "sample_size": 1024,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
_LARGE: Mapping[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "projection_dim": 768,
}
_BIG_G: Mapping[str, Any] = {
    **_LARGE,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
_XXL: Mapping[str, Any] = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}

_SD = Surroundings(
    "StableDiffusionPipeline", {"text_encoder": ("CLIPTextModel", _LARGE), "vae": ("AutoencoderKL", _VAE)}
)
SURROUNDINGS: Mapping[str, Surroundings] = MappingProxyType(
    {
        "sd-1.5": _SD,
        "bk-sdm-base": _SD,
        "bk-sdm-small": _SD,
        "bk-sdm-tiny": _SD,
        "sdxl": Surroundings(
            "StableDiffusionXLPipeline",
            {
                "text_encoder": ("CLIPTextModel", _LARGE),
                "text_encoder_2": ("CLIPTextModelWithProjection", _BIG_G),
                "vae": ("AutoencoderKL", {**_VAE, "sample_size": 1024, "force_upcast": True}),
            },
        ),
        "dit-xl-2": Surroundings("DiTPipeline", {"vae": ("AutoencoderKL", _VAE)}),
        "pixart-alpha": Surroundings(
            "PixArtAlphaPipeline", {"text_encoder": ("T5EncoderModel", _XXL), "vae": ("AutoencoderKL", _VAE)}
        ),
        "sd3-medium": Surroundings(
            "StableDiffusion3Pipeline",
            {
                "text_encoder": ("CLIPTextModelWithProjection", _LARGE),
                "text_encoder_2": ("CLIPTextModelWithProjection", _BIG_G),
                "text_encoder_3": ("T5EncoderModel", _XXL),
                "vae": ("AutoencoderKL", _WIDE_VAE),
            },
        ),
        "flux-dev": Surroundings(
            "FluxPipeline",
            {
                "text_encoder": ("CLIPTextModel", _LARGE),
                "text_encoder_2": ("T5EncoderModel", _XXL),
                "vae": ("AutoencoderKL", _WIDE_VAE),
            },
        ),
    }
)
"""Name, as in `known_denoisers.DENOISERS` → surroundings. Their parameters are the published ones: CLIP ViT-L/14's text
model 123.06 M, OpenCLIP bigG's 694.66 M, T5-XXL's encoder 4,762 M, the VAE of Stable Diffusion 83.65 M."""
