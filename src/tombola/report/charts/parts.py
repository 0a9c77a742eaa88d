"""Data, marks, tooltips, axes and legends that several charts share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from tombola.tickets.kinds import TICKETS

ROW = 26
"""Height of a layer in pixels."""
GAP = 0.06
"""Space between cells, as a share of a cell."""
BROKEN: dict[str, Any] = {"labelExpr": "split(datum.label, '~')"}
"""Option of an axis of names that are broken at a `~`."""

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


def ticket_color(legend: alt.Legend | None = None) -> alt.Color:
    """A ticket's colour, the same in every chart; without a legend where the axis names the tickets."""
    return alt.Color("ticket:N", scale=alt.Scale(domain=list(TICKETS), range="category"), legend=legend)


def heat_map(
    cells: Sequence[Datum],
    axes: tuple[alt.X, alt.Y],
    color: alt.Color,
    tooltip: Sequence[alt.Tooltip],
    *marks: alt.Chart,
    height: int,
    labelled: bool = False,
) -> alt.LayerChart:
    """Cells in rows and columns, coloured, with marks over them.

    Where they are `labelled`, each has its `text` in it, in the ink that is read better on its colour (`strong`: dark).
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


@dataclass(frozen=True)
class ScoreAxis:
    """A score on an axis: its name in words, and its direction."""

    metric: str
    higher_is_better: bool

    @property
    def title(self) -> str:
        """Title of the axis."""
        return self.metric if self.higher_is_better else f"{self.metric} (lower is better)"

    def logarithmic(self, values: Sequence[float], ratio: float) -> bool:
        """True for errors of such different sizes that on a linear axis most of them would be one line."""
        return not self.higher_is_better and min(values) > 0 and max(values) > ratio * min(values)


def score_axis(title: str, *, padding: int, ticks: int = 5) -> alt.X:
    """Scores from left to right, with free space of some pixels at both ends."""
    scale = alt.Scale(zero=False, nice=True, padding=padding)
    return alt.X("score:Q", title=title, scale=scale, axis=alt.Axis(tickCount=ticks))


def share_axis(field: str, title: str, **axis: Any) -> alt.X:
    """Shares from 0 to 1 from left to right."""
    shown = alt.Axis(format=".0%", tickCount=5, **axis)
    return alt.X(f"{field}:Q", title=title, scale=alt.Scale(domain=[0, 1], nice=False), axis=shown)


def removed_axis() -> alt.X:
    """Sparsity from left to right."""
    axis = alt.Axis(format="~%", tickCount=6, grid=False)
    return alt.X("sparsity:Q", title="prunable weights removed", scale=alt.Scale(domainMin=0, nice=True), axis=axis)


def name_axis(field: str, width: int, sort: Sequence[str] = (), scale: Any = alt.Undefined, **axis: Any) -> alt.Y:
    """Names from top to bottom, of some pixels at most; without an order of their own in that of the alphabet."""
    shown = alt.Axis(domain=False, ticks=False, labelLimit=width, **axis)
    return alt.Y(f"{field}:N", title=None, sort=list(sort) or alt.Undefined, scale=scale, axis=shown)


def layer_axis(names: Sequence[str]) -> alt.Y:
    """The field `row` as rows of these names, top to bottom."""
    # A name that is no number says for itself what it names.
    title = "layer" if all(name.isdecimal() for name in names) else None
    axis = alt.Axis(domain=False, ticks=False, labelOverlap=False)
    return alt.Y("row:N", title=title, scale=alt.Scale(domain=list(names), padding=GAP), axis=axis)


def site_columns(title: str, names: Sequence[str] = ()) -> alt.X:
    """The field `column` as columns of sites; without names in the order of the data."""
    axis = alt.Axis(labelAngle=0, domain=False, ticks=False, labelOverlap=False, titleAnchor="start", labelPadding=4)
    if names:
        return alt.X("column:N", title=title, scale=alt.Scale(domain=list(names), padding=GAP), axis=axis)
    return alt.X("column:N", title=title, sort=None, scale=alt.Scale(padding=GAP), axis=axis)


def top_legend(title: str | None = None, **options: Any) -> alt.Legend:
    """A legend above the plot."""
    return alt.Legend(title=title, orient="top", **options)


def square_legend(title: str | None = None, **options: Any) -> alt.Legend:
    """A legend above the plot, of squares in the colours of cells or bars."""
    return top_legend(title, symbolType="square", symbolSize=140, **options)


def share_colors(title: str) -> alt.Color:
    """The field `share` as colours from 0 to 1."""
    legend = top_legend(title, format=".0%", gradientLength=180, tickCount=3)
    return alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], range="heatmap"), legend=legend)
