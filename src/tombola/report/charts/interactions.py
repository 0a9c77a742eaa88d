"""Charts of interactions: a square of sites by sites, and the strongest pairs."""

from collections.abc import Sequence

import altair as alt
import numpy as np

from tombola.analysis.locality.interactions import Floats
from tombola.report.charts.marks import Datum, data, overlay

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
    listed = "[" + ",".join(f"'{name}'" for name in names) + "]"
    every = max(1, len(names) // 26)
    axis = alt.Axis(
        values=list(range(0, len(names), every)),
        labelExpr=f"{listed}[datum.value]",
        domain=False,
        ticks=False,
        grid=False,
        labelFontSize=10,
    )
    scale = alt.Scale(domain=list(range(len(names))), padding=0)
    color = alt.Color(
        "w:N",
        scale=alt.Scale(domain=[TOGETHER, UP], range="diverging"),
        legend=alt.Legend(title=None, orient="top", symbolType="square", symbolSize=140),
    )
    tooltip = [alt.Tooltip("na:N", title="site"), alt.Tooltip("nb:N", title="and"), alt.Tooltip("h:Q", title="H")]
    chart = (
        alt.Chart(data(rows))
        .transform_calculate(na=f"{listed}[datum.a]", nb=f"{listed}[datum.b]")
        .mark_rect()
        .encode(
            x=alt.X("b:O", title=None, scale=scale, axis=axis),
            y=alt.Y("a:O", title=None, scale=scale, axis=axis),
            color=color,
            opacity=alt.Opacity("v:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None),
            tooltip=tooltip,
        )
    )
    return overlay(chart, height=560)


def pair_bars(pairs: Sequence[tuple[str, float, float]]) -> alt.LayerChart:
    """The strongest pairs with 95 % intervals.

    Args:
        pairs: name, second derivative, its standard error.
    """
    rows: list[Datum] = [
        {
            "pair": name,
            "value": value,
            "low": value - 1.96 * error,
            "high": value + 1.96 * error,
            "which": UP if value > 0 else TOGETHER,
            "text": f"{value:+.4f} ± {1.96 * error:.4f}".replace("-", "−"),
        }
        for name, value, error in pairs
    ]
    names = [str(row["pair"]) for row in rows]
    y = alt.Y("pair:N", title=None, sort=names, axis=alt.Axis(domain=False, ticks=False, labelLimit=220))
    x = alt.X("value:Q", title="second derivative of the loss by both gates", axis=alt.Axis(tickCount=5))
    color = alt.Color("which:N", scale=alt.Scale(domain=[TOGETHER, UP], range="diverging"), legend=None)
    base = alt.Chart(data(rows)).encode(y=y)
    tooltip = [alt.Tooltip("pair:N", title="sites"), alt.Tooltip("text:N", title="second derivative, 95 %")]
    return overlay(
        base.mark_bar(cornerRadiusEnd=2).encode(x=x, color=color, tooltip=tooltip),
        base.mark_rule(style="whisker").encode(x="low:Q", x2="high:Q", tooltip=tooltip),
        height=24 * len(rows),
    )
