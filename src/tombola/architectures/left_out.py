"""Modules that dissection does not take, by name, and why: nothing is left out without a word."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from tombola.architectures.sites import HeadRow, Matrix, MLPRow, SiteRow

_BLOCKS = re.compile(r"attention|attn|mlp|feed_?forward|ffn|resnet|resblock|conv_?(layer|block|next)", re.IGNORECASE)
"""Names of classes that have heads, neurons or channels, as far as a name tells."""


@dataclass(frozen=True)
class LeftOut:
    """Module whose parameters no row of sites and no prunable matrix has.

    Attributes:
        name: full name of the module; empty where parameters are the model's own.
        reason: why it is left out, in words.
        block: whether it looks like an attention, an MLP or a residual block, which one would expect sites of.
    """

    name: str
    reason: str
    block: bool = False


def left_out(model: nn.Module, matrices: Iterable[Matrix], rows: Iterable[SiteRow]) -> Iterator[LeftOut]:
    """Modules that are left out, in the model's order: a block without sites whole, all else one by one."""
    taken = {matrix.module for matrix in matrices}
    rows = list(rows)
    layers, sites = {row.name for row in rows}, {place for row in rows for place in _places(row)}
    # Whatever has a site somewhere inside.
    around = {name for site in sites for name in (site, *_parents(site))}
    blocks: set[str] = set()
    for name, module in model.named_modules():
        parents = set(_parents(name))
        if parents & blocks:
            continue
        own = [parameter for parameter in module._parameters.values() if parameter is not None]
        kind = type(module).__name__
        if (
            (name and _BLOCKS.search(kind) and next(module.parameters(), None) is not None)
            and name not in around
            and not parents & sites
        ):
            blocks.add(name)
            also = any(one.startswith(f"{name}.") for one in taken)
            rest = "; its weights can be pruned" if also else ""
            yield LeftOut(name, f"{kind}: its family's entry has no heads, neurons or channels here{rest}", block=True)
        elif own and name not in taken:
            yield LeftOut(name, _reason(module, own, inside=name in layers or bool(parents & layers)))


def _reason(module: nn.Module, own: list[nn.Parameter], *, inside: bool) -> str:
    if isinstance(module, nn.Embedding):
        return "a table of embeddings"
    if all(parameter.ndim < 2 for parameter in own):
        return "a norm or a scale"
    return "belongs to no head, neuron or group of channels of its layer" if inside else "outside of the layers"


def _places(row: SiteRow) -> Iterator[str]:
    """Modules that a row is about."""
    if isinstance(row, HeadRow):
        yield row.module
        yield from row.outputs
    elif isinstance(row, MLPRow):
        yield from (row.path(projection.path) for _, projection in row.inputs)
        yield row.output
    else:
        yield row.name


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name
