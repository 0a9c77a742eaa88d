"""Cutting and padding one map of a model: `nn.Linear`, GPT-2's transposed `Conv1D`, `nn.Conv2d` or a group norm.

Indices are always of output units (*rows*) and input units (*columns*), whichever way round the matrix is stored; those
of a convolution are its channels.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D
from typing_extensions import override


class RepeatedHeadsLinear(nn.Linear):
    """A linear map that gives some of its blocks of output units, those of a head, more than once.

    The units of a key/value head that heads of unequally many groups share are stored, and trained, once.

    Attributes:
        blocks: int64 [blocks of outputs], which block of units each is; not part of the state dictionary.
        size: units of a block.
    """

    blocks: Tensor

    def __init__(self, blocks: Tensor, size: int) -> None:
        super().__init__(1, 1, device="meta")
        self.register_buffer("blocks", blocks, persistent=False)
        self.size = size

    @override
    def forward(self, input: Tensor) -> Tensor:
        units: Tensor = super().forward(input).unflatten(-1, (-1, self.size))
        # Whole blocks are copied ten times as fast as their units one by one.
        return units.index_select(-2, self.blocks).flatten(-2)


@dataclass(frozen=True)
class Units:
    """Units of a map that stay.

    Attributes:
        stay: int64, in this order, counted among those of their kind.
        whole: how many of their kind the whole map has.
        last: whether units of another kind, which all stay, come before them rather than behind them.
    """

    stay: Tensor
    whole: int
    last: bool = False

    def among(self, others: int) -> Tensor:
        """Indices of all units that stay, so many of another kind included."""
        if self.last:
            return torch.cat([torch.arange(others), others + self.stay])
        return torch.cat([self.stay, self.whole + torch.arange(others)])


@dataclass(frozen=True)
class MapCut:
    """Cut of one map.

    Attributes:
        path: full name of the map.
        rows, columns: the units that stay; None for all.
        repeat: int64 [blocks], and the units of a block: which block of the rows that stay each block of the outputs
            is; a `Conv1D` cannot do that.
        blank: put zeros in place of what stays: of the rows with their biases, or of the columns.
        transposed: whether the whole map is a `Conv1D`; by default as it is now.
    """

    path: str
    rows: Units | None = None
    columns: Units | None = None
    repeat: tuple[Tensor, int] | None = None
    blank: bool = False
    transposed: bool | None = None


def shrink(model: nn.Module, cut: MapCut) -> None:
    """Replace a map of `model` by one that has only some units; the tensors of the old map are not changed."""
    weight, bias, transposed = _tensors(model, cut.path)
    if cut.rows is not None:
        # Where all stay, the parameters are shared.
        if not torch.equal(cut.rows.stay, torch.arange(len(weight))):
            weight = weight[cut.rows.stay.to(weight.device)]
            bias = None if bias is None else bias[cut.rows.stay.to(bias.device)]
        if cut.blank:
            weight, bias = torch.zeros_like(weight), None if bias is None else torch.zeros_like(bias)
    if cut.columns is not None:
        weight = weight[:, cut.columns.among(weight.shape[1] - cut.columns.whole).to(weight.device)]
        if cut.blank:
            weight[:, : len(cut.columns.stay)] = 0
    _replace(model, cut.path, weight, bias, transposed=transposed, repeat=cut.repeat)


def expand(model: nn.Module, cut: MapCut) -> None:
    """Undo `shrink`: a map of all units, at zero but for those that are there now."""
    weight, bias, transposed = _tensors(model, cut.path)
    if cut.rows is not None:
        index, size = cut.rows.stay.to(weight.device), cut.rows.whole
        weight = weight.new_zeros(size, *weight.shape[1:]).index_copy(0, index, weight)
        bias = None if bias is None else bias.new_zeros(size).index_copy(0, index, bias)
    if cut.columns is not None:
        others = weight.shape[1] - len(cut.columns.stay)
        index, size = cut.columns.among(others).to(weight.device), others + cut.columns.whole
        weight = weight.new_zeros(len(weight), size, *weight.shape[2:]).index_copy(1, index, weight)
    _replace(model, cut.path, weight, bias, transposed=transposed if cut.transposed is None else cut.transposed)


def with_zero_bias(model: nn.Module, path: str) -> None:
    """Give the map at `path` a bias of zeros."""
    weight, _, transposed = _tensors(model, path)
    _replace(model, path, weight, weight.new_zeros(len(weight)), transposed=transposed)


def beside(index: Tensor, weight: Tensor) -> Tensor:
    """An index on the device of the weight that it picks from; a real one, if that has no memory yet (`meta`)."""
    return index if weight.is_meta else index.to(weight.device)


def _tensors(model: nn.Module, path: str) -> tuple[Tensor, Tensor | None, bool]:
    """Weight [out, in, ...] (of a norm [out]), bias [out] or None, and whether the map stores its weight transposed."""
    module = model.get_submodule(path)
    assert isinstance(module, nn.Linear | Conv1D | nn.Conv2d | nn.GroupNorm)
    transposed = isinstance(module, Conv1D)
    weight = module.weight.detach()
    return weight.T if transposed else weight, None if module.bias is None else module.bias.detach(), transposed


def _replace(
    model: nn.Module,
    path: str,
    weight: Tensor,
    bias: Tensor | None,
    *,
    transposed: bool,
    repeat: tuple[Tensor, int] | None = None,
) -> None:
    old = model.get_submodule(path)
    trainable = next(old.parameters()).requires_grad
    outputs, inputs = len(weight), weight.shape[-1]
    new: nn.Module
    # A Conv1D of no inputs, or without a bias, does not run.
    if transposed and inputs and bias is not None:
        new = Conv1D(1, 1)
        new.nf, new.nx, weight = outputs, inputs, weight.T
    elif isinstance(old, nn.GroupNorm):
        new = nn.GroupNorm(outputs * old.num_groups // old.num_channels, outputs, eps=old.eps, device="meta")
    elif isinstance(old, nn.Conv2d):
        # A string is a way of padding; where it is numbers, they are a pair.
        new = nn.Conv2d(
            *(weight.shape[1], outputs, cast(tuple[int, int], old.kernel_size)),
            stride=cast(tuple[int, int], old.stride),
            padding=cast(tuple[int, int], old.padding),
            dilation=cast(tuple[int, int], old.dilation),
            padding_mode=old.padding_mode,
            device="meta",
        )
    else:
        if repeat is None:
            new = nn.Linear(1, 1, device="meta")
        else:
            blocks, size = repeat
            new = RepeatedHeadsLinear(beside(blocks, weight), size)
        # Set afterwards, because the constructor would initialise, and warns of empty matrices.
        new.out_features, new.in_features = outputs, inputs
    new.register_parameter("weight", nn.Parameter(weight.contiguous(), trainable))
    new.register_parameter("bias", None if bias is None else nn.Parameter(bias.contiguous(), trainable))
    new.train(old.training)
    model.set_submodule(path, new)
