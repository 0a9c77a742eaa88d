"""The proof that a smaller model computes what the masked one does, on inputs that any model takes."""

import contextlib
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tombola.errors import TombolaError
from tombola.gates import attach
from tombola.subnetwork import Subnetwork

TOLERANCE = 1e-4
"""Largest difference of an output, relative to the largest output; rounding is near 1e-6 in fp32."""


def largest_difference(masked: Subnetwork, shrunk: Subnetwork, batch: int = 4) -> float:
    """Largest difference of an output between two forms of a ticket on random inputs, relative to the largest output.

    Raises:
        TombolaError: an output is not finite.
    """
    assert isinstance(masked.model, PreTrainedModel)
    given = random_inputs(masked.model, batch)
    expected, found = _output(masked, given), _output(shrunk, given)
    if not (expected.isfinite().all() and found.isfinite().all()):
        raise TombolaError("the model's outputs on random inputs are not finite, so nothing can be compared")
    return float((expected - found).abs().max() / expected.abs().max())


def random_inputs(model: PreTrainedModel, batch: int, length: int = 24) -> dict[str, Tensor]:
    """Inputs that any model of text or images takes, the same each time.

    Token ids [batch, length] with a mask that pads every second row at the end (for encoder-decoder models also
    decoder ids), or pixels [batch, channels, size, size].
    """
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
    given = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
    if config.is_encoder_decoder:
        given["decoder_input_ids"] = ids[:, : length // 2].to(device)
    return given


def _output(subnetwork: Subnetwork, given: Mapping[str, Tensor]) -> Tensor:
    """Logits, or the last hidden state of a model without a head; 0 at padding, where nothing is promised."""
    model = subnetwork.model
    training = model.training
    model.eval()
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if subnetwork.gated:
                gates = stack.enter_context(attach(model, subnetwork.anatomy, subnetwork.present, subnetwork.ticket))
                first = next(iter(given.values()))
                gates.open(len(first), first.device, grad=False)
            output = model(**given)
    finally:
        model.train(training)
    found: Tensor = output.logits if "logits" in output else output.last_hidden_state
    if found.ndim == 3 and "attention_mask" in given and "decoder_input_ids" not in given:
        found = found.where(given["attention_mask"].bool()[..., None], 0.0)
    return found.float().cpu()
