"""Tickets of other tasks between the target's own ticket and random ones."""

from collections.abc import Sequence

import altair as alt

from tombola.analysis.transfer import TransferCell
from tombola.report import number_format
from tombola.report.charts.axes import name_axis, score_axis, top_legend
from tombola.report.charts.marks import Datum, data, note_above, overlay, rule_at, tips

TICKETS = ("transferred", "random of its size", "own")


def transfer_dots(cells: Sequence[TransferCell], metric: str) -> alt.LayerChart:
    """A line a source task: its tickets on the target, random ones of their sizes, the target's own; ± one deviation.

    Args:
        cells: of one method and one target.
        metric: the target's score in words.
    """
    rows: list[Datum] = [
        {
            "source": f"from {cell.source}",
            "ticket": ticket,
            "score": mean,
            "low": mean - std,
            "high": mean + std,
            "text": number_format.spread(mean, std) if cell.n > 1 else number_format.score(mean),
        }
        for cell in cells
        for ticket, mean, std in zip(
            TICKETS, (cell.score, cell.random, cell.own), (cell.std, cell.random_std, cell.own_std), strict=True
        )
    ]
    offset = alt.YOffset("ticket:N", sort=list(TICKETS), scale=alt.Scale(paddingInner=0.4))
    # The own ticket takes the good one's colour, random ones theirs.
    scale = alt.Scale(domain=["own", "random of its size", "-", "transferred"], range="category")
    color = alt.Color("ticket:N", scale=scale, legend=top_legend(values=list(TICKETS), symbolSize=90))
    tooltip = tips(source="ticket", ticket="ticket", text=metric)
    base = alt.Chart(data(rows)).encode(y=name_axis("source", 160), yOffset=offset, tooltip=tooltip)
    full = cells[0].full
    return overlay(
        base.mark_rule(style="whisker").encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, size=100, opacity=1).encode(x=score_axis(metric, padding=10), color=color),
        rule_at(full, "reference"),
        note_above(full, f"full model {number_format.score(full)}", 0, "right"),
        height=64 * len(cells),
    )
