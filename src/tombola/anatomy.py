"""Where the heads, MLPs and prunable weights of a loaded model live: one table, asked by everything else.

A *family* is data: the paths of a layer's projections, relative to that layer. A new architecture is one entry of
[`FAMILIES`][tombola.anatomy.FAMILIES] and one test.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from tombola.errors import TombolaError


@dataclass(frozen=True)
class Family:
    """The paths of one architecture's parts; every path but `layers` is relative to a layer.

    Attributes:
        layers: path of the list of layers, from the model's base (`model.base_model`).
        query, key, value: the projections whose rows (`out_features`) belong to heads, in head order.
        attention_output: the projection whose input columns belong to heads.
        mlp_in, mlp_out: the first and the last linear map of the MLP; the output of `mlp_out` is the sublayer's
            whole contribution to the residual stream.
    """

    layers: str
    query: str
    key: str
    value: str
    attention_output: str
    mlp_in: str
    mlp_out: str


_BERT = Family(
    layers="encoder.layer",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_output="attention.output.dense",
    mlp_in="intermediate.dense",
    mlp_out="output.dense",
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "bert": _BERT,
        "roberta": _BERT,
        "electra": _BERT,
        "distilbert": Family(
            layers="transformer.layer",
            query="attention.q_lin",
            key="attention.k_lin",
            value="attention.v_lin",
            attention_output="attention.out_lin",
            mlp_in="ffn.lin1",
            mlp_out="ffn.lin2",
        ),
    }
)
"""`config.model_type` → where the parts are."""

MATRIX_KINDS = ("query", "key", "value", "attention_output", "mlp_in", "mlp_out")
"""The prunable matrices of a layer, in the order in which data flows through them."""


@dataclass(frozen=True)
class Matrix:
    """One prunable matrix: `parameter` is its name in `model.named_parameters()`, `shape` [out, in]."""

    parameter: str
    kind: str
    layer: int
    shape: tuple[int, int]

    @property
    def name(self) -> str:
        """What a ticket calls it, whatever the task's wrapper: `<layer>.<kind>`."""
        return f"{self.layer}.{self.kind}"

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class Layer:
    """One layer of a loaded model: the modules' full names, its number of heads and their width."""

    index: int
    name: str
    family: Family
    heads: int
    head_size: int

    def path(self, part: str) -> str:
        """Full module name of a part: one of the path attributes of `Family`."""
        return f"{self.name}.{getattr(self.family, part)}"


@dataclass(frozen=True)
class Anatomy:
    """The sites and prunable weights of one architecture; made by [`dissect`][tombola.anatomy.dissect].

    Attributes:
        model_type: `config.model_type`.
        layers: the layers, first to last.
        matrices: every prunable matrix, layer by layer, in the order of `MATRIX_KINDS`.
    """

    model_type: str
    layers: tuple[Layer, ...]
    matrices: tuple[Matrix, ...]

    @property
    def heads(self) -> tuple[int, int]:
        """(layers, heads in each layer): the shape of a mask of heads."""
        return len(self.layers), self.layers[0].heads

    @property
    def mlps(self) -> int:
        """Number of MLPs: the length of a mask of MLPs."""
        return len(self.layers)

    @property
    def weights(self) -> int:
        """Number of prunable weights."""
        return sum(matrix.size for matrix in self.matrices)

    @property
    def head_weights(self) -> int:
        """Prunable weights that one head holds: its rows of q, k, v and its columns of the output projection."""
        return self._layer_weights("query", "key", "value", "attention_output") // self.layers[0].heads

    @property
    def mlp_weights(self) -> int:
        """Prunable weights that one MLP holds."""
        return self._layer_weights("mlp_in", "mlp_out")

    def _layer_weights(self, *kinds: str) -> int:
        return sum(matrix.size for matrix in self.matrices if matrix.layer == 0 and matrix.kind in kinds)

    @property
    def signature(self) -> str:
        """Readable fingerprint that ties a ticket to an architecture, for example `bert-6x12-1b2c3d4e`.

        It covers the model type and every matrix's place and shape, and leaves out the name of the task's wrapper
        and all weights: a ticket found on one task fits the same architecture on another.
        """
        facts = [
            self.model_type,
            [[layer.heads, layer.head_size] for layer in self.layers],
            [[matrix.kind, matrix.layer, matrix.shape] for matrix in self.matrices],
        ]
        digest = hashlib.sha256(json.dumps(facts, separators=(",", ":")).encode()).hexdigest()
        layers, heads = self.heads
        return f"{self.model_type}-{layers}x{heads}-{digest[:8]}"

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
            "load it with transformers.AutoModelForSequenceClassification"
        )
    family = FAMILIES.get(model_type)
    if family is None:
        raise TombolaError(
            f"unknown architecture {model_type!r} ({type(model).__name__}): Tombola knows "
            f"{', '.join(sorted(FAMILIES))}; to add one, give tombola.anatomy.FAMILIES its entry"
        )
    base = model.base_model
    assert isinstance(base, nn.Module)
    assert config is not None
    prefix = "" if base is model else f"{model.base_model_prefix}."
    try:
        stack = base.get_submodule(family.layers)
    except AttributeError:
        raise TombolaError(f"{type(model).__name__} has no {family.layers}: it holds no heads to prune") from None
    heads = getattr(config, "num_attention_heads", 0)
    layers = []
    matrices = []
    for index, (child, block) in enumerate(stack.named_children()):
        output = _linear(block, family.attention_output, index)
        layer = Layer(index, f"{prefix}{family.layers}.{child}", family, heads, output.in_features // max(heads, 1))
        if layer.head_size * heads != config.hidden_size or heads == 0:
            raise TombolaError(
                f"layer {index} of this {model_type} does not have the {heads} heads that its configuration says; "
                "a model that was shrunk already cannot be pruned again"
            )
        layers.append(layer)
        for kind in MATRIX_KINDS:
            weight = _linear(block, getattr(family, kind), index).weight
            if weight.numel() == 0:
                raise TombolaError(
                    f"layer {index} of this {model_type} has no weights at {getattr(family, kind)}; "
                    "a model that was shrunk already cannot be pruned again"
                )
            matrices.append(Matrix(f"{layer.path(kind)}.weight", kind, index, (weight.shape[0], weight.shape[1])))
    if not layers:
        raise TombolaError(f"this {model_type} has no layers, so it has no heads to prune")
    return Anatomy(model_type, tuple(layers), tuple(matrices))


def _linear(block: nn.Module, path: str, index: int) -> nn.Linear:
    try:
        module = block.get_submodule(path)
    except AttributeError:
        module = None
    if not isinstance(module, nn.Linear):
        raise TombolaError(
            f"layer {index} has no linear map at {path}: the model differs from its family's entry in "
            "tombola.anatomy.FAMILIES"
        )
    return module


def count_parameters(model: nn.Module) -> int:
    """Number of distinct parameters of `model` (a tied one counts once)."""
    return sum(parameter.numel() for parameter in model.parameters())


def device_of(model: nn.Module) -> torch.device:
    """Device of the model's first parameter."""
    return next(model.parameters()).device
