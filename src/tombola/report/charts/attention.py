"""Charts of attention: classes of the heads' maps, survival among them, and a few real maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
from torch import Tensor

from tombola.analysis.attention.attention_summary import Distribution
from tombola.analysis.attention.example_maps import ExampleMap
from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.architectures.anatomy import Places
from tombola.report import number_format
from tombola.report.charts.parts import (
    ROW,
    Datum,
    data,
    heat_map,
    layer_axis,
    name_axis,
    overlay,
    share_axis,
    site_columns,
    square_legend,
    tips,
)

_LONGEST = 12
"""Letters of a token that are shown."""


def _class_color(legend: alt.Legend) -> alt.Color:
    scale = alt.Scale(domain=list(CLASSES), range="symbol")
    return alt.Color("class:N", scale=scale, sort=list(CLASSES), legend=legend)


def class_bars(groups: Mapping[str, Distribution]) -> alt.LayerChart:
    """Stacked bars: the mean share of each class over the heads of each group; groups without heads are left out."""
    rows: list[Datum] = []
    for name, found in groups.items():
        start = 0.0
        for label, share in found.shares.items():
            if share is None:
                continue
            value, low, high = share
            rows.append(
                {
                    "group": name,
                    "class": label,
                    "start": start,
                    "end": start + value,
                    "middle": start + value / 2,
                    "label": f"{100 * value:.0f}" if value >= 0.06 else "",
                    "text": "{} ({} to {})".format(*map(number_format.share, (value, low, high))),
                }
            )
            start += value
    names = [name for name, found in groups.items() if found.heads]
    tooltip = [*tips(group="heads", **{"class": "class"}), *tips(text="share, 95 % over inputs")]
    y = name_axis("group", 180, scale=alt.Scale(domain=names, paddingInner=0.25))
    base = alt.Chart(data(rows)).encode(y=y, tooltip=tooltip)
    x = share_axis("start", "share of the maps", grid=False)
    color = _class_color(square_legend(columns=3, labelLimit=200))
    return overlay(
        base.mark_bar().encode(x=x, x2="end:Q", color=color),
        base.mark_text(style="on-class").encode(x="middle:Q", text="label:N"),
        height=32 * len(names),
    )


def class_grid(shares: Tensor, survival: Tensor | None, places: Places) -> alt.LayerChart:
    """Rows of heads in the colour of their most frequent class; a dot is as large as the share of seeds that keep it.

    Args:
        shares: [rows, heads, classes].
        survival: [rows, heads], 0 to 1; None where no ticket prunes heads.
        places: names of the rows.
    """
    names = [places.attention(row) for row in range(len(shares))]
    cells: list[Datum] = []
    for row, name in enumerate(names):
        for head, of_head in enumerate(shares[row].tolist()):
            kept = None if survival is None else float(survival[row, head])
            classes = dict(zip(CLASSES, of_head, strict=True))
            cells.append(
                {
                    "row": name,
                    "column": str(head),
                    "site": f"{name}.{head}",
                    "class": max(classes, key=classes.__getitem__),
                    "text": ", ".join(f"{label} {number_format.share(share)}" for label, share in classes.items()),
                    "kept": kept,
                    "fate": number_format.share(kept),
                }
            )
    axes = site_columns("head"), layer_axis(names)
    tooltip = tips(site="head", text="classes", fate="survives in this share of seeds")
    dots = []
    if survival is not None:
        size = alt.Size("kept:Q", scale=alt.Scale(domain=[0, 1], range=[0, 110]), legend=None)
        dot = alt.Chart(data(cells)).mark_point(style="seed", filled=True, opacity=1, shape="circle")
        dots.append(dot.encode(x=axes[0], y=axes[1], tooltip=tooltip, size=size))
    color = _class_color(square_legend("most frequent class", columns=3))
    return heat_map(cells, axes, color, tooltip, *dots, height=ROW * len(names))


def survival_dots(heads: Sequence[tuple[str, float, float]], pattern: str) -> alt.LayerChart:
    """A dot for every head: its name, the share of a class in its maps, against the share of seeds that keep it."""
    rows: list[Datum] = [
        {
            "site": site,
            "share": share,
            "survival": survival,
            # Heads of one survival would lie on one another; a small shift that is always the same tells them apart.
            "shifted": survival + 0.05 * ((number * 0.618) % 1 - 0.5),
            "share_text": number_format.share(share),
            "survival_text": number_format.share(survival),
        }
        for number, (site, share, survival) in enumerate(heads)
    ]
    y = alt.Y(
        "shifted:Q",
        title="seeds that keep the head",
        scale=alt.Scale(domain=[-0.06, 1.06], nice=False),
        axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    dots = alt.Chart(data(rows)).mark_point(style="search-point", filled=True, size=60, opacity=0.7)
    tooltip = tips(site="head", share_text=pattern, survival_text="survives in this share of seeds")
    return overlay(dots.encode(x=share_axis("share", f"share of {pattern} maps"), y=y, tooltip=tooltip), height=240)


def attention_map(example: ExampleMap) -> alt.LayerChart:
    """Chart of an attention map with its tokens: rows attend to columns."""
    tokens = [token if len(token) <= _LONGEST else f"{token[: _LONGEST - 1]}…" for token in example.tokens]
    # A token may come twice: its place goes before it and is cut off where it is shown.
    names = [f"{place:03d}{token}" for place, token in enumerate(tokens)]
    rows: list[Datum] = [
        {"query": names[i], "key": names[j], "weight": weight, "text": f"{tokens[i]} → {tokens[j]}"}
        for i, line in enumerate(example.map)
        for j, weight in enumerate(line)
    ]
    plain: dict[str, Any] = {"domain": False, "ticks": False, "labelOverlap": False, "labelFontSize": 10, "grid": False}
    plain |= {"labelExpr": "slice(datum.label, 3)"}
    scale = alt.Scale(domain=names)
    x = alt.X("key:N", title=None, scale=scale, axis=alt.Axis(labelAngle=-60, **plain))
    y = alt.Y("query:N", title=None, scale=scale, axis=alt.Axis(**plain))
    color = alt.Color("weight:Q", scale=alt.Scale(domain=[0, 1], range="ramp", type="sqrt"), legend=None)
    tooltip = [*tips(text="tokens"), alt.Tooltip("weight:Q", title="attention")]
    return overlay(
        alt.Chart(data(rows)).mark_rect().encode(x=x, y=y, color=color, tooltip=tooltip), height=13 * len(names)
    )
