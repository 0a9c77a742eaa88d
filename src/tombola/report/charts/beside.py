"""A study's scores beside the paper's."""

from collections.abc import Sequence

import altair as alt

from tombola.report import number_format
from tombola.report.charts.marks import Datum, data, overlay
from tombola.report.labels import TICKET_TITLES
from tombola.report.published import PublishedRow
from tombola.report.summary import Summary
from tombola.tickets.ticket import TICKETS


def beside_published(pairs: Sequence[tuple[Summary, PublishedRow]], metric: str) -> alt.LayerChart:
    """Chart beside the paper: its score of a ticket as a hollow diamond with ± std, this study's as a disc.

    Args:
        pairs: this study's summary and the published row of the same ticket.
        metric: the score's name in words.
    """
    ours = [_ours(summary) for summary, _ in pairs]
    theirs = [_theirs(summary, row) for summary, row in pairs]
    x = alt.X(
        "score:Q",
        title=metric,
        scale=alt.Scale(zero=False, nice=True, padding=12),
        axis=alt.Axis(tickCount=5),
    )
    y = alt.Y(
        "title:N",
        title=None,
        sort=[str(row["title"]) for row in ours],
        axis=alt.Axis(domain=False, ticks=False, labelLimit=180, grid=True),
    )
    tooltip = [
        alt.Tooltip("title:N", title="ticket"),
        alt.Tooltip("who:N", title="whose"),
        alt.Tooltip("text:N", title=metric),
    ]
    shape = alt.Shape(
        "who:N",
        scale=alt.Scale(domain=["this study", "paper"], range=["circle", "diamond"]),
        legend=alt.Legend(title=None, orient="top", symbolSize=90),
    )
    color = alt.Color(
        "ticket:N",
        # The last place of the categories is never reached by the reference models: they take the text's colour.
        scale=alt.Scale(domain=list(TICKETS), range="category"),
        legend=None,
    )
    reference = alt.Chart(data([row for row in ours if row["ticket"] not in TICKETS]))
    found = alt.Chart(data([row for row in ours if row["ticket"] in TICKETS]))
    published = alt.Chart(data(theirs))
    return overlay(
        published.mark_rule(style="paper-range").encode(x=alt.X("low:Q"), x2="high:Q", y=y),
        published.mark_point(style="paper-point", filled=False, size=90, opacity=1).encode(
            x=x, y=y, shape=shape, tooltip=tooltip
        ),
        reference.mark_point(style="seed", filled=True, size=80, opacity=1).encode(
            x=x, y=y, shape=shape, tooltip=tooltip
        ),
        found.mark_point(filled=True, size=80, opacity=1).encode(x=x, y=y, shape=shape, color=color, tooltip=tooltip),
        height=26 * len(pairs),
    )


def _title(summary: Summary) -> str:
    name = TICKET_TITLES[summary.ticket]
    return name if summary.stage == "none" else f"{name}, {summary.stage}"


def _ours(summary: Summary) -> Datum:
    text = f"{number_format.score(summary.score)} {summary.spread}"
    return {
        "ticket": summary.ticket,
        "title": _title(summary),
        "who": "this study",
        "score": summary.score,
        "text": text,
    }


def _theirs(summary: Summary, row: PublishedRow) -> Datum:
    return {
        "ticket": summary.ticket,
        "title": _title(summary),
        "who": "paper",
        "score": row.mean,
        "low": row.mean - row.std,
        "high": row.mean + row.std,
        "text": f"{row.mean:.2f} ± {row.std:.2f}",
    }
