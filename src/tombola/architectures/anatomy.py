"""The anatomy of a loaded model: its heads, MLPs, channels and prunable weights, which everything else asks."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from tombola.architectures.sites import ChannelRow, HeadRow, Kept, Matrix, MLPRow
from tombola.foundations.errors import TombolaError


@dataclass(frozen=True)
class Anatomy:
    """The sites and prunable weights of one architecture; made by [`dissect`][tombola.architectures.dissect.dissect].

    Attributes:
        model_type: `config.model_type`; of a model of diffusers, the name of its class.
        attentions: the rows of a mask of heads: one for each attention sublayer, layer by layer. A layer of T5's
            decoder has two, for its own tokens and for the encoder's.
        feed_forwards: the elements of a mask of MLPs.
        matrices: every prunable matrix, layer by layer, in the order in which data flows through them.
        residuals: the rows of a mask of channels: the residual blocks of a convolutional network.
    """

    model_type: str
    attentions: tuple[HeadRow, ...]
    feed_forwards: tuple[MLPRow, ...]
    matrices: tuple[Matrix, ...]
    residuals: tuple[ChannelRow, ...] = ()

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
        if not self.feed_forwards:
            raise TombolaError(f"this {self.model_type} has no MLPs, so it has no neurons to prune")
        return math.gcd(*(row.neurons for row in self.feed_forwards))

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
        return tuple(row.neurons // block if kind == "neurons" else 1 for row in self.feed_forwards)

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
        the task's wrapper and all weights: a ticket found on one task fits the same architecture on another.
        """
        facts: list[object] = [
            self.model_type,
            [[row.heads, row.size, *([row.kv_heads] if row.group > 1 else [])] for row in self.attentions],
            [[matrix.kind, matrix.layer, matrix.shape] for matrix in self.matrices],
        ]
        if self.residuals:
            facts.append([[row.groups, row.size] for row in self.residuals])
        digest = hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()
        rows, heads = self.heads
        return f"{self.model_type}-{rows}x{heads}-{digest[:8]}"

    def weights_of(self, model: nn.Module) -> dict[str, nn.Parameter]:
        """The prunable parameters of `model`, by the names that tickets use."""
        return {matrix.name: parameter for matrix, parameter in self.prunable(model)}

    def prunable(self, model: nn.Module) -> Iterator[tuple[Matrix, nn.Parameter]]:
        """Each matrix with its parameter in `model`."""
        for matrix in self.matrices:
            yield matrix, model.get_parameter(matrix.parameter)
