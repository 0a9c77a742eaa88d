"""Padding: where the real tokens of a batch lie, and what a model must be told of it.

A batch padded left puts a text at other positions, and its first token elsewhere, than the same text alone. Tombola
pads right; batches that come padded left from elsewhere are moved, or given positions.
"""

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase


def padded_left(inputs: Mapping[str, Tensor]) -> bool:
    """True if a real token stands behind padding in some row of `attention_mask` [..., tokens].

    A mask of another shape than `input_ids` says who may look at whom, and nothing of padding.
    """
    mask = inputs.get("attention_mask")
    shape = None if mask is None else inputs.get("input_ids", mask).shape
    if mask is None or mask.ndim < 2 or mask.shape != shape:
        return False
    return bool((mask.bool()[..., 1:] & ~mask.bool()[..., :-1]).any())


def padded_right(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Inputs with real tokens first, moved where they have the shape of `attention_mask` and that is padded left.

    What a decoder reads, or is to write, has an order of its own, of the same shape perhaps.
    """
    if not padded_left(inputs):
        return inputs
    mask = inputs["attention_mask"]
    order = (~mask.bool()).long().argsort(dim=-1, stable=True)
    moved = {name: one for name, one in inputs.items() if one.shape == mask.shape}
    moved = {name: one for name, one in moved.items() if not name.startswith(("decoder_", "labels"))}
    return {**inputs, **{name: one.gather(-1, order) for name, one in moved.items()}}


def with_positions(inputs: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """The inputs, with the `position_ids` of real tokens where they are padded left and the model takes any."""
    if "position_ids" in inputs or not padded_left(inputs):
        return inputs
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return inputs
    mask = inputs["attention_mask"].long()
    first = first_position(model)
    positions = (mask.cumsum(-1) - 1 + first).where(mask.bool(), max(first - 1, 0))
    return {**inputs, "position_ids": positions}


def first_position(model: nn.Module) -> int:
    """Position of a text's first token: 0, or the one after that of padding, as in RoBERTa."""
    table = position_table(model)
    return 0 if table is None or table.padding_idx is None else table.padding_idx + 1


def position_table(model: nn.Module) -> nn.Embedding | None:
    """The table of a model's learnt absolute positions; None if it has none that is known by name."""
    for name, table in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(table, nn.Embedding):
            return table
    return None


@contextlib.contextmanager
def known_padding(model: nn.Module, inputs: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """Inputs that a decoder's classifier reads, while the block runs, as it reads each text alone.

    It reads the last token that is not the padding of its configuration, whatever a tokenizer pads with: padding
    becomes that token. Where the configuration names none, it reads the last token, and is told of a padding that ends
    no text of the batch. A model whose positions start after that of its padding gets the inputs as they are.
    """
    config: Any = getattr(model, "config", None)
    ids, mask = inputs.get("input_ids"), inputs.get("attention_mask")
    if config is None or ids is None or mask is None or first_position(model):
        yield inputs
        return
    config = config.get_text_config()
    own, ends = config.pad_token_id, set[int]()
    if own is None or not 0 <= own < config.vocab_size:
        last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1, keepdim=True)
        ends = set(ids.gather(1, last).flatten().tolist())
    config.pad_token_id = own if not ends else next(token for token in range(len(ends) + 1) if token not in ends)
    try:
        yield {**inputs, "input_ids": ids.where(mask.bool(), config.pad_token_id)}
    finally:
        config.pad_token_id = own


def ends_with_padding(tokenizer: PreTrainedTokenizerBase) -> bool:
    """True if a tokenizer closes every text with the token that pads."""
    ids: list[int] = tokenizer("a")["input_ids"]
    return ids[-1:] == [tokenizer.pad_token_id]
