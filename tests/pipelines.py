"""Tiny whole pipelines of latents, random and saved: a VAE that halves images, and what their denoiser is given."""

import json
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, DiTPipeline, StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from unets import made

VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (4, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "latent_channels": 4,
    "norm_num_groups": 2,
    "sample_size": 16,
    "scaling_factor": 0.7,
}
TEXT_UNET: dict[str, Any] = {
    "sample_size": 8,
    "layers_per_block": 1,
    "block_out_channels": (8, 16),
    "cross_attention_dim": 16,
    "norm_num_groups": 4,
    "attention_head_dim": 2,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
"""8 attentions of 2 heads, 4 MLPs, 8 residual blocks of 4 groups; its images are of 16 x 16 pixels."""
DIT: dict[str, Any] = {
    "num_attention_heads": 3,
    "attention_head_dim": 8,
    "num_layers": 2,
    "patch_size": 2,
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 8,
    "num_embeds_ada_norm": 5,
    "norm_num_groups": 4,
}
"""2 attentions of 3 heads, 2 MLPs, 5 classes; it also says how sure it is."""
WORDS = ("a</w>", "b</w>", "<|startoftext|>", "<|endoftext|>")


def vae(**options: Any) -> AutoencoderKL:
    return cast(AutoencoderKL, made("AutoencoderKL", {**VAE, **options}, torch.float32))


def schedule(**options: Any) -> DDIMScheduler:
    return DDIMScheduler(num_train_timesteps=50, clip_sample=False, steps_offset=1, **options)


def clip(folder: Path) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """A tokenizer that knows two letters, from files in a folder, and a text encoder of 16 features."""
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=7)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=7,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=3,
    )
    return tokenizer, CLIPTextModel(config).eval()


def stable_diffusion(folder: Path, **options: Any) -> Path:
    """A pipeline like Stable Diffusion; `options` are those of its schedule."""
    tokenizer, encoder = clip(folder.with_name(f"{folder.name} words"))
    pipeline = StableDiffusionPipeline(
        vae(),
        encoder,
        tokenizer,
        cast(Any, made("UNet2DConditionModel", TEXT_UNET, torch.float32)),
        schedule(**options),
        cast(Any, None),
        cast(Any, None),
        requires_safety_checker=False,
    )
    return saved(pipeline, folder)


def dit(folder: Path, **options: Any) -> Path:
    """A pipeline of classes; `options` are those of its schedule."""
    transformer = cast(Any, made("DiTTransformer2DModel", DIT, torch.float32))
    return saved(DiTPipeline(transformer, vae(), cast(Any, schedule(**options))), folder)


def saved(pipeline: DiffusionPipeline, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder
