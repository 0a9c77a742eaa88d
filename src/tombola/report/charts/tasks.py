"""Heat map of tasks by tasks: what their tickets share."""

from collections.abc import Sequence

import altair as alt

from tombola.analysis.agreement.overlap import Matrix
from tombola.report import number_format
from tombola.report.charts.axes import GAP, share_colors
from tombola.report.charts.marks import Datum, heat_map, tips

_CELL = 40
_DARK_FROM = 0.6


def task_matrix(
    tasks: Sequence[str], values: Matrix[float | None], notes: Sequence[Sequence[str]], title: str
) -> alt.LayerChart:
    """A square of shares, coloured and labelled; undefined cells are left out.

    Args:
        tasks: rows and columns.
        values: 0 to 1.
        notes: what a cell's tooltip says beside its value.
        title: of the colours.
    """
    cells: list[Datum] = [
        {
            "row": first,
            "column": second,
            "share": value,
            "text": f"{100 * value:.0f}",
            "exact": number_format.share(value),
            "note": notes[i][j],
            "strong": value > _DARK_FROM,
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
    return heat_map(cells, axes, share_colors(title), tooltip, height=_CELL * len(tasks), labelled=True)
