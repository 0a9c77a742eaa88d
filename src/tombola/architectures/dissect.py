"""Dissection: from a loaded model and its family's entry to its anatomy."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from torch import nn
from transformers.pytorch_utils import Conv1D

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.families import FAMILIES, MLP, Attention, Family, Projection, Residual
from tombola.architectures.left_out import left_out
from tombola.architectures.removal import remaining, removal_of
from tombola.architectures.sites import ChannelRow, HeadRow, Matrix, MLPRow, is_transposed, joined, units_of
from tombola.foundations.errors import TombolaError

_TABLE = "its family's entry in tombola.architectures.families.FAMILIES"
_SHRUNK = "of what shrunk gave, or load opened, give the whole model, no part or copy of its weights"


def _layers(model: nn.Module, base: nn.Module, family: Family) -> list[tuple[int, str]]:
    """Every layer: its stack in the family's entry, and its name from the base model.

    Stacks are read one after the other, but those that begin at the same module take turns there: the residual blocks
    and attentions of a U-net.
    """
    found = []
    first = [stack.layers.partition(".")[0] for stack in family.stacks]
    for index, stack in enumerate(family.stacks):
        children = _children(base, stack.layers)
        if not children and not stack.optional and not _has(base, stack.layers):
            raise TombolaError(f"{type(model).__name__} has no {stack.layers}: it holds no heads to prune")
        found += [((first.index(first[index]), places, index), name) for places, name in children]
    return [(key[-1], name) for key, name in sorted(found)]


def _has(block: nn.Module, path: str) -> bool:
    try:
        block.get_submodule(path)
    except AttributeError:
        return False
    return True


def _children(base: nn.Module, path: str) -> list[tuple[tuple[int, ...], str]]:
    """The children of the module at `path`, in which `*` stands for every child: places, from the top, and names."""
    found: list[tuple[tuple[int, ...], str]] = [((), "")]
    for part in path.split(".*."):
        parents = [(places, f"{name}.{part}".removeprefix(".")) for places, name in found]
        found = [
            ((*places, place), f"{parent}.{child}")
            for places, parent in parents
            if _has(base, parent)
            for place, (child, _) in enumerate(base.get_submodule(parent).named_children())
        ]
    return found


def dissect(model: nn.Module) -> Anatomy:
    """Find the heads, MLPs, channels and prunable weights of a model of transformers or diffusers.

    Args:
        model: of a known family, with or without a task's output layer; whole, or shrunk.

    Raises:
        TombolaError: the model is of neither library, its type is not in `FAMILIES`, or its layers do not look as the
            table says (a part of a shrunk model, for one).

    What of the model is in no row and no matrix, `Anatomy.left_out` names, with the reason.
    """
    model_type = type_of(model)
    # Where nobody imported it, nothing is of it: a search dissects in every pass.
    if "peft" in sys.modules and any(type(one).__module__.partition(".")[0] == "peft" for one in model.modules()):
        raise TombolaError(
            f"this {type(model).__name__} has adapters of peft, which are no part of its layers; merge them first "
            "(model = model.merge_and_unload())"
        )
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
    removal = removal_of(model)
    return read(model, family) if removal is None else remaining(model, removal)


def read(model: nn.Module, family: Family) -> Anatomy:
    """The anatomy of a model by a given entry of the table.

    Raises:
        TombolaError: its layers do not look as the entry says.
    """
    config = getattr(model, "config", None)
    model_type = str(type_of(model))
    if getattr(config, "add_cross_attention", False):
        raise TombolaError(
            f"this {model_type} has cross-attention layers, which its entry in "
            "tombola.architectures.families.FAMILIES does not cover"
        )
    # A model of diffusers has no wrapper.
    base = getattr(model, "base_model", model)
    assert isinstance(base, nn.Module)
    prefix = "" if base is model else f"{model.base_model_prefix}."
    found = _Reader(model_type, family, config, prefix)
    for stack, name in _layers(model, base, family):
        found.read(stack, name, base.get_submodule(name))
    if not (found.attentions or found.residuals):
        raise TombolaError(f"this {model_type} has no layers, so it has no heads to prune")
    rows = (*found.attentions, *found.feed_forwards, *found.residuals)
    return Anatomy(
        model_type,
        tuple(found.attentions),
        tuple(found.feed_forwards),
        tuple(found.matrices),
        tuple(found.residuals),
        tuple(left_out(model, found.matrices, rows)),
    )


def type_of(model: nn.Module) -> str | None:
    """Type of a model in the table of families: `config.model_type`, or for diffusers the name of its class."""
    found = getattr(getattr(model, "config", None), "model_type", None)
    if found is None:
        found = next((kind.__name__ for kind in type(model).__mro__ if kind.__name__ in FAMILIES), None)
    return found


@dataclass
class _Reader:
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
            other = attention.unless is not None and _has(block, attention.unless)
            if not attention.optional or (_has(block, attention.output) and not other):
                self.attentions.append(self._attention(stack, full, block, attention))
        for mlp in plan.mlps:
            if not mlp.optional or _has(block, mlp.output):
                self.feed_forwards.append(self._mlp(full, block, mlp))
        if plan.residual is not None:
            self.residuals.append(self._residual(full, block, plan.residual))
        for role, path in plan.matrices.items():
            if _has(block, path):
                self._matrix(full, path, role, block.get_submodule(path))
        self.layer += 1

    def _attention(self, stack: int, name: str, block: nn.Module, plan: Attention) -> HeadRow:
        module = self._module(block, plan.module)
        heads = int(getattr(self.config, self.family.heads, 0) if plan.heads is None else getattr(module, plan.heads))
        kv_heads = int(getattr(self.config, self.family.kv_heads, 0)) if self.family.kv_heads else heads
        paths = {"attention_output": plan.output}
        paths |= {role: path for role, path in plan.more_outputs.items() if _has(block, path)}
        outputs = {role: self._linear(block, path) for role, path in paths.items()}
        units = units_of(outputs["attention_output"])[1]
        inputs = self._inputs(block, plan.inputs)
        if plan.shared_output:
            # The rest of its input units are an MLP's: the heads' own are as many as there are queries.
            units = units_of(self._linear(block, inputs[0][1].path))[0]
        size = int(getattr(module, plan.head_size)) if plan.head_size is not None else units // max(1, heads)
        of_part = {"key": kv_heads, "value": kv_heads}
        head_weights, kv_weights = size * sum(units_of(output)[0] for output in outputs.values()), 0
        matches = heads > 0 and units == heads * size
        matches = matches and all(plan.shared_output or units_of(one)[1] == units for one in outputs.values())
        for role, projection in inputs:
            linear = self._linear(block, projection.path)
            rows, fan_in = units_of(linear)
            matches = matches and rows == size * sum(of_part.get(part, heads) for part in projection.parts)
            shared = sum(part in of_part for part in projection.parts)
            head_weights += size * fan_in * (len(projection.parts) - shared)
            kv_weights += size * fan_in * shared
            self._matrix(name, projection.path, plan.prefix + role, linear)
        if not matches:
            raise self._wrong(f"does not have the {heads} heads that its configuration says; {_SHRUNK}")
        self._check(module, plan, heads, size)
        for role, output in outputs.items():
            self._matrix(name, paths[role], plan.prefix + role, output)
        names = tuple(joined(name, path) for path in paths.values())
        # A decoder's KV cache needs heads to know how many tokens it has seen.
        may_be_empty = plan.may_be_empty and not getattr(self.config, "is_decoder", False)
        own = not plan.shared_output and not any(map(is_transposed, outputs.values()))
        bias = own and all(output.bias is not None for output in outputs.values())
        rest = head_weights, kv_weights, may_be_empty, bias
        return HeadRow(self.layer, name, stack, plan, heads, kv_heads, size, inputs, names, *rest)

    def _check(self, module: nn.Module, plan: Attention, heads: int, size: int) -> None:
        if plan.fused is not None and getattr(module, plan.fused, False):
            raise self._wrong(
                "computes queries, keys and values from a fused copy of their weights; call unfuse_qkv_projections() "
                "first"
            )
        for path in plan.norms:
            weight = getattr(getattr(module, path, None), "weight", None)
            if heads > 1 and weight is not None and weight.numel() == heads * size:
                raise self._wrong(
                    f"has a norm over all heads ({path}), so that none can be removed without changing the others; "
                    "prune its neurons, or weights"
                )

    def _mlp(self, name: str, block: nn.Module, plan: MLP) -> MLPRow:
        output = self._linear(block, plan.output)
        inputs = self._inputs(block, plan.inputs)
        neurons = units_of(output)[1]
        if plan.shared_output:
            neurons = units_of(self._linear(block, inputs[0][1].path))[0] // len(inputs[0][1].parts)
        neuron_weights = units_of(output)[0]
        for role, projection in inputs:
            linear = self._linear(block, projection.path)
            if neurons == 0 or units_of(linear)[0] != neurons * len(projection.parts):
                raise self._wrong(f"does not have a whole MLP at {projection.path}; {_SHRUNK}")
            neuron_weights += linear.weight.numel() // neurons
            self._matrix(name, projection.path, plan.prefix + role, linear)
        if not plan.shared_output:
            self._matrix(name, plan.output, f"{plan.prefix}mlp_out", output)
        if plan.gate is not None:
            self._module(block, plan.gate)
        has_bias, transposed = output.bias is not None and not plan.shared_output, is_transposed(output)
        return MLPRow(self.layer, name, plan, neurons, inputs, neuron_weights, has_bias, transposed)

    def _residual(self, name: str, block: nn.Module, plan: Residual) -> ChannelRow:
        first, norm, last = (self._module(block, path) for path in (plan.input, plan.norm, plan.output))
        if not (
            (isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d))
            and (isinstance(norm, nn.GroupNorm) and norm.affine)
        ):
            raise self._wrong(
                "is no residual block of two convolutions with a group norm between them: the model differs from "
                f"{_TABLE}"
            )
        channels, size = first.out_channels, norm.num_channels // norm.num_groups
        time = self._linear(block, plan.time) if _has(block, plan.time) else None
        time_units, time_inputs = (0, 0) if time is None else units_of(time)
        if (norm.num_channels, last.in_channels) != (channels, channels) or time_units % channels:
            raise self._wrong(f"is not a whole residual block; {_SHRUNK}")
        per_channel = time_units // channels
        weights = (first.weight.numel() + last.weight.numel()) // channels + per_channel * time_inputs
        self._matrix(name, plan.input, "conv_in", first)
        if time is not None:
            self._matrix(name, plan.time, "time", time)
        self._matrix(name, plan.output, "conv_out", last)
        return ChannelRow(self.layer, name, plan, norm.num_groups, size, per_channel, size * weights)

    def _inputs(self, block: nn.Module, plans: Mapping[str, Projection]) -> tuple[tuple[str, Projection], ...]:
        present = tuple((kind, plan) for kind, plan in plans.items() if not plan.optional or _has(block, plan.path))
        if not present:
            self._linear(block, next(iter(plans.values())).path)
        return present

    def _matrix(self, name: str, path: str, role: str, module: nn.Module) -> None:
        shape = tuple(module.get_parameter("weight").shape)
        self.matrices.append(Matrix(f"{joined(name, path)}.weight", role, self.layer, shape))

    def _module(self, block: nn.Module, path: str, what: str = "module", kind: Any = nn.Module) -> nn.Module:
        if not _has(block, path) or not isinstance(block.get_submodule(path), kind):
            raise TombolaError(f"layer {self.layer} has no {what} at {path}: the model differs from {_TABLE}")
        return block.get_submodule(path)

    def _linear(self, block: nn.Module, path: str) -> nn.Linear:
        # Conv1D has the same two attributes: all that is asked for here.
        return cast(nn.Linear, self._module(block, path, "linear map", nn.Linear | Conv1D))

    def _wrong(self, what: str) -> TombolaError:
        return TombolaError(f"layer {self.layer} of this {self.model_type} {what}")
