"""Rows of several items: all items once, nothing lost of what they share, no row too long."""

from hypothesis import given
from hypothesis import strategies as st

from tombola.tasks.language.item import Item
from tombola.tasks.language.packing import LONGEST, pack_by_prefix, renumbered, separate_rows

START = 7
sentence = st.lists(st.integers(0, 2), min_size=1, max_size=9).map(lambda words: (START, *words))


def pair(*sequences: tuple[int, ...]) -> Item:
    return Item("choice", sequences, (1,) * len(sequences), len(sequences), 0, (1.0,) * len(sequences))


@given(st.lists(st.tuples(sentence, sentence).map(lambda two: pair(*two)), min_size=1, max_size=12), st.integers(1, 5))
def test_every_item_is_in_one_row_and_every_row_has_each_beginning_once(items: list[Item], most: int) -> None:
    packed_rows = pack_by_prefix(items, most)
    assert sorted(number for packed in packed_rows for number in packed.items) == list(range(len(items)))
    for packed in packed_rows:
        assert len(packed.items) <= most
        sequences = [tokens for number in packed.items for tokens in items[number].sequences]
        beginnings = {tokens[: k + 1] for tokens in sequences for k in range(max(1, len(tokens) - 1))}
        assert len(packed.tree) == len(beginnings)
    assert sum(len(packed.tree) for packed in packed_rows) <= sum(len(packed.tree) for packed in separate_rows(items))


def test_neighbours_in_lexical_order_share_a_row() -> None:
    first, last = pair((START, 1, 1, 1), (START, 1, 1, 2, 5)), pair((START, 1, 1, 1, 3), (START, 1, 2, 4))
    other = pair((START, 2, 1, 1), (START, 3, 1, 1))
    packed_rows = pack_by_prefix([last, other, first], 2)
    assert {frozenset(packed.items) for packed in packed_rows} == {frozenset({0, 2}), frozenset({1})}
    assert [packed.items for packed in renumbered(packed_rows)] == [(0, 1), (2,)]


def test_what_has_little_in_common_stays_apart() -> None:
    # 60 tokens each, one shared: its work is saved, and 2 x 60 x 59 scores are made for nothing.
    long = [pair((START, number, *range(10, 68), 1), (START, number, *range(10, 68), 2, 3)) for number in range(4)]
    assert all(len(packed.items) == 1 for packed in pack_by_prefix(long, 64))
    # A prompt of 100 tokens before each is worth sharing.
    prompt = (START, *range(100, 200))
    prompted = [pair((*prompt, *one.sequences[0]), (*prompt, *one.sequences[1])) for one in long]
    assert [len(packed.items) for packed in pack_by_prefix(prompted, 64)] == [4]


def test_rows_are_no_longer_than_they_may_be() -> None:
    prompt = (START, *range(100, 300))
    items = [pair((*prompt, number, 1, 1, 1), (*prompt, number, 2, 2, 2)) for number in range(500)]
    longest = [max(len(packed.tree) for packed in pack_by_prefix(items, 999, window)) for window in (None, 250, 5000)]
    assert LONGEST - 7 <= longest[0] == longest[2] <= LONGEST
    assert 244 <= longest[1] <= 250


def test_texts_stay_alone() -> None:
    text = Item("text", ((START, 1, 2, 3),), (1,), 1, 0, (9.0,))
    packed_rows = pack_by_prefix([text, text, pair((START, 1, 2, 3), (START, 1, 4))], 64)
    assert sorted(packed.items for packed in packed_rows) == [(0,), (1,), (2,)]
