"""Packing of items into tensors: rows are trees of one or several items or, for some models, single sequences."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tombola.tasks.language.item import RULES, Item
from tombola.tasks.language.prefix_sharing import PackedRow, separate_rows
from tombola.tasks.language.prefix_tree import EMPTY_TREE


def pack(items: Sequence[Item], *, trees: bool, packed_rows: Sequence[PackedRow] | None = None) -> dict[str, Tensor]:
    """The inputs of a batch.

    Args:
        items: the batch.
        trees: one row an item; otherwise each item has as many rows as the one with most sequences, one after another,
            so that a gate for each item still finds its rows.
        packed_rows: rows of one or several items each, by their numbers in `items`; only of trees, and without gates.

    Returns:
        `input_ids` int64 [rows, length], padded with 0 at the end; `positions` and `ends` int64 [rows, length], only
        where a row is no plain text; `at` int64 [edges], which cell of `input_ids`, flattened, predicts; `predicted`
        int64 [edges]; `edge` and `slot` int64 [pairs]: which edges add up to which cell of [items, groups, choices];
        `divisors` fp32 of that shape, 0 where there is no such choice; `rules` and `counts` int64 [items], the rule's
        number and the scored tokens of the right choice; `exact` int64, items of that rule, where there are any.
    """
    groups, choices = max(item.groups for item in items), max(item.choices for item in items)
    divisors = np.zeros((len(items), groups, choices), np.float32)
    slots: list[NDArray[np.int64]] = []
    for number, item in enumerate(items):
        divisors[number, : item.groups, : item.choices] = item.divisors
        group, choice = np.divmod(np.arange(len(item.sequences)), item.choices)
        slots.append((number * groups + group) * choices + choice)
    if trees:
        rows = [
            (packed.tree, np.concatenate([slots[number] for number in packed.items]))
            for packed in packed_rows or separate_rows(items)
        ]
    else:
        each = max(len(item.rows) for item in items)
        rows = [
            (tree, slots[number][sequence : sequence + 1])
            for number, item in enumerate(items)
            for sequence, tree in enumerate((*item.rows, *[EMPTY_TREE] * (each - len(item.rows))))
        ]
    length = max(len(tree) for tree, _ in rows)
    shape = (len(rows), length)
    ids, positions, ends = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    # Padding attends to itself and to nothing else.
    ends[:] = np.arange(1, length + 1)
    edge: list[NDArray[np.int64]] = []
    edges = 0
    for row, (tree, _) in enumerate(rows):
        ids[row, : len(tree)] = tree.tokens
        positions[row, : len(tree)] = tree.depths
        ends[row, : len(tree)] = tree.ends
        edge.append(tree.sequence_edges[:, 1] + edges)
        edges += len(tree.at)
    arrays = {
        "input_ids": ids,
        "at": np.concatenate([tree.at + row * length for row, (tree, _) in enumerate(rows)]),
        "predicted": np.concatenate([tree.predicted for tree, _ in rows]),
        "edge": np.concatenate(edge),
        "slot": np.concatenate([of_sequences[tree.sequence_edges[:, 0]] for tree, of_sequences in rows]),
        "divisors": divisors,
        "rules": np.array([RULES.index(item.rule) for item in items], np.int64),
        "counts": np.array([item.scored for item in items], np.int64),
    }
    if exact := [number for number, item in enumerate(items) if item.rule == "exact"]:
        arrays["exact"] = np.array(exact, np.int64)
    if not all(tree.is_path for tree, _ in rows):
        arrays |= {"positions": positions, "ends": ends}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def mask(ends: Tensor, dtype: torch.dtype) -> Tensor:
    """The attention mask of trees [rows, 1, length, length]: 0 where a node may look, else the lowest number."""
    number = torch.arange(ends.shape[1], device=ends.device)
    # [rows, query, key]: the key is a beginning of what the query stands for.
    allowed = (number[None, None, :] <= number[None, :, None]) & (number[None, :, None] < ends[:, None, :])
    lowest = torch.finfo(dtype).min
    return torch.zeros(allowed.shape, dtype=dtype, device=ends.device).masked_fill(~allowed, lowest)[:, None]
