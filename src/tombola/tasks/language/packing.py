"""Packing of items into tensors and batches: rows are trees of one or several items, or single sequences.

Items that begin alike may share a row, and what they share is read once. Inside of an item the tree does that already.
Across items it is the BOS token, the first words of sentences, the instruction of a prompt, the examples that go before
a question. Rows of several items serve passes without gates: a gate belongs to an example, and a row to one example
then.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from tombola.foundations.errors import TombolaError
from tombola.tasks.base import Batch
from tombola.tasks.language.item import EMPTY_TREE, RULES, Item, PrefixTree, build_prefix_tree, shared_prefix_length

_WORTH = 3000
"""Scores of attention that cost as much as all else that a token asks of a model: 6 x hidden size in a classical layer
(12 x hidden² multiply-adds of weights, 2 x hidden of each score), of a small model."""
LONGEST = 1024
"""Tokens of a row of several items, at most: its mask has the square of it."""


@dataclass(frozen=True, eq=False)
class PackedRow:
    """Row of one or several items: their numbers, and the tree of all their sequences in that order."""

    items: tuple[int, ...]
    tree: PrefixTree


def separate_rows(items: Sequence[Item]) -> list[PackedRow]:
    """A row for each item."""
    return [PackedRow((number,), item.tree) for number, item in enumerate(items)]


def renumbered(packed_rows: Sequence[PackedRow]) -> list[PackedRow]:
    """Rows with their items renumbered to their places in a batch that has them one after another."""
    places = itertools.count()
    return [PackedRow(tuple(itertools.islice(places, len(row.items))), row.tree) for row in packed_rows]


def packed_row_of(items: Sequence[Item], numbers: Sequence[int]) -> PackedRow:
    """The row of the items of these numbers, whether it saves anything or not."""
    if len(numbers) == 1:
        return PackedRow(tuple(numbers), items[numbers[0]].tree)
    chosen = [items[number] for number in numbers]
    sequences, given = ([one for item in chosen for one in getattr(item, name)] for name in ("sequences", "given"))
    return PackedRow(tuple(numbers), build_prefix_tree(sequences, given))


def pack_by_prefix(items: Sequence[Item], most: int, window: int | None = None) -> list[PackedRow]:
    """Rows of items, in which neighbours in lexical order stand together while that saves more than it costs.

    What is saved are the tokens that they share; what it costs are the scores of attention between tokens that have
    nothing to do with each other, which are computed and masked. Texts stay alone: plain rows are read faster.

    Args:
        items: in any order.
        most: items of a row.
        window: tokens of the longest row of several items, where the model has a shorter one than `LONGEST`.
    """
    longest = LONGEST if window is None else min(window, LONGEST)
    texts = {number for number, item in enumerate(items) if item.rule == "text"}
    found = [PackedRow((number,), items[number].tree) for number in sorted(texts)]
    row: list[int] = []
    nodes = 0
    for number in sorted({*range(len(items))} - texts, key=lambda one: (items[one].sequences, one)):
        item, size = items[number], len(items[number].tree)
        if row:
            shared = shared_prefix_length([*items[row[-1]].sequences, *item.sequences])
            dear = shared * _WORTH < 2 * nodes * (size - shared)
            if len(row) == most or nodes + size - shared > longest or dear:
                found.append(packed_row_of(items, row))
                row, nodes = [], 0
            else:
                size -= shared
        row.append(number)
        nodes += size
    return [*found, *([packed_row_of(items, row)] if row else [])]


@dataclass(frozen=True)
class PackedBatch(Batch):
    """Batch of items, whose inputs are those of `pack`.

    Attributes:
        items: the examples.
        trees: whether each is one row.
    """

    items: Sequence[Item] = ()
    trees: bool = True

    @override
    def take(self, places: NDArray[np.int64]) -> Self:
        items = [self.items[place] for place in places]
        inputs, targets = pack(items, trees=self.trees), self.targets[torch.from_numpy(places)]
        return replace(self, indices=self.indices[places], inputs=inputs, targets=targets, items=items)

    @property
    @override
    def calibration_inputs(self) -> Mapping[str, Tensor]:
        # Each row must be one text from end to end.
        ids = self.inputs["input_ids"]
        scored = torch.bincount(self.inputs["at"].cpu() // ids.shape[1], minlength=len(ids))
        if "ends" in self.inputs or not (scored == ids.shape[1]).all():
            raise TombolaError(
                "examples of a language task are no calibration text, as their choices share rows; calibrate on its "
                "calibration_text(), or on batches of its split train"
            )
        return {"input_ids": ids}


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
    rows = _rows(items, slots, trees=trees, packed_rows=packed_rows)
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


def _rows(
    items: Sequence[Item], slots: Sequence[NDArray[np.int64]], *, trees: bool, packed_rows: Sequence[PackedRow] | None
) -> list[tuple[PrefixTree, NDArray[np.int64]]]:
    """Each row of a batch: its tree, and the slots of its sequences, from those of each item."""
    if trees:
        return [
            (packed.tree, np.concatenate([slots[number] for number in packed.items]))
            for packed in packed_rows or separate_rows(items)
        ]
    each = max(len(item.rows) for item in items)
    return [
        (tree, slots[number][sequence : sequence + 1])
        for number, item in enumerate(items)
        for sequence, tree in enumerate((*item.rows, *[EMPTY_TREE] * (each - len(item.rows))))
    ]


def mask(ends: Tensor, dtype: torch.dtype) -> Tensor:
    """The attention mask of trees [rows, 1, length, length]: 0 where a node may look, else the lowest number."""
    number = torch.arange(ends.shape[1], device=ends.device)
    # [rows, query, key]: the key is a beginning of what the query stands for.
    allowed = (number[None, None, :] <= number[None, :, None]) & (number[None, :, None] < ends[:, None, :])
    lowest = torch.finfo(dtype).min
    return torch.zeros(allowed.shape, dtype=dtype, device=ends.device).masked_fill(~allowed, lowest)[:, None]


CELLS = {"dev": 8192, "search": 8192, "train": 8192, "importance": 2048}
"""Tokens of a batch at most, padding included, whatever its number of examples: the activations of a pass must fit, and
those of a backward pass are kept. Training is not bound by it: its batches are the recipe's."""


class _Shape(NamedTuple):
    parts: bool
    rows: int
    length: int
    examples: int


def row_batches(
    items: Sequence[Item], packed_rows: Sequence[PackedRow], batch_size: int, cells: int
) -> Iterator[Batch]:
    """Batches of items, whose rows are these, at most so many examples and cells together."""
    shapes = [_Shape(not packed.tree.is_path, 1, len(packed.tree), len(packed.items)) for packed in packed_rows]
    for group in _groups_of(shapes, batch_size, cells):
        chosen = [packed_rows[row] for row in group]
        indices = np.array([number for packed in chosen for number in packed.items], dtype=np.int64)
        of_batch = [items[index] for index in indices]
        inputs = pack(of_batch, trees=True, packed_rows=renumbered(chosen))
        yield PackedBatch(indices, inputs, torch.tensor([item.gold for item in of_batch]), of_batch)


def item_groups(items: Sequence[Item], batch_size: int, cells: int) -> list[NDArray[np.int64]]:
    """Items of similar length together, each in rows of its own: int64 numbers of each batch."""
    shapes = [_Shape(False, len(item.sequences), item.positions, 1) for item in items]
    return list(map(np.array, _groups_of(shapes, batch_size, cells)))


def _groups_of(shapes: Sequence[_Shape], batch_size: int, cells: int) -> list[list[int]]:
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
