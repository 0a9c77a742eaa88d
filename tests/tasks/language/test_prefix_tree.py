"""Trees of token sequences against the sequences themselves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tombola.tasks.language.item import build_prefix_tree, shared_prefix_length

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=7).map(tuple)
several = st.lists(tokens, min_size=1, max_size=5)


@given(several)
def test_a_node_sees_exactly_what_comes_before_it_in_its_sequence(sequences: list[tuple[int, ...]]) -> None:
    tree = build_prefix_tree(sequences, [0] * len(sequences))
    numbers = np.arange(len(tree))
    seen: dict[int, tuple[int, ...]] = {}
    for node in range(len(tree)):
        before = numbers[(numbers <= node) & (node < tree.ends)]
        assert tree.depths[before].tolist() == list(range(len(before)))
        seen[node] = tuple(tree.tokens[before].tolist())
    beginnings = {s[: i + 1] for s in sequences for i in range(max(1, len(s) - 1))}
    # Each beginning once, and no other.
    assert sorted(seen.values()) == sorted(beginnings)
    for number, sequence in enumerate(sequences):
        edges = tree.sequence_edges[tree.sequence_edges[:, 0] == number, 1]
        found = [(seen[int(tree.at[edge])], int(tree.predicted[edge])) for edge in edges]
        assert found == [(sequence[:i], sequence[i]) for i in range(1, len(sequence))]


@given(several, st.integers(0, 8))
def test_given_tokens_are_not_scored(sequences: list[tuple[int, ...]], given_tokens: int) -> None:
    tree = build_prefix_tree(sequences, [given_tokens] * len(sequences))
    counts = np.bincount(tree.sequence_edges[:, 0], minlength=len(sequences))
    assert counts.tolist() == [max(0, len(s) - max(1, given_tokens)) for s in sequences]


@given(several)
def test_common_is_what_all_begin_with(sequences: list[tuple[int, ...]]) -> None:
    expected = 0
    while all(len(s) > expected and s[: expected + 1] == sequences[0][: expected + 1] for s in sequences):
        expected += 1
    assert shared_prefix_length(sequences) == expected


def test_the_shared_beginning_is_there_once() -> None:
    tree = build_prefix_tree([(1, 2, 3, 4, 9), (1, 2, 3, 5, 9), (1, 2, 3, 7)], [3, 3, 3])
    assert tree.tokens.tolist() == [1, 2, 3, 4, 5]
    assert tree.depths.tolist() == [0, 1, 2, 3, 3]
    assert tree.ends.tolist() == [5, 5, 5, 4, 5]
    # A choice of one token is read off where the others begin.
    assert [(int(a), int(t)) for a, t in zip(tree.at, tree.predicted, strict=True)] == [
        (2, 4),
        (3, 9),
        (2, 5),
        (4, 9),
        (2, 7),
    ]
    assert not tree.is_path
    assert build_prefix_tree([(1, 2, 3)], [1]).is_path
