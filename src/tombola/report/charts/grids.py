"""Heat maps: who survives, how dense the matrices are, how important every site is, what tasks share."""

import math
from collections.abc import Sequence

import altair as alt

from tombola.analysis.agreement.overlap import Matrix
from tombola.analysis.agreement.survival import Density, SiteSurvival
from tombola.architectures.anatomy import Places
from tombola.foundations.plurals import plural
from tombola.report import number_format
from tombola.report.charts.parts import (
    BROKEN,
    GAP,
    ROW,
    Datum,
    heat_map,
    layer_axis,
    share_colors,
    site_columns,
    square_legend,
    tips,
    top_legend,
)
from tombola.report.labels import MATRIX_TITLES

_DARK_FROM = 0.68
"""Share of the colours' range from which the other ink is read better on a cell."""


def survival_grid(survival: SiteSurvival, places: Places) -> alt.LayerChart:
    """Rows of heads, with the layer's MLP, where MLPs are pruned, as a last column set apart by a gap."""
    heads, mlps = survival.sites["heads"].rows, survival.sites.get("mlps")
    names = [places.attention(row) for row in range(len(heads))]
    cells = [
        _cell(survival, name, str(head), f"head {name}.{head}", share)
        for name, shares in zip(names, heads, strict=True)
        for head, share in enumerate(shares)
    ]
    columns = [str(head) for head in range(max(map(len, heads)))]
    if mlps is not None:
        # A layer of several attention sublayers has its MLP in the row of the first, which has the layer's name.
        layers = [places.layer(layer) for layer in range(len(mlps.rows))]
        cells += [
            # In a model that was shrunk, some layers have none.
            _cell(survival, name, "MLP", f"MLP {name}", share)
            for name, shares in zip(layers, mlps.rows, strict=True)
            for share in shares
        ]
        columns += ["", "MLP"]
    return _survival_map(survival, cells, site_columns("head", columns), names)


def survival_strip(survival: SiteSurvival, places: Places) -> alt.LayerChart:
    """Survival of MLPs pruned alone: one cell for each layer, one line for each stack of layers."""
    rows = survival.sites["mlps"].rows
    shares = [share for row in rows for share in row]
    names = [places.layer(layer) for layer, row in enumerate(rows) if row]
    parts = [name.rpartition(" ") for name in names]
    cells = [
        _cell(survival, stack or "MLP", layer, f"MLP {name}", share)
        for name, (stack, _, layer), share in zip(names, parts, shares, strict=True)
    ]
    columns = list(dict.fromkeys(layer for _, _, layer in parts))
    stacks = list(dict.fromkeys(str(cell["row"]) for cell in cells))
    return _survival_map(survival, cells, site_columns("layer", columns), stacks)


def channel_grid(survival: SiteSurvival, places: Places) -> alt.LayerChart:
    """Rows of groups of channels, a row for each residual block."""
    groups = survival.sites["channels"].rows
    names = [places.residual(row) for row in range(len(groups))]
    cells = [
        _cell(survival, name, str(group), f"{name}, group {group}", share)
        for name, shares in zip(names, groups, strict=True)
        for group, share in enumerate(shares)
    ]
    columns = [str(group) for group in range(max(map(len, groups)))]
    return _survival_map(survival, cells, site_columns("group of channels", columns), names)


def _cell(survival: SiteSurvival, row: str, column: str, site: str, share: float) -> Datum:
    fate = "survives" if share == 1 else "pruned"
    if survival.seeds > 1:
        seeds = plural(survival.seeds, "seed")
        fate = f"in {round(share * survival.seeds)} of {seeds} ({share:.2f} ± {math.sqrt(share * (1 - share)):.2f})"
    return {"row": row, "column": column, "site": site, "share": share, "fate": fate}


def _survival_map(survival: SiteSurvival, cells: Sequence[Datum], x: alt.X, names: Sequence[str]) -> alt.LayerChart:
    color = share_colors("survives in this share of seeds")
    if survival.seeds == 1:
        scale = alt.Scale(domain=["pruned", "survives"], range="ordinal")
        color = alt.Color("fate:O", scale=scale, legend=square_legend())
    tooltip = tips(site="site", fate="good ticket")
    return heat_map(cells, (x, layer_axis(names)), color, tooltip, height=ROW * len(names))


def importance_grid(
    sites: Sequence[Sequence[float | None]], names: Sequence[str], one: str, many: str
) -> alt.LayerChart:
    """Rows of sites, coloured by importance; `one` and `many` are what a site and several are called."""
    cells: list[Datum] = [
        {
            "row": name,
            "column": str(number),
            "site": f"{name}.{number}",
            "importance": value,
            "text": number_format.score(value),
        }
        for name, values in zip(names, sites, strict=True)
        for number, value in enumerate(values)
        if value is not None
    ]
    legend = top_legend(f"importance of {many}", gradientLength=160, tickCount=3)
    color = alt.Color("importance:Q", scale=alt.Scale(domain=[0, 1], range="ramp"), legend=legend)
    axes = site_columns(one), layer_axis(names)
    return heat_map(cells, axes, color, tips(site=one, text="importance"), height=ROW * len(sites))


def density_grid(density: Sequence[Density], places: Places) -> alt.LayerChart:
    """Layers x roles of matrices, coloured and labelled by the share of weights that survives, with its deviation."""
    roles = [role for role in MATRIX_TITLES if any(one.role == role for one in density)]
    roles += sorted({one.role for one in density} - set(roles))
    titles = {role: MATRIX_TITLES.get(role, role).replace("attention", "attn.").replace(" ", "~") for role in roles}
    # The colours span the densities that there are, rounded outwards to 5 %: on 0 to 100 % all would look alike.
    low = math.floor(20 * min(one.share for one in density) + 1e-9) / 20
    high = max(math.ceil(20 * max(one.share for one in density) - 1e-9) / 20, low + 0.05)
    cells: list[Datum] = [
        {
            "row": places.layer(one.layer),
            "role": titles[one.role],
            "name": MATRIX_TITLES.get(one.role, one.role),
            "share": one.share,
            "text": f"{100 * one.share:.0f}" + ("" if one.deviation is None else f" ± {100 * one.deviation:.0f}"),
            "exact": number_format.share(one.share)
            + ("" if one.deviation is None else f" ± {100 * one.deviation:.1f}"),
            "strong": one.share > low + _DARK_FROM * (high - low),
        }
        for one in density
    ]
    axis = alt.Axis(labelAngle=0, domain=False, ticks=False, labelOverlap=False, **BROKEN)
    x = alt.X("role:N", title=None, scale=alt.Scale(domain=list(titles.values()), padding=GAP), axis=axis)
    shown = [low, (low + high) / 2, high]
    legend = top_legend("weights that survive", format=".0%", gradientLength=180, values=shown)
    color = alt.Color("share:Q", scale=alt.Scale(domain=[low, high], range="heatmap"), legend=legend)
    layers = [places.layer(number) for number in sorted({one.layer for one in density})]
    tooltip = tips(row="layer", name="matrix", exact="survive")
    return heat_map(cells, (x, layer_axis(layers)), color, tooltip, height=ROW * len(layers), labelled=True)


def task_matrix(
    tasks: Sequence[str], values: Matrix[float | None], notes: Sequence[Sequence[str]], title: str
) -> alt.LayerChart:
    """A square of tasks by tasks, coloured and labelled by what their tickets share; undefined cells are left out.

    `notes` are what a cell's tooltip says beside its value, `title` that of the colours.
    """
    cells: list[Datum] = [
        {
            "row": first,
            "column": second,
            "share": value,
            "text": f"{100 * value:.0f}",
            "exact": number_format.share(value),
            "note": notes[i][j],
            "strong": value > 0.6,
        }
        for i, first in enumerate(tasks)
        for j, second in enumerate(tasks)
        if (value := values[i][j]) is not None
    ]
    axis = alt.Axis(labelAngle=0, domain=False, ticks=False, labelLimit=160)
    scale = alt.Scale(domain=list(tasks), padding=GAP)
    axes = (
        alt.X("column:N", title=None, scale=scale, axis=axis),
        alt.Y("row:N", title=None, scale=scale, axis=axis),
    )
    tooltip = tips(row="task", column="and", exact="share", note="random tickets")
    return heat_map(cells, axes, share_colors(title), tooltip, height=40 * len(tasks), labelled=True)
