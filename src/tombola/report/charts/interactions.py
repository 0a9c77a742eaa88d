"""Charts of interactions: a square of sites by sites, and the strongest pairs."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from tombola.analysis.array_record import Floats
from tombola.report import number_format
from tombola.report.charts.parts import Datum, data, name_axis, overlay, square_legend, tips

UP, TOGETHER = "back each other up", "work together"


def interaction_grid(names: Sequence[str], hessian: Floats) -> alt.LayerChart:
    """Sites by sites in the order of depth: colour says which way a pair interacts, strength of colour how much."""
    off = np.abs(hessian - np.diag(np.diag(hessian)))
    # One pair that stands out would make all others look like nothing.
    top = float(np.quantile(off, 0.995)) or 1.0
    rows: list[Datum] = [
        {"a": i, "b": j, "v": round(min(1.0, abs(value) / top), 3), "w": UP if value > 0 else TOGETHER, "h": value}
        for i in range(len(names))
        for j in range(len(names))
        if i != j and abs(value := float(f"{hessian[i, j]:.3g}")) >= 0.02 * top
    ]
    # A name stands in the data once, and is looked up from there: in an expression it would be code.
    listed = alt.LookupData(data=data([{"i": i, "n": name} for i, name in enumerate(names)]), key="i", fields=["n"])
    plain: dict[str, Any] = {"domain": False, "ticks": False, "grid": False, "labelFontSize": 10}
    axis = alt.Axis(values=list(names)[:: max(1, len(names) // 26)], **plain)
    scale = alt.Scale(domain=list(names), padding=0)
    chart = (
        alt.Chart(data(rows))
        .transform_lookup(lookup="a", from_=listed, as_=["na"])
        .transform_lookup(lookup="b", from_=listed, as_=["nb"])
        .mark_rect()
        .encode(
            x=alt.X("nb:N", title=None, scale=scale, axis=axis),
            y=alt.Y("na:N", title=None, scale=scale, axis=axis),
            color=_color("w", square_legend()),
            opacity=alt.Opacity("v:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None),
            tooltip=[*tips(na="site", nb="and"), alt.Tooltip("h:Q", title="H")],
        )
    )
    return overlay(chart, height=560)


def _color(field: str, legend: alt.Legend | None) -> alt.Color:
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=[TOGETHER, UP], range="diverging"), legend=legend)


def pair_bars(pairs: Sequence[tuple[str, float, float]]) -> alt.LayerChart:
    """The strongest pairs, from name, second derivative, and how far its 95 % interval reaches."""
    rows: list[Datum] = [
        {
            "pair": name,
            "value": value,
            "low": value - reach,
            "high": value + reach,
            "which": UP if value > 0 else TOGETHER,
            "text": number_format.minus(f"{value:+.4f} ± {reach:.4f}"),
        }
        for name, value, reach in pairs
    ]
    base = alt.Chart(data(rows)).encode(y=name_axis("pair", 220, [str(row["pair"]) for row in rows]))
    x = alt.X("value:Q", title="second derivative of the loss by both gates", axis=alt.Axis(tickCount=5))
    tooltip = tips(pair="sites", text="second derivative, 95 %")
    return overlay(
        base.mark_bar(cornerRadiusEnd=2).encode(x=x, color=_color("which", None), tooltip=tooltip),
        base.mark_rule(style="whisker").encode(x="low:Q", x2="high:Q", tooltip=tooltip),
        height=24 * len(rows),
    )
