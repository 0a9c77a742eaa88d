"""Rows of files: TSV, CSV and JSON (lines, or one array), also compressed by gzip, and Parquet.

CSV has the usual quoting: a quoted field may span lines. Its fields are parted by commas; by semicolons where the
header has those alone, as spreadsheets of many countries write it. TSV has the same quoting where all of the file is
quoted so, as pandas writes it; else, as in GLUE, a `"` is an ordinary character. Text is UTF-8, with or without a
byte-order mark, with either line ending; blank lines are skipped. Every complaint names the file and the line.
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from tombola.foundations.errors import TombolaError, no_such_path, reading
from tombola.foundations.parsing import json_value
from tombola.tasks.data.corpus import Columns, Table, tabulate

_PLAIN = (".tsv", ".csv", ".jsonl", ".json")
SUFFIXES = (*_PLAIN, *(f"{suffix}.gz" for suffix in _PLAIN), ".parquet")
"""Endings of the names of files of rows."""
Row = Mapping[str, object]
LONGEST_LINE = 2**26
"""Bytes of a line of texts, at most."""
_ONE_A_LINE = "write one object a line (JSON lines)"
_BETWEEN = re.compile(r"[\s,]*")
_FIELD = re.compile(r'"(?:[^"]|"")*"|[^"\t\r\n]*')
_QUOTED_ROW = re.compile(rf"(?:{_FIELD.pattern})(?:\t(?:{_FIELD.pattern}))*\r?\n?")


def records(
    path: Path, *, header: Sequence[str] | None = None, skip_malformed: bool = False, raw: bool = False
) -> Iterator[tuple[int, Row]]:
    """The rows of a TSV, CSV or JSON-lines file with their line numbers (the first line is 1).

    Args:
        path: `.csv`, `.json`, `.jsonl` and `.parquet` are what they say, anything else is read as TSV; `.gz` behind
            the others is gzip.
        header: the columns of a file that has no header line.
        skip_malformed: pass over rows of a TSV with a wrong number of columns instead of complaining as `read` does.
        raw: a `"` in a TSV is an ordinary character, even where quoting would explain all of them: of GLUE's own files.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix in (".json", ".jsonl"):
        return json_records(path)
    if suffix == ".parquet":
        return enumerate(parquet_rows(path), start=1)
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


def parquet_rows(path: Path) -> Any:
    """Rows of a Parquet file, as a `datasets.Dataset`, which knows the names of labels where they were saved with it.

    Raises:
        TombolaError: it is missing or damaged.
    """
    import pyarrow.parquet
    from datasets import Dataset

    with reading(path, "write it again"):
        # Not memory-mapped: a file that changes beneath a mapping ends the process.
        return Dataset(pyarrow.parquet.read_table(path, memory_map=False))


def is_rows(path: Path) -> bool:
    """True if a file's name says that it holds rows."""
    return path.name.lower().endswith(SUFFIXES)


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Decoded lines, endings kept, numbered from 1. Only a line feed ends a line, whatever Unicode says."""
    try:
        with _opened(path) as file:
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
        raise TombolaError(no_such_path(path, "check the path")) from None
    except (EOFError, zlib.error) as error:
        raise TombolaError(f"{path} is damaged ({error}); compress it again") from error
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


def _delimiter(path: Path) -> str:
    """Semicolon where the header of a CSV has no other; spreadsheets write it where a comma stands in numbers."""
    header = next((line for _, line in text_lines(path) if line.strip()), "")
    return ";" if ";" in header and len(next(csv.reader([header]))) == 1 else ","


def _csv_fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    start = 1
    try:
        # To find out what delimits, the header is split too.
        reader = csv.reader((line for _, line in text_lines(path)), strict=True, delimiter=_delimiter(path))
        for fields in reader:
            if fields:
                yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise TombolaError(f"{path}, line {start} is malformed CSV: {error}; mend the line") from None


def json_records(path: Path) -> Iterator[tuple[int, Row]]:
    """Objects of a file of any suffix, JSON lines or one array of them, with the numbers of their lines.

    Raises:
        TombolaError: it is missing or malformed.
    """
    empty, lines = True, text_lines(path)
    for number, line in lines:
        if not line.strip():
            continue
        if empty and line.lstrip().startswith("["):
            yield from _array(path, number, line + "".join(rest for _, rest in lines))
            return
        empty = False
        row = json_value(line, f"{path}, line {number}", _ONE_A_LINE, bounded=False)
        if not isinstance(row, dict):
            raise TombolaError(f"{path}, line {number} is no JSON object; {_ONE_A_LINE}")
        yield number, row
    if empty:
        raise _no_object(path)


def _array(path: Path, line: int, text: str) -> Iterator[tuple[int, Row]]:
    """Objects of an array that begins on a line."""
    rows = json_value(text, path, _ONE_A_LINE, bounded=False)
    if not rows:
        raise _no_object(path)
    decoder, end = json.JSONDecoder(), text.index("[") + 1
    for row in rows:
        begin = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]  # it matches nothing, too
        line += text.count("\n", end, begin)
        if not isinstance(row, dict):
            raise TombolaError(f"{path}, line {line} is no JSON object; {_ONE_A_LINE}")
        yield line, row
        _, end = decoder.raw_decode(text, begin)
        line += text.count("\n", begin, end)


def _no_object(path: Path) -> TombolaError:
    return TombolaError(f"{path} is empty; give a file with one JSON object a line")
