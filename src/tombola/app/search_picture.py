"""Picture of a search as it grows: the score of every iteration, drawn as SVG in the page's colours, said in words."""

import math

from tombola.app.study_run import Curve
from tombola.foundations.plurals import plural
from tombola.report.html.elements import Html, element, join

_WIDTH, _HEIGHT, _LEFT, _EDGE = 560, 180, 64, 14


def search_picture(curve: Curve) -> Html:
    """Picture of a search with its caption; iterations that do not hold the threshold are hollow."""
    points = [one for one in curve.points if math.isfinite(one.score)]
    scores = [one.score for one in points] or [0.0]
    low, high, last = min(scores), max(scores), max((one.iteration for one in points), default=0)
    places = [(_across(one.iteration, last), _up(one.score, low, high)) for one in points]
    held = [place for place, one in zip(places, points, strict=True) if one.holds]
    parts = [element("polyline", class_="held", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in held))]
    for (x, y), one in zip(places, points, strict=True):
        parts.append(element("circle", class_="held" if one.holds else "fell", cx=f"{x:.1f}", cy=f"{y:.1f}", r="4"))
    for value in dict.fromkeys((high, low)):
        y = _up(value, low, high)
        parts.append(element("text", f"{value:.4g}", x=str(_LEFT - 12), y=f"{y + 4:.1f}", text_anchor="end"))
    words = _in_words(curve)
    picture = element("svg", *parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=words)
    return join(element("h3", curve.what), picture, element("figcaption", words))


def _in_words(curve: Curve) -> str:
    holding = [one for one in curve.points if one.holds]
    state = "The search is over" if curve.over else "The search goes on"
    if not holding:
        return f"{state}: no iteration holds the threshold."
    last = holding[-1]
    return (
        f"{state}: {plural(len(curve.points), 'iteration')}; the last that holds the threshold is "
        f"number {last.iteration} with score {last.score:.4f}."
    )


def _across(iteration: int, last: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _EDGE) * (iteration / last if last else 0.0)


def _up(score: float, low: float, high: float) -> float:
    share = (score - low) / (high - low) if high > low else 0.5
    return _HEIGHT - _EDGE - (_HEIGHT - 2 * _EDGE) * share
