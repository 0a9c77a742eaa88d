"""Labelled texts, checked once on the way in: whatever is a `Corpus` can be trained on and judged."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tombola.foundations.errors import TombolaError
from tombola.foundations.frozen_dict import FrozenDict
from tombola.foundations.plurals import plural
from tombola.tasks.data.splits import DEV, warn_of_shared_rows, with_dev


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of one split, single ones or pairs, and their labels: int64 class ids [n], or float64 values [n]."""

    first: tuple[str, ...]
    second: tuple[str, ...] | None
    labels: NDArray[Any]

    def __post_init__(self) -> None:
        """Raise a ValueError where the lengths differ."""
        second = self.first if self.second is None else self.second
        if self.labels.shape != (len(self.first),) or len(second) != len(self.first):
            raise ValueError("texts and labels of a split differ in number")

    def __len__(self) -> int:
        return len(self.first)

    def texts(self) -> Iterator[tuple[str, ...]]:
        """Text, or pair of texts, of every row."""
        return zip(self.first, *(() if self.second is None else (self.second,)), strict=True)

    def strata(self) -> list[Any]:
        """Class of every row; values have none."""
        labels: list[Any] = self.labels.tolist()
        return labels if self.labels.dtype.kind == "i" else [None] * len(labels)

    def select(self, indices: ArrayLike) -> Self:
        """The texts at `indices` (int [k]), in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        second = None if self.second is None else tuple(self.second[i] for i in chosen)
        return type(self)(tuple(self.first[i] for i in chosen), second, self.labels[chosen])


@dataclass(frozen=True, eq=False)
class Corpus:
    """The labelled splits of a task: `train`, `dev`, and for MNLI `dev_mismatched`.

    The classes are names by id; None for regression.

    Raises:
        TombolaError: `train` or `dev` is missing, a split is empty, training knows only one label, or another
            split has a class that training never saw.
    """

    name: str
    splits: Mapping[str, Texts]
    classes: tuple[str, ...] | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "splits", FrozenDict(self.splits))
        for split in ("train", "dev", *self.splits):
            if split not in self.splits:
                raise TombolaError(f"{self.name} has no {split} split; both train and dev are needed")
            if not len(self.splits[split]):
                raise TombolaError(f"the {split} split of {self.name} is empty; give it at least one labelled row")
        seen = np.unique(self.splits["train"].labels)
        if len(seen) < 2:
            only = seen[0] if self.classes is None else self.classes[seen[0]]
            raise TombolaError(
                f"every training row of {self.name} has the label {str(only)!r}; training needs at least two"
            )
        if self.classes is not None:
            for split, texts in self.splits.items():
                for unseen in np.setdiff1d(texts.labels, seen):
                    raise TombolaError(
                        f"the {split} split of {self.name} has the label {self.classes[unseen]!r}, which no "
                        f"training row has; add such rows to training or drop it from {split}"
                    )

    @property
    def regression(self) -> bool:
        """True if the labels are values instead of classes."""
        return self.classes is None

    @classmethod
    def from_rows(
        cls,
        train: Iterable[Mapping[str, object]],
        dev: Iterable[Mapping[str, object]] | None,
        columns: "Columns",
        *,
        regression: bool = False,
        name: str = "your data",
    ) -> "Corpus":
        """A corpus from rows in memory: a `datasets.Dataset`, a `pandas.DataFrame`, or dictionaries.

        Without `dev`, a fifth of the rows judge. The classes are those of the column's `datasets.ClassLabel` in
        training, else the labels that the training rows have, numbers in numerical order and names in alphabetical
        order.

        Raises:
            TombolaError: a row lacks a column, a text or a label; a label is -1 where GLUE hides labels so,
                is unseen in training, or is no number in regression; or what `Corpus` refuses.
        """
        train = records(train)
        # Those that judge are drawn once the rows are understood.
        names, splits = class_names(train, columns[2]), {"train": train, "dev": train if dev is None else records(dev)}
        tables = {one: tabulate(rows, row_in(f"{name}, {one}"), columns, names) for one, rows in splits.items()}
        corpus = assemble(name, tables, classes=names, regression=regression)
        if dev is None:
            return cls(name, with_dev({"train": corpus.splits["train"]}, None, name), corpus.classes)
        warn_of_shared_rows(name, corpus.splits["train"], corpus.splits["dev"])
        return corpus


Columns = tuple[str, str | None, str]
"""Columns of the text, of the second text of a pair, and of the label."""


def records(rows: Any) -> Sequence[Mapping[str, object]]:
    """Rows of a `pandas.DataFrame`, or of a dictionary of columns, as dictionaries; others as they are.

    They can be gone through again.

    Raises:
        TombolaError: these are the splits of a `DatasetDict`, the name of a file, or no dictionaries.
    """
    if isinstance(rows, str | Path):
        raise TombolaError(f"rows are wanted, not the name of a file: read {str(rows)!r} first, as pandas does")
    if isinstance(rows, Mapping) and rows and all(_is_column(one) for one in rows.values()):
        if len({len(one) for one in rows.values()}) > 1:
            raise TombolaError(f"the columns {', '.join(map(str, rows))} differ in length; give a value of each row")
        return [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
    if isinstance(rows, Mapping):
        first = next(iter(rows), "train")
        raise TombolaError(f"rows are wanted, not splits by names; give them one by one, as {first!r}")
    if hasattr(rows, "iloc"):
        rows = rows.to_dict("records")
    if not isinstance(rows, Iterable):
        raise TombolaError(f"rows are wanted: a Dataset, a DataFrame or dictionaries, not {rows!r:.80}")
    found: Any = rows if hasattr(rows, "__getitem__") and hasattr(rows, "__len__") else list(rows)
    if len(found) and not isinstance(found[0], Mapping):
        raise TombolaError(f"a row is a dictionary of columns, as {{'text': ..., 'label': ...}}, not {found[0]!r:.80}")
    return cast(Sequence[Mapping[str, object]], found)


def given_splits(train: Any, dev: Any) -> dict[str, Any]:
    """Rows of `train` and, where any judge, `dev`: as they are given one by one, or both as a `DatasetDict`."""
    if dev is None and isinstance(train, Mapping) and "train" in train and not all(map(_is_column, train.values())):
        train, dev = train["train"], next((train[name] for name in DEV if name in train), None)
    return {"train": train} if dev is None else {"train": train, "dev": dev}


def _is_column(values: object) -> bool:
    """True for the values of a column, which are no rows themselves."""
    return isinstance(values, list | tuple | np.ndarray) and not (len(values) and isinstance(values[0], Mapping))


def class_names(rows: object, column: str) -> tuple[str, ...] | None:
    """The names of a column that is a `datasets.ClassLabel`; None if it is not or `rows` is no `Dataset`."""
    features: Mapping[str, object] = getattr(rows, "features", None) or {}
    names = getattr(features.get(column), "names", None)
    return None if names is None else tuple(map(str, names))


@dataclass(frozen=True)
class Table:
    """Split before its labels are understood: columns as they were read, [n] each, and `where` row i is from."""

    first: Sequence[object]
    second: Sequence[object] | None
    labels: Sequence[object]
    where: Callable[[int], str]


def row_in(source: str) -> Callable[[int], str]:
    """Place of row i of rows in memory, for messages."""
    return lambda index: f"{source} row {index} (the first is 0)"


def tabulate(
    rows: Iterable[Mapping[str, object]],
    where: Callable[[int], str],
    columns: Columns,
    names: Sequence[str] | None = None,
) -> Table:
    """The table of rows.

    Args:
        rows: mappings from column to value.
        where: see `Table`.
        columns: those that are taken.
        names: of the classes by id, where the label is an id and no `datasets.ClassLabel` itself.

    Raises:
        TombolaError: a row lacks a column, or a label is -1 or outside of the names.
    """
    first, second, label = columns
    wanted = [first, label, *([] if second is None else [second])]
    cells: list[list[object]] = [[] for _ in wanted]
    for index, row in enumerate(rows):
        for column, values in zip(wanted, cells, strict=True):
            if column not in row:
                known = ", ".join(map(str, row)) or "none"
                raise TombolaError(f"{where(index)} has no column {column!r}; there are: {known}")
            values.append(row[column])
    known_names = class_names(rows, label) or names
    if known_names is not None:
        for index, value in enumerate(cells[1]):
            if value == -1:
                raise TombolaError(_hidden(where(index)))
            if isinstance(value, int) and not 0 <= value < len(known_names):
                raise TombolaError(f"{where(index)}: label {value} is outside of 0 to {len(known_names) - 1}")
            cells[1][index] = known_names[value] if isinstance(value, int) else value
    return Table(cells[0], None if second is None else cells[2], cells[1], where)


def assemble(
    name: str,
    tables: Mapping[str, Table],
    *,
    regression: bool = False,
    values: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    blank_texts: bool = False,
) -> Corpus:
    """A corpus from tables of raw rows, by split, of which `train` decides which labels there are.

    Args:
        name: of the corpus.
        tables: by split.
        regression: labels are finite numbers.
        values: how the labels are written, in the order of their ids; default: `classes`, else as training
            has them.
        classes: what to call them; default: `values`.
        blank_texts: whether a text may be blank, as a few of GLUE's are.

    Raises:
        TombolaError: a text or label is missing or not of its kind, a label is unknown or hidden, or what
            `Corpus` refuses. The message says in which row.
    """
    labels: dict[str, NDArray[Any]]
    if regression:
        labels = {split: np.array(_numbers(table), dtype=np.float64) for split, table in tables.items()}
    else:
        written = {split: [_label(table, i) for i in range(len(table.labels))] for split, table in tables.items()}
        known = values or classes or sorted(set(written["train"]), key=_order)
        ids = {label: i for i, label in enumerate(known)}
        values_hint = hint_of_values(known) if values is None and classes is None else ""
        for split, table in tables.items():
            for index, label in enumerate(written[split]):
                if label not in ids:
                    unseen = f"label {label!r} is unknown in training; known: {_few(known)}{values_hint}"
                    where = table.where(index)
                    raise TombolaError(_hidden(where) if label == "-1" else f"{where}: {unseen}")
        labels = {split: np.array([ids[label] for label in found], dtype=np.int64) for split, found in written.items()}
        if values_hint:
            warnings.warn(f"{name}: labels are taken as names of {len(known)} classes{values_hint}", stacklevel=2)
        classes = classes or known
    splits = {
        split: Texts(
            _texts(table, table.first, blank_texts),
            None if table.second is None else _texts(table, table.second, blank_texts),
            labels[split],
        )
        for split, table in tables.items()
    }
    return Corpus(name, splits, None if regression else tuple(classes or ()))


def _texts(table: Table, column: Sequence[object], blank: bool) -> tuple[str, ...]:
    bad = [index for index, one in enumerate(column) if not isinstance(one, str) or not (blank or one.strip())]
    if bad:
        value = column[bad[0]]
        nothing = isinstance(value, str) or _missing(value)
        what = "has no text" if nothing else f"has {value!r} where a text should be"
        raise TombolaError(f"{table.where(bad[0])} {what}{_nor(bad)}; mend or drop the row")
    for index, value in enumerate(column):
        _check_encodable(table, index, str(value))
    return tuple(map(str, column))


def _check_encodable(table: Table, index: int, text: str) -> None:
    """Refuse half of a surrogate pair, which neither a tokenizer nor a file takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TombolaError(
            f"{table.where(index)} holds {text[error.start]!r}, half of a character (a lone surrogate); mend or drop "
            "the row"
        ) from None


def _present(table: Table, index: int) -> object:
    value = table.labels[index]
    if _missing(value):
        without = [place for place, one in enumerate(table.labels) if _missing(one)]
        raise TombolaError(f"{table.where(index)} has no label{_nor(without)}; add it or drop the row")
    return value


def _missing(value: object) -> bool:
    return value is None or (
        not value.strip() if isinstance(value, str) else isinstance(value, float) and math.isnan(value)
    )


def _nor(rows: Sequence[int]) -> str:
    """Words for the others of some rows with a fault, the first of which is named."""
    others = len(rows) - 1
    return f", nor {'has' if others == 1 else 'have'} {plural(others, 'other')}" if others else ""


def _hidden(where: str) -> str:
    return f"{where}: label -1 is how GLUE hides the labels of its test split; use a split that has labels"


def _label(table: Table, index: int) -> str:
    """Label in one spelling, whether it comes as text or as a number: 1, 1.0 and "1" are the same."""
    value = _present(table, index)
    if not isinstance(value, str | int | float | np.integer | np.floating | np.bool_):
        raise TombolaError(f"{table.where(index)}: label {value!r} is neither a name nor a number")
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    label = str(value).strip()
    _check_encodable(table, index, label)
    return label


def _numbers(table: Table) -> list[float]:
    numbers = []
    for index in range(len(table.labels)):
        value = _present(table, index)
        try:
            number = float(value)  # type: ignore[arg-type]  # whatever it is, float() decides
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise TombolaError(
                f"{table.where(index)}: label {value!r} is no number, which regression needs; names do without it"
            )
        numbers.append(number)
    # -1 may be a score like any other, but not the only one.
    if set(numbers) == {-1.0}:
        raise TombolaError(_hidden(table.where(0)))
    return numbers


def _order(label: str) -> tuple[bool, float, str]:
    """Numbers first, by value; then names, "nan" among them."""
    try:
        number = float(label)
    except ValueError:
        number = math.nan
    named = math.isnan(number)
    return named, 0.0 if named else number, label


def hint_of_values(labels: Sequence[str]) -> str:
    """Advice where labels look like values: numbers with fractions; empty otherwise."""
    try:
        fractions = [label for label in labels if math.isfinite(float(label)) and not float(label).is_integer()]
    except ValueError:
        return ""
    if not fractions:
        return ""
    return f"; numbers such as {fractions[0]} are values for --regression (regression=True)"


def _few(labels: Sequence[str]) -> str:
    return ", ".join(labels[:10]) + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")
