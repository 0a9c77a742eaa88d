"""Tiny whole pipelines of latents, random and saved: a VAE that halves images, and what their denoiser is given."""

import json
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    DiTPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from builders.denoisers import KINDS
from builders.unets import made

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


def clip(folder: Path, projection: bool = False) -> tuple[CLIPTokenizer, Any]:
    """A tokenizer that knows two letters, from files in a folder, and a text encoder of 16 features."""
    folder.mkdir(exist_ok=True)
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
        projection_dim=8,
    )
    kind: Any = CLIPTextModelWithProjection if projection else CLIPTextModel
    return tokenizer, kind(config).eval()


def t5() -> tuple[T5Tokenizer, T5EncoderModel]:
    """A tokenizer that knows a letter, and a text encoder of 20 features."""
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -1.0), ("\u2581", -2.0), ("a", -2.0)]
    torch.manual_seed(0)
    config = T5Config(vocab_size=8, d_model=20, d_kv=5, d_ff=24, num_layers=2, num_heads=2)
    return T5Tokenizer(vocab=words, extra_ids=0), T5EncoderModel(config).eval()


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


def stable_diffusion_xl(folder: Path) -> Path:
    """A pipeline like Stable Diffusion XL, which was trained on zeros for no text."""
    tokenizer, encoder = clip(folder.with_name(f"{folder.name} words"))
    _, second = clip(folder.with_name(f"{folder.name} words"), projection=True)
    more = {
        "cross_attention_dim": 32,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        # The pooled text and six numbers.
        "projection_class_embeddings_input_dim": 8 + 6 * 4,
    }
    unet = cast(Any, made("UNet2DConditionModel", {**TEXT_UNET, **more}, torch.float32))
    scheduler = cast(Any, schedule())
    pipeline = StableDiffusionXLPipeline(
        vae(), encoder, second, tokenizer, tokenizer, unet, scheduler, add_watermarker=False
    )
    return saved(pipeline, folder)


def pixart(folder: Path, **options: Any) -> Path:
    """A pipeline like PixArt-alpha; `options` are those of its schedule."""
    tokenizer, encoder = t5()
    transformer = cast(Any, made("PixArtTransformer2DModel", KINDS["pixart"].config, torch.float32))
    return saved(PixArtAlphaPipeline(tokenizer, encoder, vae(), transformer, cast(Any, schedule(**options))), folder)


def pixart_sigma(folder: Path) -> Path:
    """A pipeline like PixArt-sigma, which reads longer texts."""
    tokenizer, encoder = t5()
    transformer = cast(Any, made("PixArtTransformer2DModel", KINDS["pixart"].config, torch.float32))
    return saved(PixArtSigmaPipeline(tokenizer, encoder, vae(), transformer, cast(Any, schedule())), folder)


def stable_diffusion_3(folder: Path) -> Path:
    """A pipeline like Stable Diffusion 3."""
    tokenizer, encoder = clip(folder.with_name(f"{folder.name} words"), projection=True)
    third, _ = t5()
    # Texts of both small encoders, side by side, must fit into the large one's width.
    large = T5EncoderModel(T5Config(vocab_size=8, d_model=32, d_kv=5, d_ff=24, num_layers=2, num_heads=2)).eval()
    config = {**KINDS["sd3"].config, "joint_attention_dim": 32}
    transformer = cast(Any, made("SD3Transformer2DModel", config, torch.float32))
    flow = FlowMatchEulerDiscreteScheduler(shift=3.0)
    around = vae(shift_factor=0.1)
    pipeline = StableDiffusion3Pipeline(
        transformer, flow, around, encoder, tokenizer, encoder, tokenizer, large, cast(Any, third)
    )
    return saved(pipeline, folder)


def flux(folder: Path) -> Path:
    """A pipeline like Flux, of a transformer that is told its guidance."""
    tokenizer, encoder = clip(folder.with_name(f"{folder.name} words"))
    second, large = t5()
    config = {**KINDS["flux"].config, "in_channels": 16}
    transformer = cast(Any, made("FluxTransformer2DModel", config, torch.float32))
    flow = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    around = vae(shift_factor=0.1)
    return saved(FluxPipeline(flow, around, encoder, tokenizer, large, cast(Any, second), transformer), folder)


def saved(pipeline: DiffusionPipeline, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder
