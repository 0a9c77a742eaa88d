"""The charts and tables of one page: each gets its place there, and is kept under a name for other ways to write it."""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from tombola.foundations.slug import slug, unused
from tombola.report.charts.vega import AnyChart, specification
from tombola.report.html.elements import Html, element, escape, join
from tombola.report.table import Block, Column, Noted, Table


@dataclass
class FigureRegistry:
    """Takes the charts and tables of one page and turns them into HTML.

    Attributes:
        charts: name → chart and what it shows, in the order of the page.
        tables: name → table, in the order of the page.
    """

    charts: dict[str, tuple[AnyChart, str]] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)

    def plot(self, chart: AnyChart, name: str, label: str) -> Html:
        """The place of a chart and its specification; `label` is what it shows, for people who cannot see it.

        `name` is the file name of a saved picture, without ending; what no such name should have becomes a hyphen.
        """
        name = _slug(name, self.charts)
        self.charts[name] = chart, label
        key = f"spec-{len(self.charts)}"
        return join(
            element("div", class_="plot", role="img", aria_label=label, data_spec=key, data_name=name),
            element("script", Html(script_json(specification(chart))), type="application/json", id=key),
        )

    def table(self, table: Table, name: str) -> Html:
        """The table as an element that scrolls by itself; `name` is the file name of a saved one, as for `plot`."""
        name = _slug(name, self.tables)
        self.tables[name] = table
        # A phone scrolls it with a finger; tabindex lets the keyboard scroll it too.
        return element("div", _whole(table), class_="scroll", tabindex="0", role="region", aria_label=table.title)


def script_json(value: object) -> str:
    r"""JSON that cannot end the script element it stands in: every `<` is written \u003c."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _slug(name: str, taken: Collection[str]) -> str:
    """A new name that leads to no other folder: parts of it may come from the JSON of others."""
    return unused(slug(re.sub(r"[^a-z0-9-]+", "-", name.lower())), taken)


def _whole(table: Table) -> Html:
    columns = [column for column in table.columns if column.content not in ("group", "details")]
    heads = (
        element("th", one.name if one.shown else "", scope="col", **_class(one.content if one.numeric else ""))
        for one in columns
    )
    bodies = []
    for body in table.bodies:
        lines = [line for block in body.blocks for line in _lines(block, columns)]
        if body.group:
            group = element("th", body.group, colspan=str(len(columns)), scope="colgroup")
            lines.insert(0, element("tr", group, class_="group"))
        bodies.append(element("tbody", *lines))
    return element("table", element("thead", element("tr", *heads)), *bodies, class_=table.style)


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
    small = [Html("<br>"), element("small", Html("<br>".join(map(escape, details))))] if details else []
    several = len(block.lines) > 1
    spans = {"scope": "rowgroup", "rowspan": str(len(block.lines))} if several else {"scope": "row"}
    return element("th", swatch, name, *small, **spans, **_class("found" if block.swatch else ""))


def _cell(cell: str | Noted, column: Column) -> Html:
    text, note = (cell.text, cell.note) if isinstance(cell, Noted) else (cell, "")
    style = f"{column.content if column.numeric else ''}{' strong' if column.strong else ''}".strip()
    return element("td", text, **_class(style), **({"title": note} if note else {}))


def _class(style: str) -> dict[str, str]:
    return {"class": style} if style else {}
