"""Questions with a few answers each, of which one is right, as SWAG and data sets like it give them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tombola.foundations.errors import TombolaError
from tombola.tasks.data.columns import Column, cell, column_names
from tombola.tasks.data.corpus import records, row_in

ENDINGS = "ending0"
"""First of SWAG's columns of answers, which say that there are such."""
LISTS = ("endings", "choices", "options")
"""Usual columns of a list of answers."""
_QUESTIONS = ("ctx", "question", "context", "goal", "prompt", "sent1", "text")
_LABELS = ("label", "answerKey", "answer", "gold")


@dataclass(frozen=True, eq=False)
class Choices:
    """Questions of a split: texts `first`, the answers to each as `seconds`, and int64 `labels` [n]: which is right."""

    first: tuple[str, ...]
    seconds: tuple[tuple[str, ...], ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)

    def select(self, indices: ArrayLike) -> Self:
        """Questions at `indices` (int [k]), in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        return type(self)(
            tuple(self.first[i] for i in chosen), tuple(self.seconds[i] for i in chosen), self.labels[chosen]
        )

    def texts(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Question and answers of every row."""
        return zip(self.first, self.seconds, strict=True)

    def strata(self) -> list[None]:
        """Stratum of each row: none, as the place of an answer is no class."""
        return [None] * len(self)


def read_rows(
    splits: Mapping[str, Any], question: Column, label: Column, *, name: str = "your-data"
) -> tuple[dict[str, Choices], None]:
    """Splits of questions from rows, which have no classes.

    The columns are SWAG's (`sent1`, and `sent2` as the beginning of `ending0`, `ending1`, ...), or a question and a
    list of answers (`endings`, `choices`, `options`; a list of texts, or such a list as `text` with their letters as
    `label`). The label is a place from 0, or a letter.

    Args:
        splits: name → rows: a `datasets.Dataset`, a `pandas.DataFrame`, or dictionaries.
        question, label: columns.
        name: of the data, for messages.

    Raises:
        TombolaError: a column is missing, an answer is no text, a label is none of the answers, or rows have different
            numbers of answers.
    """
    made, counts = {}, set[int]()
    given = {split: records(rows) for split, rows in splits.items()}
    columns = _columns(column_names(given["train"]), question, label, name)
    for split, rows in given.items():
        where, read = row_in(f"{name}, {split}"), list[tuple[str, tuple[str, ...], int]]()
        for index, row in enumerate(rows):
            read.append(_question(row, columns, where(index)))
            counts.add(len(read[-1][1]))
            if len(counts) > 1:
                few, more = sorted(counts)
                raise TombolaError(
                    f"{where(index)}: some rows have {few} answers, others {more}; give rows with as many"
                )
        if not read:
            raise TombolaError(f"the {split} split of {name} is empty; give it at least one labelled row")
        first, seconds, labels = zip(*read, strict=True)
        made[split] = Choices(first, seconds, np.array(labels, dtype=np.int64))
    return made, None


def _columns(there: Sequence[str], question: Column, label: Column, name: str) -> tuple[str, str, str]:
    """Columns of the question, of the answers (the first of several), and of the label."""
    swag = ENDINGS in there
    usual = ("sent1", *_QUESTIONS) if swag else _QUESTIONS
    answers = ENDINGS if swag else Column().among(there, "answers", LISTS, name)
    rest = [column for column in there if column != answers]
    return (
        question.among(rest, "question", usual, name),
        answers,
        label.among(rest, "label", _LABELS, name),
    )


def _question(row: Mapping[str, Any], columns: tuple[str, str, str], where: str) -> tuple[str, tuple[str, ...], int]:
    first, given, label = (cell(row, column, where) for column in columns)
    names: Any = ()
    if columns[1] == ENDINGS:
        found = [row[f"ending{place}"] for place in range(len(row)) if f"ending{place}" in row]
        beginning = row.get("sent2") or ""
        answers = [f"{beginning} {one}".strip() if isinstance(one, str) and one else one for one in found]
    else:
        names = given.get("label", ()) if isinstance(given, Mapping) else ()
        listed = given.get("text") if isinstance(given, Mapping) else given
        if isinstance(listed, str) or not isinstance(listed, Iterable):
            raise TombolaError(f"{where} has no list of answers; give texts in one of the columns {', '.join(LISTS)}")
        answers = list(listed)
    if bad := [one for one in (first, *answers) if not isinstance(one, str) or not one.strip()]:
        raise TombolaError(f"{where} has {bad[0]!r} where a text should be; mend or drop the row")
    if len(answers) < 2:
        raise TombolaError(f"{where} has fewer than two answers; give several, or drop the row")
    called = [*names] if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    if len(called) not in (0, len(answers)):
        raise TombolaError(f"{where} calls its {len(answers)} answers {names!r:.80}; give as many names, or none")
    return first, tuple(answers), _place(label, called, len(answers), where)


def _place(value: object, names: Sequence[object], answers: int, where: str) -> int:
    """Place of the right answer: a number, or a letter or number as the answers are called."""
    text = str(value).strip()
    if text in (called := [*map(str, names)]):
        return called.index(text)
    if not called and text.isdecimal() and int(text) < answers:
        return int(text)
    if not called and len(text) == 1 and 0 <= (place := "ABCDEFGHIJ".find(text.upper())) < answers:
        return place
    if text == "-1" or not text:
        raise TombolaError(f"{where} has no label (as test splits do); use a split that has them")
    raise TombolaError(f"{where}: label {value!r} is none of the {answers} answers")
