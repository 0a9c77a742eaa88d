"""Removal: what a shrunk model has lost, remembered on the model, and the anatomy that is left of it."""

import functools
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from tombola.architectures.sites import ChannelRow, HeadRow, Kept

if TYPE_CHECKING:
    from tombola.architectures.anatomy import Anatomy

_REMOVAL = "_tombola_removal"


@dataclass(frozen=True)
class Removal:
    """Structure that was removed from a model.

    Attributes:
        whole: anatomy of the model before anything was.
        kept: what of that is still there.
    """

    whole: "Anatomy"
    kept: Kept

    @functools.cached_property
    def digest(self) -> str:
        """Digest of what is there: two models of equal shapes that lost different sites are two architectures."""
        kept, found = self.kept, hashlib.sha256(self.whole.signature.encode())
        for row in (*kept.heads, kept.mlps, *kept.neurons, *kept.channels):
            found.update(np.packbits(row.cpu().numpy()).tobytes())
        return found.hexdigest()

    def anatomy(self, model: nn.Module) -> "Anatomy":
        """The anatomy of the model as it is: all rows of the whole one, with the sites that are there, if any.

        Matrices of a sublayer without sites are left out, also where it keeps some of zeros in order to run.
        """
        whole, kept = self.whole, self.kept
        attentions = tuple(_heads_left(*pair) for pair in zip(whole.attentions, kept.heads, strict=True))
        feed_forwards = tuple(
            replace(row, neurons=int(neurons.sum()))
            for row, neurons in zip(whole.feed_forwards, kept.neurons, strict=True)
        )
        residuals = tuple(
            replace(row, groups=int(groups.sum())) for row, groups in zip(whole.residuals, kept.channels, strict=True)
        )
        rows: tuple[HeadRow | ChannelRow, ...] = (*attentions, *residuals)
        empty = {path for row in rows for path in _maps_of_empty(row)}
        shapes = {one.parameter: tuple(model.get_parameter(one.parameter).shape) for one in whole.matrices}
        matrices = (replace(one, shape=shapes[one.parameter]) for one in whole.matrices if one.module not in empty)
        return replace(
            whole,
            attentions=attentions,
            feed_forwards=feed_forwards,
            residuals=residuals,
            matrices=tuple(one for one in matrices if one.size),
            removal=self,
        )


def removal_of(model: nn.Module) -> Removal | None:
    """What was removed from a model; None from a whole one."""
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
    if row.heads:
        return ()
    inputs = tuple(row.path(projection.path) for _, projection in row.inputs)
    return inputs if row.plan.shared_output else (*inputs, *row.outputs)
