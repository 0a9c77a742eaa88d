"""The heads, MLPs and prunable weights of a loaded model, as its family's entry says: what everything else asks."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tombola.architectures.families import FAMILIES, MLP, Attention, Family, Projection, Residual
from tombola.foundations.errors import TombolaError

SHRUNK = "a model that was shrunk already cannot be pruned again"


@dataclass(frozen=True)
class Matrix:
    """One prunable matrix.

    Attributes:
        parameter: its name in `model.named_parameters()`.
        kind: which of its layer's matrices it is, by the family's entry: `query`, `mlp_in`, ...
        layer: counted over all stacks of layers, the encoder's first.
        shape: as the parameter has it: [out, in], [in, out] in GPT-2, whose `Conv1D` is transposed, and
            [out, in, height, width] of a convolution.
    """

    parameter: str
    kind: str
    layer: int
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """What a ticket calls it, whatever the task's wrapper: `<layer>.<kind>`."""
        return f"{self.layer}.{self.kind}"

    @property
    def module(self) -> str:
        """Full name of the linear map or convolution that multiplies by it."""
        return self.parameter.removesuffix(".weight")

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


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
        outputs: full names of the projections whose input the heads' gates multiply; of an input that an MLP shares,
            the heads' units are the first.
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
    outputs: tuple[str, ...]
    head_weights: int
    kv_weights: int
    may_be_empty: bool

    def path(self, part: str) -> str:
        """Full name of a module of the layer."""
        return _joined(self.name, part)

    @property
    def module(self) -> str:
        """Full name of the module that computes the attention."""
        return self.path(self.plan.module)

    @property
    def output(self) -> str:
        """Full name of the projection whose input the heads' gates multiply, the first where there are several."""
        return self.outputs[0]

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
        bias: whether the last projection has a bias of the MLP's own.
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
        return _joined(self.name, part)

    @property
    def output(self) -> str:
        """Full name of the last projection; of an input that heads share, the neurons' units are the last."""
        return self.path(self.plan.output)

    @property
    def gate(self) -> str:
        """Full name of the module whose output the gate multiplies: the contribution to the residual stream."""
        return self.path(self.plan.gate or self.plan.output)


@dataclass(frozen=True)
class ChannelRow:
    """The inner channels of one residual block, by the groups of the norm between its convolutions.

    A norm takes mean and variance over its whole group: without one channel of a group the others would change, without
    a whole group nothing else does.

    Attributes:
        layer: as in `Matrix`.
        name: full name of the block.
        plan: the family's entry.
        groups: number of groups.
        size: channels of a group.
        time: rows of the projection of the timestep for each channel: 2 where it gives scale and shift, 0 where the
            block has none.
        group_weights: prunable weights of one group: its rows of the maps in, its columns of the last convolution.
    """

    layer: int
    name: str
    plan: Residual
    groups: int
    size: int
    time: int
    group_weights: int

    def path(self, part: str) -> str:
        """Full name of a module of the block."""
        return _joined(self.name, part)

    @property
    def output(self) -> str:
        """Full name of the convolution whose input the groups' gates multiply."""
        return self.path(self.plan.output)


@dataclass(frozen=True)
class Kept:
    """What of a model's structure is kept, unit by unit, whichever kinds of sites were pruned.

    Attributes:
        heads: for each row bool [heads].
        mlps: bool [MLPs]; a removed MLP has lost the bias of its output too.
        neurons: for each MLP bool [neurons]; none of a removed MLP's.
        channels: for each residual block bool [groups].
    """

    heads: tuple[Tensor, ...]
    mlps: Tensor
    neurons: tuple[Tensor, ...]
    channels: tuple[Tensor, ...]


@dataclass(frozen=True)
class Anatomy:
    """The sites and prunable weights of one architecture; made by [`dissect`][tombola.architectures.anatomy.dissect].

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


def dissect(model: nn.Module) -> Anatomy:
    """Find the heads, MLPs, channels and prunable weights of a model of transformers or diffusers.

    Args:
        model: a whole (unshrunk) model of a known family, with or without a task's output layer.

    Raises:
        TombolaError: the model is of neither library, its type is not in `FAMILIES`, or its layers do not look as the
            table says (a shrunk model, for one).
    """
    model_type = type_of(model)
    if model_type is None:
        raise TombolaError(
            f"{type(model).__name__} is not a transformers model (it has no config.model_type), nor one of diffusers "
            "that Tombola knows; load it with one of the Auto classes of transformers"
        )
    family = FAMILIES.get(model_type)
    if family is None:
        raise TombolaError(
            f"unknown architecture {model_type!r} ({type(model).__name__}): Tombola knows "
            f"{', '.join(sorted(FAMILIES))}; tombola.recognise(model) finds out whether it is built like one of them, "
            "tombola.architectures.families.register adds an entry"
        )
    return read(model, family)


def read(model: nn.Module, family: Family) -> Anatomy:
    """The anatomy of a model by a given entry of the table.

    Raises:
        TombolaError: its layers do not look as the entry says.
    """
    config = getattr(model, "config", None)
    model_type = str(type_of(model))
    if getattr(config, "add_cross_attention", False):
        raise TombolaError(
            f"this {model_type} has cross-attention layers, which its entry in tombola.architectures.families.FAMILIES does not cover"
        )
    # A model of diffusers has no wrapper.
    base = getattr(model, "base_model", model)
    assert isinstance(base, nn.Module)
    prefix = "" if base is model else f"{model.base_model_prefix}."
    reader = _Reader(model_type, family, config, prefix)
    for stack, name in _blocks(model, base, family):
        reader.read(stack, name, base.get_submodule(name))
    if not (reader.attentions or reader.residuals):
        raise TombolaError(f"this {model_type} has no layers, so it has no heads to prune")
    return Anatomy(
        model_type,
        tuple(reader.attentions),
        tuple(reader.feed_forwards),
        tuple(reader.matrices),
        tuple(reader.residuals),
    )


def type_of(model: nn.Module) -> str | None:
    """What the table of families calls the model: `config.model_type`, or for diffusers the name of its class."""
    found = getattr(getattr(model, "config", None), "model_type", None)
    if found is None:
        found = next((kind.__name__ for kind in type(model).__mro__ if kind.__name__ in FAMILIES), None)
    return found


def _blocks(model: nn.Module, base: nn.Module, family: Family) -> list[tuple[int, str]]:
    """Every layer: its stack in the family's entry, and its name from the base model.

    Stacks are read one after the other, but those that begin at the same module take turns there: the residual blocks
    and attentions of a U-net.

    Raises:
        TombolaError: there is no layer of a stack that has to be there.
    """
    found = []
    first = [stack.layers.partition(".")[0] for stack in family.stacks]
    for index, stack in enumerate(family.stacks):
        children = list(_children(base, stack.layers))
        if not children and not stack.optional and not _has(base, stack.layers):
            raise TombolaError(f"{type(model).__name__} has no {stack.layers}: it holds no heads to prune")
        found += [((first.index(first[index]), places, index), name) for places, name in children]
    return [(key[-1], name) for key, name in sorted(found)]


@dataclass
class _Reader:
    """Reads layers one by one and checks them against the family's entry."""

    model_type: str
    family: Family
    config: object
    prefix: str
    attentions: list[HeadRow] = field(default_factory=list)
    feed_forwards: list[MLPRow] = field(default_factory=list)
    residuals: list[ChannelRow] = field(default_factory=list)
    matrices: list[Matrix] = field(default_factory=list)
    layer: int = 0

    def read(self, stack: int, name: str, block: nn.Module) -> None:
        plan, full = self.family.stacks[stack], f"{self.prefix}{name}"
        for attention in plan.attentions:
            if not attention.optional or _has(block, attention.module):
                self.attentions.append(self._attention(stack, full, block, attention))
        for mlp in plan.mlps:
            if not mlp.optional or _has(block, mlp.output):
                self.feed_forwards.append(self._mlp(full, block, mlp))
        if plan.residual is not None:
            self.residuals.append(self._residual(full, block, plan.residual))
        for kind, path in plan.matrices.items():
            if _has(block, path):
                self._matrix(full, path, kind, block.get_submodule(path))
        self.layer += 1

    def _attention(self, stack: int, name: str, block: nn.Module, plan: Attention) -> HeadRow:
        module = self._module(block, plan.module)
        heads = int(getattr(self.config, self.family.heads, 0) if plan.heads is None else getattr(module, plan.heads))
        kv_heads = int(getattr(self.config, self.family.kv_heads, 0)) if self.family.kv_heads else heads
        outputs = {
            kind: self._linear(block, path)
            for kind, path in {"attention_output": plan.output, **plan.more_outputs}.items()
            if kind == "attention_output" or _has(block, path)
        }
        units = _shape(outputs["attention_output"])[1]
        inputs = self._inputs(block, plan.inputs)
        if plan.shared_output:
            # The rest of its input units are an MLP's: the heads' own are as many as there are queries.
            units = _shape(self._linear(block, inputs[0][1].path))[0]
        size = int(getattr(module, plan.head_size)) if plan.head_size is not None else units // max(1, heads)
        of_part = {"key": kv_heads, "value": kv_heads}
        head_weights, kv_weights = size * sum(_shape(output)[0] for output in outputs.values()), 0
        matches = heads > 0 and units == heads * size
        matches = matches and all(plan.shared_output or _shape(one)[1] == units for one in outputs.values())
        for kind, projection in inputs:
            linear = self._linear(block, projection.path)
            rows, fan_in = _shape(linear)
            matches = matches and rows == size * sum(of_part.get(part, heads) for part in projection.parts)
            shared = sum(part in of_part for part in projection.parts)
            head_weights += size * fan_in * (len(projection.parts) - shared)
            kv_weights += size * fan_in * shared
            self._matrix(name, projection.path, plan.prefix + kind, linear)
        if not matches:
            raise TombolaError(
                f"layer {self.layer} of this {self.model_type} does not have the {heads} heads that its configuration "
                f"says; {SHRUNK}"
            )
        self._check(module, plan, heads, size)
        for kind, output in outputs.items():
            self._matrix(name, {"attention_output": plan.output, **plan.more_outputs}[kind], plan.prefix + kind, output)
        # A decoder's KV cache needs heads to know how many tokens it has seen.
        may_be_empty = plan.may_be_empty and not getattr(self.config, "is_decoder", False)
        paths = (plan.output, *(path for kind, path in plan.more_outputs.items() if kind in outputs))
        return HeadRow(
            stack,
            self.layer,
            name,
            plan,
            heads,
            kv_heads,
            size,
            inputs,
            tuple(_joined(name, path) for path in paths),
            head_weights,
            kv_weights,
            may_be_empty,
        )

    def _check(self, module: nn.Module, plan: Attention, heads: int, size: int) -> None:
        """Raise a TombolaError where removing a head would change the others, or change nothing."""
        if plan.fused is not None and getattr(module, plan.fused, False):
            raise TombolaError(
                f"layer {self.layer} of this {self.model_type} computes queries, keys and values from a fused copy of "
                "their weights; call unfuse_qkv_projections() first"
            )
        for path in plan.norms:
            norm = getattr(module, path, None)
            weight = getattr(norm, "weight", None)
            if heads > 1 and weight is not None and weight.numel() == heads * size:
                raise TombolaError(
                    f"layer {self.layer} of this {self.model_type} has a norm over all heads ({path}), so that none "
                    "can be removed without changing the others; prune its neurons, or weights"
                )

    def _mlp(self, name: str, block: nn.Module, plan: MLP) -> MLPRow:
        output = self._linear(block, plan.output)
        inputs = self._inputs(block, plan.inputs)
        neurons = _shape(output)[1]
        if plan.shared_output:
            neurons = _shape(self._linear(block, inputs[0][1].path))[0] // len(inputs[0][1].parts)
        neuron_weights = _shape(output)[0]
        for kind, projection in inputs:
            linear = self._linear(block, projection.path)
            if neurons == 0 or _shape(linear)[0] != neurons * len(projection.parts):
                raise TombolaError(
                    f"layer {self.layer} of this {self.model_type} does not have a whole MLP at {projection.path}; "
                    f"{SHRUNK}"
                )
            neuron_weights += linear.weight.numel() // neurons
            self._matrix(name, projection.path, plan.prefix + kind, linear)
        if not plan.shared_output:
            self._matrix(name, plan.output, f"{plan.prefix}mlp_out", output)
        if plan.gate is not None:
            self._module(block, plan.gate)
        has_bias, transposed = output.bias is not None and not plan.shared_output, _transposed(output)
        return MLPRow(self.layer, name, plan, neurons, inputs, neuron_weights, has_bias, transposed)

    def _residual(self, name: str, block: nn.Module, plan: Residual) -> ChannelRow:
        first, norm, last = (self._module(block, path) for path in (plan.input, plan.norm, plan.output))
        if not (isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d) and isinstance(norm, nn.GroupNorm)):
            raise TombolaError(
                f"layer {self.layer} of this {self.model_type} is no residual block of two convolutions with a group "
                "norm between them: the model differs from its family's entry in tombola.architectures.families.FAMILIES"
            )
        channels, size = first.out_channels, norm.num_channels // norm.num_groups
        time = self._linear(block, plan.time) if _has(block, plan.time) else None
        per_channel = 0 if time is None else _shape(time)[0] // channels
        if (norm.num_channels, last.in_channels) != (channels, channels) or (
            time is not None and _shape(time)[0] != per_channel * channels
        ):
            raise TombolaError(f"layer {self.layer} of this {self.model_type} is not a whole residual block; {SHRUNK}")
        weights = (first.weight.numel() + last.weight.numel()) // channels
        self._matrix(name, plan.input, "conv_in", first)
        if time is not None:
            weights += per_channel * _shape(time)[1]
            self._matrix(name, plan.time, "time", time)
        self._matrix(name, plan.output, "conv_out", last)
        return ChannelRow(self.layer, name, plan, norm.num_groups, size, per_channel, size * weights)

    def _inputs(self, block: nn.Module, plans: Mapping[str, Projection]) -> tuple[tuple[str, Projection], ...]:
        present = tuple((kind, plan) for kind, plan in plans.items() if not plan.optional or _has(block, plan.path))
        if not present:
            self._linear(block, next(iter(plans.values())).path)
        return present

    def _matrix(self, name: str, path: str, kind: str, module: nn.Module) -> None:
        shape = tuple(module.get_parameter("weight").shape)
        self.matrices.append(Matrix(f"{_joined(name, path)}.weight", kind, self.layer, shape))

    def _module(self, block: nn.Module, path: str) -> nn.Module:
        if not _has(block, path):
            raise TombolaError(
                f"layer {self.layer} has no module at {path}: the model differs from its family's entry in "
                "tombola.architectures.families.FAMILIES"
            )
        return block.get_submodule(path)

    def _linear(self, block: nn.Module, path: str) -> nn.Linear:
        module = self._module(block, path) if _has(block, path) else None
        if not isinstance(module, nn.Linear | Conv1D):
            raise TombolaError(
                f"layer {self.layer} has no linear map at {path}: the model differs from its family's entry in "
                "tombola.architectures.families.FAMILIES"
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


def _children(base: nn.Module, path: str) -> Iterator[tuple[tuple[int, ...], str]]:
    """The children of the module at `path`, in which `*` stands for every child that has what comes after.

    Each with its place among its siblings, and the places of its parents that `*` stands for, and its name from `base`.
    """
    found: list[tuple[tuple[int, ...], str]] = [((), "")]
    for part in path.split(".*."):
        parents = [(places, f"{name}.{part}".removeprefix(".")) for places, name in found]
        found = [
            ((*places, place), f"{parent}.{child}")
            for places, parent in parents
            if _has(base, parent)
            for place, (child, _) in enumerate(base.get_submodule(parent).named_children())
        ]
    yield from found


def _joined(name: str, part: str) -> str:
    """Full name of a part of a module, which may be the module itself."""
    return f"{name}.{part}" if part else name


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
