"""A table as CSV for programs: plain numbers, and no cell where there is no value."""

import re

import pandas as pd

from tombola.report import number_format
from tombola.report.tables.table import Column, Table

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")


def table_csv(table: Table) -> str:
    """The table, a line for each of its lines."""
    heads = [f"{column.name} ({column.unit})" if column.unit else column.name for column in table.columns]
    rows = [[_value(text, column) for text, column in zip(row, table.columns, strict=True)] for row in table.rows()]
    frame = pd.DataFrame(rows, columns=range(len(heads)))
    return str(frame.to_csv(index=False, header=heads, lineterminator="\n"))


def _value(text: str, column: Column) -> str:
    """A cell; text is a user's and stays as it is."""
    if not column.numeric:
        return text
    if text == number_format.MISSING:
        return ""
    plain = _THOUSANDS.sub("", text.replace("−", "-").replace("\u00a0", " "))
    return plain.removeprefix("± ").removesuffix(f" {column.unit}" if column.unit else "")
