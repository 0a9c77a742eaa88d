"""Bars of layers: how important MLPs and their neurons are, and how many neurons survive."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from tombola.analysis.agreement.survival import KindSurvival
from tombola.architectures.anatomy import Places
from tombola.report import number_format
from tombola.report.charts.parts import ROW, Datum, data, layer_axis, overlay, square_legend, tips

_MEAN, _ALWAYS = "in a seed, on average", "in every seed"


def mlp_bars(mlps: Sequence[float | None], places: Places) -> alt.LayerChart:
    """The importance of every layer's MLP."""
    names = [places.layer(layer) for layer in range(len(mlps))]
    rows: list[Datum] = [
        {"row": name, "importance": value, "text": number_format.score(value)}
        for name, value in zip(names, mlps, strict=True)
        if value is not None
    ]
    tooltip = tips(row="MLP of layer", text="importance")
    base = alt.Chart(data(rows)).encode(y=layer_axis(names))
    return overlay(
        base.mark_bar(style="site-bar", cornerRadiusEnd=2).encode(
            x=_from_zero("importance", "importance of MLPs"), tooltip=tooltip
        ),
        base.mark_text(style="value", align="left", dx=5).encode(
            x="importance:Q", text=alt.Text("importance:Q", format=".2f")
        ),
        height=ROW * len(mlps),
    )


def neuron_boxes(neurons: Sequence[Sequence[float | None]], places: Places) -> alt.LayerChart:
    """Box plots of the importance of an MLP's blocks of neurons: least, quartiles, most."""
    names = [places.layer(layer) for layer in range(len(neurons))]
    rows: list[Datum] = []
    for name, values in zip(names, neurons, strict=True):
        if known := [value for value in values if value is not None]:
            parts = ("least", "lower", "median", "upper", "most")
            spread = dict(zip(parts, np.quantile(known, (0, 0.25, 0.5, 0.75, 1)).tolist(), strict=True))
            rows.append(
                {"row": name, **spread, "text": " · ".join(number_format.score(value) for value in spread.values())}
            )
    tooltip = tips(row="MLP of layer", text="least, quartiles, most")
    base = alt.Chart(data(rows)).encode(y=layer_axis(names), tooltip=tooltip)
    title = "importance of blocks of neurons"
    return overlay(
        base.mark_rule(style="whisker").encode(x=_from_zero("least", title, top=1), x2="most:Q"),
        base.mark_bar(style="site-bar", size=ROW // 2, cornerRadius=2).encode(x="lower:Q", x2="upper:Q"),
        base.mark_tick(style="whisker", thickness=2, size=ROW // 2 + 4).encode(x="median:Q"),
        height=ROW * len(neurons),
    )


def neuron_bars(survival: KindSurvival, seeds: int, places: Places) -> alt.LayerChart:
    """The share of every MLP's neurons that survives: on average, and in all seeds."""
    # An MLP that a shrunk model does not have is not drawn.
    present = {places.layer(layer): shares for layer, shares in enumerate(survival.rows) if shares}
    names, rows = list(present), list[Datum]()
    for name, shares in present.items():
        mean, always = sum(shares) / len(shares), sum(share == 1 for share in shares) / len(shares)
        texts = {
            "mean_text": number_format.share(mean),
            "always_text": number_format.share(always),
            "label": f"{100 * mean:.0f} %",
        }
        bars = ((_MEAN, mean), (_ALWAYS, always))
        rows += [{"row": name, "share": share, "which": which, **texts} for which, share in bars]
    tooltip = tips(row="MLP of layer", mean_text="neurons that survive")
    base = alt.Chart(data(rows if seeds > 1 else [row for row in rows if row["which"] == _MEAN]))
    bar = base.mark_bar(style="survival-bar", cornerRadiusEnd=2)
    if seeds > 1:
        tooltip += tips(always_text=_ALWAYS)
        scale = alt.Scale(domain=[_MEAN, _ALWAYS], range=[0.42, 1])
        bar = bar.encode(opacity=alt.Opacity("which:N", scale=scale, legend=square_legend()))
    x = _from_zero("share", "neurons of the MLP that survive", format="~%")
    return overlay(
        bar.encode(x=x.stack(None), y=layer_axis(names), tooltip=tooltip),
        base.transform_filter(alt.datum.which == _MEAN)
        .mark_text(style="value", align="left", dx=5)
        .encode(x="share:Q", y=layer_axis(names), text="label:N"),
        height=ROW * len(names),
    )


def _from_zero(field: str, title: str, top: float = 1.2, format: str = ".1f") -> alt.X:
    """An axis from 0 to 1, with room for a number at its end."""
    # As tall as the axis of the heads beside it, so that the layers of both stand in line.
    place: dict[str, Any] = {"labelPadding": 4, "titleAnchor": "start"}
    axis = alt.Axis(values=[0, 0.5, 1], grid=False, format=format, domain=False, ticks=False, **place)
    return alt.X(f"{field}:Q", title=title, scale=alt.Scale(domain=[0, top], nice=False), axis=axis)
