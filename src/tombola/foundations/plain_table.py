"""Tables in the terminal without rules between cells, in which no text is read as markup or as a control sequence."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self, cast

from rich.table import Table
from rich.text import Text

from tombola.foundations.errors import printable


class PlainTable(Table):
    """Table without rules, with a title above it and `gap` spaces between columns."""

    def __init__(self, title: str = "", *, gap: int = 1) -> None:
        super().__init__(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim", title_justify="left")
        self.title = Text(printable(title)) if title else None

    def heads(self, *names: str, numbers: Iterable[str] = ()) -> None:
        """Add columns, texts first and then numbers, which stand on the right."""
        for name in names:
            self.add_column(Text(printable(name)))
        for name in numbers:
            self.add_column(Text(printable(name)), justify="right")

    def line(self, *cells: str | Text, style: str = "") -> None:
        """Add a line of cells; a `Text` may be of several lines."""
        self.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in cells), style=style)

    def entry(self) -> "TableEntry":
        """Record, from which `of_entry` makes the table again: texts of one line, in styles of `Style`."""
        columns = [(str(one.header), one.justify, one.no_wrap) for one in self.columns]
        cells = zip(*([_text(cell) for cell in column.cells] for column in self.columns), strict=True)
        lines = [(list(one), cast(Style, str(row.style or ""))) for one, row in zip(cells, self.rows, strict=True)]
        return TableEntry(str(self.title or ""), columns, lines)

    @classmethod
    def of_entry(cls, entry: "TableEntry") -> Self:
        """The table that `entry` is of."""
        table = cls(entry.title)
        for header, justify, no_wrap in entry.columns:
            table.add_column(Text(printable(header)), justify=justify, no_wrap=no_wrap)
        for cells, style in entry.lines:
            table.line(*(Text(printable(text), style=own) for text, own in cells), style=style)
        return table


Justify = Literal["default", "left", "center", "right", "full"]
Style = Literal["", "bold", "bold green", "bold underline", "dim", "red"]
"""Styles of cells and lines that a record may name: a link, which Rich takes for a style too, is none."""


@dataclass(frozen=True)
class TableEntry:
    """Record of a table, for a JSON file.

    Attributes:
        title: above it.
        columns: header, justification, and whether it is never wrapped.
        lines: cells, each a text and its style; and the style of the line.
    """

    title: str
    columns: list[tuple[str, Justify, bool]]
    lines: list[tuple[list[tuple[str, Style]], Style]]


def _text(cell: object) -> tuple[str, Style]:
    """A cell's text and style."""
    text = cell if isinstance(cell, Text) else Text(str(cell))
    return text.plain, cast(Style, str(text.style))
