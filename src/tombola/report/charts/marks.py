"""Data, marks and tooltips that several charts share."""

from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from tombola.tickets.ticket import TICKETS

Side = Literal["left", "right"]

Datum = dict[str, str | float | int | bool | None]


def data(rows: Sequence[Datum]) -> alt.InlineData:
    """Rows as inline data; Altair writes them once for all the layers that share them."""
    return alt.InlineData(values=list(rows))


def overlay(*layers: alt.Chart, height: int, **properties: Any) -> alt.LayerChart:
    """Layers over one another, the last on top, at a height in pixels."""
    return alt.LayerChart(layer=list(layers), height=height, **properties)


def tips(**titles: str) -> list[alt.Tooltip]:
    """Tooltips of texts: field → title."""
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in titles.items()]


def ticket_color(field: str = "ticket") -> alt.Color:
    """A ticket's colour, the same in every chart; the axis names the tickets, so there is no legend."""
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=list(TICKETS), range="category"), legend=None)


def heat_map(
    cells: Sequence[Datum],
    axes: tuple[alt.X, alt.Y],
    color: alt.Color,
    tooltip: Sequence[alt.Tooltip],
    *marks: alt.Chart,
    height: int,
    labelled: bool = False,
) -> alt.LayerChart:
    """Cells in rows and columns, coloured.

    Args:
        cells: their data; where they are labelled, with a `text`, and `strong` where the colour is dark.
        axes, color, tooltip: of the cells.
        marks: over the cells.
        height: in pixels.
        labelled: write the text into each cell, in the ink that is read better on its colour.
    """
    base = alt.Chart(data(cells)).encode(x=axes[0], y=axes[1], tooltip=list(tooltip))
    texts = [
        base.transform_filter(alt.datum.strong == strong).mark_text(style=style).encode(text="text:N")
        for strong, style in ((False, "on-low"), (True, "on-high"))
        if labelled
    ]
    return overlay(base.mark_rect(cornerRadius=2).encode(color=color), *texts, *marks, height=height)


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
