"""Score against sparsity along searches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import altair as alt

from tombola.analysis.locality.random_curve import RandomPoint
from tombola.architectures.anatomy import Places
from tombola.pruning.search.records import SearchPass
from tombola.report import number_format
from tombola.report.charts.parts import Datum, ScoreAxis, data, overlay, removed_axis, tips, top_legend
from tombola.report.labels import method_title
from tombola.report.trajectory import Trajectory, left, phase, removed

_HOLDS, _FELL, _GOOD = "holds", "fails", "good ticket"
_CROSS = "M-1,-.75L-.75,-1L0,-.25L.75,-1L1,-.75L.25,0L1,.75L.75,1L0,.25L-.75,1L-1,.75L-.25,0Z"
_MARKS = {
    _HOLDS: ("circle", "search-point", 28),
    _FELL: (_CROSS, "search-spur", 60),
    _GOOD: ("diamond", "search-point", 190),
}
"""Outcome of a pass → shape, style and size of its mark."""
_LOG_FROM = 8.0
"""Ratio of the worst to the best error from which they stand on a logarithmic axis."""


@dataclass(frozen=True)
class Threshold:
    """Share of the full score that searches keep, and the worst score that each of them accepts."""

    share: float
    bounds: Sequence[float]


def search_curves(
    searches: Sequence[Trajectory],
    score: ScoreAxis,
    threshold: Threshold,
    places: Places,
    *,
    random: Sequence[RandomPoint] = (),
    best: tuple[str, float] | None = None,
) -> alt.LayerChart:
    """Chart of one search a seed: a thin line through the states that hold, and the passes below the threshold.

    `random` are random tickets of the same sizes, `best` is what no model is judged better than, and its name.
    """
    points = [_point(search, one, places) for search in searches for one in search.passes]
    worst = [*(one.score for search in searches for one in search.passes), *(point.score for point in random)]
    # Where lower is better, what is broken lies so far off that the rest would be one line.
    x, y = removed_axis(), _score_axis(score.title, logarithmic=score.logarithmic(worst, _LOG_FROM))
    shape = alt.Shape(
        "state:N",
        scale=alt.Scale(domain=list(_MARKS), range=[path for path, _, _ in _MARKS.values()]),
        legend=top_legend(direction="horizontal", symbolSize=70),
    )
    tooltip = tips(
        seed="seed",
        iteration="iteration",
        phase="pruned",
        removed="removed",
        left="left",
        sparsity_text="sparsity",
        score_text=score.metric,
        state="outcome",
    )
    base = alt.Chart(data(points)).encode(x=x, y=y)
    spurs = alt.Chart(data([spur for search in searches for spur in _spurs(search)]))
    return overlay(
        *_bounds(threshold, y, score.higher_is_better, above=not score.higher_is_better),
        *(_best(*best, y) if best else ()),
        *(_random(random, x, y, score.metric) if random else ()),
        spurs.mark_rule(style="search-spur").encode(x=x, y=y, x2="sparsity_to:Q", y2="score_to:Q"),
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


def _score_axis(title: str, *, logarithmic: bool = False) -> alt.Y:
    scale = alt.Scale(type="log" if logarithmic else "linear", zero=False, nice=True)
    return alt.Y("score:Q", title=title, scale=scale, axis=alt.Axis(tickCount=6, grid=not logarithmic))


def _best(name: str, score: float, y: alt.Y) -> list[alt.Chart]:
    base = alt.Chart(data([{"score": score, "text": f"{name} {number_format.score(score)}"}]))
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
            "score_text": f"{number_format.score(point.score)} "
            f"({number_format.interval(point.score_low, point.score_high)})",
        }
        for point in points
    ]
    tooltip = tips(seed="seed", sparsity_text="sparsity", score_text=f"{metric} of random tickets")
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


def _bounds(threshold: Threshold, y: alt.Y, higher_is_better: bool = True, *, above: bool) -> list[alt.Chart]:
    """The line at which the searches stop, and what it is; written above the line where nothing goes below it."""
    share = threshold.share
    text = f"{100 * share:g} % of the full score" if higher_is_better else f"the full score / {share:g}"
    return [
        alt.Chart(data([{"score": bound} for bound in threshold.bounds])).mark_rule(style="threshold").encode(y=y),
        alt.Chart(data([{"score": min(threshold.bounds), "text": text}]))
        .mark_text(style="note", align="left", baseline="bottom" if above else "top", dx=4, dy=-5 if above else 5)
        .encode(x=alt.value(0), y=y, text="text:N"),
    ]


def finer_curves(
    coarse: Sequence[Trajectory], fine: Sequence[Trajectory], threshold: Threshold, metric: str
) -> alt.LayerChart:
    """Searches by two methods in one plot: at equal height, the line farther to the right has the smaller network."""
    titles = [method_title(searches[0].method) for searches in (coarse, fine)]
    x, y = removed_axis(), _score_axis(metric)
    # The lines take their colours from their styles: in the legend their dashes would fray the symbols.
    legend = top_legend(direction="horizontal", symbolSize=70)
    shape = alt.Shape("method:N", scale=alt.Scale(domain=titles, range=["square", "circle"]), legend=legend)
    color = alt.Color("method:N", scale=alt.Scale(domain=titles, range="diverging"), legend=legend)
    tooltip = tips(method="method", seed="seed", left="left", sparsity_text="sparsity", score_text=metric)
    layers = _bounds(threshold, y, above=True)
    for searches, style, title in zip((coarse, fine), ("coarse-line", "search-line"), titles, strict=True):
        rows: list[Datum] = [
            {"method": title, "good": one is search.good, **_state(search, one)}
            for search in searches
            for one in search.passes
            if one.holds
        ]
        base = alt.Chart(data(rows)).encode(x=x, y=y)
        size = alt.condition(alt.datum.good, alt.value(150), alt.value(30))
        layers += [
            base.mark_line(style=style).encode(detail="seed:N", order="iteration:O"),
            base.mark_point(filled=True, opacity=1).encode(shape=shape, color=color, tooltip=tooltip, size=size),
        ]
    return overlay(*layers, height=260)


def _state(search: Trajectory, one: SearchPass) -> Datum:
    return {
        "seed": str(search.seed),
        "iteration": one.iteration,
        "left": left(search.method, one),
        "sparsity": one.sparsity,
        "sparsity_text": number_format.share(one.sparsity),
        "score": one.score,
        "score_text": number_format.score(one.score),
    }


def _point(search: Trajectory, one: SearchPass, places: Places) -> Datum:
    return {
        **_state(search, one),
        "phase": phase(search.method, one),
        "removed": removed(one, places),
        "state": _GOOD if one is search.good else _HOLDS if one.holds else _FELL,
    }


def _spurs(search: Trajectory) -> Iterator[Datum]:
    """Lines from the states that were cut to those that fail."""
    for index, one in enumerate(search.passes):
        if not one.holds:
            start = search.before(index)
            before = {"sparsity": start.sparsity, "score": start.score}
            yield {**before, "sparsity_to": one.sparsity, "score_to": one.score}
