"""A report's figures and tables as files for a paper: SVG, CSV and LaTeX."""

import re
from pathlib import Path

import pandas as pd

from tombola.foundations.atomic_files import publish, write_text
from tombola.report import number_format
from tombola.report.build import page_of
from tombola.report.charts.vega import svg
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.tables.latex import latex
from tombola.report.tables.table import Column, Table

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")
_MARKUP = re.compile(r"([\\`*_\[\]<>&])")


def export(folder: Path, out: Path) -> list[str]:
    """Write the figures and tables of a folder's report into a new folder, with an `index.md`, and return their names.

    They are made anew from the results, not read from `report.html`, which may be older.

    Args:
        folder: of a study, a comparison or a transfer.
        out: a new folder: `number_format/*.svg`, `tables/*.csv` and `tables/*.tex`.

    Raises:
        TombolaError: as `report.build`; or `out` exists or cannot be written.
    """
    registry = FigureRegistry()
    page_of(folder, registry)
    files: list[str] = []
    index = ["# Figures and tables", ""]
    with publish(out) as draft:
        for name, (chart, label) in registry.charts.items():
            files.append(f"figures/{_safe(name)}.svg")
            index.append(f"- `{files[-1]}`: {_plain(label)}")
            write_text(draft / files[-1], svg(chart))
        for name, table in registry.tables.items():
            files += [f"tables/{_safe(name)}{ending}" for ending in (".csv", ".tex")]
            index.append(f"- `{files[-2]}`, `.tex`: {_plain(table.title)}")
            write_text(draft / files[-2], _csv(table))
            write_text(draft / files[-1], latex(table, _safe(name)))
        files.append("index.md")
        write_text(draft / files[-1], "\n".join([*index, "", "The LaTeX tables need the package booktabs.", ""]))
    return files


def _csv(table: Table) -> str:
    """Table for programs: a line for each line, with plain numbers, and no cell where there is no value."""
    heads = [f"{column.name} ({column.unit})" if column.unit else column.name for column in table.columns]
    rows = [[_value(text, column) for text, column in zip(row, table.columns, strict=True)] for row in table.rows()]
    frame = pd.DataFrame(rows, columns=range(len(heads)))
    return str(frame.to_csv(index=False, header=heads, lineterminator="\n"))


def _value(text: str, column: Column) -> str:
    """A cell for programs; text is a user's and stays as it is."""
    if not column.numeric:
        return text
    if text == number_format.MISSING:
        return ""
    plain = _THOUSANDS.sub("", text.replace("−", "-").replace("\u00a0", " "))
    return plain.removeprefix("± ").removesuffix(f" {column.unit}" if column.unit else "")


def _safe(name: str) -> str:
    """A name that leads to no other folder: parts of it may come from the JSON of others."""
    return re.sub(r"[^a-z0-9-]+", "-", name)


def _plain(text: str) -> str:
    """Text that means nothing else in Markdown."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
