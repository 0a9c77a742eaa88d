"""Tasks by tasks: what their tickets share."""

from collections.abc import Sequence

import altair as alt

from tombola.report import number_format
from tombola.report.charts.marks import GAP, Datum, data, overlay

_CELL = 40
_DARK_FROM = 0.6


def task_matrix(
    tasks: Sequence[str], values: Sequence[Sequence[float | None]], notes: Sequence[Sequence[str]], title: str
) -> alt.LayerChart:
    """A square of shares, coloured and labelled; undefined cells are left out.

    Args:
        tasks: rows and columns.
        values: 0 to 1.
        notes: what a cell's tooltip says beside its value.
        title: of the colours.
    """
    rows: list[Datum] = [
        {
            "row": first,
            "column": second,
            "value": value,
            "text": f"{100 * value:.0f}",
            "exact": number_format.share(value),
            "note": notes[i][j],
            "strong": value > _DARK_FROM,
        }
        for i, first in enumerate(tasks)
        for j, second in enumerate(tasks)
        if (value := values[i][j]) is not None
    ]
    axis = alt.Axis(labelAngle=0, domain=False, ticks=False, labelLimit=160)
    x = alt.X("column:N", title=None, scale=alt.Scale(domain=list(tasks), padding=GAP), axis=axis)
    y = alt.Y("row:N", title=None, scale=alt.Scale(domain=list(tasks), padding=GAP), axis=axis)
    color = alt.Color(
        "value:Q",
        scale=alt.Scale(domain=[0, 1], range="heatmap"),
        legend=alt.Legend(title=title, orient="top", format=".0%", gradientLength=180, tickCount=3),
    )
    tooltip = [
        alt.Tooltip("row:N", title="task"),
        alt.Tooltip("column:N", title="and"),
        alt.Tooltip("exact:N", title="share"),
        alt.Tooltip("note:N", title="random tickets"),
    ]
    base = alt.Chart(data(rows)).encode(x=x, y=y, tooltip=tooltip)
    return overlay(
        base.mark_rect(cornerRadius=2).encode(color=color),
        base.transform_filter(alt.datum.strong == False).mark_text(style="on-low").encode(text="text:N"),  # noqa: E712
        base.transform_filter(alt.datum.strong == True).mark_text(style="on-high").encode(text="text:N"),  # noqa: E712
        height=_CELL * len(tasks),
    )
