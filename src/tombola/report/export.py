"""A report's figures and tables as files for a paper: SVG, PNG and PDF, CSV and LaTeX."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from tombola.foundations.atomic_files import publish, write_bytes, write_text
from tombola.foundations.errors import visible
from tombola.report import number_format
from tombola.report.build import page_of
from tombola.report.charts.vega import pictures
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.table import Column, Table

_MARKUP = re.compile(r"([\\`*_\[\]<>&])")
_FORMULA = (*"=+-@", *"＝＋－＠")
"""A sheet takes the wide ones for the others."""
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        # At the beginning of a line they would be an argument of the line break before them.
        **{sign: f"{{{sign}}}" for sign in "[]*"},
        # In the old encoding of fonts these are other characters.
        **{sign: f"${sign}$" for sign in "<>|"},
        '"': "''",
        "±": r"$\pm$",
        "−": "$-$",
        "×": r"$\times$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "–": "--",
        "’": "'",
    }
)


def export(folder: Path, out: Path) -> list[str]:
    """Write the figures and tables of a folder's report into a new folder, with an `index.md`, and return their names.

    They are made anew from the results, not read from `report.html`, which may be older.

    Args:
        folder: of a study, a comparison or a transfer.
        out: a new folder: `figures/*.svg`, `*.png` and `*.pdf`, `tables/*.csv` and `*.tex`.

    Raises:
        TombolaError: as `report.build`; or `out` exists or cannot be written.
    """
    registry = FigureRegistry()
    page_of(folder, registry)
    files: list[str] = []
    index = ["# Figures and tables", ""]
    with publish(out) as draft:
        for name, found in pictures({name: chart for name, (chart, _) in registry.charts.items()}):
            index.append(f"- `figures/{name}.svg`, `.png`, `.pdf`: {_plain(registry.charts[name][1])}")
            for ending, picture in found.items():
                files.append(f"figures/{name}.{ending}")
                write_bytes(draft / files[-1], picture)
        for name, table in registry.tables.items():
            files += [f"tables/{name}{ending}" for ending in (".csv", ".tex")]
            index.append(f"- `{files[-2]}`, `.tex`: {_plain(table.title)}")
            write_text(draft / files[-2], table_csv(table))
            write_text(draft / files[-1], latex(table, name))
        files.append("index.md")
        write_text(draft / files[-1], "\n".join([*index, "", "The LaTeX tables need the package booktabs.", ""]))
    return files


def _plain(text: str) -> str:
    return _MARKUP.sub(r"\\\1", visible(" ".join(text.split())))


def table_csv(table: Table) -> str:
    """The table as CSV for programs: plain numbers, and no cell where there is no value.

    An apostrophe stands before a text that a spreadsheet would take for a formula.
    """
    heads = [_text(f"{one.name} ({one.unit})" if one.unit else one.name) for one in table.columns]
    rows = [[_value(text, column) for text, column in zip(row, table.columns, strict=True)] for row in table.rows()]
    frame = pd.DataFrame(rows, columns=range(len(heads)))
    return str(frame.to_csv(index=False, header=heads, lineterminator="\n"))


def _value(text: str, column: Column) -> str:
    """A cell; text is a user's and stays as it is, unless it is a formula."""
    if not column.numeric:
        return _text(text)
    if text == number_format.MISSING:
        return ""
    plain = _THOUSANDS.sub("", text.replace("−", "-").replace("\u00a0", " "))
    return plain.removeprefix("± ").removesuffix(f" {column.unit}" if column.unit else "")


def _text(text: str) -> str:
    """A text as a cell: no formula, and no return without a line feed, which would not be quoted but end the line."""
    text = visible("\n".join(text.replace("\r\n", "\n").split("\r")))
    return f"'{text}" if text.strip().startswith(_FORMULA) else text


def markdown(table: Table) -> str:
    """The table as Markdown."""
    heads = [one.name for one in table.columns]
    marks = ["---:" if one.numeric else "---" for one in table.columns]
    lines = [[_plain(cell).replace("|", "\\|") for cell in row] for row in (heads, *table.rows())]
    return "".join(f"| {' | '.join(line)} |\n" for line in (lines[0], marks, *lines[1:]))


def latex(table: Table, label: str) -> str:
    r"""The table as LaTeX in an environment of its own, with its title as the caption and a `\label{tab:label}`."""
    heads = [_escape(column.name) for column in table.columns]
    names = sum(column.naming for column in table.columns)
    rows = [[_escape(text) for text in row] for row in _sparse(table.rows(), names)]
    # Numbers stand for the columns, as two of them may have the same head.
    frame = pd.DataFrame(rows, columns=range(len(heads)))
    return str(
        frame.style.hide(axis="index")
        .format_index(lambda number: heads[number], axis="columns")
        .to_latex(
            column_format="".join("r" if column.content == "number" else "l" for column in table.columns),
            hrules=True,
            caption=_escape(table.title),
            label=f"tab:{label}",
            position_float="centering",
        )
    )


def _sparse(rows: Iterable[tuple[str, ...]], names: int) -> Iterator[tuple[str, ...]]:
    """Rows in which a name, one of the first `names` cells, is only written where it changes."""
    before: tuple[str, ...] = ()
    for row in rows:
        same = 0
        while same < names and row[: same + 1] == before[: same + 1]:
            same += 1
        yield ("",) * same + row[same:]
        before = row


def _escape(text: str) -> str:
    # An empty line would end a paragraph in the middle of a table, and no control character can be set.
    return " ".join("".join(one if one.isprintable() else " " for one in text).split()).translate(_LATEX)
