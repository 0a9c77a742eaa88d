"""The charts and tables of one page: each gets its place there, and is kept under a name for other ways to write it."""

import json
import re
from dataclasses import dataclass, field

from tombola.report.charts.vega import AnyChart, specification
from tombola.report.html.markup import Html, element, join
from tombola.report.html.table_html import table_html
from tombola.report.tables.table import Table


@dataclass
class FigureRegistry:
    """Takes the charts and tables of one page and turns them into HTML.

    Attributes:
        charts: name → chart and what it shows, in the order of the page.
        tables: name → table, in the order of the page.
    """

    charts: dict[str, tuple[AnyChart, str]] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)

    def plot(self, chart: AnyChart, name: str, label: str) -> Html:
        """The place of a chart and its specification.

        Args:
            chart: what to draw.
            name: file name of a saved picture, without ending; what no such name should have becomes a hyphen.
            label: what it shows, for people who cannot see it.
        """
        name = _slug(name)
        assert name not in self.charts, name
        self.charts[name] = chart, label
        key = f"spec-{len(self.charts)}"
        return join(
            element("div", class_="plot", role="img", aria_label=label, data_spec=key, data_name=name),
            element("script", Html(script_json(specification(chart))), type="application/json", id=key),
        )

    def table(self, table: Table, name: str) -> Html:
        """The table as an element that scrolls by itself; `name` is the file name of a saved one, as for `plot`."""
        name = _slug(name)
        assert name not in self.tables, name
        self.tables[name] = table
        return table_html(table)


def script_json(value: object) -> str:
    r"""JSON that cannot end the script element it stands in: every `<` is written \u003c."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _slug(name: str) -> str:
    """A name that leads to no other folder: parts of it may come from the JSON of others."""
    return re.sub(r"[^a-z0-9-]+", "-", name.lower())
