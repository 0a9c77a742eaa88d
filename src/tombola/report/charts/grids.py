"""Grids of layers: survival, density of matrices, importance of heads."""

import math
from collections.abc import Sequence

import altair as alt

from tombola.analysis.agreement.survival import Density, SiteSurvival
from tombola.architectures.anatomy import Places
from tombola.report import number_format
from tombola.report.charts.marks import GAP, ROW, Datum, data, layer_axis, overlay
from tombola.report.labels import MATRIX_TITLES

_DARK_FROM = 0.68
"""Share of the colours' range from which the other ink is read better on a cell."""


def survival_grid(survival: SiteSurvival, places: Places) -> alt.LayerChart:
    """Rows of heads, with the layer's MLP, where MLPs are pruned, as a last column set apart by a gap."""
    heads, mlps = survival.sites["heads"].rows, survival.sites.get("mlps")
    names = [places.attention(row) for row in range(len(heads))]
    rows = [
        _cell(survival, name, str(head), f"head {name}.{head}", share)
        for name, shares in zip(names, heads, strict=True)
        for head, share in enumerate(shares)
    ]
    columns = [str(head) for head in range(len(heads[0]))]
    if mlps is not None:
        # A layer of several attention sublayers has its MLP in the row of the first, which has the layer's name.
        layers = [places.layer(layer) for layer in range(len(mlps.rows))]
        shares = (share for (share,) in mlps.rows)
        rows += [_cell(survival, name, "MLP", f"MLP {name}", share) for name, share in zip(layers, shares, strict=True)]
        columns += ["", "MLP"]
    x = alt.X("column:N", title="head", scale=alt.Scale(domain=columns, padding=GAP), axis=_columns())
    return overlay(_cells(survival, rows, x, layer_axis(names)), height=ROW * len(heads))


def survival_strip(survival: SiteSurvival, places: Places) -> alt.LayerChart:
    """Survival of MLPs pruned alone: one cell for each layer, one line for each stack of layers."""
    shares = [share for (share,) in survival.sites["mlps"].rows]
    names = [places.layer(layer) for layer in range(len(shares))]
    parts = [name.rpartition(" ") for name in names]
    rows = [
        _cell(survival, stack or "MLP", layer, f"MLP {name}", share)
        for name, (stack, _, layer), share in zip(names, parts, shares, strict=True)
    ]
    columns = list(dict.fromkeys(layer for _, _, layer in parts))
    stacks = list(dict.fromkeys(str(row["row"]) for row in rows))
    x = alt.X("column:N", title="layer", scale=alt.Scale(domain=columns, padding=GAP), axis=_columns())
    return overlay(_cells(survival, rows, x, layer_axis(stacks)), height=ROW * len(stacks))


def channel_grid(survival: SiteSurvival, places: Places) -> alt.LayerChart:
    """Rows of groups of channels, a row for each residual block."""
    groups = survival.sites["channels"].rows
    names = [places.residual(row) for row in range(len(groups))]
    rows = [
        _cell(survival, name, str(group), f"{name}, group {group}", share)
        for name, shares in zip(names, groups, strict=True)
        for group, share in enumerate(shares)
    ]
    columns = [str(group) for group in range(max(map(len, groups)))]
    x = alt.X("column:N", title="group of channels", scale=alt.Scale(domain=columns, padding=GAP), axis=_columns())
    return overlay(_cells(survival, rows, x, layer_axis(names)), height=ROW * len(groups))


def _cell(survival: SiteSurvival, row: str, column: str, site: str, share: float) -> Datum:
    number = round(share * survival.seeds)
    fate = "survives" if share == 1 else "pruned"
    return {
        "row": row,
        "column": column,
        "site": site,
        "share": share,
        "fate": fate
        if survival.seeds == 1
        else f"in {number} of {number_format.plural(survival.seeds, 'seed')} "
        f"({share:.2f} ± {math.sqrt(share * (1 - share)):.2f})",
    }


def _cells(survival: SiteSurvival, rows: Sequence[Datum], x: alt.X, y: alt.Y) -> alt.Chart:
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
    tooltip = [alt.Tooltip("site:N", title="site"), alt.Tooltip("fate:N", title="good ticket")]
    chart: alt.Chart = alt.Chart(data(rows)).mark_rect(cornerRadius=2).encode(x=x, y=y, color=color, tooltip=tooltip)
    return chart


def _columns() -> alt.Axis:
    return alt.Axis(labelAngle=0, domain=False, ticks=False, labelOverlap=False, titleAnchor="start", labelPadding=4)


def importance_grid(
    sites: Sequence[Sequence[float | None]], names: Sequence[str], one: str = "head", many: str = "heads"
) -> alt.LayerChart:
    """Rows of sites, coloured by importance.

    Args:
        sites: importance in rows.
        names: of the rows.
        one, many: what one of the sites and several are called.
    """
    rows: list[Datum] = [
        {
            "row": name,
            "number": str(number),
            "site": f"{name}.{number}",
            "importance": value,
            "text": number_format.score(value),
        }
        for name, values in zip(names, sites, strict=True)
        for number, value in enumerate(values)
        if value is not None
    ]
    x = alt.X("number:N", title=one, sort=None, scale=alt.Scale(padding=GAP), axis=_columns())
    color = alt.Color(
        "importance:Q",
        scale=alt.Scale(domain=[0, 1], range="ramp"),
        legend=alt.Legend(title=f"importance of {many}", orient="top", gradientLength=160, tickCount=3),
    )
    tooltip = [alt.Tooltip("site:N", title=one), alt.Tooltip("text:N", title="importance")]
    cells = (
        alt.Chart(data(rows)).mark_rect(cornerRadius=2).encode(x=x, y=layer_axis(names), color=color, tooltip=tooltip)
    )
    return overlay(cells, height=ROW * len(sites))


def density_grid(density: Sequence[Density], places: Places) -> alt.LayerChart:
    """Layers x kinds of matrix, coloured and labelled by the share of weights that survives, with its deviation."""
    kinds = [kind for kind in MATRIX_TITLES if any(one.kind == kind for one in density)]
    kinds += sorted({one.kind for one in density} - set(kinds))
    titles = {kind: MATRIX_TITLES.get(kind, kind).replace("attention", "attn.").replace(" ", "~") for kind in kinds}
    # The colours span the densities that there are, rounded outwards to 5 %: on 0 to 100 % all would look alike.
    low = math.floor(20 * min(one.share for one in density) + 1e-9) / 20
    high = max(math.ceil(20 * max(one.share for one in density) - 1e-9) / 20, low + 0.05)
    rows: list[Datum] = [
        {
            "row": places.layer(one.layer),
            "kind": titles[one.kind],
            "name": MATRIX_TITLES.get(one.kind, one.kind),
            "share": one.share,
            "text": f"{100 * one.share:.0f}" + ("" if one.deviation is None else f" ± {100 * one.deviation:.0f}"),
            "exact": number_format.share(one.share)
            + ("" if one.deviation is None else f" ± {100 * one.deviation:.1f}"),
            "strong": one.share > low + _DARK_FROM * (high - low),
        }
        for one in density
    ]
    x = alt.X(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=list(titles.values()), padding=GAP),
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
        alt.Tooltip("row:N", title="layer"),
        alt.Tooltip("name:N", title="matrix"),
        alt.Tooltip("exact:N", title="survive"),
    ]
    layers = [places.layer(number) for number in sorted({one.layer for one in density})]
    base = alt.Chart(data(rows)).encode(x=x, y=layer_axis(layers), tooltip=tooltip)
    return overlay(
        base.mark_rect(cornerRadius=2).encode(color=color),
        base.transform_filter(alt.datum.strong == False).mark_text(style="on-low").encode(text="text:N"),  # noqa: E712
        base.transform_filter(alt.datum.strong == True).mark_text(style="on-high").encode(text="text:N"),  # noqa: E712,
        height=ROW * len(layers),
    )
