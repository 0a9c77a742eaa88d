"""Attention maps drawn from the definitions of Kovaleva et al. (2019), with noise; knows nothing of the classifier.

- vertical: few columns that every token attends to (in BERT: special tokens).
- diagonal: every token attends to the previous one, itself, the next one, or a mix of them.
- vertical+diagonal: both, each with 35 to 65 % of the attention.
- block: tokens attend within their own segment; borders are at separators.
- heterogeneous: every token attends to tokens of its own, with no structure: to few or to many.

Noise: a share of each row's attention is given to tokens at random, and every cell is multiplied by a random factor.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]
NOISES = (0.0, 0.1, 0.2, 0.3, 0.4)
LENGTHS = (10, 60)


def vertical(tokens: int, rng: np.random.Generator) -> Map:
    """Columns, one to four, more of them in longer texts, of unequal weight."""
    count = int(rng.integers(1, min(4, max(1, tokens // 12)) + 1))
    places = rng.choice(tokens, size=count, replace=False)
    made = np.zeros((tokens, tokens))
    made[:, places] = rng.dirichlet(np.full(count, 3.0))
    return made


def diagonal(tokens: int, rng: np.random.Generator) -> Map:
    """Offsets, one to three neighbouring ones; where a neighbour is missing, the token attends to itself."""
    offsets = rng.choice((-1, 0, 1), size=int(rng.integers(1, 4)), replace=False)
    made = np.zeros((tokens, tokens))
    rows = np.arange(tokens)
    for offset, weight in zip(offsets, rng.dirichlet(np.full(len(offsets), 2.0)), strict=True):
        target = rows + offset
        target = np.where((target < 0) | (target >= tokens), rows, target)
        made[rows, target] += weight
    return made


def both(tokens: int, rng: np.random.Generator) -> Map:
    """A mix of the two."""
    weight = rng.uniform(0.35, 0.65)
    mixed: Map = weight * vertical(tokens, rng) + (1 - weight) * diagonal(tokens, rng)
    return mixed


def block(tokens: int, rng: np.random.Generator) -> Map:
    """Two segments, or three in texts of 24 tokens or more, none under a fifth of the text or four tokens."""
    smallest = max(4, tokens // 5)
    segments = int(rng.integers(2, 4)) if tokens >= 24 else 2
    spare = tokens - segments * smallest
    lengths = smallest + np.diff([0, *np.sort(rng.integers(0, spare + 1, size=segments - 1)), spare])
    made = np.zeros((tokens, tokens))
    start = 0
    for length in lengths:
        end = start + length
        made[start:end, start:end] = rng.dirichlet(np.full(length, rng.uniform(2, 20)), size=length)
        start = end
    return made


def heterogeneous(tokens: int, rng: np.random.Generator) -> Map:
    """Rows that have nothing to do with each other, from pointed to nearly even."""
    rows: Map = rng.dirichlet(np.full(tokens, 10 ** rng.uniform(-1, 0.7)), size=tokens)
    return rows


DEFINITIONS: Mapping[str, Callable[[int, np.random.Generator], Map]] = {
    "vertical": vertical,
    "diagonal": diagonal,
    "vertical+diagonal": both,
    "block": block,
    "heterogeneous": heterogeneous,
}


def drawn(kind: str, tokens: int, noise: float, rng: np.random.Generator) -> Map:
    """Map [tokens, tokens] of a class, of whose attention the share `noise` is random; rows sum to 1."""
    made = DEFINITIONS[kind](tokens, rng)
    random = rng.dirichlet(np.full(tokens, rng.uniform(0.2, 2)), size=tokens)
    made = (1 - noise) * made + noise * random
    # A little under a hundredth of even attention keeps softmax's promise that no weight is zero.
    made = (made + 0.01 / tokens) * rng.lognormal(0, 0.5 * noise, size=made.shape)
    rows: Map = made / made.sum(1, keepdims=True)
    return rows
