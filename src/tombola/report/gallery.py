"""The charts of one page: each gets a number, a place and its specification as data."""

import json
from dataclasses import dataclass, field

from tombola.report.markup import Html, element, join
from tombola.report.render import Picture, specification


@dataclass
class Gallery:
    """Numbers the pictures of one page and turns charts into HTML."""

    _names: list[str] = field(default_factory=list)

    def plot(self, chart: Picture, name: str, label: str) -> Html:
        """The place of a chart and its specification.

        Args:
            chart: what to draw.
            name: file name of a saved picture, without ending.
            label: what it shows, for people who cannot see it.
        """
        self._names.append(name)
        key = f"spec-{len(self._names)}"
        return join(
            element("div", class_="plot", role="img", aria_label=label, data_spec=key, data_name=name),
            element("script", Html(script_json(specification(chart))), type="application/json", id=key),
        )


def script_json(value: object) -> str:
    r"""JSON that cannot end the script element it stands in: every `<` is written \u003c."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
