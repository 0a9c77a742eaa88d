"""A table of the page as a value: what it says, apart from how HTML, CSV or LaTeX writes it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from tombola.report.html.layout import scrolling
from tombola.report.html.markup import Html, element


@dataclass(frozen=True)
class Column:
    """Column of a table.

    Attributes:
        name: its head.
        kind: what its cells are. A `group`, a `head` and its `details` name several lines at once: on the page a group
            is a line across the table, and details are small print under the head. A `number` stands on the right, an
            `interval` beside the number that it belongs to.
        strong: whether its cells catch the eye.
        shown: False where the page has no head over cells that speak for themselves.
        unit: that all its cells have behind their number.
    """

    name: str
    kind: Literal["group", "head", "details", "text", "number", "interval"] = "text"
    strong: bool = False
    shown: bool = True
    unit: str = ""

    @property
    def naming(self) -> bool:
        """True if its cells name lines."""
        return self.kind in ("group", "head", "details")

    @property
    def numeric(self) -> bool:
        """True if its cells are numbers as `number_format` writes them."""
        return self.kind in ("number", "interval")


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
        headed = columns[0].kind == "head"
        blocks = [Block((line[1:],), line[:1]) for line in found] if headed else [Block(found)]
        return cls(title, tuple(columns), (Body(tuple(blocks)),), style)

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Every line whole, with a text for each column: what names several lines stands in each of them."""
        for body in self.bodies:
            group = () if body.group is None else (body.group,)
            for block in body.blocks:
                for line in block.lines:
                    yield *group, *block.head, *(cell.text if isinstance(cell, Noted) else cell for cell in line)


def table_html(table: Table) -> Html:
    """The table as the page shows it."""
    columns = [column for column in table.columns if column.kind not in ("group", "details")]
    heads = (
        element("th", one.name if one.shown else "", scope="col", **_class(one.kind if one.numeric else ""))
        for one in columns
    )
    bodies = []
    for body in table.bodies:
        lines = [line for block in body.blocks for line in _lines(block, columns)]
        if body.group:
            group = element("th", body.group, colspan=str(len(columns)), scope="colgroup")
            lines.insert(0, element("tr", group, class_="group"))
        bodies.append(element("tbody", *lines))
    whole = element("table", element("thead", element("tr", *heads)), *bodies, class_=table.style)
    return scrolling(whole, table.title)


def _lines(block: Block, columns: Sequence[Column]) -> Iterator[Html]:
    """The lines of a block; the first has its head, for all of them."""
    own = [column for column in columns if not column.naming]
    for number, line in enumerate(block.lines):
        cells = [_cell(cell, column) for cell, column in zip(line, own, strict=True)]
        head = [_head(block)] if block.head and number == 0 else []
        first = "first " if number == 0 else ""
        yield element("tr", *head, *cells, **_class(f"{first}{block.ticket}" if block.ticket else ""))


def _head(block: Block) -> Html:
    name, *details = block.head
    swatch = element("i", class_=f"swatch {block.ticket}") if block.swatch else ""
    small = [Html("<br>"), element("small", *_broken(details))] if details else []
    several = len(block.lines) > 1
    spans = {"scope": "rowgroup", "rowspan": str(len(block.lines))} if several else {"scope": "row"}
    return element("th", swatch, name, *small, **spans, **_class("found" if block.swatch else ""))


def _broken(parts: Sequence[str]) -> Iterator[str]:
    """A line of its own for each part."""
    for number, part in enumerate(parts):
        if number:
            yield Html("<br>")
        yield part


def _cell(cell: str | Noted, column: Column) -> Html:
    text, note = (cell.text, cell.note) if isinstance(cell, Noted) else (cell, "")
    style = f"{column.kind if column.numeric else ''}{' strong' if column.strong else ''}".strip()
    return element("td", text, **_class(style), **({"title": note} if note else {}))


def _class(style: str) -> dict[str, str]:
    """The attribute, where there is anything to say."""
    return {"class": style} if style else {}
