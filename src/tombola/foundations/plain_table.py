"""Tables in the terminal without rules between cells, in which no text is read as markup or as a control sequence."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

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

    def entry(self) -> dict[str, Any]:
        """JSON object, from which `of_entry` makes the table again."""
        columns = [{"header": str(one.header), "justify": one.justify, "no_wrap": one.no_wrap} for one in self.columns]
        cells = zip(*([_text(cell) for cell in column.cells] for column in self.columns), strict=True)
        lines = [{"cells": one, "style": str(row.style or "")} for one, row in zip(cells, self.rows, strict=True)]
        return {"title": str(self.title or ""), "columns": columns, "lines": lines}

    @classmethod
    def of_entry(cls, values: Mapping[str, Any]) -> Self:
        """The table that `entry` is of."""
        table = cls(values["title"])
        for one in values["columns"]:
            table.add_column(Text(one["header"]), justify=one["justify"], no_wrap=one["no_wrap"])
        for line in values["lines"]:
            table.add_row(*(Text.from_markup(text, style=style) for text, style in line["cells"]), style=line["style"])
        return table


def _text(cell: object) -> tuple[str, str]:
    """A cell's text, as markup, and style."""
    text = cell if isinstance(cell, Text) else Text(str(cell))
    return text.markup, str(text.style)
