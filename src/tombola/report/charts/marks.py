"""Words and marks that several charts share."""

from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from tombola.tickets.ticket import TICKETS

Side = Literal["left", "right"]

ROW = 26
"""Height of a layer in pixels."""

GAP = 0.06
"""Space between cells, as a share of a cell."""

Datum = dict[str, str | float | int | bool | None]


def data(rows: Sequence[Datum]) -> alt.InlineData:
    """Rows as inline data; Altair writes them once for all the layers that share them."""
    return alt.InlineData(values=list(rows))


def overlay(*layers: alt.Chart, height: int, **properties: Any) -> alt.LayerChart:
    """Layers over one another, the last on top, at a height in pixels."""
    return alt.LayerChart(layer=list(layers), height=height, **properties)


def ticket_color(field: str = "ticket") -> alt.Color:
    """A ticket's colour, the same in every chart; the axis names the tickets, so there is no legend."""
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=list(TICKETS), range="category"), legend=None)


def layer_axis(names: Sequence[str]) -> alt.Y:
    """The field `row` as rows of these names, top to bottom."""
    # A name that is no number says for itself what it names.
    title = "layer" if all(name.isdecimal() for name in names) else None
    axis = alt.Axis(domain=False, ticks=False, labelOverlap=False)
    return alt.Y("row:N", title=title, scale=alt.Scale(domain=list(names), padding=GAP), axis=axis)


def rule_at(value: float, style: str) -> alt.Chart:
    """A vertical reference line."""
    chart: alt.Chart = alt.Chart(data([{"at": value}])).mark_rule(style=style).encode(x="at:Q")
    return chart


def note_above(value: float, text: str, line: int, align: Side) -> alt.Chart:
    """A word for a vertical reference line, on one of the lines of text above the plot (0 is the lowest)."""
    chart: alt.Chart = (
        alt.Chart(data([{"at": value, "text": text}]))
        .mark_text(style="note", align=align, baseline="bottom", dy=-5 - 16 * line, dx=4 if align == "left" else -4)
        .encode(x="at:Q", y=alt.value(0), text="text:N")
    )
    return chart
