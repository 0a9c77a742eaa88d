"""The user's own labelled texts: TSV, CSV, JSON lines, a folder of them, or a folder saved by `datasets`.

TSV is as in GLUE: no quoting, a `"` is an ordinary character. CSV has the usual quoting, and a quoted field
may span lines. Text is UTF-8, with or without a byte-order mark, with either line ending; blank lines are
skipped. Every complaint names the file and the line.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tombola.foundations.errors import TombolaError, reason
from tombola.tasks.data.corpus import Columns, Corpus, Table, assemble, class_names, row_in, tabulate

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json")
_TEXT = ("text", "sentence", "sentence1")
_TEXT_PAIR = ("text_pair", "sentence2")
_DEV = ("dev", "validation", "test")
Row = Mapping[str, object]


def read(
    source: Path,
    *,
    validation_file: Path | None = None,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | None = None,
    regression: bool = False,
) -> Corpus:
    """A corpus from the user's own data.

    Args:
        source: a folder with `train.*` and one of `dev.*`, `validation.*`, `test.*` (the first there is), or one that
            `DatasetDict.save_to_disk` wrote; or, with `validation_file`, training rows: a file, or a folder that
            `Dataset.save_to_disk` wrote.
        validation_file: the rows that judge, likewise.
        text_column, text_pair_column, label_column: names of the columns. Default: `text`, `sentence` or `sentence1`;
            `text_pair` or `sentence2` where there is one and `text_column` is not given either; `label`.
        regression: labels are numbers to be predicted, not classes.

    Raises:
        TombolaError: a file is missing, empty, not UTF-8 or malformed, has no such column, or what `assemble`
            refuses.
    """
    if validation_file is None and _is_saved(source):
        train, dev = _saved_splits(source)
    else:
        files = _split_files(source) if validation_file is None else (source, validation_file)
        train, dev = map(_Source.open, files)
    columns = _choose(train, text_column, text_pair_column, label_column)
    names = class_names(train.rows, columns[2])
    tables = {"train": train.table(columns, names), "dev": dev.table(columns, names)}
    return assemble(str(source), tables, regression=regression, classes=names)


def records(
    path: Path, *, header: Sequence[str] | None = None, skip_malformed: bool = False
) -> Iterator[tuple[int, Row]]:
    """The rows of a TSV, CSV or JSON-lines file with their line numbers (the first line is 1).

    Args:
        path: `.csv`, `.json` and `.jsonl` are what they say, anything else is read as TSV.
        header: the columns of a file that has no header line.
        skip_malformed: pass over rows of a TSV with a wrong number of columns instead of complaining as `read` does.
    """
    if path.suffix.lower() in (".json", ".jsonl"):
        return json_records(path)
    return _delimited_rows(path, header, skip_malformed)


def read_table(path: Path, columns: Columns, names: Sequence[str] | None = None, **options: Any) -> Table:
    """Columns of a file, see `tabulate`, as a table whose complaints name file and line; options as in `records`."""
    lines: list[int] = []

    def rows() -> Iterator[Row]:
        for line, row in records(path, **options):
            lines.append(line)
            yield row

    table = tabulate(rows(), lambda index: f"{path}, line {lines[index]}", columns, names)
    if not lines:
        raise TombolaError(f"{path} has no rows; give a file with at least one labelled row")
    return table


@dataclass(frozen=True)
class _Source:
    """Origin of a split: a file, or `rows` that `datasets` saved."""

    path: Path
    columns: Sequence[str]
    rows: Iterable[Row] | None

    @classmethod
    def open(cls, path: Path) -> "_Source":
        if _is_saved(path):
            saved = _load_saved(path)
            if isinstance(saved, Mapping):
                raise TombolaError(f"{path} holds several splits; give that folder alone, or one split's folder")
            return cls(path, saved.column_names, saved)
        if not path.exists():
            raise TombolaError(f"{path} does not exist; check the path")
        if path.is_dir():
            raise TombolaError(f"{path} is a folder; give a file ({', '.join(SUFFIXES)}) or a folder alone")
        if path.suffix.lower() not in SUFFIXES:
            raise TombolaError(f"{path} is of no known kind; known: {', '.join(SUFFIXES)}")
        for _, row in records(path):
            return cls(path, tuple(row), None)
        raise TombolaError(f"{path} has no rows; give a file with at least one labelled row")

    def table(self, columns: Columns, names: Sequence[str] | None) -> Table:
        if self.rows is None:
            return read_table(self.path, columns, names)
        return tabulate(self.rows, row_in(str(self.path)), columns, names)


def _choose(
    source: _Source, text_column: str | None, text_pair_column: str | None, label_column: str | None
) -> Columns:
    """The columns named by the user, or guessed from the training rows."""

    def pick(what: str, named: str | None, guesses: Sequence[str]) -> str:
        for name in [named] if named is not None else guesses:
            if name in source.columns:
                return name
        sought = repr(named) if named is not None else " or ".join(map(repr, guesses))
        raise TombolaError(
            f"{source.path} has no column {sought} for the {what}; name one of: {', '.join(source.columns)}"
        )

    # A user who names one text means one text.
    paired = text_column is None and not {*_TEXT_PAIR}.isdisjoint(source.columns)
    second = pick("second text", text_pair_column, _TEXT_PAIR) if paired or text_pair_column is not None else None
    return pick("text", text_column, _TEXT), second, pick("label", label_column, ("label",))


def _split_files(path: Path) -> tuple[Path, Path]:
    if not path.exists():
        raise TombolaError(f"{path} does not exist; give a folder with train and dev files, or the files")
    if path.is_file():
        raise TombolaError(f"{path} has training rows only; give a dev file too, or a folder with train.* and dev.*")
    kinds = ", ".join(SUFFIXES)

    def only(stem: str) -> list[Path]:
        found = sorted(file for file in path.glob(f"{stem}.*") if file.suffix.lower() in SUFFIXES and file.stem == stem)
        if len(found) > 1:
            raise TombolaError(f"{path} holds {' and '.join(f.name for f in found)}; keep one of them")
        return found

    train, dev = only("train"), next(filter(None, map(only, _DEV)), [])
    if not train:
        raise TombolaError(f"{path} holds no train file ({kinds}); add it or give the files themselves")
    if not dev:
        raise TombolaError(f"{path} holds no dev file ({', '.join(f'{stem}.*' for stem in _DEV)} of {kinds}); add one")
    return train[0], dev[0]


def _is_saved(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or (path / "dataset_info.json").is_file()


def _load_saved(path: Path) -> Any:
    import datasets  # It takes a second, and few need it.

    try:
        return datasets.load_from_disk(str(path))
    except Exception as error:  # pyarrow and datasets have no common error
        raise TombolaError(f"{path} cannot be loaded by datasets: {reason(error)}; save it again") from error


def hub_splits(name: str, configuration: str, instead: str) -> Mapping[str, Any]:
    """The splits of a data set of the hub, or a TombolaError that ends with what to do `instead`."""
    import datasets

    try:
        return cast(Mapping[str, Any], datasets.load_dataset(name, configuration))
    except Exception as error:  # the hub's client, datasets and the network have no common error
        raise TombolaError(f"cannot load {name} ({configuration}) from the hub: {reason(error)}; {instead}") from error


def _saved_splits(path: Path) -> tuple[_Source, _Source]:
    splits = _load_saved(path)
    if not isinstance(splits, Mapping):
        raise TombolaError(f"{path} holds training rows only; give the folder or file of dev rows too")
    dev = next((name for name in _DEV if name in splits), None)
    if "train" not in splits or dev is None:
        raise TombolaError(f"{path} holds the splits {', '.join(splits)}; it needs train and one of {', '.join(_DEV)}")
    train, held_out = (_Source(path / name, splits[name].column_names, splits[name]) for name in ("train", dev))
    return train, held_out


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Decoded lines, endings kept, numbered from 1. Only a line feed ends a line, whatever Unicode says."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise TombolaError(
                        f"{path}, line {number}, byte {error.start + 1} is not UTF-8; save the file as UTF-8"
                    ) from None
    except FileNotFoundError:
        raise TombolaError(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise TombolaError(f"{path} cannot be read: {error.strerror or error}") from error


def _delimited_rows(path: Path, names: Sequence[str] | None, skip_malformed: bool) -> Iterator[tuple[int, Row]]:
    for line, fields in _csv_fields(path) if path.suffix.lower() == ".csv" else _tsv_fields(path):
        if names is None:
            names = [field.strip() for field in fields]
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise TombolaError(f"{path}, line {line}: the header names column {twice!r} twice; rename one")
        elif len(fields) == len(names):
            yield line, dict(zip(names, fields, strict=True))
        elif not skip_malformed:
            has = f"{len(fields)} column{'' if len(fields) == 1 else 's'}"
            raise TombolaError(
                f"{path}, line {line} has {has} instead of {len(names)} ({', '.join(names)}); mend the line"
            )
    if names is None:
        raise TombolaError(f"{path} is empty; give a file with a header line and labelled rows")


def _tsv_fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in _lines(path):
        bare = line.removesuffix("\n").removesuffix("\r")
        if bare:
            yield number, bare.split("\t")


def _csv_fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader((line for _, line in _lines(path)), strict=True)
    start = 1
    try:
        for fields in reader:
            if fields:
                yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise TombolaError(f"{path}, line {start} is malformed CSV: {error}; mend the line") from None


def json_records(path: Path) -> Iterator[tuple[int, Row]]:
    """Objects of a JSON-lines file of any suffix, with line numbers; a TombolaError if it is missing or malformed."""
    empty = True
    for number, line in _lines(path):
        if not line.strip():
            continue
        empty = False
        try:
            row, fault = json.loads(line), "no JSON object"
        except ValueError as error:
            row, fault = None, f"malformed JSON: {error}"
        if not isinstance(row, dict):
            raise TombolaError(f"{path}, line {number} is {fault}; write one object a line (JSON lines)")
        yield number, row
    if empty:
        raise TombolaError(f"{path} is empty; give a file with one JSON object a line")
