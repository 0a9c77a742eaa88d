"""Texts with the text that should be written for each, as data sets for sequence to sequence give them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tombola.foundations.errors import TombolaError
from tombola.tasks.data.corpus import records, row_in

_SOURCES = ("source", "input", "inputs", "document", "article", "question", "text")
_TARGETS = ("target", "output", "targets", "summary", "highlights", "answer", "label")


@dataclass(frozen=True)
class TextPairs:
    """Texts of a split, and the target of each."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sources)

    def select(self, indices: ArrayLike) -> Self:
        """Pairs at `indices` (int [k]), in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return type(self)(tuple(self.sources[i] for i in chosen), tuple(self.targets[i] for i in chosen))


def read_rows(
    splits: Mapping[str, Any], source: str | None = None, target: str | None = None, *, name: str = "your-data"
) -> dict[str, TextPairs]:
    """Splits of texts and targets from rows.

    Args:
        splits: name → rows: a `datasets.Dataset`, a `pandas.DataFrame`, or dictionaries.
        source, target: columns; by default usual ones, as `source` or `document`, and `target` or `summary`.
        name: of the data, for messages.

    Raises:
        TombolaError: a column is missing, or something is no text.
    """
    made = {}
    for split, rows in splits.items():
        where = row_in(f"{name}, {split}")
        found = [_pair(row, source, target, where(index)) for index, row in enumerate(records(rows))]
        if not found:
            raise TombolaError(f"the {split} split of {name} is empty; give it at least one row")
        sources, targets = zip(*found, strict=True)
        made[split] = TextPairs(sources, targets)
    return made


def _pair(row: Mapping[str, Any], source: str | None, target: str | None, where: str) -> tuple[str, str]:
    texts = (_text(row, source, _SOURCES, "text", where), _text(row, target, _TARGETS, "target", where))
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise TombolaError(f"{where} has {text!r} where a text should be; mend or drop the row")
    return texts


def _text(row: Mapping[str, Any], named: str | None, usual: Sequence[str], what: str, where: str) -> Any:
    for one in usual if named is None else [named]:
        if one in row:
            return row[one]
    sought = repr(named) if named is not None else " or ".join(map(repr, usual))
    raise TombolaError(f"{where} has no column {sought} for the {what}; there are: {', '.join(map(str, row))}")
