"""Prefix sharing: items that begin alike share a row, and what they share is read once.

Inside of an item the tree does that already. Across items it is the BOS token, the first words of sentences, the
instruction of a prompt, the examples that go before a question. Rows of several items serve passes without gates: a
gate belongs to an example, and a row to one example then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tombola.tasks.language.item import Item
from tombola.tasks.language.prefix_tree import PrefixTree, build_prefix_tree, shared_prefix_length

_WORTH = 3000
"""Scores of attention that cost as much as all else that a token asks of a model: 6 x hidden size in a classical layer
(12 x hidden² multiply-adds of weights, 2 x hidden of each score), of a small model."""
LONGEST = 1024
"""Tokens of a row of several items, at most: its mask has the square of it."""


@dataclass(frozen=True, eq=False)
class PackedRow:
    """Row of one or several items.

    Attributes:
        items: their numbers, in the order in which `tree` has their sequences.
        tree: of all sequences of all of them.
    """

    items: tuple[int, ...]
    tree: PrefixTree


def separate_rows(items: Sequence[Item]) -> list[PackedRow]:
    """A row for each item."""
    return [PackedRow((number,), item.tree) for number, item in enumerate(items)]


def renumbered(packed_rows: Sequence[PackedRow]) -> list[PackedRow]:
    """Rows with their items renumbered to their places in a batch that has them one after another."""
    found, begin = [], 0
    for packed_row in packed_rows:
        end = begin + len(packed_row.items)
        found.append(PackedRow(tuple(range(begin, end)), packed_row.tree))
        begin = end
    return found


def packed_row_of(items: Sequence[Item], numbers: Sequence[int]) -> PackedRow:
    """The row of the items of these numbers, whether it saves anything or not."""
    if len(numbers) == 1:
        return PackedRow(tuple(numbers), items[numbers[0]].tree)
    sequences = [tokens for number in numbers for tokens in items[number].sequences]
    return PackedRow(
        tuple(numbers), build_prefix_tree(sequences, [given for number in numbers for given in items[number].given])
    )


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
