"""Removing heads, MLPs, neurons and channels, and putting zeros back in their place, as the family's entry says.

The unit of a cut is the head, also where heads share keys and values (grouped queries). A group that loses all its
heads loses its key/value head. If the groups that stay have equally many heads, the grouping stays; if not (which the
attention kernels would compute silently wrong), the projections of keys and values give each head its own copy of
what its group shares, from weights that are still stored once
([`RepeatedHeadsLinear`][tombola.subnetworks.projections.RepeatedHeadsLinear]): exact for any set of heads, and it can
be trained and undone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tombola.architectures.families import Projection
from tombola.architectures.sites import ChannelRow, HeadRow, MLPRow
from tombola.subnetworks.position_bias import join, separate
from tombola.subnetworks.projections import (
    expand_linear,
    expand_norm,
    inputs_of,
    shrink_linear,
    shrink_norm,
    with_zero_bias,
    without_bias,
)

_SHARED = ("key", "value")


class OwnHeads:
    """A configuration seen by one attention module: some attributes are its own, the rest is read through.

    A copy would not notice when the model's attention implementation is changed later, and compute something else.
    """

    def __init__(self, config: object, **own: int) -> None:
        self._config = config
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> object:
        # Before `copy` has filled the new object, and for the protocols of `copy` and `pickle`.
        if name == "_config" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._config, name)


@dataclass(frozen=True)
class RemainingHeads:
    """Heads that remain of a row.

    Attributes:
        heads: int64, the heads that are physically there.
        kv_heads: int64, their key/value heads.
        group: heads to a key/value head, as the forward pass sees it.
        copies: where groups are uneven, for each head the position of its key/value head in `kv_heads`.
        blank: the one head that is there is of zeros, because the sublayer does not run without.
    """

    heads: Tensor
    kv_heads: Tensor
    group: int
    copies: Tensor | None
    blank: bool

    @classmethod
    def of(cls, row: HeadRow, kept: Tensor) -> "RemainingHeads":
        """Remaining heads of a row when those of `kept`, bool [heads], stay."""
        heads = kept.cpu().nonzero().flatten()
        blank = len(heads) == 0 and not row.may_be_empty
        if blank:
            heads = torch.tensor([0])
        kv_heads, copies, sizes = (heads // row.group).unique(return_inverse=True, return_counts=True)
        if len(sizes) and (sizes != sizes[0]).any():
            return cls(heads, kv_heads, 1, copies, blank)
        return cls(heads, kv_heads, int(sizes[0]) if len(sizes) else row.group, None, blank)

    def counts(self, row: HeadRow) -> dict[str, int]:
        """Values of the attributes of the module that count heads, see `Attention.counts`."""
        heads = len(self.heads)
        return {
            "heads": heads,
            "width": heads * row.size,
            "kv_heads": heads // self.group,
            "group": self.group,
        }


def remove_heads(model: nn.Module, row: HeadRow, kept: Tensor) -> None:
    """Remove the heads that are not in `kept`, bool [heads], from a sublayer of `model`."""
    if kept.all():
        return
    remaining = RemainingHeads.of(row, kept)
    for _, projection in row.inputs:
        rows, copies = _units(row, projection, remaining)
        repeat = None if copies is None else (copies, row.size)
        shrink_linear(model, row.path(projection.path), rows=rows, repeat=repeat, blank=remaining.blank)
    units = _units_of_heads(row.heads, row.size)[remaining.heads].flatten()
    for path in row.outputs:
        # Behind the heads' units there may be those of an MLP.
        others = torch.arange(row.heads * row.size, inputs_of(model, path))
        blank = torch.arange(len(units)) if remaining.blank else None
        shrink_linear(model, path, columns=torch.cat([units, others]), blank_columns=blank)
    _count(model.get_submodule(row.module), row, remaining.counts(row))


def restore_heads(model: nn.Module, row: HeadRow, kept: Tensor) -> None:
    """Undo `remove_heads`: zeros where the others were."""
    if kept.all():
        return
    remaining = RemainingHeads.of(row, kept)
    for _, projection in row.inputs:
        rows, _ = _units(row, projection, remaining)
        full = sum(_heads_of(row, part) for part in projection.parts) * row.size
        expand_linear(model, row.path(projection.path), rows=(rows, full))
    width, units = row.heads * row.size, _units_of_heads(row.heads, row.size)[remaining.heads].flatten()
    for path in row.outputs:
        others = inputs_of(model, path) - len(units)
        columns = torch.cat([units, width + torch.arange(others)])
        expand_linear(model, path, columns=(columns, width + others))
    whole = RemainingHeads.of(row, torch.ones_like(kept))
    module = model.get_submodule(row.module)
    config = getattr(module, "config", None)
    if isinstance(config, OwnHeads):
        module.config = config._config  # type: ignore[assignment]
    _count(module, row, whole.counts(row), config=False)


def remove_mlp(model: nn.Module, row: MLPRow, kept: Tensor, *, stays: bool) -> None:
    """Remove the neurons that are not in `kept`, bool [neurons], from an MLP of `model`.

    An MLP that does not stay loses the bias of its output too, since its gate covers the whole sublayer.
    """
    if not kept.all():
        for _, projection in row.inputs:
            shrink_linear(model, row.path(projection.path), rows=_neurons(row, projection, kept))
        others = inputs_of(model, row.output) - row.neurons
        shrink_linear(model, row.output, columns=_behind(others, kept))
    if row.bias and not stays:
        without_bias(model, row.output)


def restore_mlp(model: nn.Module, row: MLPRow, kept: Tensor, *, stays: bool) -> None:
    """Undo `remove_mlp`: zeros where the others were."""
    if row.bias and not stays:
        with_zero_bias(model, row.output)
    if kept.all():
        return
    for _, projection in row.inputs:
        full = row.neurons * len(projection.parts)
        rows = _neurons(row, projection, kept), full
        expand_linear(model, row.path(projection.path), rows=rows, transposed=row.transposed)
    others = inputs_of(model, row.output) - int(kept.sum())
    columns = _behind(others, kept), others + row.neurons
    expand_linear(model, row.output, columns=columns, transposed=row.transposed)


def remove_channels(model: nn.Module, row: ChannelRow, kept: Tensor) -> None:
    """Remove the groups of channels that are not in `kept`, bool [groups], from a residual block of `model`.

    A block that loses all of them keeps the bias of its last convolution, and one group of zeros, because a norm of no
    channels does not run. Training leaves it at zero: nothing goes in, and nothing comes out.
    """
    if kept.all():
        return
    groups, blank = _groups(kept)
    channels = _units_of_heads(row.groups, row.size)[groups].flatten()
    shrink_linear(model, row.path(row.plan.input), rows=channels, blank=blank)
    if row.time:
        shrink_linear(
            model, row.path(row.plan.time), rows=_parts(channels, row.time, row.groups * row.size), blank=blank
        )
    shrink_norm(model, row.path(row.plan.norm), channels, len(groups), blank=blank)
    shrink_linear(model, row.output, columns=channels, blank_columns=torch.arange(len(channels)) if blank else None)


def restore_channels(model: nn.Module, row: ChannelRow, kept: Tensor) -> None:
    """Undo `remove_channels`: zeros where the others were."""
    if kept.all():
        return
    groups, _ = _groups(kept)
    channels, full = _units_of_heads(row.groups, row.size)[groups].flatten(), row.groups * row.size
    expand_linear(model, row.path(row.plan.input), rows=(channels, full))
    if row.time:
        expand_linear(model, row.path(row.plan.time), rows=(_parts(channels, row.time, full), row.time * full))
    expand_norm(model, row.path(row.plan.norm), channels, full, row.groups)
    expand_linear(model, row.output, columns=(channels, full))


def separate_biases(model: nn.Module, rows: Iterable[HeadRow], heads: Sequence[Tensor]) -> None:
    """Give the layers of a stack that lost heads, bool [heads] of each row, position biases of their own (T5)."""
    for alike in _alike(rows):
        if not all(heads[index].all() for index, _ in alike):
            cuts = [RemainingHeads.of(row, heads[index]).heads for index, row in alike]
            separate([model.get_submodule(row.module) for _, row in alike], cuts)


def join_biases(model: nn.Module, rows: Iterable[HeadRow]) -> None:
    """Undo `separate_biases`."""
    for alike in _alike(rows):
        join([model.get_submodule(row.module) for _, row in alike])


def _alike(rows: Iterable[HeadRow]) -> list[list[tuple[int, HeadRow]]]:
    """Rows whose position bias comes from the first of them, with their indices."""
    found: dict[tuple[int, str], list[tuple[int, HeadRow]]] = {}
    for index, row in enumerate(rows):
        if row.plan.own_position_bias:
            found.setdefault((row.stack, row.plan.module), []).append((index, row))
    return list(found.values())


def _count(module: nn.Module, row: HeadRow, counts: dict[str, int], *, config: bool = True) -> None:
    for attribute, what in row.plan.counts.items():
        setattr(module, attribute, counts[what])
    if config and row.plan.config_counts:
        own = {attribute: counts[what] for attribute, what in row.plan.config_counts.items()}
        module.config = OwnHeads(module.config, **own)  # type: ignore[assignment]


def _units_of_heads(heads: int, size: int) -> Tensor:
    return torch.arange(heads * size).reshape(heads, size)


def _heads_of(row: HeadRow, part: str) -> int:
    return row.kv_heads if part in _SHARED else row.heads


def _neurons(row: MLPRow, projection: Projection, kept: Tensor) -> Tensor:
    """The output units of a projection that belong to the neurons of `kept`."""
    return _parts(kept.cpu().nonzero().flatten(), len(projection.parts), row.neurons)


def _parts(units: Tensor, parts: int, size: int) -> Tensor:
    """Indices of the same units in each of several parts of a map's outputs, `size` units each."""
    return torch.cat([part * size + units for part in range(parts)])


def _behind(others: int, kept: Tensor) -> Tensor:
    """Input units of an MLP's last map: all of those that are not its own, then those of `kept`."""
    return torch.cat([torch.arange(others), others + kept.cpu().nonzero().flatten()])


def _groups(kept: Tensor) -> tuple[Tensor, bool]:
    """The groups that are physically there, and whether that is one of zeros."""
    groups = kept.cpu().nonzero().flatten()
    return (groups, False) if len(groups) else (torch.tensor([0]), True)


def _units(row: HeadRow, projection: Projection, remaining: RemainingHeads) -> tuple[Tensor, Tensor | None]:
    """The output units of a projection that stay, and, if some heads are given twice, which of the stored each is."""
    if projection.interleaved:
        return _units_of_heads(row.heads, len(projection.parts) * row.size)[remaining.heads].flatten(), None
    stay, outputs, start, position = [], [], 0, 0
    for part in projection.parts:
        heads = remaining.kv_heads if part in _SHARED else remaining.heads
        stay.append(start + _units_of_heads(_heads_of(row, part), row.size)[heads].flatten())
        own = position + torch.arange(len(heads))
        outputs.append(own[remaining.copies] if part in _SHARED and remaining.copies is not None else own)
        start += _heads_of(row, part) * row.size
        position += len(own)
    repeats = remaining.copies is not None and any(part in _SHARED for part in projection.parts)
    return torch.cat(stay), torch.cat(outputs) if repeats else None
