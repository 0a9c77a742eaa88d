"""Items as a model sees them: token sequences in a prefix tree, and the rule by which they are judged.

A sentence pair, a question with its choices, a prompt with its labels and the same prompt without its text: all are
sequences that begin alike and part somewhere. The tree has one node for every distinct beginning, so that what they
share is computed once. Laid out in depth-first order, the nodes below a node follow it without a gap, so that one
number for each, where its nodes end, says who may attend to whom. The last token of a sequence is only ever predicted,
never read, so it needs no node: a choice of one token costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Tokens = tuple[int, ...]
Array = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """Nodes in depth-first order, and the predictions that are asked of them.

    Attributes:
        tokens: int64 [nodes].
        depths: int64 [nodes], the position of each token in its sequence.
        ends: int64 [nodes], the number after that of the last node below it: node k is a beginning of what node q
            stands for where k <= q < ends[k].
        at: int64 [edges], the node that predicts; every edge is there once, however many sequences need it.
        predicted: int64 [edges], the token whose log-probability is asked for.
        sequence_edges: int64 [pairs, 2], (sequence, edge): the edges whose log-probabilities add up to a sequence's.
    """

    tokens: Array
    depths: Array
    ends: Array
    at: Array
    predicted: Array
    sequence_edges: Array

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def is_path(self) -> bool:
        """True if nothing branches, so that plain causal attention is right."""
        return bool((self.ends == len(self)).all())


_NONE: Array = np.zeros(0, dtype=np.int64)
EMPTY_TREE = PrefixTree(_NONE, _NONE, _NONE, _NONE, _NONE, np.zeros((0, 2), dtype=np.int64))
"""No nodes, nothing asked: a row of padding."""


def build_prefix_tree(sequences: Sequence[Tokens], given: Sequence[int]) -> PrefixTree:
    """The tree of token sequences.

    Args:
        sequences: at least one, of at least one token each.
        given: for each the number of first tokens that are not scored. The first token of all can never be: nothing
            comes before it.
    """
    if len(sequences) == 1:
        return _path(sequences[0], max(1, given[0]))
    children: list[dict[int, int]] = [{}]
    tokens = [-1]
    paths: list[list[int]] = []
    for sequence in sequences:
        here, path = 0, []
        # A sequence of one token is only read.
        for token in sequence[:-1] or sequence:
            node = children[here].get(token)
            if node is None:
                node = children[here][token] = len(tokens)
                tokens.append(token)
                children.append({})
            here = node
            path.append(node)
        paths.append(path)
    order, depths, ends = _depth_first(children)
    place = np.empty(len(tokens), dtype=np.int64)
    place[order] = np.arange(len(order))
    edges: dict[tuple[int, int], int] = {}
    members = [
        (number, edges.setdefault((path[index - 1], sequence[index]), len(edges)))
        for number, (sequence, path) in enumerate(zip(sequences, paths, strict=True))
        for index in range(max(1, given[number]), len(sequence))
    ]
    at, predicted = np.array(list(edges), dtype=np.int64).reshape(-1, 2).T
    return PrefixTree(
        np.array([tokens[node] for node in order[1:]], dtype=np.int64),
        np.array(depths[1:], dtype=np.int64) - 1,
        np.array(ends[1:], dtype=np.int64) - 1,
        # The root, which stands for nothing read yet, is left out.
        place[at] - 1,
        predicted,
        np.array(members, dtype=np.int64).reshape(-1, 2),
    )


def shared_prefix_length(sequences: Sequence[Tokens]) -> int:
    """Number of first tokens that all sequences share."""
    shortest, longest = min(sequences), max(sequences)
    # What the first and the last in order share, those between them share too.
    return next((i for i, (a, b) in enumerate(zip(shortest, longest, strict=False)) if a != b), len(shortest))


def _path(sequence: Tokens, given: int) -> PrefixTree:
    tokens = np.array(sequence, dtype=np.int64)
    nodes = max(1, len(tokens) - 1)
    at = np.arange(given - 1, len(tokens) - 1)
    members = np.stack([np.zeros_like(at), np.arange(len(at))], axis=1)
    return PrefixTree(tokens[:nodes], np.arange(nodes), np.full(nodes, nodes), at, tokens[at + 1], members)


def _depth_first(children: list[dict[int, int]]) -> tuple[list[int], list[int], list[int]]:
    """Nodes in depth-first order, and the depth and end of each in that order; without recursion, as texts are deep."""
    order: list[int] = []
    depths: list[int] = []
    ends: list[int] = []
    open_nodes: list[int] = []
    stack = [(0, 0)]
    while stack:
        node, depth = stack.pop()
        while len(open_nodes) > depth:
            ends[open_nodes.pop()] = len(order)
        open_nodes.append(len(order))
        order.append(node)
        depths.append(depth)
        ends.append(0)
        stack += [(child, depth + 1) for child in reversed(children[node].values())]
    for number in open_nodes:
        ends[number] = len(order)
    return order, depths, ends


Rule = Literal["choice", "exact", "text"]
RULES: tuple[Rule, ...] = ("choice", "exact", "text")
"""`choice`: the right sequence must be the most probable. `exact`: each of its tokens must be the most probable one.
`text`: bits per byte."""


@dataclass(frozen=True)
class Item:
    """Example of an ability, in tokens.

    Attributes:
        rule: how it is judged.
        sequences: context and continuation, for each choice; then, where the choices are calibrated, each choice after
            the first content-free context, after the second, and so on.
        given: for each sequence the number of first tokens that are not scored.
        choices: number of choices.
        gold: the right one.
        divisors: for each choice what its log-probability is divided by: 1, its characters, or the bytes of a text.
    """

    rule: Rule
    sequences: tuple[Tokens, ...]
    given: tuple[int, ...]
    choices: int
    gold: int
    divisors: tuple[float, ...]

    @property
    def groups(self) -> int:
        """1, and one more for each content-free context."""
        return len(self.sequences) // self.choices

    @property
    def positions(self) -> int:
        """Tokens that the longest sequence makes the model read."""
        return max(1, *(len(sequence) - 1 for sequence in self.sequences))

    @property
    def scored(self) -> int:
        """Scored tokens of the right sequence."""
        return max(0, len(self.sequences[self.gold]) - max(1, self.given[self.gold]))

    @cached_property
    def tree(self) -> PrefixTree:
        """Its sequences with what they share there once."""
        return build_prefix_tree(self.sequences, self.given)

    @cached_property
    def rows(self) -> tuple[PrefixTree, ...]:
        """Its sequences one by one."""
        return tuple(
            build_prefix_tree([tokens], [given]) for tokens, given in zip(self.sequences, self.given, strict=True)
        )
