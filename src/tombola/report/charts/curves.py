"""Score against sparsity along searches."""

from collections.abc import Sequence

import altair as alt

from tombola.analysis.locality.random_curve import RandomPoint
from tombola.architectures.anatomy import Places
from tombola.report import number_format
from tombola.report.charts.marks import Datum, data, overlay
from tombola.report.labels import METHOD_TITLES
from tombola.report.trajectory import Trajectory, left, phase, removed

_HOLDS, _FELL, _GOOD = "holds", "fell below", "good ticket"
_CROSS = "M-1,-.75L-.75,-1L0,-.25L.75,-1L1,-.75L.25,0L1,.75L.75,1L0,.25L-.75,1L-1,.75L-.25,0Z"
_MARKS = {
    _HOLDS: ("circle", "search-point", 28),
    _FELL: (_CROSS, "search-spur", 60),
    _GOOD: ("diamond", "search-point", 190),
}
"""Outcome of a pass → shape, style and size of its mark."""
_LOG_FROM = 8.0
"""Ratio of the worst to the best error from which they stand on a logarithmic axis."""


def search_curves(
    searches: Sequence[Trajectory],
    floors: Sequence[float],
    threshold: float,
    metric: str,
    places: Places,
    *,
    random: Sequence[RandomPoint] = (),
    best: tuple[str, float] | None = None,
    higher_is_better: bool = True,
) -> alt.LayerChart:
    """Chart of searches: a thin line a seed through the states that hold, and the passes below the threshold.

    Args:
        searches: one for each seed.
        floors: the worst score that each search accepts.
        threshold: the share of the full score that gave the floors.
        metric: the score's name in words.
        places: names of layers.
        random: random tickets of the same sizes.
        best: what no model is judged better than, and its name.
        higher_is_better: the direction of the metric.
    """
    points = [point for search in searches for point in _points(search, places)]
    spurs = [spur for search in searches for spur in _spurs(search)]
    worst = [*(float(str(point["score"])) for point in points), *(point.score for point in random)]
    # Where lower is better, what is broken lies so far off that the rest would be one line.
    logarithmic = not higher_is_better and min(worst) > 0 and max(worst) > _LOG_FROM * min(worst)
    x, y = _axes(metric if higher_is_better else f"{metric} (lower is better)", logarithmic=logarithmic)
    shape = alt.Shape(
        "state:N",
        scale=alt.Scale(domain=list(_MARKS), range=[path for path, _, _ in _MARKS.values()]),
        legend=alt.Legend(title=None, orient="top", direction="horizontal", symbolSize=70),
    )
    tooltip = [
        alt.Tooltip("seed:N", title="seed"),
        alt.Tooltip("iteration:N", title="iteration"),
        alt.Tooltip("phase:N", title="pruned"),
        alt.Tooltip("removed:N", title="removed"),
        alt.Tooltip("left:N", title="left"),
        alt.Tooltip("sparsity_text:N", title="sparsity"),
        alt.Tooltip("score_text:N", title=metric),
        alt.Tooltip("state:N", title="outcome"),
    ]
    base = alt.Chart(data(points)).encode(x=x, y=y)
    return overlay(
        *_floors(floors, threshold, y, above=not higher_is_better, higher_is_better=higher_is_better),
        *(_best(*best, y) if best else ()),
        *(_random(random, x, y, metric) if random else ()),
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


def _best(name: str, score: float, y: alt.Y) -> list[alt.Chart]:
    """The line that no model is judged better than, and what it is."""
    row: Datum = {"score": score, "text": f"{name} {number_format.score(score)}"}
    base = alt.Chart(data([row]))
    text = base.mark_text(style="note", align="right", baseline="top", dx=-4, dy=4)
    return [base.mark_rule(style="chance").encode(y=y), text.encode(x=alt.value("width"), y=y, text="text:N")]


def _random(points: Sequence[RandomPoint], x: alt.X, y: alt.Y, metric: str) -> list[alt.Chart]:
    """Random tickets with their intervals, joined seed by seed, and named at the sparsest of them."""
    rows: list[Datum] = [
        {
            "seed": str(point.seed),
            "sparsity": point.sparsity,
            "score": point.score,
            "low": point.score_low,
            "high": point.score_high,
            "sparsity_text": number_format.share(point.sparsity),
            "score_text": f"{number_format.score(point.score)} ({number_format.score(point.score_low)} to "
            f"{number_format.score(point.score_high)})",
        }
        for point in points
    ]
    tooltip = [
        alt.Tooltip("seed:N", title="seed"),
        alt.Tooltip("sparsity_text:N", title="sparsity"),
        alt.Tooltip("score_text:N", title=f"{metric} of random tickets"),
    ]
    base = alt.Chart(data(rows)).encode(x=x, y=y)
    # Where it is farthest from what was found.
    sparsest = max(range(len(rows)), key=lambda number: points[number].sparsity)
    named = alt.Chart(data([{**rows[sparsest], "text": "layer-matched random"}]))
    return [
        base.mark_rule(style="random-line").encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_line(style="random-line").encode(detail="seed:N"),
        base.mark_point(style="random-point", filled=True, opacity=1, size=40, shape="square").encode(tooltip=tooltip),
        named.mark_text(style="note", align="right", baseline="middle", dx=-9).encode(x=x, y=y, text="text:N"),
    ]


def _axes(metric: str, *, logarithmic: bool = False) -> tuple[alt.X, alt.Y]:
    x = alt.X(
        "sparsity:Q",
        title="prunable weights removed",
        scale=alt.Scale(domainMin=0, nice=True),
        axis=alt.Axis(format="~%", tickCount=6, grid=False),
    )
    scale = alt.Scale(type="log" if logarithmic else "linear", zero=False, nice=True)
    y = alt.Y("score:Q", title=metric, scale=scale, axis=alt.Axis(tickCount=6, grid=not logarithmic))
    return x, y


def _floors(
    floors: Sequence[float], threshold: float, y: alt.Y, *, above: bool = False, higher_is_better: bool = True
) -> list[alt.Chart]:
    """The line at which the searches stop, and what it is; written above the line where nothing goes below it."""
    text = f"{100 * threshold:g} % of the full score" if higher_is_better else f"the full score / {threshold:g}"
    rows: list[Datum] = [{"score": floor} for floor in floors]
    lowest: Datum = {"score": min(floors), "text": text}
    return [
        alt.Chart(data(rows)).mark_rule(style="threshold").encode(y=y),
        alt.Chart(data([lowest]))
        .mark_text(style="note", align="left", baseline="bottom" if above else "top", dx=4, dy=-5 if above else 5)
        .encode(x=alt.value(0), y=y, text="text:N"),
    ]


def finer_curves(
    coarse: Sequence[Trajectory], fine: Sequence[Trajectory], floors: Sequence[float], threshold: float, metric: str
) -> alt.LayerChart:
    """Two methods in one plot: at equal height, the line farther to the right has the smaller network.

    Args:
        coarse, fine: their searches, one for each seed.
        floors: the worst score that each search accepts.
        threshold: the share of the full score that gave the floors.
        metric: the score's name in words.
    """
    titles = [METHOD_TITLES[searches[0].method] for searches in (coarse, fine)]
    x, y = _axes(metric)
    # The lines take their colours from their styles: in the legend their dashes would fray the symbols.
    legend = alt.Legend(title=None, orient="top", direction="horizontal", symbolSize=70)
    shape = alt.Shape("method:N", scale=alt.Scale(domain=titles, range=["square", "circle"]), legend=legend)
    color = alt.Color("method:N", scale=alt.Scale(domain=titles, range="diverging"), legend=legend)
    tooltip = [
        alt.Tooltip("method:N", title="method"),
        alt.Tooltip("seed:N", title="seed"),
        alt.Tooltip("left:N", title="left"),
        alt.Tooltip("sparsity_text:N", title="sparsity"),
        alt.Tooltip("score_text:N", title=metric),
    ]
    layers = _floors(floors, threshold, y, above=True)
    for searches, style, title in zip((coarse, fine), ("coarse-line", "search-line"), titles, strict=True):
        base = alt.Chart(data([point for search in searches for point in _held(search, title)])).encode(x=x, y=y)
        layers += [
            base.mark_line(style=style).encode(detail="seed:N", order="iteration:O"),
            base.mark_point(filled=True, opacity=1).encode(
                shape=shape,
                color=color,
                tooltip=tooltip,
                size=alt.condition(alt.datum.good, alt.value(150), alt.value(30)),
            ),
        ]
    return overlay(*layers, height=260)


def _held(search: Trajectory, title: str) -> list[Datum]:
    """The states that hold; the last of them is the good ticket."""
    return [
        {
            "method": title,
            "seed": str(search.seed),
            "iteration": search_pass.iteration,
            "left": left(search.method, search_pass),
            "sparsity": search_pass.sparsity,
            "sparsity_text": number_format.share(search_pass.sparsity),
            "score": search_pass.score,
            "score_text": number_format.score(search_pass.score),
            "good": search_pass is search.good,
        }
        for search_pass in search.passes
        if search_pass.holds
    ]


def _points(search: Trajectory, places: Places) -> list[Datum]:
    good = search.good
    return [
        {
            "seed": str(search.seed),
            "iteration": search_pass.iteration,
            "phase": phase(search.method, search_pass),
            "removed": removed(search_pass, places),
            "left": left(search.method, search_pass),
            "sparsity": search_pass.sparsity,
            "sparsity_text": number_format.share(search_pass.sparsity),
            "score": search_pass.score,
            "score_text": number_format.score(search_pass.score),
            "state": _GOOD if search_pass is good else _HOLDS if search_pass.holds else _FELL,
        }
        for search_pass in search.passes
    ]


def _spurs(search: Trajectory) -> list[Datum]:
    spurs: list[Datum] = []
    for index, search_pass in enumerate(search.passes):
        if not search_pass.holds:
            start = search.before(index)
            spurs.append(
                {
                    "sparsity": start.sparsity,
                    "score": start.score,
                    "sparsity_to": search_pass.sparsity,
                    "score_to": search_pass.score,
                }
            )
    return spurs
