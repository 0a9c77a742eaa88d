"""Reduction of attention maps to classes and features, batch by batch; only the example maps are kept."""

import math
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tombola.analysis.attention.attention_maps import WEIGHTINGS, AttentionMaps
from tombola.analysis.attention.example_maps import BestExampleMaps
from tombola.analysis.attention.pattern_classes import classify
from tombola.analysis.attention.patterns import AttentionPatterns, letters
from tombola.foundations.errors import TombolaError
from tombola.tasks.base import Batch

FEATURES = ("first", "separator", "previous", "next", "same", "entropy", "entropy_share", "distance")
"""Names of what `features` returns, in order."""
_CELLS = 2**19
"""Cells of the maps that are worked on at a time: two megabytes, so that working memory stays small beside a map."""


class Reduction:
    """Reduces the maps of one batch after the other, and joins them in the end.

    `heads` are rows and heads of each, `separators` ids of tokens.
    """

    def __init__(self, heads: tuple[int, int], separators: Collection[int], best: BestExampleMaps) -> None:
        self._heads = heads
        self._separators = separators
        self._best = best
        self._batch: Batch | None = None
        self._groups: list[tuple[Tensor, Tensor]] | None = None
        self._uses: list[int] = []
        self._indices: list[NDArray[np.int64]] = []
        # Row → one [2, batch, heads] for each use, for each batch.
        self._labels: list[list[list[Tensor]]] = [[] for _ in range(heads[0])]
        # How often a feature was there, its sum and its sum of squares.
        self._sums = torch.zeros(3, len(WEIGHTINGS), *heads, len(FEATURES), dtype=torch.float64)

    def open(self, batch: Batch) -> None:
        """Get ready for the maps of a batch that is on the model's device."""
        self._batch, self._groups = batch, None
        self._uses = [0] * self._heads[0]
        self._indices.append(batch.indices)
        for labels in self._labels:
            labels.append([])

    def take(self, maps: AttentionMaps) -> None:
        """Reduce one layer's maps."""
        assert self._batch is not None
        examples, heads, queries, keys = maps.weights.shape
        if queries != keys:
            raise TombolaError(f"attention maps of {queries} x {keys} tokens: patterns are of tokens among themselves")
        if self._groups is None:
            self._groups = list(_alike(self._batch, examples, keys, maps.weights.device))
        # A row of a shrunk model may have fewer heads than others: of what is not there nothing is read.
        labels = torch.zeros(len(WEIGHTINGS), examples, self._heads[1], dtype=torch.uint8)
        for members, tokens in self._groups:
            size = len(tokens) ** 2
            some_heads = min(heads, max(1, _CELLS // size))
            some = max(1, _CELLS // (size * heads))
            for start in range(0, len(members), some):
                for head in range(0, heads, some_heads):
                    block = slice(head, head + some_heads)
                    rows = members[start : start + some]
                    labels[:, rows.cpu(), block] = self._reduce(maps, rows, tokens, block).cpu()
        self._labels[maps.row][-1].append(labels)
        self._uses[maps.row] += 1

    def _reduce(self, maps: AttentionMaps, members: Tensor, tokens: Tensor, heads: slice) -> Tensor:
        """Classes uint8 [weightings, members, heads] of the maps of some examples, alike in padding, and heads."""
        assert self._batch is not None
        ids = self._batch.inputs.get("input_ids")
        ids = ids[members][:, tokens] if ids is not None else None
        separators = torch.zeros(1, 1, 1, dtype=torch.bool, device=tokens.device)
        if ids is not None and self._separators:
            separators = torch.isin(ids, torch.tensor(list(self._separators), device=ids.device))[:, None]
        raw = maps.weights[members, heads]
        if len(tokens) < raw.shape[-1]:
            raw = raw.index_select(-2, tokens).index_select(-1, tokens)
        raw = raw if raw.dtype == torch.float64 else raw.float()
        norms = maps.norms[members, heads].index_select(-1, tokens)
        found = []
        for weighting, part in enumerate((raw, raw * norms[..., None, :])):
            # Rows of α sum to 1 but for rounding; those of ‖α f(x)‖ are made comparable.
            shares = part / part.sum(-1, keepdim=True).clamp_min(torch.finfo(part.dtype).tiny)
            # No share is negative, so what is not finite shows in the sum.
            if not shares.sum().isfinite():
                raise TombolaError(
                    "the model's attention is not finite; train it with a lower learning rate, or run it with "
                    "--precision fp32"
                )
            structure = classify(shares)
            values = features(shares, separators).double().cpu()
            there = ~values.isnan()
            values = values.where(there, 0.0)
            self._sums[:, weighting, maps.row, heads] += torch.stack((there.double(), values, values.square())).sum(1)
            self._best.offer(
                (weighting, maps.row, self._uses[maps.row]),
                heads.start,
                structure,
                shares,
                self._batch.indices[members.cpu().numpy()],
                ids,
            )
            found.append(structure.labels.to(torch.uint8))
        return torch.stack(found)

    def result(self, architecture: str, working: Tensor, example_maps: int) -> AttentionPatterns:
        """Attention patterns of all inputs, in the order of their split."""
        if not self._indices:
            raise TombolaError("there are no inputs to look at; give a split, or batches, with examples")
        indices = np.concatenate(self._indices)
        order = torch.from_numpy(np.argsort(indices, kind="stable"))
        # [weightings, inputs, uses, heads]
        none = [torch.zeros(len(WEIGHTINGS), len(read), 1, self._heads[1]) for read in self._indices]
        joined = [
            torch.cat([torch.stack(uses, 2) if uses else no for uses, no in zip(row, none, strict=True)], 1)[:, order]
            for row in self._labels
        ]
        count, total, squares = self._sums
        mean = total / count
        # Rounding may leave a little less than nothing of what never varies.
        spread = ((squares - count * mean.square()).clamp_min(0) / (count - 1)).sqrt().where(count > 1, torch.nan)
        patterns = AttentionPatterns(
            architecture,
            tuple(int(index) for index in indices[order.numpy()]),
            working,
            {
                kind: tuple(letters(row[weighting].long()) for row in joined)
                for weighting, kind in enumerate(WEIGHTINGS)
            },
            _named(mean.where(working[..., None], torch.nan)),
            _named(spread.where(working[..., None], torch.nan)),
        )
        shares = torch.stack([patterns.shares(kind) for kind in WEIGHTINGS])
        return replace(patterns, example_maps=self._best.chosen(shares, example_maps))


def _alike(batch: Batch, examples: int, width: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Examples that have their real tokens in the same places: int64 [members], and those places int64 [tokens]."""
    mask = batch.inputs.get("attention_mask")
    if mask is None:
        yield torch.arange(examples, device=device), torch.arange(width, device=device)
        return
    if mask.shape != (examples, width):
        raise TombolaError(
            f"an attention_mask of shape {list(mask.shape)} does not say which of {width} tokens are real"
        )
    rows, which = mask.bool().unique(dim=0, return_inverse=True)
    for number, row in enumerate(rows):
        places = row.nonzero().flatten()
        if not len(places):
            raise TombolaError("an input consists of padding alone, so it has no attention map; leave it out")
        yield (which == number).nonzero().flatten(), places


def _named(values: Tensor) -> dict[str, dict[str, Tensor]]:
    return {
        kind: dict(zip(FEATURES, part.unbind(-1), strict=True)) for kind, part in zip(WEIGHTINGS, values, strict=True)
    }


def features(maps: Tensor, separators: Tensor) -> Tensor:
    """Features of attention maps without padding.

    - `first`, `separator`: share of the attention that goes to the first token, to separators. NaN for `separator`
      where there is none.
    - `previous`, `next`, `same`: share that a token gives to the one before it, after it, itself; the mean over the
      tokens that have one. NaN for `previous` and `next` of a single token.
    - `entropy`: of a token's attention, in nats (Clark et al. 2019), mean over tokens; `entropy_share` is that
      divided by its largest value, the logarithm of the number of tokens. NaN for a single token. In a model that
      attends backwards only, most tokens cannot reach that value.
    - `distance`: how many tokens away the attended token is, mean under the attention.

    Args:
        maps: [..., tokens, tokens], rows (queries) sum to 1.
        separators: bool, broadcasts to [..., tokens].

    Returns:
        [..., features], in the order of `FEATURES`.
    """
    tokens = maps.shape[-1]
    received = maps.mean(-2)
    to_separators = (received * separators).sum(-1).where(separators.any(-1), torch.nan)
    entropy = torch.special.entr(maps).sum(-1).mean(-1)
    largest, place = math.log(tokens), torch.arange(tokens, device=maps.device)
    found = (
        received[..., 0],
        to_separators,
        maps.diagonal(-1, -2, -1).mean(-1),
        maps.diagonal(1, -2, -1).mean(-1),
        maps.diagonal(0, -2, -1).mean(-1),
        entropy,
        entropy / largest if largest else torch.full_like(entropy, torch.nan),
        torch.einsum("...ij,ij->...", maps, (place[:, None] - place).abs().to(maps.dtype)) / tokens,
    )
    return torch.stack(found, -1)
