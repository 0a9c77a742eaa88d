"""The heads, MLPs and prunable weights of a loaded model, as its family's entry says: what everything else asks."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tombola.errors import TombolaError
from tombola.families import FAMILIES, MLP, Attention, Family, Projection

SHRUNK = "a model that was shrunk already cannot be pruned again"


@dataclass(frozen=True)
class Matrix:
    """One prunable matrix.

    Attributes:
        parameter: its name in `model.named_parameters()`.
        kind: which of its layer's matrices it is, by the family's entry: `query`, `mlp_in`, ...
        layer: counted over all stacks of layers, the encoder's first.
        shape: as the parameter has it: [out, in], and [in, out] in GPT-2, whose `Conv1D` is transposed.
    """

    parameter: str
    kind: str
    layer: int
    shape: tuple[int, int]

    @property
    def name(self) -> str:
        """What a ticket calls it, whatever the task's wrapper: `<layer>.<kind>`."""
        return f"{self.layer}.{self.kind}"

    @property
    def module(self) -> str:
        """Full name of the linear map that multiplies by it."""
        return self.parameter.removesuffix(".weight")

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class HeadRow:
    """The heads of one attention sublayer: a row of a mask of heads.

    Attributes:
        stack: index of its stack of layers in the family's entry.
        layer: as in `Matrix`.
        name: full name of the layer that holds the sublayer.
        plan: the family's entry.
        heads: number of heads.
        kv_heads: number of key/value heads; `group` heads share one.
        size: units of a head.
        inputs: matrix kind → projection, those that the model has.
        head_weights: prunable weights that one head holds by itself.
        kv_weights: prunable weights of one key/value head.
        may_be_empty: whether the sublayer runs without heads.
    """

    stack: int
    layer: int
    name: str
    plan: Attention
    heads: int
    kv_heads: int
    size: int
    inputs: tuple[tuple[str, Projection], ...]
    head_weights: int
    kv_weights: int
    may_be_empty: bool

    def path(self, part: str) -> str:
        """Full name of a module of the layer."""
        return f"{self.name}.{part}"

    @property
    def module(self) -> str:
        """Full name of the module that computes the attention."""
        return self.path(self.plan.module)

    @property
    def output(self) -> str:
        """Full name of the projection whose input the heads' gates multiply."""
        return self.path(self.plan.output)

    @property
    def group(self) -> int:
        """Heads that share a key/value head; 1 where each has its own."""
        return self.heads // self.kv_heads

    def weights(self, kept: Tensor) -> int:
        """Prunable weights that remain when the heads of `kept`, bool [heads], do.

        The weights of a key/value head are gone only when all heads of its group are.
        """
        groups = int(kept.reshape(self.kv_heads, self.group).any(1).sum())
        return int(kept.sum()) * self.head_weights + groups * self.kv_weights


@dataclass(frozen=True)
class MLPRow:
    """One MLP: an element of a mask of MLPs.

    Attributes:
        layer: as in `Matrix`.
        name: full name of the layer that holds it.
        plan: the family's entry.
        neurons: number of hidden units.
        inputs: matrix kind → projection, those that the model has.
        neuron_weights: prunable weights of one hidden unit: a row of each projection in, a column of the last.
        bias: whether the last projection has a bias.
        transposed: whether the projections are `Conv1D`.
    """

    layer: int
    name: str
    plan: MLP
    neurons: int
    inputs: tuple[tuple[str, Projection], ...]
    neuron_weights: int
    bias: bool
    transposed: bool

    def path(self, part: str) -> str:
        """Full name of a module of the layer."""
        return f"{self.name}.{part}"

    @property
    def output(self) -> str:
        """Full name of the last projection."""
        return self.path(self.plan.output)

    @property
    def gate(self) -> str:
        """Full name of the module whose output the gate multiplies: the contribution to the residual stream."""
        return self.path(self.plan.gate or self.plan.output)


@dataclass(frozen=True)
class Kept:
    """What of a model's structure is kept, unit by unit, whichever kinds of sites were pruned.

    Attributes:
        heads: bool [rows, heads].
        mlps: bool [MLPs]; a removed MLP has lost the bias of its output too.
        neurons: for each MLP bool [neurons]; none of a removed MLP's.
    """

    heads: Tensor
    mlps: Tensor
    neurons: tuple[Tensor, ...]


@dataclass(frozen=True)
class Anatomy:
    """The sites and prunable weights of one architecture; made by [`dissect`][tombola.anatomy.dissect].

    Attributes:
        model_type: `config.model_type`.
        attentions: the rows of a mask of heads: one for each attention sublayer, layer by layer. A layer of T5's
            decoder has two, for its own tokens and for the encoder's.
        feed_forwards: the elements of a mask of MLPs.
        matrices: every prunable matrix, layer by layer, in the order in which data flows through them.
    """

    model_type: str
    attentions: tuple[HeadRow, ...]
    feed_forwards: tuple[MLPRow, ...]
    matrices: tuple[Matrix, ...]

    @property
    def heads(self) -> tuple[int, int]:
        """(attention sublayers, heads in each): the shape of a mask of heads."""
        return len(self.attentions), self.attentions[0].heads

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
        """Hidden units of each MLP.

        Raises:
            TombolaError: the MLPs differ in size, so that a mask of neurons has no shape.
        """
        sizes = {row.neurons for row in self.feed_forwards}
        if len(sizes) > 1:
            raise TombolaError(
                f"the MLPs of this {self.model_type} have {min(sizes)} to {max(sizes)} neurons; neurons can be pruned "
                "only where all have equally many"
            )
        return sizes.pop()

    def surviving_weights(self, kept: Kept) -> int:
        """Prunable weights that remain."""
        of_heads = sum(row.weights(mask) for row, mask in zip(self.attentions, kept.heads, strict=True))
        pairs = zip(self.feed_forwards, kept.neurons, strict=True)
        return of_heads + sum(row.neuron_weights * int(mask.sum()) for row, mask in pairs)

    @property
    def signature(self) -> str:
        """Readable fingerprint that ties a ticket to an architecture, for example `bert-6x12-1b2c3d4e`.

        It covers the model type, every row of heads and every matrix's place and shape, and leaves out the name of
        the task's wrapper and all weights: a ticket found on one task fits the same architecture on another.
        """
        facts = [
            self.model_type,
            [[row.heads, row.size, *([row.kv_heads] if row.group > 1 else [])] for row in self.attentions],
            [[matrix.kind, matrix.layer, matrix.shape] for matrix in self.matrices],
        ]
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


def dissect(model: nn.Module) -> Anatomy:
    """Find the heads, MLPs and prunable weights of a transformers model.

    Args:
        model: a whole (unshrunk) model of a known family, with or without a task's output layer.

    Raises:
        TombolaError: the model has no transformers configuration, its type is not in `FAMILIES`, or its layers do
            not look as the table says (a shrunk model, for one).
    """
    config = getattr(model, "config", None)
    model_type = getattr(config, "model_type", None)
    if model_type is None:
        raise TombolaError(
            f"{type(model).__name__} is not a transformers model (it has no config.model_type); "
            "load it with one of the Auto classes of transformers"
        )
    family = FAMILIES.get(model_type)
    if family is None:
        raise TombolaError(
            f"unknown architecture {model_type!r} ({type(model).__name__}): Tombola knows "
            f"{', '.join(sorted(FAMILIES))}; tombola.recognise(model) finds out whether it is built like one of them, "
            "tombola.families.register adds an entry"
        )
    return read(model, family)


def read(model: nn.Module, family: Family) -> Anatomy:
    """The anatomy of a model by a given entry of the table.

    Raises:
        TombolaError: its layers do not look as the entry says.
    """
    config = getattr(model, "config", None)
    model_type = str(getattr(config, "model_type", None))
    if getattr(config, "add_cross_attention", False):
        raise TombolaError(
            f"this {model_type} has cross-attention layers, which its entry in tombola.families.FAMILIES does not cover"
        )
    base = model.base_model
    assert isinstance(base, nn.Module)
    reader = _Reader(
        model_type, family, config, prefix="" if base is model else f"{model.base_model_prefix}.", found=([], [], [])
    )
    for index, stack in enumerate(family.stacks):
        try:
            blocks = list(_children(base, stack.layers))
        except AttributeError:
            if stack.optional:
                continue
            raise TombolaError(f"{type(model).__name__} has no {stack.layers}: it holds no heads to prune") from None
        for name, block in blocks:
            reader.read(index, name, block)
    attentions, feed_forwards, matrices = reader.found
    if not attentions:
        raise TombolaError(f"this {model_type} has no layers, so it has no heads to prune")
    return Anatomy(model_type, tuple(attentions), tuple(feed_forwards), tuple(matrices))


@dataclass
class _Reader:
    """Reads layers one by one and checks them against the family's entry."""

    model_type: str
    family: Family
    config: object
    prefix: str
    found: tuple[list[HeadRow], list[MLPRow], list[Matrix]]
    layer: int = 0

    def read(self, stack: int, name: str, block: nn.Module) -> None:
        plan, full = self.family.stacks[stack], f"{self.prefix}{name}"
        for attention in plan.attentions:
            self.found[0].append(self._attention(stack, full, block, attention))
        self.found[1].append(self._mlp(full, block, plan.mlp))
        self.layer += 1

    def _attention(self, stack: int, name: str, block: nn.Module, plan: Attention) -> HeadRow:
        heads = int(getattr(self.config, self.family.heads, 0))
        kv_heads = int(getattr(self.config, self.family.kv_heads, 0)) if self.family.kv_heads else heads
        output = self._linear(block, plan.output)
        size = int(getattr(self._module(block, plan.module), plan.head_size))
        inputs = self._inputs(block, plan.inputs)
        of_part = {"key": kv_heads, "value": kv_heads}
        head_weights, kv_weights = size * _shape(output)[0], 0
        matches = heads > 0 and _shape(output)[1] == heads * size
        for kind, projection in inputs:
            linear = self._linear(block, projection.path)
            units, fan_in = _shape(linear)
            matches = matches and units == size * sum(of_part.get(part, heads) for part in projection.parts)
            shared = sum(part in of_part for part in projection.parts)
            head_weights += size * fan_in * (len(projection.parts) - shared)
            kv_weights += size * fan_in * shared
            self._matrix(name, projection.path, plan.prefix + kind, linear)
        if not matches:
            raise TombolaError(
                f"layer {self.layer} of this {self.model_type} does not have the {heads} heads that its configuration "
                f"says; {SHRUNK}"
            )
        self._matrix(name, plan.output, f"{plan.prefix}attention_output", output)
        # A decoder's KV cache needs heads to know how many tokens it has seen.
        may_be_empty = plan.may_be_empty and not getattr(self.config, "is_decoder", False)
        return HeadRow(
            stack, self.layer, name, plan, heads, kv_heads, size, inputs, head_weights, kv_weights, may_be_empty
        )

    def _mlp(self, name: str, block: nn.Module, plan: MLP) -> MLPRow:
        output = self._linear(block, plan.output)
        neurons, inputs = _shape(output)[1], self._inputs(block, plan.inputs)
        neuron_weights = _shape(output)[0]
        for kind, projection in inputs:
            linear = self._linear(block, projection.path)
            if neurons == 0 or _shape(linear)[0] != neurons * len(projection.parts):
                raise TombolaError(
                    f"layer {self.layer} of this {self.model_type} does not have a whole MLP at {projection.path}; "
                    f"{SHRUNK}"
                )
            neuron_weights += linear.weight.numel() // neurons
            self._matrix(name, projection.path, kind, linear)
        self._matrix(name, plan.output, "mlp_out", output)
        if plan.gate is not None:
            self._module(block, plan.gate)
        has_bias, transposed = output.bias is not None, _transposed(output)
        return MLPRow(self.layer, name, plan, neurons, inputs, neuron_weights, has_bias, transposed)

    def _inputs(self, block: nn.Module, plans: Mapping[str, Projection]) -> tuple[tuple[str, Projection], ...]:
        present = tuple((kind, plan) for kind, plan in plans.items() if not plan.optional or _has(block, plan.path))
        if not present:
            self._linear(block, next(iter(plans.values())).path)
        return present

    def _matrix(self, name: str, path: str, kind: str, linear: nn.Linear) -> None:
        rows, columns = linear.weight.shape
        self.found[2].append(Matrix(f"{name}.{path}.weight", kind, self.layer, (rows, columns)))

    def _module(self, block: nn.Module, path: str) -> nn.Module:
        if not _has(block, path):
            raise TombolaError(
                f"layer {self.layer} has no module at {path}: the model differs from its family's entry in "
                "tombola.families.FAMILIES"
            )
        return block.get_submodule(path)

    def _linear(self, block: nn.Module, path: str) -> nn.Linear:
        module = self._module(block, path) if _has(block, path) else None
        if not isinstance(module, nn.Linear | Conv1D):
            raise TombolaError(
                f"layer {self.layer} has no linear map at {path}: the model differs from its family's entry in "
                "tombola.families.FAMILIES"
            )
        # Conv1D has the same two attributes: all that is asked for here.
        return module  # type: ignore[return-value]


def _shape(linear: nn.Linear) -> tuple[int, int]:
    """Units out and in, whichever way round the matrix is stored."""
    rows, columns = linear.weight.shape
    return (columns, rows) if _transposed(linear) else (rows, columns)


def _transposed(linear: nn.Module) -> bool:
    return isinstance(linear, Conv1D)


def _has(block: nn.Module, path: str) -> bool:
    try:
        block.get_submodule(path)
    except AttributeError:
        return False
    return True


def _children(base: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """The children of the module at `path`, in which `*` stands for every child, with their names from `base`."""
    names = [""]
    for part in path.split(".*."):
        parents = [f"{name}.{part}".removeprefix(".") for name in names]
        names = [f"{parent}.{child}" for parent in parents for child, _ in base.get_submodule(parent).named_children()]
    for name in names:
        yield name, base.get_submodule(name)


def outputs_first(model: nn.Module, matrix: Matrix, tensor: Tensor) -> Tensor:
    """A weight or mask of a matrix as [out, in], whichever way round it is stored; done twice it is as it was."""
    return tensor.T if _transposed(model.get_submodule(matrix.module)) else tensor


def fan_in(model: nn.Module, matrix: Matrix) -> int:
    """Input units of a matrix, over which its product sums."""
    return matrix.shape[0] if _transposed(model.get_submodule(matrix.module)) else matrix.shape[1]


def count_parameters(model: nn.Module) -> int:
    """Number of distinct parameters of `model` (a tied one counts once)."""
    return sum(parameter.numel() for parameter in model.parameters())


def device_of(model: nn.Module) -> torch.device:
    """Device of the model's first parameter."""
    return next(model.parameters()).device
