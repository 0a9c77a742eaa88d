"""Removing heads, MLPs, neurons and channels, and putting zeros back in their place, as the family's entry says.

The unit of a cut is the head, also where heads share keys and values (grouped queries). A group that loses all its
heads loses its key/value head. If the groups that stay have equally many heads, the grouping stays; if not (which the
attention kernels would compute silently wrong), the projections of keys and values give each head its own copy of
what its group shares, from weights that are still stored once
([`RepeatedHeadsLinear`][tombola.subnetworks.projections.RepeatedHeadsLinear]): exact for any set of heads, and it can
be trained and undone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy, Removal
from tombola.architectures.families import Projection
from tombola.architectures.removal import remember, removal_of
from tombola.architectures.sites import ChannelRow, HeadRow, Kept, MLPRow
from tombola.subnetworks.position_bias import join, separate
from tombola.subnetworks.projections import MapCut, Units, expand, shrink, with_zero_bias

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
        return {"heads": heads, "width": heads * row.size, "kv_heads": heads // self.group, "group": self.group}


def remove(model: nn.Module, anatomy: Anatomy, kept: Kept, *, empty: bool = True) -> None:
    """Remove from `model` the heads, MLPs, neurons and channels that are not kept, and remember it on the model.

    From a model that has lost some before, all are removed at once: they are put back as zeros first.

    Args:
        model: whole or shrunk; changed, but none of its tensors.
        anatomy: of the model as it is.
        kept: what of that stays.
        empty: leave a sublayer without heads where it runs so; else each keeps at least one of zeros.

    An MLP that does not stay loses the bias of its output too, since its gate covers the whole sublayer. A residual
    block that loses all its channels keeps the bias of its last convolution, and one group of zeros, because a norm of
    no channels does not run. Training leaves it at zero: nothing goes in, and nothing comes out.
    """
    if anatomy.removal is not None:
        kept, anatomy = kept.within(anatomy.removal.kept), anatomy.removal.whole
        restore(model)
    if not empty:
        rows = tuple(replace(row, may_be_empty=False) for row in anatomy.attentions)
        anatomy = replace(anatomy, attentions=rows)
    for cut in _cuts(anatomy, kept):
        shrink(model, cut)
    for row, heads in zip(anatomy.attentions, kept.heads, strict=True):
        if not heads.all():
            module, counts = model.get_submodule(row.module), RemainingHeads.of(row, heads).counts(row)
            _count(module, row, counts)
            if row.plan.config_counts:
                own = {attribute: counts[what] for attribute, what in row.plan.config_counts.items()}
                module.config = OwnHeads(module.config, **own)  # type: ignore[assignment]
    for alike in _alike(anatomy.attentions):
        if not all(kept.heads[index].all() for index, _ in alike):
            cuts = [RemainingHeads.of(row, kept.heads[index]).heads for index, row in alike]
            separate([model.get_submodule(row.module) for _, row in alike], cuts)
    for path in _biases(anatomy, kept):
        model.get_submodule(path).register_parameter("bias", None)
    remember(model, Removal(anatomy, kept))


def restore(model: nn.Module) -> None:
    """Undo all that `remove` did to a model: zeros where the others were."""
    removal = removal_of(model)
    if removal is None:
        return
    remember(model, None)
    anatomy, kept = removal.whole, removal.kept
    for path in _biases(anatomy, kept):
        with_zero_bias(model, path)
    for cut in _cuts(anatomy, kept):
        expand(model, cut)
    for row, heads in zip(anatomy.attentions, kept.heads, strict=True):
        if not heads.all():
            module = model.get_submodule(row.module)
            _count(module, row, RemainingHeads.of(row, torch.ones_like(heads)).counts(row))
            config = getattr(module, "config", None)
            if isinstance(config, OwnHeads):
                module.config = config._config  # type: ignore[assignment]
    for alike in _alike(anatomy.attentions):
        join([model.get_submodule(row.module) for _, row in alike])


def _cuts(anatomy: Anatomy, kept: Kept) -> Iterator[MapCut]:
    """Cuts of all maps that lose units; of a map that heads and neurons share, that of the heads first."""
    for head_row, heads in zip(anatomy.attentions, kept.heads, strict=True):
        if not heads.all():
            yield from _cuts_of_heads(head_row, RemainingHeads.of(head_row, heads))
    for mlp, neurons in zip(anatomy.feed_forwards, kept.neurons, strict=True):
        if not neurons.all():
            yield from _cuts_of_mlp(mlp, neurons.cpu().nonzero().flatten())
    for residual, groups in zip(anatomy.residuals, kept.channels, strict=True):
        if not groups.all():
            yield from _cuts_of_channels(residual, groups.cpu().nonzero().flatten())


def _cuts_of_heads(row: HeadRow, remaining: RemainingHeads) -> Iterator[MapCut]:
    for _, projection in row.inputs:
        units, copies = _units(row, projection, remaining)
        repeat = None if copies is None else (copies, row.size)
        yield MapCut(row.path(projection.path), rows=units, repeat=repeat, blank=remaining.blank)
    units = Units(_units_of(remaining.heads, row.size), row.heads * row.size)
    for path in row.outputs:
        yield MapCut(path, columns=units, blank=remaining.blank)


def _cuts_of_mlp(row: MLPRow, neurons: Tensor) -> Iterator[MapCut]:
    for _, projection in row.inputs:
        rows = _in_parts(neurons, len(projection.parts), row.neurons)
        yield MapCut(row.path(projection.path), rows=rows, transposed=row.transposed)
    yield MapCut(row.output, columns=Units(neurons, row.neurons, last=True), transposed=row.transposed)


def _cuts_of_channels(row: ChannelRow, groups: Tensor) -> Iterator[MapCut]:
    blank = not len(groups)
    units = Units(_units_of(torch.tensor([0]) if blank else groups, row.size), row.groups * row.size)
    yield MapCut(row.path(row.plan.input), rows=units, blank=blank)
    if row.time:
        yield MapCut(row.path(row.plan.time), rows=_in_parts(units.stay, row.time, units.whole), blank=blank)
    yield MapCut(row.path(row.plan.norm), rows=units, blank=blank)
    yield MapCut(row.output, columns=units, blank=blank)


def _biases(anatomy: Anatomy, kept: Kept) -> list[str]:
    pairs = zip(anatomy.feed_forwards, kept.mlps.tolist(), strict=True)
    of_mlps = [row.output for row, stays in pairs if row.bias and not stays]
    return of_mlps + [path for row in kept.without_bias(anatomy.attentions) for path in row.outputs]


def _alike(rows: Iterable[HeadRow]) -> list[list[tuple[int, HeadRow]]]:
    """Rows whose position bias comes from the first of them, with their indices."""
    found: dict[tuple[int, str], list[tuple[int, HeadRow]]] = {}
    for index, row in enumerate(rows):
        if row.plan.own_position_bias:
            found.setdefault((row.stack, row.plan.module), []).append((index, row))
    return list(found.values())


def _count(module: nn.Module, row: HeadRow, counts: dict[str, int]) -> None:
    for attribute, what in row.plan.counts.items():
        setattr(module, attribute, counts[what])


def _units_of(blocks: Tensor, size: int) -> Tensor:
    return (blocks[:, None] * size + torch.arange(size)).flatten()


def _in_parts(units: Tensor, parts: int, size: int) -> Units:
    return Units(torch.cat([part * size + units for part in range(parts)]), parts * size)


def _units(row: HeadRow, projection: Projection, remaining: RemainingHeads) -> tuple[Units, Tensor | None]:
    """The output units of a projection that stay, and, if some heads are given twice, which of the stored each is."""
    if projection.interleaved:
        size = len(projection.parts) * row.size
        return Units(_units_of(remaining.heads, size), row.heads * size), None
    stay, outputs, start, position = [], [], 0, 0
    for part in projection.parts:
        shared = part in _SHARED
        heads = remaining.kv_heads if shared else remaining.heads
        stay.append(start + _units_of(heads, row.size))
        own = position + torch.arange(len(heads))
        outputs.append(own[remaining.copies] if shared and remaining.copies is not None else own)
        start += (row.kv_heads if shared else row.heads) * row.size
        position += len(own)
    repeats = remaining.copies is not None and any(part in _SHARED for part in projection.parts)
    return Units(torch.cat(stay), start), torch.cat(outputs) if repeats else None
