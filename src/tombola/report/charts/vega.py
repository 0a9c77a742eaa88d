"""Rendering of charts: a specification for the page's script, or a static SVG."""

import functools
import json
from typing import Any

import altair as alt
import vl_convert

from tombola.report.charts.theme import LIGHT

AnyChart = alt.Chart | alt.LayerChart
"""A chart whose width is left to whoever shows it."""


def specification(chart: AnyChart) -> dict[str, Any]:
    """The chart's Vega-Lite specification, validated, without colours, as wide as its container.

    Raises:
        altair.utils.schemapi.SchemaValidationError: the chart is not valid Vega-Lite.
    """
    # Heights come from the number of rows, so that only the width has to fit.
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    spec = chart.properties(width="container", autosize=fit).to_dict()
    # The configuration is the theme's. The schema's address is left out so that the page names no place on the network.
    return {key: value for key, value in spec.items() if key not in ("config", "$schema")}


def svg(chart: AnyChart, width: int = 640) -> str:
    """The chart as an SVG picture in the light theme, its plot without axes `width` pixels wide."""
    config = {**LIGHT, "background": "white"}
    spec = {**specification(chart), "width": width, "config": config}
    return str(vl_convert.vegalite_to_svg(json.dumps(spec), vl_version=_version(), allowed_base_urls=[]))


@functools.cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; they come with vl-convert, nothing is downloaded."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_version()))


def _version() -> str | None:
    """The Vega-Lite that Altair writes for, or None (the newest) where vl-convert does not carry it."""
    major_minor = alt.SCHEMA_VERSION.removeprefix("v").rsplit(".", 1)[0]
    return major_minor if major_minor in vl_convert.get_vegalite_versions() else None
