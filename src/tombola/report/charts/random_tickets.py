"""The scores of many random tickets at several sizes, and of the searched ticket among them."""

from collections.abc import Sequence

import altair as alt

from tombola.analysis.locality.random_tickets import RandomTickets, SizeScores
from tombola.report import number_format
from tombola.report.charts.marks import Datum, data, note_above, overlay, rule_at

_LINE = 44
"""Height of one size, in pixels."""


def random_dots(sizes: Sequence[tuple[str, Sequence[tuple[RandomTickets, SizeScores]]]], metric: str) -> alt.LayerChart:
    """A line a size: a dot for every random ticket, a diamond for each seed's searched one, full and floor as lines.

    Args:
        sizes: what a size is called, and its scores seed by seed.
        metric: the score's name in words.
    """
    drawn: list[Datum] = []
    searched: list[Datum] = []
    for label, seeds in sizes:
        for number, (_, size) in enumerate(seeds):
            for draw, score in enumerate(size.scores):
                # Dots of one size are spread over the height of their line, evenly and always in the same way.
                spread = (draw * len(seeds) + number) * 0.618 % 1
                drawn.append({"size": label, "score": score, "spread": spread, "text": number_format.score(score)})
            searched.append({"size": label, "score": size.searched, "text": number_format.score(size.searched)})
    everyone = [found for _, seeds in sizes for found, _ in seeds]
    full, floor = (
        sum(values) / len(values) for values in zip(*((one.full, one.floor) for one in everyone), strict=True)
    )
    names = [label for label, _ in sizes]
    x = alt.X("score:Q", title=metric, scale=alt.Scale(zero=False, nice=True, padding=8), axis=alt.Axis(tickCount=6))
    y = alt.Y(
        "size:N",
        title=None,
        sort=names,
        scale=alt.Scale(paddingInner=0.3),
        axis=alt.Axis(domain=False, ticks=False, labelLimit=230, labelExpr="split(datum.label, '~')"),
    )
    offset = alt.YOffset("spread:Q", scale=alt.Scale(domain=[-0.15, 1.15]))
    color = alt.Color("kind:N", scale=alt.Scale(domain=["searched", "random"], range="category"), legend=None)
    shape = alt.Shape(
        "kind:N",
        scale=alt.Scale(domain=["searched", "random"], range=["diamond", "circle"]),
        legend=alt.Legend(title=None, orient="top", symbolSize=90),
    )
    for row in drawn:
        row["kind"] = "random"
    for row in searched:
        row["kind"] = "searched"
    tooltip = [alt.Tooltip("kind:N", title="ticket"), alt.Tooltip("text:N", title=metric)]
    return overlay(
        alt.Chart(data(drawn))
        .mark_point(filled=True, size=30, opacity=0.55)
        .encode(x=x, y=y, yOffset=offset, color=color, shape=shape, tooltip=tooltip),
        alt.Chart(data(searched))
        .mark_point(filled=True, size=130, opacity=1)
        .encode(x=x, y=y, color=color, shape=shape, tooltip=tooltip),
        rule_at(floor, "threshold"),
        rule_at(full, "reference"),
        note_above(full, f"full model {number_format.score(full)}", 0, "right"),
        note_above(floor, f"threshold {number_format.score(floor)}", 1, "right"),
        height=_LINE * len(names),
    )
