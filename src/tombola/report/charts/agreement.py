"""Charts of what tickets share, beside random ones of their sizes."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from tombola.analysis.agreement.comparison import CONTROLS, KindComparison
from tombola.report import number_format
from tombola.report.charts.parts import Datum, data, name_axis, overlay, share_axis, tips, top_legend
from tombola.report.labels import TICKET_TITLES

_LINE = 22
"""Height of one line, in pixels."""


def overlap_by_chance(found: Sequence[tuple[str, KindComparison]]) -> alt.LayerChart:
    """Chart of the tickets' Jaccard similarity as a point for each label, and 95 % of random tickets' as bars."""
    rows: list[Datum] = []
    points: list[Datum] = []
    for label, one in found:
        if one.jaccard is not None:
            points.append(
                {"label": label, "which": "good", "value": one.jaccard, "text": number_format.share(one.jaccard)}
            )
        for control, drawn in one.null_distributions("jaccard").items():
            rows.append(
                {
                    "label": label,
                    "which": control,
                    "title": TICKET_TITLES[control],
                    "mean": drawn.mean,
                    "low": drawn.low,
                    "high": drawn.high,
                    "text": "{} ({} to {})".format(*map(number_format.share, (drawn.mean, drawn.low, drawn.high))),
                }
            )
    labels = list(dict.fromkeys([str(row["label"]) for row in (*points, *rows)]))
    which = ["good", *CONTROLS]
    titles = (
        "{'good': 'good tickets', 'random': 'random ones, 95 %', "
        "'layer-matched': 'layer-matched random ones, 95 %'}[datum.label]"
    )
    looks: dict[str, Any] = {
        "y": name_axis("label", 220, labels),
        "yOffset": alt.YOffset("which:N", sort=which, scale=alt.Scale(paddingInner=0.2)),
        "color": alt.Color(
            "which:N",
            scale=alt.Scale(domain=which, range="category"),
            legend=top_legend(labelLimit=260, labelExpr=titles),
        ),
    }
    ranges = tips(title="tickets", text="mean, 95 %")
    x = share_axis("low", "shared survivors of two tickets (Jaccard)")
    return overlay(
        alt.Chart(data(rows)).mark_bar(height=8, cornerRadius=4).encode(x=x, x2="high:Q", tooltip=ranges, **looks),
        # A distribution may be narrower than a pixel.
        alt.Chart(data(rows)).mark_tick(height=14, thickness=3).encode(x="mean:Q", tooltip=ranges, **looks),
        alt.Chart(data(points))
        .mark_point(filled=True, size=110, opacity=1)
        .encode(x="value:Q", tooltip=tips(label="of", text="shared by two good tickets"), **looks),
        height=_LINE * 3 * len(labels),
    )
