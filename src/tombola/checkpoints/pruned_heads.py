"""Heads that transformers 4 pruned: its `config.json` names them, and their weights stand in no file.

transformers 5 reads such a checkpoint no more. Here its tensors are read into a model that lacks the same heads: one
that was shrunk, as if by Tombola.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.architectures.removal import removal_of
from tombola.foundations.errors import TombolaError
from tombola.foundations.plurals import plural
from tombola.subnetworks.recognition import recognise
from tombola.subnetworks.structured_removal import remove, restore
from tombola.subnetworks.subnetwork import cut
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


def cut_heads(model: nn.Module, gone: Mapping[int, list[int]], source: str, *, stored: bool = False) -> None:
    """Remove the pruned heads, layer → heads, from a whole model.

    Args:
        model: of the configuration of the checkpoint; changed.
        gone: as `heads_pruned_by` has them.
        source: what the user calls the checkpoint.
        stored: leave shapes as they were saved: without any head also where the model would not run so.

    Raises:
        TombolaError: the layers have no such heads.
    """
    recognise(model, check=False)
    anatomy = dissect(model)
    ticket = _ticket(anatomy, gone, source)
    if stored:
        anatomy = replace(anatomy, attentions=tuple(replace(row, may_be_empty=True) for row in anatomy.attentions))
        remove(model, anatomy, ticket.kept(anatomy))
    else:
        cut(model, ticket)


def without_pruned_heads(
    kind: Any, config: PretrainedConfig, source: str, read: Callable[[Any], tuple[PreTrainedModel, dict[str, Any]]]
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A model without the heads that its configuration calls pruned, and what its library says of the tensors.

    Args:
        kind: class of transformers, or one of its Auto classes.
        config: names the heads; that of the model does no more, since the model itself knows.
        source: what the user calls the checkpoint.
        read: makes a model of a class from the checkpoint.

    Raises:
        TombolaError: the layers have no such heads.
    """
    gone = heads_pruned_by(config, source)
    if not gone:
        return read(kind)
    model, found = smaller(kind, config, lambda made: cut_heads(made, gone, source, stored=True), read)
    if found["mismatched_keys"]:
        # Other programs may have saved it with all heads since; else the caller names what does not fit.
        whole, of_whole = read(kind)
        if of_whole["mismatched_keys"]:
            return model, found
        del whole.config.pruned_heads
        return whole, of_whole
    if removal_of(model) is not None:
        restore(model)
        cut_heads(model, gone, source)
        del model.config.pruned_heads
        count = plural(sum(map(len, gone.values())), "head")
        warnings.warn(
            f"transformers 4 pruned {count} of {source}: it is the smaller model that it was, and what is saved of it "
            "is a shrunk model, which tombola.load opens",
            stacklevel=2,
        )
    return model, found


def smaller(
    kind: Any,
    config: PretrainedConfig,
    cut: Callable[[nn.Module], None],
    read: Callable[[Any], tuple[PreTrainedModel, dict[str, Any]]],
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A model that its library reads into shapes from which something was cut, and what it says of the tensors.

    Args:
        kind: class of transformers, or one of its Auto classes.
        config: of the model.
        cut: removes it from a model that was just made.
        read: makes a model of a class from the checkpoint.
    """
    if hasattr(kind, "_model_mapping"):
        if type(config) not in kind._model_mapping:
            return read(kind)
        kind = kind._model_mapping[type(config)]

    indices: dict[str, Tensor] = {}

    class Smaller(kind):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            known = {name for name, _ in self.named_buffers()}
            # It is made where new tensors have no memory, and indices need some.
            with torch.device("cpu"):
                cut(self)
            indices.update({name: buffer for name, buffer in self.named_buffers() if name not in known})

    # The library looks up by this name how tensors were called before.
    Smaller.__name__ = kind.__name__
    model, found = read(Smaller)
    model.__class__ = kind
    for name, buffer in indices.items():
        # The library takes what stands in no file for its own to fill.
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, buffer)
    return model, found


def _ticket(anatomy: Anatomy, gone: Mapping[int, list[int]], source: str) -> Ticket:
    rows = anatomy.attentions
    for layer, heads in gone.items():
        most = rows[layer].heads if 0 <= layer < len(rows) else 0
        if [row.layer for row in rows] != list(range(len(rows))) or not 0 <= heads[0] <= heads[-1] < most:
            raise TombolaError(
                f"{source}: its configuration calls heads {', '.join(map(str, heads))} of layer {layer} pruned, which "
                f"a {anatomy.model_type} of {len(rows)} layers does not have; give the configuration that it was saved "
                "with"
            )
    sites = [(layer, head) for layer, heads in gone.items() for head in heads]
    return Ticket.full(anatomy, "heads").without({"heads": sites})
