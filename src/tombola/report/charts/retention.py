"""Charts of retained abilities, against how much of the model is gone or left."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import altair as alt

from tombola.report.charts.parts import Datum, data, overlay, removed_axis, top_legend

_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
_LEFT = "million parameters left"
_LOWEST, _HIGHEST = -0.1, 1.15
"""Shares at the ends of the axis."""
Against = Literal["sparsity", "parameters"]


@dataclass(frozen=True)
class RetentionPoint:
    """Point of a line in the chart of retention.

    Attributes:
        line: what it belongs to: an ability, or a method.
        sparsity: share of the prunable weights that is gone.
        parameters: millions of parameters that are left, zeros not counted.
        share: of the full model's value.
        low, high: its interval; None where there is none.
        text: the value in words.
    """

    line: str
    sparsity: float
    parameters: float
    share: float
    low: float | None
    high: float | None
    text: str


def retention_lines(
    points: Sequence[RetentionPoint],
    names: Sequence[str],
    threshold: float,
    *,
    title: str,
    against: Against = "sparsity",
    height: int = 280,
) -> alt.LayerChart:
    """A line for each name, with its interval as a band; 1 is the full model, 0 chance.

    The legend has the order of `names`; `threshold` is a line at the share that should be kept, `title` of the values.
    """
    rows: list[Datum] = [
        {
            **vars(point),
            # What is far below chance is as bad as chance: the axis must not be spent on it.
            "shown": _shown(point.share),
            "low": None if point.low is None else _shown(point.low),
            "high": None if point.high is None else _shown(point.high),
        }
        for point in points
    ]
    y = alt.Y(
        "shown:Q",
        title=title,
        scale=alt.Scale(domainMin=_LOWEST, domainMax=_HIGHEST, nice=False, clamp=True),
        axis=alt.Axis(format="~%", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    legend = top_legend(direction="horizontal", columns=2, symbolSize=80, symbolOpacity=1, labelLimit=260)
    color = alt.Color("line:N", scale=alt.Scale(domain=list(names), range="symbol"), legend=legend)
    shapes = [_SHAPES[number % len(_SHAPES)] for number in range(len(names))]
    shape = alt.Shape("line:N", scale=alt.Scale(domain=list(names), range=shapes), legend=legend)
    tooltip = [
        alt.Tooltip("line:N", title=" "),
        alt.Tooltip("sparsity:Q", title="removed", format=".1%"),
        alt.Tooltip("parameters:Q", title=_LEFT, format=".1f"),
        alt.Tooltip("text:N", title="kept"),
    ]
    base = alt.Chart(data(rows)).encode(x=removed_axis() if against == "sparsity" else _left_axis())
    return overlay(
        *_line_across(threshold, f"{100 * threshold:g} % kept", "threshold"),
        *_line_across(0.0, "chance", "chance"),
        base.transform_filter("datum.low !== null && datum.high !== null")
        .mark_area(opacity=0.15)
        .encode(y=alt.Y("low:Q"), y2="high:Q", color=color),
        base.mark_line(strokeWidth=2).encode(y=y, color=color, order="sparsity:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(y=y, color=color, shape=shape, tooltip=tooltip),
        height=height,
    )


def _left_axis() -> alt.X:
    """Parameters that are left, the most of them on the left."""
    scale = alt.Scale(zero=False, nice=True, reverse=True)
    return alt.X("parameters:Q", title=_LEFT, scale=scale, axis=alt.Axis(tickCount=6, grid=False))


def _line_across(share: float, text: str, style: str) -> tuple[alt.Chart, alt.Chart]:
    base = alt.Chart(data([{"at": share, "text": text}])).encode(y=alt.Y("at:Q"))
    note = base.mark_text(style="note", align="left", baseline="top", dx=4, dy=4)
    return base.mark_rule(style=style), note.encode(x=alt.value(0), text="text:N")


def _shown(share: float) -> float:
    return min(_HIGHEST, max(_LOWEST, share))
