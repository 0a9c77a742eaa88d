"""The user's own labelled texts: files of rows, a folder of them, folders of `datasets`, or a data set of the hub."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from tombola.foundations.errors import TombolaError, no_such_path, one_line, reading
from tombola.foundations.parsing import is_hub_id
from tombola.tasks.data.columns import Column
from tombola.tasks.data.corpus import (
    Columns,
    Corpus,
    Table,
    assemble,
    class_names,
    hint_of_values,
    row_in,
    tabulate,
)
from tombola.tasks.data.files import SUFFIXES, Row, is_rows, parquet_rows, read_table, records
from tombola.tasks.data.splits import DEV, SHARE, draw, warn_of_shared_rows

_PAIRS = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("question", "sentence"),
)
"""Usual columns of pairs of texts."""
TEXTS = ("text", "sentence", "sentence1", "review", "content", "comment", "tweet", "document", "message", "body")
_LABELS = ("label", "labels", "class", "category", "target", "sentiment", "score", "rating", "stars")
"""Usual columns of single texts, and of labels: the first is taken where it is there, of others one must be alone."""
_BUILDERS = ("parquet", "csv", "json", "arrow", "text")
"""Formats of data sets of the hub that hold rows and nothing else."""


def read(
    source: str | Path,
    *,
    validation_file: Path | None = None,
    validation_split: float | None = None,
    dataset_config: str | None = None,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
    regression: bool = False,
) -> Corpus:
    """A corpus from the user's own data.

    Args:
        source: a folder with `train.*` and one of `dev.*`, `validation.*`, `test.*` (the first there is), or with
            Parquet files in the hub's layout (`train-00000-of-00001.parquet`), or one that `datasets` saved; a file of
            training rows; or `owner/name` of a data set of the hub.
        validation_file: rows that judge: a file, or a folder that `Dataset.save_to_disk` wrote.
        validation_split: share of the training rows that are drawn to judge, where there are no others; 0.2 by default.
        dataset_config: configuration of a data set of the hub, where it has several.
        text_column, text_pair_column, label_column: names of the columns; by default the usual ones, a pair where
            `text_column` is not given and there are the columns of one.
        regression: labels are numbers to be predicted, not classes.

    Raises:
        TombolaError: a file is missing, empty, not UTF-8 or malformed, has no such column, or what `assemble`
            refuses.

    Warns:
        UserWarning: rows were split off to judge, or rows that judge have the texts of training rows.
    """
    if validation_file is not None and validation_split is not None:
        raise TombolaError("validation_split is for training rows alone; leave it out, or validation_file")
    train, dev = splits(source, validation_file, dataset_config)
    if dev is not None:
        check_alone(source, validation_split)
    columns = choose(
        train.columns,
        Column(text_column, "--text-column"),
        Column(text_pair_column, "--text-pair-column"),
        Column(label_column, "--label-column"),
        str(train.path),
    )
    names = class_names(train.rows, columns[2])
    tables = {"train": train.table(columns, names)}
    if dev is not None:
        tables["dev"] = dev.table(columns, names)
    else:
        tables["train"], tables["dev"] = _split_off(tables["train"], validation_split or SHARE, regression, str(source))
    corpus = assemble(str(source), tables, regression=regression, classes=names)
    warn_of_shared_rows(str(source), corpus.splits["train"], corpus.splits["dev"])
    return corpus


def check_alone(source: str | Path, validation_split: float | None) -> None:
    """Refuse a share of training rows to judge where the data have rows that judge; a TombolaError."""
    if validation_split is not None:
        raise TombolaError(f"validation_split is for training rows alone, and {source} has others; leave it out")


@dataclass(frozen=True)
class Source:
    """Origin of a split: a file, or `rows` that `datasets` read; and the names of its columns."""

    path: Path
    columns: Sequence[str]
    rows: Iterable[Row] | None

    @classmethod
    def open(cls, path: Path) -> "Source":
        """Open a file, or a folder of `datasets`; a TombolaError if there is none, or no row in it."""
        if _is_saved(path):
            saved = _load_saved(path)
            if isinstance(saved, Mapping):
                raise TombolaError(f"{path} holds several splits; give that folder alone, or one split's folder")
            return cls.of(path, saved)
        if not path.exists():
            raise TombolaError(no_such_path(path, "check the path"))
        if path.is_dir():
            raise TombolaError(f"{path} is a folder; give a file ({', '.join(SUFFIXES)}) or a folder alone")
        if not is_rows(path):
            raise TombolaError(f"{path} is of no known kind; known: {', '.join(SUFFIXES)}")
        if path.suffix.lower() == ".parquet":
            return cls.of(path, parquet_rows(path))
        for _, row in records(path):
            return cls(path, tuple(row), None)
        raise TombolaError(f"{path} has no rows; give a file with at least one labelled row")

    @classmethod
    def of(cls, path: Path, rows: Any) -> "Source":
        """Origin of rows that were read from a path; a TombolaError if there are none."""
        if not len(rows):
            raise TombolaError(f"{path} has no rows; give at least one labelled row")
        return cls(path, rows.column_names, rows)

    def all_rows(self) -> Any:
        """Its rows: a `datasets.Dataset`, or a list of dictionaries."""
        return [row for _, row in records(self.path)] if self.rows is None else self.rows

    def table(self, columns: Columns, names: Sequence[str] | None) -> Table:
        """Its rows as a table of texts and labels."""
        if self.rows is None:
            return read_table(self.path, columns, names)
        with reading(self.path, "save it again"):
            return tabulate(self.rows, row_in(str(self.path)), columns, names)


def splits(source: str | Path, validation_file: Path | None, config: str | None) -> tuple[Source, Source | None]:
    """The training rows, and those that judge, where there are any."""
    path = Path(source).expanduser()
    if validation_file is not None:
        return Source.open(path), Source.open(validation_file)
    if _is_saved(path):
        return _of_splits(path, _load_saved(path))
    if path.is_file():
        return Source.open(path), None
    if path.is_dir():
        return _of_folder(path)
    if is_hub_id(str(source)):
        instead = "check its name and that the hub can be reached, or give a file or folder"
        _check_format(str(source), config, instead)
        return _of_splits(path, hub_splits(str(source), config, instead))
    raise TombolaError(no_such_path(source, "give a folder with train and dev files, or the files"))


def _of_splits(path: Path, splits: Any) -> tuple[Source, Source | None]:
    if not isinstance(splits, Mapping):
        return Source.of(path, splits), None
    dev = next((name for name in DEV if name in splits), None)
    if "train" not in splits or (dev is None and len(splits) > 1):
        raise TombolaError(f"{path} holds the splits {', '.join(splits)}; it needs train and one of {', '.join(DEV)}")
    train, held_out = (name and Source.of(path / name, splits[name]) for name in ("train", dev))
    return cast(Source, train), held_out or None


def _of_folder(path: Path) -> tuple[Source, Source | None]:
    def only(stem: str) -> Source | None:
        found = sorted(file for file in path.glob(f"{stem}.*") if file.name.partition(".")[0] == stem and is_rows(file))
        if len(found) > 1:
            raise TombolaError(f"{path} holds {' and '.join(f.name for f in found)}; keep one of them")
        return Source.open(found[0]) if found else _of_shards(path, stem)

    train, dev = only("train"), next(filter(None, map(only, DEV)), None)
    if train is None:
        raise TombolaError(f"{path} holds no train file ({', '.join(SUFFIXES)}); add it or give the files themselves")
    return train, dev


def _of_shards(path: Path, split: str) -> Source | None:
    """Rows of the Parquet files of a split in the hub's layout; None where there are none."""
    found = sorted(path.glob(f"**/{split}-*-of-*.parquet"))
    if len(homes := {file.parent for file in found}) > 1:
        one, other = sorted(homes)[:2]
        raise TombolaError(f"{path} holds several configurations ({one.name}, {other.name}); give the folder of one")
    if not found:
        return None
    from datasets import concatenate_datasets

    parts = [parquet_rows(file) for file in found]
    with reading(path, "write it again"):
        return Source.of(found[0].parent, concatenate_datasets(parts))


def choose(columns: Sequence[str], text: Column, text_pair: Column, label: Column, where: str) -> Columns:
    """Columns of texts and labels among those that there are: the ones named, or the usual ones, also of pairs.

    Raises:
        TombolaError: there is none, or several could be meant; it begins with `where` the rows are from.
    """
    # A user who names one text means one text.
    if text.name is None and text_pair.name is None:
        there = {name.casefold(): name for name in reversed([*map(str, columns)])}
        for one, other in _PAIRS:
            if one in there and other in there:
                text, text_pair = replace(text, name=there[one]), replace(text_pair, name=there[other])
                break
    return (
        text.among(columns, "text", TEXTS, where),
        None if text_pair.name is None else text_pair.among(columns, "second text", (), where),
        label.among(columns, "label", _LABELS, where),
    )


def _split_off(table: Table, share: float, regression: bool, source: str) -> tuple[Table, Table]:
    """A table in two, of training and of the rows that judge."""
    texts = [*zip(map(repr, table.first), map(repr, table.second or table.first), strict=True)]
    strata = [None if regression else str(label) for label in table.labels]
    try:
        train, dev = (part.tolist() for part in draw(texts, strata, share, source))
    except TombolaError as error:
        # Of values, each taken for a class, none has rows to spare.
        raise TombolaError(f"{error}{'' if regression else hint_of_values([*map(str, table.labels)])}") from None
    return _rows(table, train), _rows(table, dev)


def _rows(table: Table, rows: Sequence[int]) -> Table:
    def chosen(column: Sequence[object]) -> list[object]:
        return [column[row] for row in rows]

    second = None if table.second is None else chosen(table.second)
    return replace(
        table,
        first=chosen(table.first),
        second=second,
        labels=chosen(table.labels),
        where=lambda index: table.where(rows[index]),
    )


def _is_saved(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (path / "dataset_info.json").is_file()


def _load_saved(path: Path) -> Any:
    import datasets  # It takes a second, and few need it.

    with one_line(f"{path} cannot be loaded by datasets", "save it again"):
        return datasets.load_from_disk(str(path))


def hub_splits(name: str, configuration: str | None, instead: str) -> Mapping[str, Any]:
    """The splits of a data set of the hub, or a TombolaError that ends with what to do `instead`."""
    import datasets

    with one_line(f"cannot load {_called(name, configuration)} from the hub", instead):
        return cast(Mapping[str, Any], datasets.load_dataset(name, configuration))


def _check_format(name: str, configuration: str | None, instead: str) -> None:
    """Refuse a data set of the hub that is in no format of rows: others hold archives of anything."""
    import datasets

    with one_line(f"cannot load {_called(name, configuration)} from the hub", instead):
        builder = datasets.load_dataset_builder(name, configuration)
    if (found := type(builder).__module__.rpartition(".")[2]) not in _BUILDERS:
        known = ", ".join(_BUILDERS)
        raise TombolaError(f"{_called(name, configuration)} is in the format {found}, not one of {known}; {instead}")


def _called(name: str, configuration: str | None) -> str:
    return name if configuration is None else f"{name} ({configuration})"
