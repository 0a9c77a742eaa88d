"""A table as the page shows it."""

from collections.abc import Iterator, Sequence

from tombola.report.html.layout import scrolling
from tombola.report.html.markup import Html, element
from tombola.report.tables.table import Block, Column, Noted, Table


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
