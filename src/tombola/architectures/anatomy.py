"""The anatomy of a loaded model: its heads, MLPs, channels and prunable weights, which everything else asks."""

import functools
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import nn

from tombola.architectures.left_out import LeftOut
from tombola.architectures.site_names import counted
from tombola.architectures.sites import ChannelRow, HeadRow, Kept, Matrix, MLPRow
from tombola.foundations.errors import TombolaError
from tombola.foundations.plurals import plural
from tombola.foundations.shown import Shown

SHRUNK = "-shrunk"
"""End of the signature of a shrunk model."""


@dataclass(frozen=True)
class Anatomy(Shown):
    """The sites and prunable weights of one architecture; made by [`dissect`][tombola.architectures.dissect.dissect].

    Attributes:
        model_type: `config.model_type`; of a model of diffusers, the name of its class.
        attentions: the rows of a mask of heads: one for each attention sublayer, layer by layer. A layer of T5's
            decoder has two, for its own tokens and for the encoder's.
        feed_forwards: the elements of a mask of MLPs.
        matrices: every prunable matrix, layer by layer, in the order in which data flows through them.
        residuals: the rows of a mask of channels: the residual blocks of a convolutional network.
        left_out: modules with parameters that no row and no matrix has, and why.
        removal: of a shrunk model, what it was shrunk from. It has all rows of that one, some with fewer sites or none.
    """

    model_type: str
    attentions: tuple[HeadRow, ...]
    feed_forwards: tuple[MLPRow, ...]
    matrices: tuple[Matrix, ...]
    residuals: tuple[ChannelRow, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    removal: "Removal | None" = field(default=None, compare=False)

    def __repr__(self) -> str:
        sites = {kind: sum(self.sizes(kind)) for kind in ("heads", "mlps", "channels")}
        counts = [counted(number, kind) for kind, number in sites.items() if number]
        return f"Anatomy({self.signature}: {', '.join([*counts, plural(self.weights, 'prunable weight')])})"

    @property
    def heads(self) -> tuple[int, int]:
        """(attention sublayers, heads in each, or most heads of any): the shape of a mask of heads."""
        return len(self.attentions), max((row.heads for row in self.attentions), default=0)

    @property
    def mlps(self) -> int:
        """Number of MLPs: the length of a mask of MLPs."""
        return len(self.feed_forwards)

    @property
    def weights(self) -> int:
        """Number of prunable weights."""
        return sum(matrix.size for matrix in self.matrices)

    @property
    def neurons(self) -> int:
        """Hidden units of each MLP; where MLPs differ, the most that divide the neurons of each.

        Blocks of neurons divide this number, and so every MLP.

        Raises:
            TombolaError: there are no MLPs.
        """
        found = math.gcd(*(row.neurons for row in self.feed_forwards))
        if not found:
            raise TombolaError(f"this {self.model_type} has no MLPs, so it has no neurons to prune")
        return found

    def sizes(self, kind: str, block: int = 1) -> tuple[int, ...]:
        """Number of sites in each row of the mask of a kind of site.

        Args:
            kind: `heads`, `mlps`, `neurons` or `channels`.
            block: neurons of a block.
        """
        if kind == "heads":
            return tuple(row.heads for row in self.attentions)
        if kind == "channels":
            return tuple(row.groups for row in self.residuals)
        return tuple(row.neurons // block if kind == "neurons" else int(row.neurons > 0) for row in self.feed_forwards)

    @property
    def without_sites(self) -> tuple[LeftOut, ...]:
        """Attentions, MLPs and residual blocks of which there is no row: nothing of them is pruned but weights."""
        return tuple(one for one in self.left_out if one.block)

    def surviving_weights(self, kept: Kept) -> int:
        """Prunable weights that remain."""
        gone = sum(
            row.weights(torch.ones_like(mask)) - row.weights(mask)
            for row, mask in zip(self.attentions, kept.heads, strict=True)
        )
        for mlp, mask in zip(self.feed_forwards, kept.neurons, strict=True):
            gone += mlp.neuron_weights * int((~mask).sum())
        for residual, mask in zip(self.residuals, kept.channels, strict=True):
            gone += residual.group_weights * int((~mask).sum())
        return self.weights - gone

    @property
    def signature(self) -> str:
        """Readable fingerprint that ties a ticket to an architecture, for example `bert-6x12-1b2c3d4e`.

        It covers the model type, every row of heads and every matrix's place and shape, and leaves out the name of
        the task's wrapper and all weights: a ticket found on one task fits the same architecture on another. That of a
        shrunk model ends in `-shrunk`, and covers which sites of the whole one are left.
        """
        facts: list[object] = [
            self.model_type,
            [[row.heads, row.size, *([row.kv_heads] if row.group > 1 else [])] for row in self.attentions],
            [[matrix.role, matrix.layer, matrix.shape] for matrix in self.matrices],
        ]
        if self.residuals:
            facts.append([[row.groups, row.size] for row in self.residuals])
        rows, heads = self.heads
        if self.removal is not None:
            return f"{self.model_type}-{rows}x{heads}-{self.removal.digest[:8]}{SHRUNK}"
        digest = hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()
        return f"{self.model_type}-{rows}x{heads}-{digest[:8]}"

    def weights_of(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """The prunable parameters of `model`, by the names that tickets use."""
        return {matrix.name: parameter for matrix, parameter in self.prunable(model)}

    def prunable(self, model: nn.Module) -> Iterator[tuple[Matrix, nn.Parameter]]:
        """Each matrix with its parameter in `model`."""
        for matrix in self.matrices:
            yield matrix, model.get_parameter(matrix.parameter)


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


@dataclass(frozen=True)
class Places:
    """Names by the numbers that tickets use.

    Attributes:
        layers: of every layer, and so of every MLP: `0`, or `decoder 0` in a model of several stacks.
        attentions: of every row of a mask of heads: as its layer, and `decoder 0 cross` for a second sublayer there.
        residuals: of every row of a mask of channels.

    In a network of residual blocks, whose layers do not repeat, they are called by their path: `down 1 resnet 0`.
    What has no name is called by its number: a study may be older than names.
    """

    layers: Sequence[str] = ()
    attentions: Sequence[str] = ()
    residuals: Sequence[str] = ()

    @classmethod
    def of(cls, anatomy: Anatomy) -> Self:
        """The names for an architecture."""
        if anatomy.residuals:
            paths = {matrix.layer: _path(matrix.module) for matrix in anatomy.matrices}
            paths |= {row.layer: _path(row.name) for row in (*anatomy.attentions, *anatomy.residuals)}
            return cls(
                tuple(paths.get(layer, str(layer)) for layer in range(max(paths) + 1)),
                tuple(_path(row.name) for row in anatomy.attentions),
                tuple(_path(row.name) for row in anatomy.residuals),
            )
        first = {row.stack: row for row in reversed(anatomy.attentions)}
        words = _words({stack: row.name.split(".") for stack, row in first.items()})
        layers: dict[int, str] = {}
        attentions = []
        for row in anatomy.attentions:
            # Layers are counted over all stacks, people count them from the first of each.
            name = f"{words[row.stack]} {row.layer - first[row.stack].layer}".strip()
            layers[row.layer] = name
            attentions.append(f"{name} {row.plan.prefix.strip('_')}".strip())
        return cls(tuple(layers.get(row.layer, str(row.layer)) for row in anatomy.feed_forwards), tuple(attentions))

    def layer(self, number: int) -> str:
        """Name of a layer."""
        return self.layers[number] if number < len(self.layers) else str(number)

    def attention(self, row: int) -> str:
        """Name of a row of heads."""
        return self.attentions[row] if row < len(self.attentions) else str(row)

    def residual(self, row: int) -> str:
        """Name of a row of channels."""
        return self.residuals[row] if row < len(self.residuals) else str(row)


def _path(module: str) -> str:
    """`down 1 resnet 0` of `down_blocks.1.resnets.0`: what stands in every name is left out."""
    parts = [part.removesuffix("_blocks").removesuffix("_block") for part in module.split(".")]
    # The layer itself, below a block or a list of them, needs no name.
    while parts and not parts[-1].isdecimal() and len(parts) > 1:
        parts.pop()
    return " ".join(part.removesuffix("s") for part in parts)


def _words(paths: Mapping[int, Sequence[str]]) -> dict[int, str]:
    """Name of each stack: the first part of its path that others do not have; empty where there is one stack only."""
    if len(paths) == 1:
        return dict.fromkeys(paths, "")
    part = next(index for index, names in enumerate(zip(*paths.values(), strict=False)) if len(set(names)) > 1)
    return {stack: path[part] for stack, path in paths.items()}
