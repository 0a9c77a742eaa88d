"""Texts with the text that should be written for each, as data sets for sequence to sequence give them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tombola.foundations.errors import TombolaError
from tombola.tasks.data.columns import Column, cell, column_names
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

    def texts(self) -> tuple[str, ...]:
        """Text of every row."""
        return self.sources

    def strata(self) -> list[None]:
        """Stratum of each row: none, as targets are no classes."""
        return [None] * len(self)


def read_rows(
    splits: Mapping[str, Any], source: Column, target: Column, *, name: str = "your-data"
) -> tuple[dict[str, TextPairs], None]:
    """Splits of texts and targets from rows, which have no classes.

    Args:
        splits: name → rows: a `datasets.Dataset`, a `pandas.DataFrame`, or dictionaries.
        source, target: columns; usual ones are `source` or `document`, and `target` or `summary`.
        name: of the data, for messages.

    Raises:
        TombolaError: a column is missing, or something is no text.
    """
    made, given = {}, {split: records(rows) for split, rows in splits.items()}
    there = column_names(given["train"])
    columns = source.among(there, "text", _SOURCES, name), target.among(there, "target", _TARGETS, name)
    for split, rows in given.items():
        where = row_in(f"{name}, {split}")
        found = [_pair(row, columns, where(index)) for index, row in enumerate(rows)]
        if not found:
            raise TombolaError(f"the {split} split of {name} is empty; give it at least one row")
        sources, targets = zip(*found, strict=True)
        made[split] = TextPairs(sources, targets)
    return made, None


def _pair(row: Mapping[str, Any], columns: tuple[str, str], where: str) -> tuple[str, str]:
    source, target = (cell(row, column, where) for column in columns)
    for text in (source, target):
        if not isinstance(text, str) or not text.strip():
            raise TombolaError(f"{where} has {text!r} where a text should be; mend or drop the row")
    return source, target
