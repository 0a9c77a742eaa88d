"""Tables in the terminal without rules between cells, in which no text is read as markup or as a control sequence."""

from collections.abc import Iterable

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
