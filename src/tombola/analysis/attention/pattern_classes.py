"""The five classes of attention maps of Kovaleva et al. (2019), by rules that can be read.

The authors trained a network on maps that people had sorted. Here a map is described by how much of its attention
lies in vertical lines, along the diagonal and in blocks, each corrected for what chance would put there (0: as if
attention were spread evenly, 1: all of it), and a few thresholds decide. `docs/explanation/attention.md` says how often
they are right on maps drawn from each definition.

1. A column is a *vertical line* if more than half of the tokens give it at least `COLUMN` times an even share: a line
   is one that most rows cross. Vertical: what such columns receive.
2. Diagonal: what, outside such columns, goes to tokens at most `width` away; it must show in most rows (`ROWS`), lest
   a few strong cells pass for a line.
3. Block: the best cut of the text in two, by what stays within the two parts, if rows fill their part (`FILL`, from
   their entropy): a diagonal stays within parts too, and fills none.

A map is `vertical`, `diagonal` or `vertical+diagonal` if these are at least `LINE`; but `block`, if that is at least
`BLOCK`, nothing is vertical, and the blocks hold more than the diagonal; else `heterogeneous`. Even attention over one
whole text has no structure, and is heterogeneous.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

CLASSES = ("vertical", "diagonal", "vertical+diagonal", "block", "heterogeneous")
"""The names, by the numbers that `classify` gives."""
_VERTICAL, _DIAGONAL, _BOTH, _BLOCK, _HETEROGENEOUS = range(5)

COLUMN = 2.0
"""Even shares that a line's cells have at least. No column of two blocks gets there in more than half of its rows."""
LINE = 0.2
"""Share of the attention that makes a line. A fifth is a third of what is left when 40 % of the attention is noise."""
ROWS = 0.5
"""Share of the rows in which a diagonal must show with half of `LINE`: it runs through the text, not a phrase of it."""
BLOCK = 0.4
"""Share that makes blocks: more than for lines, as the cut is the best of many, which chance makes look good."""
FILL = 0.55
"""Share of a block's width that a row fills. A third block doubles one part, of which half is then filled."""
PART = 3
"""Tokens of the smallest block: a word between two separators; an eighth of the text, if that is more."""


@dataclass(frozen=True)
class Structure:
    """Classes of maps, and how clear they are.

    Attributes:
        labels: int64 [...], indices of `CLASSES`.
        clarity: [...], how clearly a map is of its class: the strength of its structure, 0 as by chance and 1 all
            attention (of the mixed class the weaker line's); of the heterogeneous one how far from any structure it is.
    """

    labels: Tensor
    clarity: Tensor


def width(tokens: int) -> int:
    """Half the width of a diagonal: a twentieth of the text, 1 to 3 tokens.

    People, and the network of the paper, saw maps as pictures of one size: what looks like a line grows with the text.
    """
    return min(3, max(1, tokens // 20))


def classify(maps: Tensor) -> Structure:
    """Sort attention maps without padding into the five classes.

    Args:
        maps: [..., tokens, tokens], rows (queries) sum to 1. A map of zeros, or of one token, is heterogeneous.
    """
    tokens = maps.shape[-1]
    columns = 2 * (maps * tokens >= COLUMN).sum(-2) > tokens
    vertical = _vertical(maps, columns)
    diagonal = _diagonal(maps, columns)
    block, cut = _block(maps)
    lines = torch.stack((vertical, diagonal), -1)
    is_vertical, is_diagonal = (lines >= LINE).unbind(-1)
    is_block = (block >= BLOCK) & (block > diagonal) & ~is_vertical
    is_block[is_block.clone()] = _filled(maps[is_block], cut[is_block]) >= FILL
    labels = torch.full_like(vertical, _HETEROGENEOUS, dtype=torch.int64)
    clarity = 1 - torch.stack((vertical, diagonal, block), -1).amax(-1).clamp(0, 1)
    for label, holds, strength in (
        (_VERTICAL, is_vertical & ~is_diagonal, vertical),
        (_DIAGONAL, is_diagonal & ~is_vertical & ~is_block, diagonal),
        (_BOTH, is_vertical & is_diagonal, lines.amin(-1)),
        (_BLOCK, is_block, block),
    ):
        labels[holds] = label
        clarity = strength.where(holds, clarity)
    return Structure(labels, clarity)


def _vertical(maps: Tensor, columns: Tensor) -> Tensor:
    """Share of the attention in the columns [..., tokens] that are lines, less their share of the map."""
    area = columns.to(maps.dtype).mean(-1)
    return ((maps.mean(-2) * columns).sum(-1) - area) / (1 - area)


def _diagonal(maps: Tensor, columns: Tensor) -> Tensor:
    """Share of the attention near the diagonal, outside the columns that are lines."""
    tokens = maps.shape[-1]
    place = torch.arange(tokens, device=maps.device)
    near = ((place[:, None] - place).abs() <= width(tokens)).to(maps.dtype)
    free = (~columns).to(maps.dtype)
    # By row: what is left beside the lines, what of it is near, and what of the free cells is.
    left = (maps @ free[..., None]).squeeze(-1)
    banded = torch.einsum("...ij,ij,...j->...i", maps, near, free)
    even = (free @ near) / free.sum(-1, keepdim=True)
    possible = (1 - even).sum(-1)
    beyond = banded - left * even
    strength = beyond.sum(-1) / possible.clamp_min(torch.finfo(maps.dtype).eps)
    steady = (beyond >= LINE / 2 * (1 - even)).to(maps.dtype).mean(-1) >= ROWS
    # Where every cell is near, nothing can be said.
    return strength.where(steady & (possible > 1e-6), 0.0)


def _block(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the attention that stays within the two parts of the best cut, and where the second part begins.

    Where a text is too short to be cut, the share is 0.
    """
    tokens = maps.shape[-1]
    smallest = max(PART, tokens // 8)
    cuts = torch.arange(smallest, max(smallest, tokens - smallest + 1), device=maps.device)
    if not len(cuts):
        return maps.new_zeros(maps.shape[:-2]), torch.zeros(maps.shape[:-2], dtype=torch.int64, device=maps.device)
    # A cell (i, j) crosses the cuts from min(i, j) + 1 to max(i, j).
    above, below = maps.triu(1), maps.tril(-1)
    begins = above.sum(-1) + below.sum(-2)
    ends = above.sum(-2) + below.sum(-1)
    crossing = (begins - ends).cumsum(-1)[..., cuts - 1]
    even = (cuts**2 + (tokens - cuts) ** 2).to(maps.dtype) / tokens**2
    strength, best = ((1 - crossing / tokens - even) / (1 - even)).max(-1)
    return strength, cuts[best]


def _filled(maps: Tensor, cut: Tensor) -> Tensor:
    """Share of its part that a row fills, mean over rows: the exponential of its entropy there, by the part's width."""
    tokens = maps.shape[-1]
    in_first = torch.arange(tokens, device=maps.device) < cut[:, None]
    kept = maps * (in_first[:, :, None] == in_first[:, None, :])
    kept = kept / kept.sum(-1, keepdim=True).clamp_min(torch.finfo(maps.dtype).tiny)
    sizes = torch.where(in_first, cut[:, None], tokens - cut[:, None])
    filled: Tensor = (torch.special.entr(kept).sum(-1).exp() / sizes).mean(-1)
    return filled
