"""Rendering of charts: a specification for the page's script, or static pictures."""

import base64
import functools
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from tombola.foundations.errors import visible
from tombola.report.charts.theme import LIGHT

AnyChart = alt.Chart | alt.LayerChart
"""A chart whose width is left to whoever shows it."""
_BY_ITSELF = {**LIGHT, "background": "white"}


def specification(chart: AnyChart) -> dict[str, Any]:
    """The chart's Vega-Lite specification, validated, without colours, as wide as its container.

    Raises:
        altair.utils.schemapi.SchemaValidationError: the chart is not valid Vega-Lite.
    """
    # Heights come from the number of rows, so that only the width has to fit.
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    spec = chart.properties(width="container", autosize=fit).to_dict()
    # The configuration is the theme's. The schema's address is left out so that the page names no place on the network.
    return {key: _quotable(value, key) for key, value in spec.items() if key not in ("config", "$schema")}


def themed(*charts: AnyChart, width: int = 480) -> Any:
    """Charts, one under the other, as one that stands by itself: in the light theme, plots `width` pixels wide."""
    specs = [{**specification(chart), "width": width} for chart in charts]
    if len(specs) == 1:
        return alt.Chart.from_dict({**specs[0], "config": _BY_ITSELF})
    datasets = {name: rows for spec in specs for name, rows in spec.pop("datasets", {}).items()}
    for spec in specs:
        # A part of a picture cannot fit itself to a width that is not its own.
        del spec["autosize"]
    return alt.Chart.from_dict({"vconcat": specs, "datasets": datasets, "config": _BY_ITSELF})


def _quotable(value: Any, key: str = "") -> Any:
    """A part of a specification whose titles Vega-Lite can quote, and whose texts an SVG can hold.

    It writes titles into the expressions of tooltips and descriptions, and escapes quotation marks alone: after a
    backslash, what follows them would be an expression. Rows of data stay data.
    """
    if isinstance(value, str):
        seen = visible(value)
        return " ".join(seen.replace("\\", "\N{SET MINUS}").split()) if key == "title" else seen
    if isinstance(value, list):
        return [_quotable(one, key) for one in value]
    if isinstance(value, dict):
        # A column of data may be called `title`.
        return {name: _quotable(one, key if key == "datasets" else name) for name, one in value.items()}
    return value


def pictures(
    charts: Mapping[str, AnyChart], width: int = 640, *, svg_alone: bool = False
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Charts by name as pictures in the light theme, their plots without axes `width` pixels wide.

    Each has its files by their endings: `svg`, and unless that is all that is wanted, `png`, twice as large, and `pdf`.
    They are drawn in a process of their own. A picture at which it ends is left out, with a warning.
    """
    left = {
        name: json.dumps({**specification(chart), "width": width, "config": _BY_ITSELF})
        for name, chart in charts.items()
    }
    # -P: files of the folder of the renderer are no libraries.
    command = [sys.executable, "-P", str(Path(__file__).with_name("renderer.py"))]
    while left:
        given = json.dumps({"specs": list(left.values()), "version": _version(), "all": not svg_alone})
        ended = subprocess.run(command, input=given, capture_output=True, text=True, encoding="utf-8", check=False)
        for picture in ended.stdout.split("\n")[:-1]:
            name = next(iter(left))
            del left[name]
            svg, *others = json.loads(picture).items()
            files = {ending: base64.b64decode(found) for ending, found in others}
            yield name, {svg[0]: svg[1].encode(), **files}
        if left:
            name = next(iter(left))
            del left[name]
            said = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
            warnings.warn(f"the figure {name} is left out, as it cannot be drawn ({said[0][:200]})", stacklevel=2)


@functools.cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; they come with vl-convert, nothing is downloaded."""
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_version()))


def _version() -> str | None:
    """The Vega-Lite that Altair writes for, or None (the newest) where vl-convert does not carry it."""
    major_minor = alt.SCHEMA_VERSION.removeprefix("v").rsplit(".", 1)[0]
    return major_minor if major_minor in vl_convert.get_vegalite_versions() else None
