"""Questions that a text answers, as SQuAD and data sets like it give them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tombola.foundations.errors import TombolaError
from tombola.metrics.answer_metrics import GoldAnswers
from tombola.tasks.data.columns import Column, cell, column_names
from tombola.tasks.data.corpus import records, row_in

COLUMNS = ("question", "context", "answers")
"""SQuAD's columns."""
LONGEST = 2**20
"""Characters of a question or its context, at most: all windows of one are examined for its one answer."""


@dataclass(frozen=True)
class Question:
    """Question, its text with the right answers, and where in it the first of them begins; None where it has none."""

    question: str
    gold: GoldAnswers
    begin: int | None


@dataclass(frozen=True, eq=False)
class Questions:
    """Questions of a split."""

    rows: tuple[Question, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, indices: ArrayLike) -> Self:
        """Questions at `indices` (int [k]), in that order."""
        return type(self)(tuple(self.rows[i] for i in np.asarray(indices, dtype=np.int64)))

    def texts(self) -> list[str]:
        """Text of every question: those of one text are never parted."""
        return [row.gold.context for row in self.rows]

    def strata(self) -> list[bool]:
        """Stratum of each row: True if its question has an answer."""
        return [row.begin is not None for row in self.rows]


def read_rows(
    splits: Mapping[str, Any], question: Column, answers: Column, *, name: str = "your-data"
) -> tuple[dict[str, Questions], None]:
    """Splits of questions from rows in SQuAD's columns: `question`, `context`, `answers` (`text` and `answer_start`).

    They have no classes.

    Args:
        splits: name → rows: a `datasets.Dataset`, a `pandas.DataFrame`, or dictionaries.
        question, answers: columns; SQuAD's are the usual ones.
        name: of the data, for messages.

    Raises:
        TombolaError: a column is missing, something is no text, or an answer does not stand in its context.
    """
    made, given = {}, {split: records(rows) for split, rows in splits.items()}
    there = column_names(given["train"])
    columns = (
        question.among(there, "question", COLUMNS[:1], name),
        Column().among(there, "text", COLUMNS[1:2], name),
        answers.among(there, "answers", COLUMNS[2:], name),
    )
    for split, rows in given.items():
        where = row_in(f"{name}, {split}")
        found = tuple(_question(row, columns, where(index)) for index, row in enumerate(rows))
        if not found:
            raise TombolaError(f"the {split} split of {name} is empty; give it at least one question")
        made[split] = Questions(found)
    if all(row.begin is None for row in made["train"].rows):
        raise TombolaError(f"no training row of {name} has an answer; give rows with answers")
    return made, None


def _question(row: Mapping[str, Any], columns: tuple[str, str, str], where: str) -> Question:
    question, context, given = (cell(row, column, where) for column in columns)
    for text in (question, context):
        if not isinstance(text, str) or not text.strip():
            raise TombolaError(f"{where} has {text!r} where a text should be; mend or drop the row")
    if (longest := max(len(question), len(context))) > LONGEST:
        raise TombolaError(f"{where} has a text of {longest:,} characters, and {LONGEST:,} are read at most; part it")
    if isinstance(given, Mapping):
        pairs = [*zip(_listed(given.get("text")), _listed(given.get("answer_start")), strict=False)]
    elif isinstance(given, Sequence) and not isinstance(given, str) and all(isinstance(o, Mapping) for o in given):
        pairs = [(one.get("text"), one.get("answer_start")) for one in given]
    else:
        raise TombolaError(f"{where} has no answers as SQuAD has them: {{'text': [...], 'answer_start': [...]}}")
    for text, begin in pairs:
        whole = isinstance(begin, int | np.integer) and not isinstance(begin, bool)
        if not isinstance(text, str) or not whole or not text or context[begin : begin + len(text)] != text:
            raise TombolaError(f"{where}: the answer {text!r} does not stand at character {begin!r} of its context")
    gold = GoldAnswers(context, tuple(dict.fromkeys(text for text, _ in pairs)))
    return Question(question, gold, int(pairs[0][1]) if pairs else None)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) else []
