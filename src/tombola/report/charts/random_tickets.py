"""The scores of many random tickets at several sizes, and of the searched ticket among them."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from tombola.analysis.locality.random_tickets import RandomTickets, SizeScores
from tombola.report import number_format
from tombola.report.charts.axes import BROKEN, name_axis, score_axis, top_legend
from tombola.report.charts.marks import Datum, data, note_above, overlay, rule_at, tips

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
                drawn.append({**_dot(label, "random", score), "spread": spread})
            searched.append(_dot(label, "searched", size.searched))
    everyone = [found for _, seeds in sizes for found, _ in seeds]
    full, floor = (sum(getattr(one, name) for one in everyone) / len(everyone) for name in ("full", "floor"))
    names = [label for label, _ in sizes]
    x = score_axis(metric, padding=8, ticks=6)
    y = name_axis("size", 230, names, alt.Scale(paddingInner=0.3), **BROKEN)
    offset = alt.YOffset("spread:Q", scale=alt.Scale(domain=[-0.15, 1.15]))
    kinds = ["searched", "random"]
    color = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range="category"), legend=None)
    shapes = alt.Scale(domain=kinds, range=["diamond", "circle"])
    shape = alt.Shape("kind:N", scale=shapes, legend=top_legend(symbolSize=90))
    looks: dict[str, Any] = {
        "x": x,
        "y": y,
        "color": color,
        "shape": shape,
        "tooltip": tips(kind="ticket", text=metric),
    }
    return overlay(
        alt.Chart(data(drawn)).mark_point(filled=True, size=30, opacity=0.55).encode(yOffset=offset, **looks),
        alt.Chart(data(searched)).mark_point(filled=True, size=130, opacity=1).encode(**looks),
        rule_at(floor, "threshold"),
        rule_at(full, "reference"),
        note_above(full, f"full model {number_format.score(full)}", 0, "right"),
        note_above(floor, f"threshold {number_format.score(floor)}", 1, "right"),
        height=_LINE * len(names),
    )


def _dot(size: str, kind: str, score: float) -> Datum:
    return {"size": size, "score": score, "text": number_format.score(score), "kind": kind}
