"""Dummy inputs that any model of text or images takes, the same each time."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from tombola.architectures.denoisers import denoiser_inputs, image_side

_LARGEST = 32
"""Sides of an image that a denoiser is checked with, at most: what is left out is left out at any size."""


def dummy_inputs(model: nn.Module, batch: int, length: int = 24) -> dict[str, Any]:
    """Keyword arguments of a model's forward pass, on its device.

    Token ids [batch, length] with a mask that pads every second row at the end (for encoder-decoder models also
    decoder ids; for multiple choice [batch, 2, length]), or pixels [batch, channels, size, size]. Of a denoiser see
    [`denoiser_inputs`][tombola.architectures.denoisers.denoiser_inputs].

    Raises:
        TombolaError: a denoiser of a class of which it is not known what it takes.
    """
    if not isinstance(model, PreTrainedModel):
        return denoiser_inputs(model, batch)
    generator = torch.Generator().manual_seed(0)
    config = model.config
    device = model.device
    if model.main_input_name == "pixel_values":
        size = config.image_size
        pixels = torch.randn(batch, config.num_channels, size, size, generator=generator)
        return {"pixel_values": pixels.to(device, model.dtype)}
    longest = getattr(config, "max_position_embeddings", None)
    length = length if longest is None or longest <= 0 else min(length, longest // 2)
    # Low ids are special tokens, some of which a model treats in its own way.
    ids = torch.randint(min(10, config.vocab_size // 2), config.vocab_size, (batch, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[1::2, length // 2 :] = 0
    if type(model).__name__.endswith("ForMultipleChoice"):
        # Two answers, the second in the opposite order.
        ids, mask = torch.stack((ids, ids.flip(1)), 1), torch.stack((mask, mask), 1)
    classifies = type(model).__name__.endswith("ForSequenceClassification")
    if config.is_encoder_decoder and classifies:
        # Its answer is read off the end token, and it makes its decoder's ids itself.
        ids[torch.arange(batch), mask.sum(1) - 1] = config.eos_token_id
    given = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
    if config.is_encoder_decoder and not classifies:
        given["decoder_input_ids"] = ids[:, : length // 2].to(device)
    return given


def few_dummy_inputs(model: nn.Module) -> dict[str, Any]:
    """Dummy inputs of a batch that also a slow machine computes: four texts, of a denoiser two small images."""
    if isinstance(model, PreTrainedModel):
        return dummy_inputs(model, 4)
    return denoiser_inputs(model, 2, min(_LARGEST, image_side(model)))
