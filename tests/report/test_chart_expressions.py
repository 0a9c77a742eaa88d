"""Names and titles from data are never part of the expressions that Vega evaluates."""

import json
import re
from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np
import vl_convert

from builders.browser import CODE
from tombola.report.charts.interactions import interaction_grid, pair_bars
from tombola.report.charts.parts import ScoreAxis, data, score_axis, tips
from tombola.report.charts.vega import AnyChart, specification

LITERAL = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""")
EVALUATED = ("signal", "expr", "test", "update")


def expressions(value: Any) -> Iterator[str]:
    """Expressions of a specification of Vega."""
    if isinstance(value, list):
        for one in value:
            yield from expressions(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key in EVALUATED and isinstance(one, str):
                yield one
            elif key != "values":
                yield from expressions(one)


def outside_literals(chart: AnyChart) -> str:
    """What a chart's expressions hold besides texts in quotation marks."""
    compiled: Any = vl_convert.vegalite_to_vega(json.dumps(specification(chart)))
    found = list(expressions(json.loads(compiled) if isinstance(compiled, str) else compiled))
    assert found
    return " ".join(LITERAL.sub("''", one) for one in found)


def test_names_of_sites_are_data() -> None:
    names = [f"{number}{CODE}" for number in range(3)]
    grid = interaction_grid(names, np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0.0]]))
    left = outside_literals(grid) + outside_literals(pair_bars([(names[0], 1.0, 0.1), (names[1], -1.0, 0.1)]))
    assert "OW" not in left
    assert "planted" not in left


def test_titles_are_texts() -> None:
    for title in (CODE, "x\\", "a\nb", '\\\\"+OW'):
        base = alt.Chart(data([{"score": 1.0, "who": title}])).mark_bar()
        chart = base.encode(x=score_axis(ScoreAxis(title, True).title, padding=1), tooltip=tips(who=title))
        left = outside_literals(chart)
        assert "OW" not in left
        assert left.count('"') == left.count("\\") == 0
