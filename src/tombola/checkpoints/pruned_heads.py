"""Heads that transformers 4 pruned: its `config.json` names them, and their weights stand in no file.

transformers 5 reads such a checkpoint no more. Here its tensors are read into a model that lacks the same heads, which
then get weights of zeros: exactly what the checkpoint computes, in the shapes of the whole architecture.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.architectures.sites import Kept
from tombola.foundations.errors import TombolaError
from tombola.foundations.plurals import plural
from tombola.subnetworks.recognition import recognise
from tombola.subnetworks.structured_removal import remove, restore
from tombola.tickets.ticket import Ticket

_SETTING = "pruned_heads"


def heads_pruned_by(config: PretrainedConfig, source: str) -> dict[int, list[int]]:
    """Layer → heads that transformers 4 pruned, by a configuration; empty where there are none.

    Raises:
        TombolaError: it says so in no way that is known; `source` is what the user calls it.
    """
    found = getattr(config, _SETTING, None) or {}
    try:
        gone = {int(layer): sorted({int(head) for head in heads}) for layer, heads in found.items()}
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise TombolaError(
            f"{source}: {_SETTING} of its configuration names no heads of layers; give the configuration that it was "
            "saved with"
        ) from error
    return {layer: heads for layer, heads in gone.items() if heads}


def with_heads_of_zeros(
    kind: Any, config: PretrainedConfig, source: str, read: Callable[[Any], tuple[PreTrainedModel, dict[str, Any]]]
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A model with zeros for the heads that its configuration calls pruned, and what its library says of the tensors.

    Args:
        kind: class of transformers, or one of its Auto classes.
        config: names the heads; that of the model does no more, since they are there again.
        source: what the user calls the checkpoint.
        read: makes a model of a class from the checkpoint.

    Raises:
        TombolaError: the layers have no such heads.
    """
    gone = heads_pruned_by(config, source)
    if not gone:
        return read(kind)
    if hasattr(kind, "_model_mapping"):
        if type(config) not in kind._model_mapping:
            return read(kind)
        kind = kind._model_mapping[type(config)]
    cuts: list[tuple[Anatomy, Kept]] = []

    class Smaller(kind):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            # It is made where new tensors have no memory, and indices need some.
            with torch.device("cpu"):
                recognise(self, check=False)
                cuts.append(_cut(dissect(self), gone, source))
                remove(self, *cuts[-1])

    # The library looks up by this name how tensors were called before.
    Smaller.__name__ = kind.__name__
    model, found = read(Smaller)
    model.__class__ = kind
    if found["mismatched_keys"]:
        # Other programs may have saved it with all heads since; else the caller names what does not fit.
        whole, of_whole = read(kind)
        if of_whole["mismatched_keys"]:
            return model, found
        del whole.config.pruned_heads
        return whole, of_whole
    restore(model, *cuts[-1])
    del model.config.pruned_heads
    warnings.warn(
        f"transformers 4 pruned {plural(sum(map(len, gone.values())), 'head')} of {source}: zeros stand for them, "
        "which no training changes, and count among the heads of the model; a search removes them first",
        stacklevel=2,
    )
    return model, found


def _cut(anatomy: Anatomy, gone: Mapping[int, list[int]], source: str) -> tuple[Anatomy, Kept]:
    rows = anatomy.attentions
    full = Ticket.full(anatomy, "heads")
    for layer, heads in gone.items():
        most = rows[layer].heads if 0 <= layer < len(rows) else 0
        if [row.layer for row in rows] != list(range(len(rows))) or not 0 <= heads[0] <= heads[-1] < most:
            raise TombolaError(
                f"{source}: its configuration calls heads {', '.join(map(str, heads))} of layer {layer} pruned, which "
                f"a {anatomy.model_type} of {len(rows)} layers does not have; give the configuration that it was saved "
                "with"
            )
    kept = full.without({"heads": [(layer, head) for layer, heads in gone.items() for head in heads]}).kept(anatomy)
    # As it was saved, whether it could run or not.
    return replace(anatomy, attentions=tuple(replace(row, may_be_empty=True) for row in rows)), kept
