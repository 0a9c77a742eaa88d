"""Batches of a language model's items: rows of similar length, bounded in examples and in tokens."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tombola.tasks.base import Batch
from tombola.tasks.language.item import Item
from tombola.tasks.language.packing import PackedRow, pack, renumbered

CELLS = {"dev": 8192, "search": 8192, "train": 8192, "importance": 2048}
"""Tokens of a batch at most, padding included, whatever its number of examples: the activations of a pass must fit, and
those of a backward pass are kept. Training is not bound by it: its batches are the recipe's."""


class Shape(NamedTuple):
    """Shape of a row, or of the rows of an item, in a batch."""

    parts: bool
    rows: int
    length: int
    examples: int


def row_batches(
    items: Sequence[Item], packed_rows: Sequence[PackedRow], batch_size: int, cells: int
) -> Iterator[Batch]:
    """Batches of items, whose rows are these, at most so many examples and cells together."""
    shapes = [Shape(not packed.tree.is_path, 1, len(packed.tree), len(packed.items)) for packed in packed_rows]
    for group in groups_of(shapes, batch_size, cells):
        chosen = [packed_rows[row] for row in group]
        indices = np.array([number for packed in chosen for number in packed.items], dtype=np.int64)
        of_batch = [items[index] for index in indices]
        inputs = pack(of_batch, trees=True, packed_rows=renumbered(chosen))
        yield Batch(indices, inputs, torch.tensor([item.gold for item in of_batch]))


def item_groups(items: Sequence[Item], batch_size: int, cells: int) -> list[NDArray[np.int64]]:
    """Items of similar length together, each in rows of its own: int64 numbers of each batch."""
    shapes = [Shape(False, len(item.sequences), item.positions, 1) for item in items]
    return [np.array(group, dtype=np.int64) for group in groups_of(shapes, batch_size, cells)]


def groups_of(shapes: Sequence[Shape], batch_size: int, cells: int) -> list[list[int]]:
    """Rows of similar length, at most so many examples and cells together."""
    groups: list[list[int]] = []
    examples = 0
    for index in sorted(range(len(shapes)), key=lambda one: (*shapes[one][:3], one)):
        shape = shapes[index]
        group = groups[-1] if groups else []
        full = (len(group) + 1) * shape.rows * shape.length > cells or examples + shape.examples > batch_size
        # A plain text beside a tree would lose the mask that the model makes for itself, a sliding window for example.
        if group and not full and shapes[group[0]].parts == shape.parts:
            group.append(index)
            examples += shape.examples
        else:
            groups.append([index])
            examples = shape.examples
    return groups
