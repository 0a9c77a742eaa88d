"""Removal: what a shrunk model has lost, remembered on the model, and the anatomy that is left of it."""

from dataclasses import replace

import torch
from torch import nn

from tombola.architectures.anatomy import Anatomy, Removal
from tombola.architectures.sites import ChannelRow, HeadRow

_REMOVAL = "_tombola_removal"


def remaining(model: nn.Module, removal: Removal) -> Anatomy:
    """Anatomy of a model as it is: all rows of the whole one, with the sites that are there, if any.

    Matrices of a sublayer without sites are left out, also where it keeps some of zeros in order to run.
    """
    whole, kept = removal.whole, removal.kept
    attentions = tuple(_heads_left(*pair) for pair in zip(whole.attentions, kept.heads, strict=True))
    feed_forwards = tuple(
        replace(row, neurons=int(neurons.sum())) for row, neurons in zip(whole.feed_forwards, kept.neurons, strict=True)
    )
    residuals = tuple(
        replace(row, groups=int(groups.sum())) for row, groups in zip(whole.residuals, kept.channels, strict=True)
    )
    rows: tuple[HeadRow | ChannelRow, ...] = (*attentions, *residuals)
    empty = {path for row in rows for path in _maps_of_empty(row)}
    # Heads may share their output with an MLP.
    empty -= {row.output for row in feed_forwards if row.neurons}
    shapes = {one.parameter: tuple(model.get_parameter(one.parameter).shape) for one in whole.matrices}
    matrices = (replace(one, shape=shapes[one.parameter]) for one in whole.matrices if one.module not in empty)
    return replace(
        whole,
        attentions=attentions,
        feed_forwards=feed_forwards,
        residuals=residuals,
        matrices=tuple(one for one in matrices if one.size),
        removal=removal,
    )


def removal_of(model: nn.Module) -> Removal | None:
    """Removal that a model remembers; None of a whole one."""
    found = model.__dict__.get(_REMOVAL)
    return found if isinstance(found, Removal) else None


def remember(model: nn.Module, removal: Removal | None) -> None:
    """Note on a model what was removed from it; None: nothing any more."""
    model.__dict__.pop(_REMOVAL, None)
    if removal is not None:
        model.__dict__[_REMOVAL] = removal


def _heads_left(row: HeadRow, kept: torch.Tensor) -> HeadRow:
    shared = torch.tensor(row.key_values, dtype=torch.long)[kept.cpu()]
    _, groups, sizes = shared.unique(return_inverse=True, return_counts=True)
    even = len(sizes) == 0 or bool((sizes == sizes[0]).all())
    heads = int(kept.sum())
    return replace(
        row, heads=heads, kv_heads=len(sizes) if even else heads, uneven_groups=None if even else tuple(groups.tolist())
    )


def _maps_of_empty(row: HeadRow | ChannelRow) -> tuple[str, ...]:
    if isinstance(row, ChannelRow):
        return () if row.groups else tuple(map(row.path, (row.plan.input, row.plan.time, row.plan.output)))
    return () if row.heads else (*(row.path(projection.path) for _, projection in row.inputs), *row.outputs)
