"""The tickets of one method side by side, pruned and retrained."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from tombola.report import number_format
from tombola.report.charts.parts import (
    BROKEN,
    Datum,
    ScoreAxis,
    Side,
    data,
    name_axis,
    note_above,
    overlay,
    rule_at,
    ticket_color,
    tips,
)
from tombola.report.labels import STAGES, TICKET_TITLES
from tombola.report.summary import Summary

_LOG_FROM = 30.0
"""Errors that differ by more than this factor (perplexities do) are drawn as dots on a logarithmic axis."""

_BAR = 30
"""Height of a bar with its share of the space between tickets, in pixels."""


def ticket_bars(
    tickets: Sequence[Summary], full: Summary | None, guessing: Summary | None, score: ScoreAxis
) -> alt.LayerChart:
    """Bars with intervals of tickets of one method, the full model and guessing as lines, the numbers at the right."""
    rows = [_row(summary) for summary in tickets]
    stages = [stage for stage in STAGES if any(summary.stage == stage for summary in tickets)]
    ends = [end for one in (*tickets, full, guessing) if one for end in (one.score, one.low, one.high)]
    logarithmic = score.logarithmic(ends, _LOG_FROM)
    low, high = (min(ends), max(ends)) if logarithmic else (min(0.0, *ends), max(0.0, *ends))
    # A quarter of the axis is kept free at the right for the numbers.
    top = high * (high / low) ** 0.3 if logarithmic else high + 0.3 * (high - low or 1)
    x = alt.X(
        "score:Q",
        title=score.title,
        scale=alt.Scale(type="log" if logarithmic else "linear", domain=[low, top], nice=False, zero=False),
        axis=alt.Axis(tickCount=5, grid=False, values=alt.Undefined if logarithmic else _ticks(low, high)),
    )
    # Long names break into two lines instead of taking half of a phone's width.
    space = alt.Scale(paddingInner=0.28, paddingOuter=0.1)
    y = name_axis("title", 150, [str(row["title"]) for row in rows], space, **BROKEN)
    offset = alt.YOffset("stage:N", sort=stages, scale=alt.Scale(paddingInner=0.12))
    several = any(len(summary.rows) > 1 for summary in tickets)
    tooltip = tips(
        name="ticket",
        stage="stage",
        score_text=score.metric,
        spread="± std over seeds" if several else "95 % interval",
        seeds="seed by seed" if several else "seed",
    )
    base = alt.Chart(data(rows)).encode(y=y, yOffset=offset)
    # A scale of one stage has no range to speak of, and draws nothing.
    opacity: Any = alt.value(1.0)
    if len(stages) > 1:
        opacity = alt.Opacity(
            "stage:O",
            scale=alt.Scale(domain=stages, range=[{"pruned": 0.42}.get(stage, 1.0) for stage in stages]),
            legend=alt.Legend(title=None, orient="bottom", direction="horizontal", symbolType="square", symbolSize=140),
        )
    mark = base.mark_point(filled=True, size=110) if logarithmic else base.mark_bar(cornerRadiusEnd=2)
    layers = [
        mark.encode(x=x, color=ticket_color(), opacity=opacity, tooltip=tooltip),
        base.transform_filter("isValid(datum.low)")
        .mark_rule(style="whisker")
        .encode(x=alt.X("low:Q"), x2="high:Q", tooltip=tooltip),
    ]
    if several:
        dots = alt.Chart(data(_seed_rows(tickets))).mark_point(style="seed", filled=True, size=22, opacity=1)
        seed = [alt.Tooltip("seed:N"), *tips(score_text=score.metric)]
        layers.append(dots.encode(y=y, yOffset=offset, x="score:Q", tooltip=seed))
    # The words for the two lines stand on lines of their own, so that they cannot overlap.
    for one, name, style, line in ((guessing, "guessing", "chance", 1), (full, "full model", "reference", 0)):
        if one is not None:
            side: Side = "left" if one.score < (low + top) / 2 else "right"
            note = note_above(one.score, f"{name} {number_format.score(one.score)}", line, side)
            layers += [rule_at(one.score, style), note]
    layers.append(base.mark_text(style="value", align="right").encode(x=alt.value("width"), text="score_text:N"))
    return overlay(*layers, height=_BAR * len(rows), padding={"top": 4, "left": 0, "right": 4, "bottom": 4})


def _ticks(low: float, high: float) -> list[float]:
    """Round ticks that stop where the scores do and leave the room for the numbers unlabelled."""
    span = high - low or 1
    step = next(
        step for step in (0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000, 1e4, 1e9) if span / step <= 5.5
    )
    first = int(low / step) - 1
    return [round(index * step, 6) for index in range(first, first + 9) if low <= index * step <= high + 1e-9]


def _title(summary: Summary) -> str:
    return TICKET_TITLES[summary.ticket].replace("layer-matched ", "layer-matched~")


def _row(summary: Summary) -> Datum:
    several = len(summary.rows) > 1
    seeds = (f"{row.seed}: {number_format.score(row.score)}" if several else str(row.seed) for row in summary.rows)
    return {
        "ticket": summary.ticket,
        "name": TICKET_TITLES[summary.ticket],
        "title": _title(summary),
        "stage": summary.stage,
        "score": summary.score,
        "low": summary.low,
        "high": summary.high,
        "score_text": number_format.score(summary.score),
        "spread": summary.spread,
        "seeds": ", ".join(seeds),
    }


def _seed_rows(tickets: Sequence[Summary]) -> list[Datum]:
    return [
        {
            "title": _title(summary),
            "stage": summary.stage,
            "seed": str(row.seed),
            "score": row.score,
            "score_text": number_format.score(row.score),
        }
        for summary in tickets
        for row in summary.rows
    ]
