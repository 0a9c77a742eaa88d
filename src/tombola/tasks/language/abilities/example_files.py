"""Rows of files of examples, checked field by field; every complaint names file and line."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tombola.foundations.errors import TombolaError
from tombola.tasks.data.files import json_records, records

Row = Mapping[str, object]


def json_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """The objects of a JSON-lines file with their line numbers.

    Raises:
        TombolaError: the file is missing, empty or not UTF-8, or a line is no JSON object.
    """
    _exists(path)
    yield from json_records(path)


def any_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """The rows of a TSV, CSV or JSON-lines file, by its suffix.

    Raises:
        TombolaError: as `json_rows`.
    """
    _exists(path)
    yield from records(path)


def text_of(row: Row, column: str, path: Path, line: int) -> str:
    """A field that must be there and hold text.

    Raises:
        TombolaError: it is not.
    """
    value = field(row, column, path, line)
    if not isinstance(value, str) or not value.strip():
        raise TombolaError(
            f"{path}, line {line}: {column} holds {value!r}, where a text should be; mend or drop the line"
        )
    return value


def field(row: Row, column: str, path: Path, line: int) -> object:
    """A field that must be there.

    Raises:
        TombolaError: it is not.
    """
    if column not in row:
        raise TombolaError(f"{path}, line {line} has no {column!r}; it has {', '.join(map(str, row)) or 'nothing'}")
    return row[column]


def _exists(path: Path) -> None:
    if not path.is_file():
        raise TombolaError(f"{path} does not exist or is no file; check the path")
