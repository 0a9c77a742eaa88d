"""Padding: where the real tokens of a batch lie, and what a model must be told of it.

A batch padded left puts a text at other positions, and its first token elsewhere, than the same text alone. Tombola
pads right; batches that come padded left from elsewhere are moved, or given positions.
"""

import contextlib
import inspect
from collections.abc import Iterator, Mapping

from torch import Tensor, nn


def padded_left(inputs: Mapping[str, Tensor]) -> bool:
    """True if a real token stands behind padding in some row of `attention_mask` [batch, tokens]."""
    mask = inputs.get("attention_mask")
    return mask is not None and mask.ndim == 2 and bool((mask.bool()[:, 1:] & ~mask.bool()[:, :-1]).any())


def padded_right(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Inputs with real tokens first, moved where they have the shape of `attention_mask` and that is padded left."""
    if not padded_left(inputs):
        return inputs
    mask = inputs["attention_mask"]
    order = (~mask.bool()).long().argsort(dim=1, stable=True)
    return {name: one.gather(1, order) if one.shape == mask.shape else one for name, one in inputs.items()}


def with_positions(inputs: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """The inputs, with the `position_ids` of real tokens where they are padded left and the model takes any."""
    if "position_ids" in inputs or not padded_left(inputs):
        return inputs
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return inputs
    mask = inputs["attention_mask"].long()
    first = first_position(model)
    positions = (mask.cumsum(1) - 1 + first).where(mask.bool(), max(first - 1, 0))
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
def padding_token(model: nn.Module, token: int | None) -> Iterator[None]:
    """Tell a model which token pads while the block runs: a decoder's classifier reads the last that does not.

    A model whose positions start after that of its padding keeps its own.
    """
    config = getattr(model, "config", None)
    own = getattr(config, "pad_token_id", None)
    if config is None or own == token or first_position(model):
        yield
        return
    config.pad_token_id = token
    try:
        yield
    finally:
        config.pad_token_id = own
