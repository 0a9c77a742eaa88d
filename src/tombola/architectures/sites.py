"""Rows of sites and prunable matrices, what an anatomy is made of, and their layout in memory.

`nn.Linear` stores [out, in], GPT-2's `Conv1D` [in, out].
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tombola.architectures.families import MLP, Attention, Projection, Residual


@dataclass(frozen=True)
class Matrix:
    """Prunable matrix of a model.

    Attributes:
        parameter: its name in `model.named_parameters()`.
        role: which of its layer's matrices it is, by the family's entry: `query`, `mlp_in`, ...
        layer: counted over all stacks of layers, the encoder's first.
        shape: as the parameter has it: [out, in], [in, out] in GPT-2, whose `Conv1D` is transposed, and
            [out, in, height, width] of a convolution.
    """

    parameter: str
    role: str
    layer: int
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name in tickets, whatever the task's wrapper: `<layer>.<role>`."""
        return f"{self.layer}.{self.role}"

    @property
    def module(self) -> str:
        """Full name of the linear map or convolution that multiplies by it."""
        return self.parameter.removesuffix(".weight")

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class SiteRow:
    """Row of a mask of sites, in one layer: its number, as in `Matrix`, and its full name."""

    layer: int
    name: str

    def path(self, part: str) -> str:
        """Full name of a module of the layer."""
        return joined(self.name, part)


@dataclass(frozen=True)
class HeadRow(SiteRow):
    """The heads of one attention sublayer: a row of a mask of heads.

    Attributes:
        stack: index of its stack of layers in the family's entry.
        plan: the family's entry.
        heads: number of heads.
        kv_heads: number of key/value heads, as the forward pass sees them; `group` heads share one.
        size: units of a head.
        inputs: role → projection, those that the model has.
        outputs: full names of the projections whose input the heads' gates multiply; of an input that an MLP shares,
            the heads' units are the first.
        head_weights: prunable weights that one head holds by itself.
        kv_weights: prunable weights of one key/value head.
        may_be_empty: whether the sublayer runs without heads.
        bias: whether each of the outputs is a linear map of its own, with a bias.
        uneven_groups: of a shrunk model whose groups have lost unequally many heads: for each head the number of the
            stored key/value head that it shares. The forward pass sees a copy for each head.
    """

    stack: int
    plan: Attention
    heads: int
    kv_heads: int
    size: int
    inputs: tuple[tuple[str, Projection], ...]
    outputs: tuple[str, ...]
    head_weights: int
    kv_weights: int
    may_be_empty: bool
    bias: bool
    uneven_groups: tuple[int, ...] | None = None

    @property
    def module(self) -> str:
        """Full name of the module that computes the attention."""
        return self.path(self.plan.module)

    @property
    def group(self) -> int:
        """Heads that share a key/value head; 1 where each has its own."""
        return self.heads // self.kv_heads if self.kv_heads else 1

    @property
    def key_values(self) -> tuple[int, ...]:
        """Number of the stored key/value head that each head shares."""
        return self.uneven_groups or tuple(head // self.group for head in range(self.heads))

    def weights(self, kept: Tensor) -> int:
        """Prunable weights that remain when the heads of `kept`, bool [heads], do.

        The weights of a key/value head are gone only when all heads of its group are.
        """
        groups = {group for group, stays in zip(self.key_values, kept.tolist(), strict=True) if stays}
        return int(kept.sum()) * self.head_weights + len(groups) * self.kv_weights


@dataclass(frozen=True)
class MLPRow(SiteRow):
    """MLP: an element of a mask of MLPs.

    Attributes:
        plan: the family's entry.
        neurons: number of hidden units.
        inputs: role → projection, those that the model has.
        neuron_weights: prunable weights of one hidden unit: a row of each projection in, a column of the last.
        bias: whether the last projection has a bias of the MLP's own.
        transposed: whether the projections are `Conv1D`.
    """

    plan: MLP
    neurons: int
    inputs: tuple[tuple[str, Projection], ...]
    neuron_weights: int
    bias: bool
    transposed: bool

    @property
    def output(self) -> str:
        """Full name of the last projection; of an input that heads share, the neurons' units are the last."""
        return self.path(self.plan.output)

    @property
    def gate(self) -> str:
        """Full name of the module whose output the gate multiplies: the contribution to the residual stream."""
        return self.path(self.plan.gate or self.plan.output)


@dataclass(frozen=True)
class ChannelRow(SiteRow):
    """The inner channels of one residual block, by the groups of the norm between its convolutions.

    A norm takes mean and variance over its whole group: without one channel of a group the others would change, without
    a whole group nothing else does.

    Attributes:
        plan: the family's entry.
        groups: number of groups.
        size: channels of a group.
        time: rows of the projection of the timestep for each channel: 2 where it gives scale and shift, 0 where the
            block has none.
        group_weights: prunable weights of one group: its rows of the maps in, its columns of the last convolution.
    """

    plan: Residual
    groups: int
    size: int
    time: int
    group_weights: int

    @property
    def output(self) -> str:
        """Full name of the convolution whose input the groups' gates multiply."""
        return self.path(self.plan.output)


@dataclass(frozen=True)
class Kept:
    """Structure of a model that is kept, whichever kinds of sites were pruned.

    Attributes:
        heads: for each row bool [heads].
        mlps: bool [MLPs]; a removed MLP has lost the bias of its output too.
        neurons: for each MLP bool [neurons]; none of a removed MLP's.
        channels: for each residual block bool [groups].
        attention_bias: for each row of heads whether its output keeps its bias when no head is kept.
    """

    heads: tuple[Tensor, ...]
    mlps: Tensor
    neurons: tuple[Tensor, ...]
    channels: tuple[Tensor, ...]
    attention_bias: tuple[bool, ...]

    def without_bias(self, rows: tuple[HeadRow, ...]) -> Iterator[HeadRow]:
        """Rows of heads whose outputs lose their bias, as no head is kept."""
        for row, heads, bias in zip(rows, self.heads, self.attention_bias, strict=True):
            if not bias and row.bias and not heads.any():
                yield row

    def within(self, outer: "Kept") -> "Kept":
        """Structure of a whole model that is kept where `outer` is kept of it, and this of that."""

        def rows(those: tuple[Tensor, ...], these: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(one.masked_scatter(one, two) for one, two in zip(those, these, strict=True))

        # An MLP that had no neurons left is no site any more, and is what it was.
        were = torch.tensor([bool(neurons.any()) for neurons in outer.neurons], dtype=torch.bool)
        biases = zip(outer.heads, outer.attention_bias, self.attention_bias, strict=True)
        return Kept(
            heads=rows(outer.heads, self.heads),
            mlps=outer.mlps & (self.mlps | ~were),
            neurons=rows(outer.neurons, self.neurons),
            channels=rows(outer.channels, self.channels),
            attention_bias=tuple(later if heads.any() else first for heads, first, later in biases),
        )


def units_of(linear: nn.Linear) -> tuple[int, int]:
    """Units out and in, whichever way round the matrix is stored."""
    rows, columns = linear.weight.shape
    return (columns, rows) if is_transposed(linear) else (rows, columns)


def is_transposed(linear: nn.Module) -> bool:
    """True if a linear map stores its matrix as [in, out]."""
    return isinstance(linear, Conv1D)


def outputs_first(model: nn.Module, matrix: Matrix, tensor: Tensor) -> Tensor:
    """A weight or mask of a matrix as [out, in], whichever way round it is stored; done twice it is as it was."""
    return tensor.T if is_transposed(model.get_submodule(matrix.module)) else tensor


def joined(name: str, part: str) -> str:
    """Full name of a part of a module, which may be the module itself."""
    return f"{name}.{part}" if part else name
