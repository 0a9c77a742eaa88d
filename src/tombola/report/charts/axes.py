"""Axes and legends that several charts share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

ROW = 26
"""Height of a layer in pixels."""

GAP = 0.06
"""Space between cells, as a share of a cell."""

BROKEN: dict[str, Any] = {"labelExpr": "split(datum.label, '~')"}
"""Option of an axis of names that are broken at a `~`."""


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
