"""Cutting and padding one map of a model: `nn.Linear`, GPT-2's transposed `Conv1D`, `nn.Conv2d` or a group norm.

Indices are always of output units (*rows*) and input units (*columns*), whichever way round the matrix is stored; those
of a convolution are its channels.
"""

from collections.abc import Callable
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


def shrink_linear(
    model: nn.Module,
    path: str,
    *,
    rows: Tensor | None = None,
    columns: Tensor | None = None,
    repeat: tuple[Tensor, int] | None = None,
    blank: bool = False,
    blank_columns: Tensor | None = None,
) -> None:
    """Replace the map at `path` by one that has only some units.

    Args:
        model: changed; the tensors of the old map are not.
        path: full name of the map.
        rows, columns: int64, the units that stay, in this order; by default all, and then the parameters are shared.
        repeat: int64 [blocks], and the units of a block: which block of the rows that stay each block of the outputs
            is; a `Conv1D` cannot do that.
        blank: put zeros in place of the weights, and of the biases of the rows.
        blank_columns: int64, input units, counted after the cut, whose weights become zeros.
    """
    weight, bias, transposed = _tensors(model, path)
    if rows is not None and not torch.equal(rows, torch.arange(len(weight))):
        weight = weight[rows.to(weight.device)]
        bias = None if bias is None else bias[rows.to(bias.device)]
    if columns is not None:
        weight = weight[:, columns.to(weight.device)]
    if blank:
        weight = torch.zeros_like(weight)
        bias = torch.zeros_like(bias) if bias is not None and rows is not None else bias
    if blank_columns is not None:
        weight = weight.index_fill(1, blank_columns.to(weight.device), 0.0)
    _replace(model, path, weight, bias, transposed=transposed, repeat=repeat)


def expand_linear(
    model: nn.Module,
    path: str,
    *,
    rows: tuple[Tensor, int] | None = None,
    columns: tuple[Tensor, int] | None = None,
    transposed: bool | None = None,
) -> None:
    """Undo `shrink_linear`: a map of more units, at zero but for those that are there now.

    Args:
        model: changed; the tensors of the old map are not.
        path: full name of the map.
        rows, columns: where the present units go, and how many there shall be.
        transposed: store it as a `Conv1D`; by default as it is now.
    """
    weight, bias, now = _tensors(model, path)
    if rows is not None:
        index, size = rows
        weight = weight.new_zeros(size, *weight.shape[1:]).index_copy(0, index.to(weight.device), weight)
        bias = None if bias is None else bias.new_zeros(size).index_copy(0, index.to(bias.device), bias)
    if columns is not None:
        index, size = columns
        weight = weight.new_zeros(weight.shape[0], size, *weight.shape[2:]).index_copy(
            1, index.to(weight.device), weight
        )
    _replace(model, path, weight, bias, transposed=now if transposed is None else transposed)


def shrink_norm(model: nn.Module, path: str, channels: Tensor, groups: int, *, blank: bool = False) -> None:
    """Replace the group norm at `path` by one of some whole groups.

    Args:
        model: changed.
        path: full name of the norm.
        channels: int64, all channels of the groups that stay.
        groups: how many these are.
        blank: put zeros in place of its weights and biases.
    """

    def kept(tensor: Tensor) -> Tensor:
        found = tensor[channels.to(tensor.device)]
        return torch.zeros_like(found) if blank else found

    _replace_norm(model, path, groups, kept)


def expand_norm(model: nn.Module, path: str, channels: Tensor, size: int, groups: int) -> None:
    """Undo `shrink_norm`: a norm of `size` channels in `groups`, at zero but for `channels`."""

    def expand_linear(tensor: Tensor) -> Tensor:
        return tensor.new_zeros(size).index_copy(0, channels.to(tensor.device), tensor)

    _replace_norm(model, path, groups, expand_linear)


def _replace_norm(model: nn.Module, path: str, groups: int, change: Callable[[Tensor], Tensor]) -> None:
    old = model.get_submodule(path)
    assert isinstance(old, nn.GroupNorm)
    new = nn.GroupNorm(groups, groups, eps=old.eps, affine=old.affine, device="meta")
    new.num_channels = old.num_channels
    if old.affine:
        for name in ("weight", "bias"):
            parameter = old.get_parameter(name)
            setattr(new, name, nn.Parameter(change(parameter.detach()), parameter.requires_grad))
        new.num_channels = len(new.weight)
    new.train(old.training)
    model.set_submodule(path, new)


def inputs_of(model: nn.Module, path: str) -> int:
    """Number of input units of the map at `path`."""
    return _tensors(model, path)[0].shape[1]


def without_bias(model: nn.Module, path: str) -> None:
    """Take the bias of the `nn.Linear` at `path` away."""
    model.get_submodule(path).register_parameter("bias", None)


def with_zero_bias(model: nn.Module, path: str) -> None:
    """Give the map at `path` a bias of zeros."""
    weight, _, transposed = _tensors(model, path)
    _replace(model, path, weight, weight.new_zeros(len(weight)), transposed=transposed)


def beside(index: Tensor, weight: Tensor) -> Tensor:
    """An index on the device of the weight that it picks from; a real one, if that has no memory yet (`meta`)."""
    return index if weight.is_meta else index.to(weight.device)


def _tensors(model: nn.Module, path: str) -> tuple[Tensor, Tensor | None, bool]:
    """Weight [out, in, ...], bias [out] or None, and whether the map stores its weight transposed."""
    module = model.get_submodule(path)
    assert isinstance(module, nn.Linear | Conv1D | nn.Conv2d)
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
    outputs, inputs = weight.shape[:2]
    new: nn.Module
    # A Conv1D of no inputs, or without a bias, does not run.
    if transposed and inputs and bias is not None:
        new = Conv1D(1, 1)
        new.nf, new.nx = outputs, inputs
        new.weight = nn.Parameter(weight.T.contiguous(), trainable)
    elif isinstance(old, nn.Conv2d):
        # A string is a way of padding; where it is numbers, they are a pair.
        new = nn.Conv2d(
            *(inputs, outputs, cast(tuple[int, int], old.kernel_size)),
            stride=cast(tuple[int, int], old.stride),
            padding=cast(tuple[int, int], old.padding),
            dilation=cast(tuple[int, int], old.dilation),
            padding_mode=old.padding_mode,
            device="meta",
        )
        new.weight = nn.Parameter(weight.contiguous(), trainable)
    else:
        if repeat is None:
            new = nn.Linear(1, 1, device="meta")
        else:
            blocks, size = repeat
            new = RepeatedHeadsLinear(beside(blocks, weight), size)
        # Set afterwards, because the constructor would initialise, and warns of empty matrices.
        new.out_features, new.in_features = outputs, inputs
        new.weight = nn.Parameter(weight.contiguous(), trainable)
    if bias is None:
        new.register_parameter("bias", None)
    else:
        new.bias = nn.Parameter(bias.contiguous(), trainable)
    new.train(old.training)
    model.set_submodule(path, new)
