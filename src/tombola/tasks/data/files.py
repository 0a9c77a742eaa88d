"""The user's own labelled texts: TSV, CSV, JSON lines, a folder of them, or a folder saved by `datasets`.

CSV has the usual quoting: a quoted field may span lines. TSV has the same where all of the file is quoted so, as pandas
writes it; else, as in GLUE, a `"` is an ordinary character. Text is UTF-8, with or without a byte-order mark, with
either line ending; blank lines are skipped. Every complaint names the file and the line.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tombola.foundations.errors import TombolaError, one_line, reading
from tombola.foundations.parsing import json_value
from tombola.tasks.data.corpus import Columns, Corpus, Table, assemble, class_names, row_in, tabulate

SUFFIXES = (".tsv", ".csv", ".jsonl", ".json")
_TEXT = ("text", "sentence", "sentence1")
_TEXT_PAIR = ("text_pair", "sentence2")
_DEV = ("dev", "validation", "test")
Row = Mapping[str, object]
LONGEST_LINE = 2**26
"""Bytes of a line of texts, at most."""
_ONE_A_LINE = "write one object a line (JSON lines)"
_FIELD = re.compile(r'"(?:[^"]|"")*"|[^"\t\r\n]*')
_QUOTED_ROW = re.compile(rf"(?:{_FIELD.pattern})(?:\t(?:{_FIELD.pattern}))*\r?\n?")


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
    path: Path, *, header: Sequence[str] | None = None, skip_malformed: bool = False, raw: bool = False
) -> Iterator[tuple[int, Row]]:
    """The rows of a TSV, CSV or JSON-lines file with their line numbers (the first line is 1).

    Args:
        path: `.csv`, `.json` and `.jsonl` are what they say, anything else is read as TSV.
        header: the columns of a file that has no header line.
        skip_malformed: pass over rows of a TSV with a wrong number of columns instead of complaining as `read` does.
        raw: a `"` in a TSV is an ordinary character, even where quoting would explain all of them: of GLUE's own files.
    """
    suffix = path.suffix.lower()
    if suffix in (".json", ".jsonl"):
        return json_records(path)
    if suffix == ".csv":
        return _delimited_rows(path, _csv_fields(path), header, skip_malformed)
    fields = _tsv_fields if raw or not _is_quoted(path) else _quoted_fields
    return _delimited_rows(path, fields(path), header, skip_malformed)


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
        with reading(self.path, "save it again"):
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

    with one_line(f"{path} cannot be loaded by datasets", "save it again"):
        return datasets.load_from_disk(str(path))


def hub_splits(name: str, configuration: str, instead: str) -> Mapping[str, Any]:
    """The splits of a data set of the hub, or a TombolaError that ends with what to do `instead`."""
    import datasets

    with one_line(f"cannot load {name} ({configuration}) from the hub", instead):
        return cast(Mapping[str, Any], datasets.load_dataset(name, configuration))


def _saved_splits(path: Path) -> tuple[_Source, _Source]:
    splits = _load_saved(path)
    if not isinstance(splits, Mapping):
        raise TombolaError(f"{path} holds training rows only; give the folder or file of dev rows too")
    dev = next((name for name in _DEV if name in splits), None)
    if "train" not in splits or dev is None:
        raise TombolaError(f"{path} holds the splits {', '.join(splits)}; it needs train and one of {', '.join(_DEV)}")
    train, held_out = (_Source(path / name, splits[name].column_names, splits[name]) for name in ("train", dev))
    return train, held_out


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Decoded lines, endings kept, numbered from 1. Only a line feed ends a line, whatever Unicode says."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
                if len(raw) > LONGEST_LINE:
                    raise TombolaError(f"{path}, line {number} is longer than {LONGEST_LINE:,} bytes; cut its text")
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


def _delimited_rows(
    path: Path, rows: Iterable[tuple[int, list[str]]], names: Sequence[str] | None, skip_malformed: bool
) -> Iterator[tuple[int, Row]]:
    for line, fields in rows:
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
    for number, line in text_lines(path):
        bare = line.removesuffix("\n").removesuffix("\r")
        if bare:
            yield number, bare.split("\t")


def _balanced(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a file, with those joined between which a quoted field would have to be open; blank ones left out."""
    start, parts, quotes = 0, list[str](), 0
    for number, line in text_lines(path):
        start = start if parts else number
        parts.append(line)
        quotes += line.count('"')
        if quotes % 2 == 0:
            if row := "".join(parts).removesuffix("\n").removesuffix("\r"):
                yield start, row
            parts, quotes = [], 0
    if parts:
        yield start, "".join(parts)


def _is_quoted(path: Path) -> bool:
    """True if all of a TSV reads as quoted fields, and they say more than its characters.

    Every field with a `"` in it must be quoted as a whole, quotes inside of it doubled, and all rows must have as many
    fields. Then there must be a quoted header, or a field that is empty or needed quoting for its quotes, tabs or line
    ends: a sentence that merely stands in quotes keeps them.
    """
    width, needed, lines_fit, spans, header = 0, False, True, False, False
    for _, row in _balanced(path):
        if not _QUOTED_ROW.fullmatch(row):
            return False
        fields = _quoted(row)
        if not width:
            width, header = len(fields), all(one.startswith('"') for one in fields)
        if len(fields) != width:
            return False
        lines = row.split("\n")
        spans = spans or len(lines) > 1
        lines_fit = lines_fit and all(line.count("\t") == width - 1 for line in lines)
        needed = needed or any('""' in one[1:-1] or one == '""' for one in fields)
    return header or not lines_fit or (needed and not spans)


def _quoted(row: str) -> list[str]:
    """Fields of a row of quoted ones, as they stand."""
    fields, at = [], 0
    while (found := _FIELD.match(row, at)) is not None:
        fields.append(found[0])
        at = found.end() + 1
        if at > len(row) or row[at - 1] != "\t":
            break
    return fields


def _quoted_fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, row in _balanced(path):
        yield number, [one[1:-1].replace('""', '"') if one.startswith('"') else one for one in _quoted(row)]


def _csv_fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader((line for _, line in text_lines(path)), strict=True)
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
    for number, line in text_lines(path):
        if not line.strip():
            continue
        empty = False
        row = json_value(line, f"{path}, line {number}", _ONE_A_LINE, bounded=False)
        if not isinstance(row, dict):
            raise TombolaError(f"{path}, line {number} is no JSON object; {_ONE_A_LINE}")
        yield number, row
    if empty:
        raise TombolaError(f"{path} is empty; give a file with one JSON object a line")
