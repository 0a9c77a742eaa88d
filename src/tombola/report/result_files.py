"""Texts and files of a table of results: for people, for a paper, for other programs."""

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from tombola.foundations.figures import figures
from tombola.foundations.plain_table import PlainTable
from tombola.report import number_format
from tombola.report.export import latex, markdown, table_csv
from tombola.report.table import Column, Table


def records(found: pa.Table) -> list[dict[str, Any]]:
    """Rows as JSON values; numbers that JSON has not are None, and values of other types texts."""
    return [dict(zip(found.column_names, line, strict=True)) for line in _lines(found)]


def plain_table(found: pa.Table) -> PlainTable:
    """The table for a terminal."""
    shown, table = PlainTable(gap=2), _table(found)
    for column in table.columns:
        shown.heads(*[] if column.numeric else [column.name], numbers=[column.name] if column.numeric else [])
    for row in table.rows():
        shown.line(*row)
    return shown


def _json(found: pa.Table) -> str:
    return json.dumps(records(found), indent=2) + "\n"


def _parquet(found: pa.Table) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(found, buffer)
    return buffer.getvalue()


FILES: Mapping[str, tuple[str, Callable[[pa.Table], str | bytes]]] = MappingProxyType(
    {
        "csv": (".csv", lambda found: table_csv(_table(found, exact=True))),
        "json": (".json", _json),
        "latex": (".tex", lambda found: latex(_table(found), "results")),
        "markdown": (".md", lambda found: markdown(_table(found))),
        "parquet": (".parquet", _parquet),
    }
)
"""Format → ending of its files, and what writes one."""


def _table(found: pa.Table, *, exact: bool = False) -> Table:
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    columns = [
        Column(one.name, "number" if any(true_of(one.type) for true_of in numeric) else "text") for one in found.schema
    ]
    lines = ([_text(value, one, exact) for value, one in zip(line, columns, strict=True)] for line in _lines(found))
    return Table.of("Results", columns, lines)


def _text(value: Any, column: Column, exact: bool) -> str:
    if value is None:
        return number_format.MISSING if column.numeric else ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not exact:
        return figures(value, 3)
    return json.dumps(value)


def _lines(found: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Rows of JSON values; by columns, of which a query may give two the same name."""
    columns = (column.to_pylist(maps_as_pydicts="lossy") for column in found.columns)
    return zip(*([_plain(value) for value in column] for column in columns), strict=True)


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(name): _plain(one) for name, one in value.items()}
        case list():
            return [_plain(one) for one in value]
    return str(value)
