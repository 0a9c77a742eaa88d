"""Charts of attention: classes of the heads' maps, survival among them, and a few real maps."""

from collections.abc import Mapping, Sequence

import altair as alt
from torch import Tensor

from tombola.analysis.attention.attention_summary import Distribution
from tombola.analysis.attention.example_maps import ExampleMap
from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.architectures.anatomy import Places
from tombola.report import number_format
from tombola.report.charts.marks import GAP, ROW, Datum, data, layer_axis, overlay

_LONGEST = 12
"""Letters of a token that are shown."""


def _class_color(legend: alt.Legend | None) -> alt.Color:
    return alt.Color(
        "class:N", scale=alt.Scale(domain=list(CLASSES), range="symbol"), sort=list(CLASSES), legend=legend
    )


def class_bars(groups: Mapping[str, Distribution]) -> alt.LayerChart:
    """Stacked bars: the mean share of each class over the heads of each group.

    Args:
        groups: what a group of heads is called → its distribution; groups without heads are left out.
    """
    rows: list[Datum] = []
    for name, found in groups.items():
        start = 0.0
        for label, share in found.shares.items():
            if share is None:
                continue
            value, low, high = share
            text = f"{number_format.share(value)} ({number_format.share(low)} to {number_format.share(high)})"
            rows.append(
                {
                    "group": name,
                    "class": label,
                    "start": start,
                    "end": start + value,
                    "middle": start + value / 2,
                    "label": f"{100 * value:.0f}" if value >= 0.06 else "",
                    "text": text,
                }
            )
            start += value
    names = [name for name, found in groups.items() if found.heads]
    tooltip = [
        alt.Tooltip("group:N", title="heads"),
        alt.Tooltip("class:N", title="class"),
        alt.Tooltip("text:N", title="share, 95 % over inputs"),
    ]
    x = alt.X(
        "start:Q",
        title="share of the maps",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(format=".0%", tickCount=5, grid=False),
    )
    y = alt.Y(
        "group:N",
        title=None,
        scale=alt.Scale(domain=names, paddingInner=0.25),
        axis=alt.Axis(domain=False, ticks=False, labelLimit=180),
    )
    legend = alt.Legend(title=None, orient="top", columns=3, symbolType="square", symbolSize=140, labelLimit=200)
    base = alt.Chart(data(rows)).encode(y=y, tooltip=tooltip)
    return overlay(
        base.mark_bar().encode(x=x, x2="end:Q", color=_class_color(legend)),
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
    rows: list[Datum] = []
    for row, name in enumerate(names):
        for head, of_head in enumerate(shares[row].tolist()):
            most = max(range(len(CLASSES)), key=lambda label: of_head[label])
            kept = None if survival is None else float(survival[row, head])
            rows.append(
                {
                    "row": name,
                    "head": str(head),
                    "site": f"{name}.{head}",
                    "class": CLASSES[most],
                    "text": ", ".join(
                        f"{label} {number_format.share(share)}" for label, share in zip(CLASSES, of_head, strict=True)
                    ),
                    "kept": kept,
                    "fate": number_format.MISSING if kept is None else number_format.share(kept),
                }
            )
    axis = alt.Axis(labelAngle=0, domain=False, ticks=False, labelOverlap=False, titleAnchor="start", labelPadding=4)
    x = alt.X("head:N", title="head", sort=None, scale=alt.Scale(padding=GAP), axis=axis)
    legend = alt.Legend(title="most frequent class", orient="top", columns=3, symbolType="square", symbolSize=140)
    tooltip = [
        alt.Tooltip("site:N", title="head"),
        alt.Tooltip("text:N", title="classes"),
        alt.Tooltip("fate:N", title="survives in this share of seeds"),
    ]
    base = alt.Chart(data(rows)).encode(x=x, y=layer_axis(names), tooltip=tooltip)
    layers = [base.mark_rect(cornerRadius=2).encode(color=_class_color(legend))]
    if survival is not None:
        size = alt.Size("kept:Q", scale=alt.Scale(domain=[0, 1], range=[0, 110]), legend=None)
        layers.append(base.mark_point(style="seed", filled=True, opacity=1, shape="circle").encode(size=size))
    return overlay(*layers, height=ROW * len(names))


def survival_dots(heads: Sequence[tuple[str, float, float]], pattern: str) -> alt.LayerChart:
    """A dot for every head: the share of a class in its maps, against the share of seeds that keep it.

    Args:
        heads: name, share of the class, survival.
        pattern: the class.
    """
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
    tooltip = [
        alt.Tooltip("site:N", title="head"),
        alt.Tooltip("share_text:N", title=pattern),
        alt.Tooltip("survival_text:N", title="survives in this share of seeds"),
    ]
    dots = (
        alt.Chart(data(rows))
        .mark_point(style="search-point", filled=True, size=60, opacity=0.7)
        .encode(
            x=alt.X(
                "share:Q",
                title=f"share of {pattern} maps",
                scale=alt.Scale(domain=[0, 1], nice=False),
                axis=alt.Axis(format=".0%", tickCount=5),
            ),
            y=alt.Y(
                "shifted:Q",
                title="seeds that keep the head",
                scale=alt.Scale(domain=[-0.06, 1.06], nice=False),
                axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1]),
            ),
            tooltip=tooltip,
        )
    )
    return overlay(dots, height=240)


def attention_map(picture: ExampleMap) -> alt.LayerChart:
    """Chart of an attention map with its tokens: rows attend to columns."""
    # A token may come twice: its place goes before it and is cut off where it is shown.
    names = [f"{place:03d}{_short(token)}" for place, token in enumerate(picture.tokens)]
    rows: list[Datum] = [
        {"query": names[i], "key": names[j], "weight": weight, "text": f"{_short(picture.tokens[i])} → {_short(token)}"}
        for i, line in enumerate(picture.map)
        for j, (weight, token) in enumerate(zip(line, picture.tokens, strict=True))
    ]
    axis = alt.Axis(
        domain=False, ticks=False, labelOverlap=False, labelExpr="slice(datum.label, 3)", labelFontSize=10, grid=False
    )
    x = alt.X(
        "key:N", title=None, scale=alt.Scale(domain=names), axis=alt.Axis(**{**axis.to_dict(), "labelAngle": -60})
    )
    y = alt.Y("query:N", title=None, scale=alt.Scale(domain=names), axis=axis)
    color = alt.Color("weight:Q", scale=alt.Scale(domain=[0, 1], range="ramp", type="sqrt"), legend=None)
    tooltip = [alt.Tooltip("text:N", title="tokens"), alt.Tooltip("weight:Q", title="attention")]
    cells = alt.Chart(data(rows)).mark_rect().encode(x=x, y=y, color=color, tooltip=tooltip)
    return overlay(cells, height=13 * len(names))


def _short(token: str) -> str:
    return token if len(token) <= _LONGEST else f"{token[: _LONGEST - 1]}…"
