"""Items into tensors: one row for each item, its tree; or, where a model cannot read trees, a row for each sequence."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tombola.language.item import RULES, Item
from tombola.language.tree import Tree


def pack(items: Sequence[Item], *, trees: bool) -> dict[str, Tensor]:
    """The inputs of a batch.

    Args:
        items: the batch.
        trees: one row an item; otherwise each item has as many rows as the one with most sequences, one after another,
            so that a gate for each item still finds its rows.

    Returns:
        `input_ids` int64 [rows, length], padded with 0 at the end; `positions` and `ends` int64 [rows, length], only
        where a row is no plain text; `at` int64 [edges], which cell of `input_ids`, flattened, predicts; `predicted`
        int64 [edges]; `edge` and `slot` int64 [pairs]: which edges add up to which cell of [items, groups, choices];
        `divisors` fp32 of that shape, 0 where there is no such choice; `rules` and `counts` int64 [items], the rule's
        number and the scored tokens of the right choice.
    """
    groups, choices = max(item.groups for item in items), max(item.choices for item in items)
    grown = [[item.tree] if trees else list(item.rows) for item in items]
    rows_each = max(map(len, grown))
    length = max(len(tree) for trees_of in grown for tree in trees_of)
    shape = (len(items) * rows_each, length)
    ids, positions, ends = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    # Padding attends to itself and to nothing else.
    ends[:] = np.arange(1, length + 1)
    at: list[NDArray[np.int64]] = []
    edge: list[NDArray[np.int64]] = []
    slot: list[NDArray[np.int64]] = []
    predicted: list[NDArray[np.int64]] = []
    edges = 0
    for number, (item, trees_of) in enumerate(zip(items, grown, strict=True)):
        for sequence, tree in enumerate(trees_of):
            row = number * rows_each + sequence
            ids[row, : len(tree)] = tree.tokens
            positions[row, : len(tree)] = tree.depths
            ends[row, : len(tree)] = tree.ends
            at.append(tree.at + row * length)
            predicted.append(tree.predicted)
            # Of a row that is one sequence, that one.
            which = tree.members[:, 0] + sequence
            group, choice = np.divmod(which, item.choices)
            edge.append(tree.members[:, 1] + edges)
            slot.append((number * groups + group) * choices + choice)
            edges += len(tree.at)
    divisors = np.zeros((len(items), groups, choices), np.float32)
    for number, item in enumerate(items):
        divisors[number, : item.groups, : item.choices] = item.divisors
    arrays = {
        "input_ids": ids,
        "at": np.concatenate(at),
        "predicted": np.concatenate(predicted),
        "edge": np.concatenate(edge),
        "slot": np.concatenate(slot),
        "divisors": divisors,
        "rules": np.array([RULES.index(item.rule) for item in items], np.int64),
        "counts": np.array([item.scored for item in items], np.int64),
    }
    if not all(_plain(tree) for trees_of in grown for tree in trees_of):
        arrays |= {"positions": positions, "ends": ends}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def mask(ends: Tensor, dtype: torch.dtype) -> Tensor:
    """The attention mask of trees [rows, 1, length, length]: 0 where a node may look, else the lowest number."""
    number = torch.arange(ends.shape[1], device=ends.device)
    # [rows, query, key]: the key is a beginning of what the query stands for.
    allowed = (number[None, None, :] <= number[None, :, None]) & (number[None, :, None] < ends[:, None, :])
    lowest = torch.finfo(dtype).min
    return torch.zeros(allowed.shape, dtype=dtype, device=ends.device).masked_fill(~allowed, lowest)[:, None]


def _plain(tree: Tree) -> bool:
    return tree.path
