"""Metrics of tags and tokens: the share of right ones, and F1 of the entities that tags mark, as in seqeval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tombola.metrics.scores import NOTHING, Array, Metric

_PREFIXES = ("B-", "I-", "E-", "S-")
Counts = Callable[[Array, Array], Array]


def entity_f1(classes: Sequence[str]) -> Metric:
    """F1 of entities, all types' together: an entity is right where its type and both of its ends are.

    `B-PER` begins an entity; `I-PER` goes on with one of its type or, after anything else, begins one; `E-PER` is the
    last of one, and `S-PER` one by itself. Whatever has no such prefix is none. That is seqeval's default, after
    conlleval.

    Args:
        classes: names of the tags by id.
    """
    kinds = [name[2:] if name[:2] in _PREFIXES else "" for name in classes]
    known = {kind: number for number, kind in enumerate(dict.fromkeys(["", *kinds]))}
    tags = _Tags(
        np.array([*(known[kind] for kind in kinds), 0]),
        np.array([*(name[:2] in ("B-", "S-") for name in classes), False]),
        np.array([*(name[:2] in ("E-", "S-") for name in classes), False]),
    )
    counts = partial(_entities, tags)
    return Metric.of_counts("entity_f1", counts, _f1, partial(_best_constant, len(classes), counts, _f1))


def marks_entities(classes: Sequence[str]) -> bool:
    """True if tags are in IOB, so that there are entities to find."""
    return any(name[:2] == "B-" for name in classes)


def _right(predictions: Array, references: Array) -> Array:
    """Right tags and all, int64 [..., n, 2]."""
    there = references != NOTHING
    right = np.count_nonzero((predictions == references) & there, axis=-1)
    return np.stack(np.broadcast_arrays(right, np.count_nonzero(there, axis=-1)), axis=-1)


def _share(sums: Array) -> Array:
    right, there = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    return np.asarray(right / np.maximum(there, 1))


@dataclass(frozen=True, eq=False)
class _Tags:
    """Tags by id, and nothing as the last: their types (0 for none), whether they begin, and end, an entity always."""

    kinds: NDArray[np.int64]
    begins: NDArray[np.bool_]
    ends: NDArray[np.bool_]

    def entities(self, tags: Array) -> tuple[Array, Array, Array]:
        """Types of tags [..., n, answers], whether an entity ends here, and where that began."""
        kind, begins, ends = self.kinds[tags], self.begins[tags], self.ends[tags]
        last, first = (kind > 0).copy(), (kind > 0).copy()
        parts = (kind[..., 1:] != kind[..., :-1]) | begins[..., 1:] | ends[..., :-1]
        last[..., :-1] &= parts
        first[..., 1:] &= parts
        return kind, last, np.maximum.accumulate(np.where(first, np.arange(kind.shape[-1]), -1), axis=-1)


def _entities(tags: _Tags, predictions: Array, references: Array) -> Array:
    """Entities that are right, predicted, and there, int64 [..., n, 3]."""
    there = references != NOTHING
    nothing = len(tags.kinds) - 1
    (kind, last, first), (true, true_last, true_first) = (
        tags.entities(np.where(there & (one != NOTHING), one, nothing)) for one in (predictions, references)
    )
    right = last & true_last & (kind == true) & (first == true_first)
    counts = [np.count_nonzero(one, axis=-1) for one in (right, last, true_last)]
    return np.stack(np.broadcast_arrays(*counts), axis=-1)


def _whole(predictions: Array, references: Array) -> Array:
    """Examples all of whose tokens are right, and ones, int64 [..., n, 2]."""
    right, there = np.moveaxis(_right(predictions, references), -1, 0)
    return np.stack((right == there, np.ones_like(there)), axis=-1).astype(np.int64)


def _most_common(references: Array) -> float:
    there = references[references != NOTHING]
    return float(np.unique(there, return_counts=True)[1].max() / max(1, there.size))


def _most_common_whole(references: Array) -> float:
    return float(np.unique(references, axis=0, return_counts=True)[1].max() / len(references))


def _f1(sums: Array) -> Array:
    right, predicted, there = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    return np.asarray(2 * right / np.maximum(predicted + there, 1))


def _best_constant(classes: int, counts: Counts, of_sums: Callable[[Array], Array], references: Array) -> float:
    """Best score of one who always gives the same tag."""
    always = (np.where(references == NOTHING, NOTHING, tag) for tag in range(classes))
    return max(float(of_sums(counts(one, references).sum(-2))) for one in always)


TOKEN_ACCURACY = Metric.of_counts("token_accuracy", _right, _share, _most_common)
"""Share of the tags, or tokens, that are right, all examples' together."""
EXACT_MATCH = Metric.of_counts("exact_match", _whole, _share, _most_common_whole)
"""Share of the examples all of whose tokens are right."""
