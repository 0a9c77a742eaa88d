"""Score against sparsity along a search."""

from collections.abc import Sequence

import altair as alt

from tombola.report import figures
from tombola.report.charts.marks import Datum, data, overlay
from tombola.report.trajectory import Trajectory, removed

_PHASES = {
    "full": "the full model",
    "joint": "heads and MLPs together",
    "heads": "heads alone",
    "mlps": "MLPs alone",
    "magnitude": "smallest weights of the whole model",
}
_HOLDS, _FELL, _GOOD = "holds", "fell below", "good ticket"
_CROSS = "M-1,-.75L-.75,-1L0,-.25L.75,-1L1,-.75L.25,0L1,.75L.75,1L0,.25L-.75,1L-1,.75L-.25,0Z"
_MARKS = {
    _HOLDS: ("circle", "search-point", 28),
    _FELL: (_CROSS, "search-spur", 60),
    _GOOD: ("diamond", "search-point", 190),
}
"""Outcome of a pass → shape, style and size of its mark."""


def search_curves(
    searches: Sequence[Trajectory], floors: Sequence[float], threshold: float, metric: str
) -> alt.LayerChart:
    """One thin line a seed through the states that hold, with the passes that fell below the threshold beside it.

    Args:
        searches: one for each seed.
        floors: the worst score that each search accepts.
        threshold: the share of the full score that gave the floors.
        metric: the score's name in words.
    """
    points = [point for search in searches for point in _points(search)]
    spurs = [spur for search in searches for spur in _spurs(search)]
    x = alt.X(
        "sparsity:Q",
        title="prunable weights removed",
        scale=alt.Scale(domainMin=0, nice=True),
        axis=alt.Axis(format="~%", tickCount=6, grid=False),
    )
    y = alt.Y("score:Q", title=metric, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=6))
    shape = alt.Shape(
        "state:N",
        scale=alt.Scale(domain=list(_MARKS), range=[path for path, _, _ in _MARKS.values()]),
        legend=alt.Legend(title=None, orient="top", direction="horizontal", symbolSize=70),
    )
    tooltip = [
        alt.Tooltip("seed:N", title="seed"),
        alt.Tooltip("iteration:N", title="iteration"),
        alt.Tooltip("phase:N", title="pruning"),
        alt.Tooltip("removed:N", title="removed"),
        alt.Tooltip("left:N", title="left"),
        alt.Tooltip("sparsity_text:N", title="sparsity"),
        alt.Tooltip("score_text:N", title=metric),
        alt.Tooltip("state:N", title="outcome"),
    ]
    base = alt.Chart(data(points)).encode(x=x, y=y)
    floor_rows: list[Datum] = [{"score": floor} for floor in floors]
    lowest: Datum = {"score": min(floors), "text": f"{100 * threshold:g} % of the full score"}
    return overlay(
        alt.Chart(data(floor_rows)).mark_rule(style="threshold").encode(y=y),
        alt.Chart(data([lowest]))
        .mark_text(style="note", align="left", baseline="top", dx=4, dy=5)
        .encode(x=alt.value(0), y=y, text="text:N"),
        alt.Chart(data(spurs)).mark_rule(style="search-spur").encode(x=x, y=y, x2="sparsity_to:Q", y2="score_to:Q"),
        base.transform_filter(alt.datum.state != _FELL)
        .mark_line(style="search-line")
        .encode(detail="seed:N", order="iteration:O"),
        *(
            base.transform_filter(alt.datum.state == state)
            .mark_point(style=style, filled=True, opacity=1, size=size)
            .encode(shape=shape)
            for state, (_, style, size) in _MARKS.items()
        ),
        # A generous invisible target: a small dot is hard to hit with a finger.
        base.mark_point(size=260, opacity=0, filled=True).encode(tooltip=tooltip),
        height=280,
    )


def _points(search: Trajectory) -> list[Datum]:
    good = search.good
    return [
        {
            "seed": str(search.seed),
            "iteration": step.iteration,
            "phase": _PHASES.get(step.phase, step.phase),
            "removed": removed(step),
            "left": f"{figures.plural(step.heads, 'head')}, {figures.plural(step.mlps, 'MLP')}, "
            f"{figures.plural(step.weights, 'weight')}",
            "sparsity": step.sparsity,
            "sparsity_text": figures.share(step.sparsity),
            "score": step.score,
            "score_text": figures.score(step.score),
            "state": _GOOD if step is good else _HOLDS if step.holds else _FELL,
        }
        for step in search.steps
    ]


def _spurs(search: Trajectory) -> list[Datum]:
    spurs: list[Datum] = []
    for index, step in enumerate(search.steps):
        if not step.holds:
            start = search.before(index)
            spurs.append(
                {
                    "sparsity": start.sparsity,
                    "score": start.score,
                    "sparsity_to": step.sparsity,
                    "score_to": step.score,
                }
            )
    return spurs
