"""Layer by layer: how close a ticket's representations stay to the full model's, and what a probe reads from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from tombola.report import number_format
from tombola.report.charts.parts import Datum, data, overlay, ticket_color, tips, top_legend
from tombola.report.labels import model_title
from tombola.tickets.kinds import TICKETS


@dataclass(frozen=True)
class Point:
    """A value of one layer of one model, with its ends."""

    layer: int
    ticket: str
    stage: str
    value: float
    low: float
    high: float


def layer_lines(points: Sequence[Point], title: str, chance: float | None = None) -> alt.LayerChart:
    """A line a ticket over the layers, dashed where it was retrained; the full model's has the colour of text."""
    rows: list[Datum] = [
        {
            **vars(point),
            "line": f"{point.ticket} {point.stage}",
            "name": model_title(point.ticket, point.stage),
            "text": "{} ({} to {})".format(*map(number_format.score, (point.value, point.low, point.high))),
        }
        for point in points
    ]
    found = [row for row in rows if row["ticket"] in TICKETS]
    reference = [row for row in rows if row["ticket"] not in TICKETS]
    last = max(point.layer for point in points)
    x = alt.X(
        "layer:Q",
        title="layers passed (0: the embeddings)",
        scale=alt.Scale(domain=[-0.15, last + 0.15], nice=False),
        axis=alt.Axis(values=list(range(0, last + 1, max(1, last // 12))), format="d", grid=False),
    )
    y = alt.Y("value:Q", title=title, scale=alt.Scale(zero=False, nice=True, padding=8), axis=alt.Axis(tickCount=5))
    dash = alt.StrokeDash(
        "stage:N",
        scale=alt.Scale(domain=["pruned", "retrained"], range=[[1, 0], [5, 4]]),
        legend=alt.Legend(title=None, orient="bottom", symbolStrokeWidth=2),
    )
    passed = alt.Tooltip("layer:Q", title="layers passed")
    tooltip = [*tips(name="model"), passed, *tips(text=title)]
    base = alt.Chart(data(found)).encode(x=x, detail="line:N", tooltip=tooltip)
    color = ticket_color().legend(top_legend(symbolType="circle"))
    layers = [
        base.mark_rule(opacity=0.35).encode(y=alt.Y("low:Q"), y2="high:Q", color=color),
        base.mark_line(strokeWidth=2).encode(y=y, color=color, strokeDash=dash),
        base.mark_point(filled=True, size=40, opacity=1).encode(y=y, color=color),
    ]
    if reference:
        full = alt.Chart(data(reference)).encode(x=x, tooltip=tooltip)
        layers += [
            full.mark_line(style="reference").encode(y=y),
            full.mark_point(style="seed", filled=True, size=30, opacity=1).encode(y=y),
        ]
    if chance is not None:
        layers.append(alt.Chart(data([{"chance": chance}])).mark_rule(style="chance").encode(y="chance:Q"))
    return overlay(*layers, height=260)
