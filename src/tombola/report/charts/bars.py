"""The tickets of one method side by side, pruned and retrained."""

from collections.abc import Sequence

import altair as alt

from tombola.report import number_format
from tombola.report.charts.marks import Datum, Side, data, note_above, overlay, rule_at, ticket_color
from tombola.report.labels import TICKET_TITLES
from tombola.report.summary import Summary

_LOG_FROM = 30.0
"""Errors that differ by more than this factor (perplexities do) are drawn as dots on a logarithmic axis."""


_BAR = 30
"""Height of a bar with its share of the space between tickets, in pixels."""


def ticket_bars(
    tickets: Sequence[Summary],
    full: Summary | None,
    majority: Summary | None,
    metric: str,
    higher_is_better: bool,
) -> alt.LayerChart:
    """Bars with intervals, the full model and guessing as lines, and the numbers at the right.

    Args:
        tickets: the summaries of one method.
        full, majority: reference lines, where they are known.
        metric: the score's name in words.
        higher_is_better: the direction of the metric.
    """
    rows = [_row(summary) for summary in tickets]
    ends = [end for one in (*tickets, full, majority) if one for end in (one.score, one.low, one.high)]
    logarithmic = not higher_is_better and min(ends) > 0 and max(ends) / min(ends) > _LOG_FROM
    low, high = (min(ends), max(ends)) if logarithmic else (min(0.0, *ends), max(0.0, *ends))
    # A quarter of the axis is kept free at the right for the numbers.
    top = high * (high / low) ** 0.3 if logarithmic else high + 0.3 * (high - low or 1)
    x = alt.X(
        "score:Q",
        title=metric + ("" if higher_is_better else " (lower is better)"),
        scale=alt.Scale(type="log" if logarithmic else "linear", domain=[low, top], nice=False, zero=False),
        axis=alt.Axis(tickCount=5, grid=False, values=alt.Undefined if logarithmic else _ticks(low, high)),
    )
    y = alt.Y(
        "title:N",
        title=None,
        sort=[str(row["title"]) for row in rows],
        scale=alt.Scale(paddingInner=0.28, paddingOuter=0.1),
        # Long names break into two lines instead of taking half of a phone's width.
        axis=alt.Axis(domain=False, ticks=False, labelLimit=150, labelExpr="split(datum.label, '~')"),
    )
    offset = alt.YOffset("stage:N", sort=["pruned", "retrained"], scale=alt.Scale(paddingInner=0.12))
    tooltip = [
        alt.Tooltip("name:N", title="ticket"),
        alt.Tooltip("stage:N", title="stage"),
        alt.Tooltip("score_text:N", title=metric),
        alt.Tooltip("spread:N", title="± std over seeds" if _several(tickets) else "95 % interval"),
        alt.Tooltip("seeds:N", title="seed by seed" if _several(tickets) else "seed"),
    ]
    base = alt.Chart(data(rows)).encode(y=y, yOffset=offset)
    opacity = alt.Opacity(
        "stage:O",
        scale=alt.Scale(domain=["pruned", "retrained"], range=[0.42, 1]),
        legend=alt.Legend(title=None, orient="bottom", direction="horizontal", symbolType="square", symbolSize=140),
    )
    mark = base.mark_point(filled=True, size=110) if logarithmic else base.mark_bar(cornerRadiusEnd=2)
    layers = [
        mark.encode(x=x, color=ticket_color(), opacity=opacity, tooltip=tooltip),
        base.transform_filter("isValid(datum.low)")
        .mark_rule(style="whisker")
        .encode(x=alt.X("low:Q"), x2="high:Q", tooltip=tooltip),
    ]
    if _several(tickets):
        layers.append(
            alt.Chart(data(_seed_rows(tickets)))
            .mark_point(style="seed", filled=True, size=22, opacity=1)
            .encode(
                y=y,
                yOffset=offset,
                x="score:Q",
                tooltip=[alt.Tooltip("seed:N"), alt.Tooltip("score_text:N", title=metric)],
            )
        )
    # The words for the two lines stand on lines of their own, so that they cannot overlap.
    if majority is not None:
        layers += [
            rule_at(majority.score, "chance"),
            note_above(
                majority.score,
                f"guessing {number_format.score(majority.score)}",
                1,
                _side(majority.score, low, top),
            ),
        ]
    if full is not None:
        layers += [
            rule_at(full.score, "reference"),
            note_above(full.score, f"full model {number_format.score(full.score)}", 0, _side(full.score, low, top)),
        ]
    layers.append(base.mark_text(style="value", align="right").encode(x=alt.value("width"), text="score_text:N"))
    return overlay(*layers, height=_BAR * len(rows), padding={"top": 4, "left": 0, "right": 4, "bottom": 4})


def _several(tickets: Sequence[Summary]) -> bool:
    return any(len(summary.rows) > 1 for summary in tickets)


def _side(value: float, low: float, top: float) -> Side:
    return "left" if value < (low + top) / 2 else "right"


def _ticks(low: float, high: float) -> list[float]:
    """Round ticks that stop where the scores do and leave the room for the numbers unlabelled."""
    span = high - low or 1
    step = next(
        step for step in (0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000, 1e4, 1e9) if span / step <= 5.5
    )
    first = int(low / step) - 1
    return [round(index * step, 6) for index in range(first, first + 9) if low <= index * step <= high + 1e-9]


def _row(summary: Summary) -> Datum:
    return {
        "ticket": summary.ticket,
        "name": TICKET_TITLES[summary.ticket],
        "title": TICKET_TITLES[summary.ticket].replace("layer-matched ", "layer-matched~"),
        "stage": summary.stage,
        "score": summary.score,
        "low": summary.low,
        "high": summary.high,
        "score_text": number_format.score(summary.score),
        "spread": summary.spread,
        "seeds": ", ".join(
            f"{row.seed}: {number_format.score(row.score)}" if len(summary.rows) > 1 else str(row.seed)
            for row in summary.rows
        ),
    }


def _seed_rows(tickets: Sequence[Summary]) -> list[Datum]:
    return [
        {
            "title": TICKET_TITLES[summary.ticket].replace("layer-matched ", "layer-matched~"),
            "stage": summary.stage,
            "seed": str(row.seed),
            "score": row.score,
            "score_text": number_format.score(row.score),
        }
        for summary in tickets
        for row in summary.rows
    ]
