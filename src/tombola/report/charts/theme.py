"""Colours and type of the charts, for light and for dark pages.

The charts name roles (`category`, `ramp`, a mark's style) and the theme gives the colours, so that a page that changes
from light to dark draws the same charts again under another configuration. The tickets' colours are Okabe and Ito's,
which people with any colour vision can tell apart; the dark ones are lifted until they stand out as well.
"""

from typing import Any

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def _theme(
    *,
    ink: str,
    quiet: str,
    grid: str,
    tickets: tuple[str, str, str, str],
    survival: tuple[str, ...],
    importance: tuple[str, ...],
    patterns: tuple[str, str, str, str, str],
    on_high: str,
) -> dict[str, Any]:
    good, _, random, bad = tickets
    words = {"labelColor": quiet, "titleColor": quiet, "labelFontSize": 12, "titleFontSize": 12}
    words |= {"titleFontWeight": "normal"}
    lines = dict.fromkeys(("gridColor", "domainColor", "tickColor"), grid)
    symbols = dict.fromkeys(("symbolBaseFillColor", "symbolBaseStrokeColor"), quiet)
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": {**words, **lines, "titlePadding": 10, "labelPadding": 6, "labelFlush": False},
        "legend": {**words, **symbols, "symbolStrokeWidth": 0, "gradientStrokeWidth": 0, "titleLimit": 320},
        # Categories are the found tickets in the order of `TICKETS`; an ordinal pair is pruned, survives;
        # a diverging one a coarser and a finer method; symbols are the five classes of attention.
        "range": {
            "category": list(tickets),
            "ordinal": [survival[0], survival[-1]],
            "heatmap": list(survival),
            "diverging": [quiet, good],
            "ramp": list(importance),
            "symbol": list(patterns),
        },
        # Vega-Lite takes a style's `color` for the fill or the stroke of its marks, and ignores `fill` and `stroke`.
        "style": {
            "reference": {"color": ink, "strokeWidth": 1.5},
            "chance": {"color": quiet, "strokeWidth": 1.5, "strokeDash": [2, 3]},
            "threshold": {"color": bad, "strokeWidth": 1.25, "strokeDash": [6, 4]},
            "whisker": {"color": ink, "strokeWidth": 1.25},
            "seed": {"color": ink, "fillOpacity": 0.75},
            "search-line": {"color": good, "strokeWidth": 1.5},
            "search-spur": {"color": quiet, "strokeWidth": 1, "strokeDash": [2, 2]},
            "search-point": {"color": good},
            "random-line": {"color": random, "strokeWidth": 1.5},
            "random-point": {"color": random},
            "coarse-line": {"color": quiet, "strokeWidth": 1.5, "strokeDash": [4, 3]},
            "paper-point": {"color": ink, "strokeWidth": 1.5},
            "paper-range": {"color": quiet, "strokeWidth": 1.25},
            "value": {"color": ink, "fontSize": 12},
            "note": {"color": quiet, "fontSize": 12},
            "on-low": {"color": ink, "fontSize": 11},
            "on-high": {"color": on_high, "fontSize": 11},
            "on-class": {"color": "#16191d", "fontSize": 11},
            "site-bar": {"color": importance[-2]},
            "survival-bar": {"color": survival[-1]},
        },
    }


LIGHT = _theme(
    ink="#1f2328",
    quiet="#59616b",
    grid="#e3e6ea",
    tickets=("#009e73", "#0072b2", "#56b4e9", "#d55e00"),
    survival=("#eceff1", "#8fd0b9", "#00805d"),
    importance=("#f1eef4", "#b79bd0", "#7d4fa3", "#4b2271"),
    patterns=("#cc79a7", "#e69f00", "#b5651d", "#56b4e9", "#8d96a0"),
    on_high="#ffffff",
)

DARK = _theme(
    ink="#e8eaed",
    quiet="#a7afb9",
    grid="#343a42",
    tickets=("#2fc79b", "#3f95dc", "#93d3f7", "#f4853a"),
    survival=("#272c33", "#22705a", "#4fdcb2"),
    importance=("#25222b", "#62427e", "#a67ccc", "#dcc4f2"),
    patterns=("#e08fbd", "#f2b632", "#c9803d", "#79c4ef", "#7d8792"),
    on_high="#0c1411",
)
