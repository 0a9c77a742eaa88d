"""A study's scores beside the paper's."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from tombola.report import number_format
from tombola.report.charts.axes import name_axis, score_axis, top_legend
from tombola.report.charts.marks import Datum, data, overlay, ticket_color, tips
from tombola.report.labels import model_title
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
    y = name_axis("title", 180, [str(row["title"]) for row in ours], grid=True)
    shape = alt.Shape(
        "who:N",
        scale=alt.Scale(domain=["this study", "paper"], range=["circle", "diamond"]),
        legend=top_legend(symbolSize=90),
    )
    point: dict[str, Any] = {
        "x": score_axis(metric, padding=12),
        "y": y,
        "shape": shape,
        "tooltip": tips(title="ticket", who="whose", text=metric),
    }
    # The reference models take the text's colour.
    reference = alt.Chart(data([row for row in ours if row["ticket"] not in TICKETS]))
    found = alt.Chart(data([row for row in ours if row["ticket"] in TICKETS]))
    published = alt.Chart(data(theirs))
    return overlay(
        published.mark_rule(style="paper-range").encode(x=alt.X("low:Q"), x2="high:Q", y=y),
        published.mark_point(style="paper-point", filled=False, size=90, opacity=1).encode(**point),
        reference.mark_point(style="seed", filled=True, size=80, opacity=1).encode(**point),
        found.mark_point(filled=True, size=80, opacity=1).encode(color=ticket_color(), **point),
        height=26 * len(pairs),
    )


def _ours(summary: Summary) -> Datum:
    return {
        "ticket": summary.ticket,
        "title": model_title(summary.ticket, summary.stage),
        "who": "this study",
        "score": summary.score,
        "text": f"{number_format.score(summary.score)} {summary.spread}",
    }


def _theirs(summary: Summary, row: PublishedRow) -> Datum:
    return {
        "ticket": summary.ticket,
        "title": model_title(summary.ticket, summary.stage),
        "who": "paper",
        "score": row.mean,
        "low": row.mean - row.std,
        "high": row.mean + row.std,
        "text": f"{row.mean:.2f} ± {row.std:.2f}",
    }
