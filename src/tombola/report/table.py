"""A table of the page as a value: what it says, apart from how HTML, CSV or LaTeX writes it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self


@dataclass(frozen=True)
class Column:
    """Column of a table.

    Attributes:
        name: its head.
        content: what its cells are. A `group`, a `head` and its `details` name several lines at once: on the page a
            group is a line across the table, and details are small print under the head. A `number` stands on the
            right, an `interval` beside the number that it belongs to.
        strong: whether its cells catch the eye.
        shown: False where the page has no head over cells that speak for themselves.
        unit: that all its cells have behind their number.
    """

    name: str
    content: Literal["group", "head", "details", "text", "number", "interval"] = "text"
    strong: bool = False
    shown: bool = True
    unit: str = ""

    @property
    def naming(self) -> bool:
        """True if its cells name lines."""
        return self.content in ("group", "head", "details")

    @property
    def numeric(self) -> bool:
        """True if its cells are numbers as `number_format` writes them."""
        return self.content in ("number", "interval")


def texts(*names: str) -> tuple[Column, ...]:
    """Columns of texts."""
    return tuple(Column(name) for name in names)


def numbers(*names: str) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(name, "number") for name in names)


@dataclass(frozen=True)
class Noted:
    """A cell with a note that is shown when it is pointed at."""

    text: str
    note: str


@dataclass(frozen=True)
class Block:
    """Lines under one head.

    Attributes:
        lines: the cells of each, without the head's.
        head: the head and its details; empty in a table without heads.
        ticket: whose lines they are, where that is to be seen.
        swatch: whether the ticket's colour in the charts stands before the head.
    """

    lines: tuple[tuple[str | Noted, ...], ...]
    head: tuple[str, ...] = ()
    ticket: str = ""
    swatch: bool = False


@dataclass(frozen=True)
class Body:
    """Blocks that belong together.

    Attributes:
        blocks: at least one.
        group: their name, empty where they need none; None in a table without groups.
    """

    blocks: tuple[Block, ...]
    group: str | None = None


@dataclass(frozen=True)
class Table:
    """Table of a page: title, columns and lines.

    Attributes:
        title: what it shows, for people who cannot see it and for lists of tables.
        columns: that of the groups, of the heads and of their details first, as far as there are any.
        bodies: the content.
        style: its classes in the page's style sheet.
    """

    title: str
    columns: tuple[Column, ...]
    bodies: tuple[Body, ...]
    style: str = "finer"

    @classmethod
    def of(cls, title: str, columns: Sequence[Column], lines: Iterable[Sequence[str]], style: str = "finer") -> Self:
        """A table without groups; where the first column has heads, each has a single line."""
        found = tuple(tuple(line) for line in lines)
        headed = columns[0].content == "head"
        blocks = [Block((line[1:],), line[:1]) for line in found] if headed else [Block(found)]
        return cls(title, tuple(columns), (Body(tuple(blocks)),), style)

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Every line whole, with a text for each column: what names several lines stands in each of them."""
        for body in self.bodies:
            group = () if body.group is None else (body.group,)
            for block in body.blocks:
                for line in block.lines:
                    yield *group, *block.head, *(cell.text if isinstance(cell, Noted) else cell for cell in line)
