"""Grids of layers: who survives, how dense the matrices are, how important every site is."""

import math
from collections.abc import Sequence

import altair as alt

from tombola.report import figures
from tombola.report.charts.marks import Datum, data, overlay
from tombola.report.names import MATRIX_TITLES
from tombola.report.survival import Density, SiteSurvival

_ROW = 26
"""Height of a layer in pixels."""

_DARK_FROM = 0.68
"""Share of the colours' range from which the other ink is read better on a cell."""

_GAP = 0.06
"""Space between cells, as a share of a cell."""


def survival_grid(survival: SiteSurvival) -> alt.LayerChart:
    """Layers x heads, with the layer's MLP as a last column set apart by a gap."""
    rows: list[Datum] = []
    for layer, (heads, mlp) in enumerate(zip(survival.heads, survival.mlps, strict=True)):
        sites = [(str(head), f"head {layer}.{head}", share) for head, share in enumerate(heads)]
        for column, site, share in (*sites, ("MLP", f"MLP {layer}", mlp)):
            number = round(share * survival.seeds)
            fate = "survives" if share == 1 else "pruned"
            rows.append(
                {
                    "layer": layer,
                    "column": column,
                    "site": site,
                    "share": share,
                    "fate": fate if survival.seeds == 1 else f"in {number} of {figures.plural(survival.seeds, 'seed')}",
                }
            )
    if survival.seeds == 1:
        color = alt.Color(
            "fate:O",
            scale=alt.Scale(domain=["pruned", "survives"], range="ordinal"),
            legend=alt.Legend(title=None, orient="top", symbolType="square", symbolSize=140),
        )
    else:
        color = alt.Color(
            "share:Q",
            scale=alt.Scale(domain=[0, 1], range="heatmap"),
            legend=alt.Legend(
                title="survives in this share of seeds",
                orient="top",
                format=".0%",
                gradientLength=180,
                tickCount=3,
            ),
        )
    heads_number = len(survival.heads[0])
    columns = [*(str(head) for head in range(heads_number)), "", "MLP"]
    x = alt.X(
        "column:N",
        title="head",
        scale=alt.Scale(domain=columns, padding=_GAP),
        axis=alt.Axis(labelAngle=0, domain=False, ticks=False, labelOverlap=False, titleAnchor="start", labelPadding=4),
    )
    tooltip = [alt.Tooltip("site:N", title="site"), alt.Tooltip("fate:N", title="good ticket")]
    cells = alt.Chart(data(rows)).mark_rect(cornerRadius=2).encode(x=x, y=_layers(), color=color, tooltip=tooltip)
    return overlay(cells, height=_ROW * len(survival.heads))


def importance_grid(heads: Sequence[Sequence[float | None]]) -> alt.LayerChart:
    """Layers x heads, coloured by importance."""
    rows: list[Datum] = [
        {
            "layer": layer,
            "head": str(head),
            "site": f"{layer}.{head}",
            "importance": value,
            "text": figures.score(value),
        }
        for layer, values in enumerate(heads)
        for head, value in enumerate(values)
        if value is not None
    ]
    x = alt.X(
        "head:N",
        title="head",
        sort=None,
        scale=alt.Scale(padding=_GAP),
        axis=alt.Axis(labelAngle=0, domain=False, ticks=False, labelOverlap=False, titleAnchor="start", labelPadding=4),
    )
    color = alt.Color(
        "importance:Q",
        scale=alt.Scale(domain=[0, 1], range="ramp"),
        legend=alt.Legend(title="importance of heads", orient="top", gradientLength=160, tickCount=3),
    )
    tooltip = [alt.Tooltip("site:N", title="head"), alt.Tooltip("text:N", title="importance")]
    cells = alt.Chart(data(rows)).mark_rect(cornerRadius=2).encode(x=x, y=_layers(), color=color, tooltip=tooltip)
    return overlay(cells, height=_ROW * len(heads))


def mlp_bars(mlps: Sequence[float | None]) -> alt.LayerChart:
    """A bar for every layer's MLP."""
    rows: list[Datum] = [
        {"layer": layer, "importance": value, "text": figures.score(value)}
        for layer, value in enumerate(mlps)
        if value is not None
    ]
    tooltip = [alt.Tooltip("layer:N", title="MLP of layer"), alt.Tooltip("text:N", title="importance")]
    base = alt.Chart(data(rows)).encode(y=_layers())
    x = alt.X(
        "importance:Q",
        title="importance of MLPs",
        scale=alt.Scale(domain=[0, 1.2], nice=False),
        # As tall as the axis of the heads beside it, so that the layers of both stand in line.
        axis=alt.Axis(
            values=[0, 0.5, 1],
            grid=False,
            format=".1f",
            domain=False,
            ticks=False,
            labelPadding=4,
            titleAnchor="start",
        ),
    )
    return overlay(
        base.mark_bar(style="site-bar", cornerRadiusEnd=2).encode(x=x, tooltip=tooltip),
        base.mark_text(style="value", align="left", dx=5).encode(
            x="importance:Q", text=alt.Text("importance:Q", format=".2f")
        ),
        height=_ROW * len(mlps),
    )


def density_grid(density: Sequence[Density]) -> alt.LayerChart:
    """Layers x kinds of matrix, coloured and labelled by the share of weights that survives."""
    kinds = [kind for kind in MATRIX_TITLES if any(one.kind == kind for one in density)]
    kinds += sorted({one.kind for one in density} - set(kinds))
    titles = {kind: MATRIX_TITLES.get(kind, kind).replace("attention", "attn.").replace(" ", "~") for kind in kinds}
    # The colours span the densities that there are, rounded outwards to 5 %: on 0 to 100 % all would look alike.
    low = math.floor(20 * min(one.share for one in density) + 1e-9) / 20
    high = max(math.ceil(20 * max(one.share for one in density) - 1e-9) / 20, low + 0.05)
    rows: list[Datum] = [
        {
            "layer": one.layer,
            "kind": titles[one.kind],
            "name": MATRIX_TITLES.get(one.kind, one.kind),
            "share": one.share,
            "text": f"{100 * one.share:.0f}",
            "exact": figures.share(one.share),
            "strong": one.share > low + _DARK_FROM * (high - low),
        }
        for one in density
    ]
    x = alt.X(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=list(titles.values()), padding=_GAP),
        axis=alt.Axis(labelAngle=0, domain=False, ticks=False, labelOverlap=False, labelExpr="split(datum.label, '~')"),
    )
    color = alt.Color(
        "share:Q",
        scale=alt.Scale(domain=[low, high], range="heatmap"),
        legend=alt.Legend(
            title="weights that survive",
            orient="top",
            format=".0%",
            gradientLength=180,
            values=[low, (low + high) / 2, high],
        ),
    )
    tooltip = [
        alt.Tooltip("layer:N", title="layer"),
        alt.Tooltip("name:N", title="matrix"),
        alt.Tooltip("exact:N", title="survive"),
    ]
    base = alt.Chart(data(rows)).encode(x=x, y=_layers(), tooltip=tooltip)
    return overlay(
        base.mark_rect(cornerRadius=2).encode(color=color),
        base.transform_filter(alt.datum.strong == False).mark_text(style="on-low").encode(text="text:N"),  # noqa: E712
        base.transform_filter(alt.datum.strong == True).mark_text(style="on-high").encode(text="text:N"),  # noqa: E712,
        height=_ROW * len({one.layer for one in density}),
    )


def _layers() -> alt.Y:
    axis = alt.Axis(domain=False, ticks=False, labelOverlap=False)
    return alt.Y("layer:O", title="layer", scale=alt.Scale(padding=_GAP), axis=axis)
