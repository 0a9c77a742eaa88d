"""Sentences whose words have a tag each, as data sets for token classification give them, and CoNLL's files."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import NOTHING
from tombola.tasks.data.columns import Column, cell, column_names
from tombola.tasks.data.corpus import records, row_in
from tombola.tasks.data.files import text_lines

WORDS = ("tokens", "words")
"""Usual columns of the words."""
TAGS = ("ner_tags", "tags", "labels", "pos_tags", "chunk_tags")
"""Usual columns of the tags."""
SUFFIXES = (".conll", ".iob", ".iob2", ".bio")
"""Files of a word a line, the columns apart by spaces or tabs, with a blank line behind each sentence."""
TEXT = ".txt"
"""Suffix of such files, where it is known that they are."""


@dataclass(frozen=True, eq=False)
class TaggedWords:
    """Sentences of a split: their words, and of each word the id of its tag, int64, `NOTHING` where it has none."""

    words: tuple[tuple[str, ...], ...]
    tags: tuple[NDArray[np.int64], ...]

    def __len__(self) -> int:
        return len(self.words)

    def select(self, indices: ArrayLike) -> Self:
        """Sentences at `indices` (int [k]), in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return type(self)(tuple(self.words[i] for i in chosen), tuple(self.tags[i] for i in chosen))

    def texts(self) -> tuple[tuple[str, ...], ...]:
        """Words of every sentence."""
        return self.words

    def strata(self) -> list[None]:
        """Stratum of each row: none, as a sentence has many tags."""
        return [None] * len(self)


def read_rows(
    splits: Mapping[str, Any],
    words: Column,
    tags: Column,
    *,
    name: str = "your-data",
) -> tuple[dict[str, TaggedWords], tuple[str, ...]]:
    """Splits of tagged words from rows, and the names of the tags by id.

    Tags are ids with names in a `datasets.ClassLabel`, or names; of plain whole numbers the names are these numbers.
    -100 is no tag, as in inputs for a trainer.

    Args:
        splits: name → rows: a `datasets.Dataset`, a `pandas.DataFrame`, or dictionaries.
        words, tags: columns.
        name: of the data, for messages.

    Raises:
        TombolaError: a column is missing, a row has no words or not as many tags, or a tag outside of the named ones.
    """
    found = {split: records(rows) for split, rows in splits.items()}
    for split, given_rows in found.items():
        if not len(given_rows):
            raise TombolaError(f"the {split} split of {name} is empty; give it at least one sentence")
    there = column_names(found["train"])
    columns = words.among(there, "words", WORDS, name), tags.among(there, "tags", TAGS, name)
    feature: Any = (getattr(splits["train"], "features", None) or {}).get(columns[1])
    known = getattr(getattr(feature, "feature", None), "names", None)
    raw = {split: [*_sentences(rows, columns, row_in(f"{name}, {split}"))] for split, rows in found.items()}
    given = {tag for _, tags in raw["train"] for tag in tags if tag != NOTHING}
    if known is not None:
        names = tuple(map(str, known))
        ids: dict[Any, int] = {**{name: i for i, name in enumerate(names)}, **dict(enumerate(range(len(names))))}
    else:
        everywhere = {tag for one in raw.values() for _, tags in one for tag in tags if tag != NOTHING}
        order = sorted(everywhere, key=lambda tag: (isinstance(tag, str), tag if isinstance(tag, int) else 0, str(tag)))
        names, ids = tuple(map(str, order)), {tag: i for i, tag in enumerate(order)}
    if len(given) < 2:
        raise TombolaError(f"the words of the training rows of {name} have one tag alone; training needs two or more")
    made = {}
    for split, rows in raw.items():
        for index, (_, tags_of) in enumerate(rows):
            if unknown := [tag for tag in tags_of if tag != NOTHING and tag not in ids]:
                where = row_in(f"{name}, {split}")(index)
                raise TombolaError(
                    f"{where} has the tag {unknown[0]!r}, and there are {len(names)} of them; mend the row"
                )
        made[split] = TaggedWords(
            tuple(words for words, _ in rows),
            tuple(np.array([ids.get(tag, NOTHING) for tag in of], dtype=np.int64) for _, of in rows),
        )
    return made, names


def _sentences(
    rows: Iterable[Mapping[str, object]], columns: tuple[str, str], where: Callable[[int], str]
) -> Iterator[tuple[tuple[str, ...], list[int | str]]]:
    for index, row in enumerate(rows):
        lists = [cell(row, column, where(index)) for column in columns]
        for column, values in zip(columns, lists, strict=True):
            if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
                raise TombolaError(f"{where(index)} has no list in its column {column!r}; give one of each row")
        words, tags = ([*values] for values in lists)
        if len(words) != len(tags) or not words:
            raise TombolaError(
                f"{where(index)} has {len(words)} words and {len(tags)} tags; give as many tags as words, one or more"
            )
        if bad := [word for word in words if not isinstance(word, str)]:
            raise TombolaError(f"{where(index)} has {bad[0]!r} among its words, which is no text; mend or drop the row")
        if bad := [tag for tag in tags if isinstance(tag, bool) or not isinstance(tag, str | int | np.integer)]:
            raise TombolaError(f"{where(index)} has {bad[0]!r} among its tags, which is no name or whole number")
        yield tuple(words), [tag if isinstance(tag, str) else int(tag) for tag in tags]


def conll_rows(path: Path) -> Iterator[dict[str, list[str]]]:
    """Sentences of a file in a CoNLL format: the first column of a line is the word, the last its tag.

    Raises:
        TombolaError: it is missing, not UTF-8, or a line has one column alone.
    """
    words, tags = list[str](), list[str]()
    for number, line in text_lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        fields = [field.strip() for field in fields]
        # Remarks of CoNLL-U; a # by itself is a word.
        if (line.startswith("# ") and " = " in line) or fields[:1] == ["-DOCSTART-"]:
            continue
        if not any(fields):
            if words:
                yield {"tokens": words, "ner_tags": tags}
                words, tags = [], []
            continue
        if len(fields) < 2 or not fields[0] or not fields[-1]:
            raise TombolaError(f"{path}, line {number} has no word and tag; write them in the first and last column")
        words.append(fields[0])
        tags.append(fields[-1])
    if words:
        yield {"tokens": words, "ner_tags": tags}
