"""Section on abilities: what is left of each, where it falls, and which method keeps most."""

from collections.abc import Iterator, Sequence

from tombola.analysis.retention_profile import AbilityCurve, RetentionProfile
from tombola.report import number_format
from tombola.report.charts.retention import Against, RetentionPoint, retention_lines
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import beside, figure, section
from tombola.report.html.markup import Html, element
from tombola.report.labels import METHOD_TITLES, and_words
from tombola.report.sections.retention_tables import (
    ability_falls,
    ability_points,
    ability_recovery,
    ability_tickets,
    retained_share,
)
from tombola.report.study_data import StudyData
from tombola.study.results import Row
from tombola.tickets.pruning_methods import in_words


def retention(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None where the task has no abilities."""
    profiles = read_profiles(study)
    if not profiles or study.full is None:
        return None
    full = study.full.rows[0]
    figures = [_figure(profile, full, registry) for profile in profiles]
    lead = (
        "Each ability in shares of what the full model has above chance: 100 % is the full model, 0 % a guess. Bands "
        "are 95 % intervals over examples, full and pruned model on the same ones."
    )
    return section(
        "What is left of each ability",
        element("p", _full_sentence(profiles[0]), class_="sentence"),
        beside(*figures),
        _methods(study, profiles, full, registry) if len(profiles) > 1 else "",
        ability_falls(profiles, registry),
        ability_recovery(profiles, registry),
        ability_tickets(profiles, registry),
        ability_points(profiles, registry),
        lead=lead,
    )


def read_profiles(study: StudyData) -> list[RetentionProfile]:
    """The retention profile of every method that has one. Of several seeds the first: they share the model."""
    found = (study.analyses(RetentionProfile, "retention", method) for method in study.methods)
    return [next(iter(profiles.values())) for profiles in found if profiles]


def _full_sentence(profile: RetentionProfile) -> str:
    """Sentence on the abilities that the full model has, and those it never had."""
    have = [f"{curve.title} ({_raw_score(curve)})" for curve in profile.curves if curve.learned]
    lack = [
        f"{curve.title} ({_raw_score(curve)}, chance {number_format.score(curve.chance)})"
        for curve in profile.curves
        if not curve.learned
    ]
    text = f"The full model has {and_words(have)}." if have else "The full model is at chance in every ability."
    if lack:
        text += f" It is at chance in {and_words(lack)}, which nothing can be kept of and which no score counts."
    return text


def _raw_score(curve: AbilityCurve) -> str:
    ends = number_format.interval(curve.full_low, curve.full_high)
    return f"{curve.measure} {number_format.score(curve.full)}, {ends}"


def _figure(profile: RetentionProfile, full: Row, registry: FigureRegistry) -> Html:
    title, names = METHOD_TITLES[profile.method], [curve.title for curve in profile.curves if curve.learned]
    if not names:
        return figure(title, "The full model is at chance in every ability.")
    points = list(_points(profile, full))
    chart = retention_lines(points, names, profile.threshold, title="kept above chance")
    label = f"What is left of each ability while pruning {in_words(profile.method)}"
    return figure(title, _about(profile), registry.plot(chart, f"retention-{profile.method}", label))


def _points(profile: RetentionProfile, full: Row) -> Iterator[RetentionPoint]:
    for curve in profile.curves:
        if not curve.learned:
            continue
        yield RetentionPoint(curve.title, 0.0, full.parameters / 1e6, 1.0, None, None, "all: the full model")
        # Refining phases of a search go back to a denser state.
        for point in sorted(curve.points, key=lambda one: one.sparsity):
            kept = point.retained
            if kept.share is not None:
                text = f"{retained_share(kept)}; {curve.measure} {number_format.score(kept.raw)}"
                left = _left(full, point.weights)
                yield RetentionPoint(curve.title, point.sparsity, left, kept.share, kept.low, kept.high, text)


def _left(full: Row, weights: int) -> float:
    """Millions of parameters that are left where so many of the prunable weights are."""
    return (full.parameters - full.weights + weights) / 1e6


def _about(profile: RetentionProfile) -> str:
    """Sentence on which ability goes first, and which holds longest."""
    learned = [curve for curve in profile.curves if curve.learned]
    fallen = [curve for curve in learned if curve.fall.sparsity is not None]
    line = f"{100 * profile.threshold:g} %"
    if not fallen:
        return f"No ability fell under {line} here."
    first, *later = sorted(fallen, key=lambda curve: curve.fall.sparsity or 0.0)
    text = f"{first.title} falls under {line} first, at {first.fall.in_words()} of the prunable weights"
    if later:
        second = later[0]
        apart = first.fall.high is not None and second.fall.low is not None and first.fall.high < second.fall.low
        text += f"; then {second.title}, at {second.fall.in_words()}"
        text += "" if apart else " (the intervals overlap)"
    if holding := [curve.title for curve in learned if curve.fall.sparsity is None]:
        text += f"; {and_words(holding)} held as far as this search went"
    return f"{text}."


def _methods(study: StudyData, profiles: Sequence[RetentionProfile], full: Row, registry: FigureRegistry) -> Html:
    """Scores of all methods against each other, by what is gone and by what is left."""
    points = [point for profile in profiles for point in _score_points(study, profile.method, full)]
    names = [METHOD_TITLES[profile.method] for profile in profiles]
    plots: list[Html] = []
    sides: tuple[Against, ...] = ("sparsity", "parameters")
    for against in sides:
        chart = retention_lines(
            points, names, study.facts.threshold, title="understanding kept", against=against, height=320
        )
        label = f"Understanding that is left by every method, against {against}"
        plots.append(registry.plot(chart, f"retention-methods-{against}", label))
    caption = (
        "The score is the mean over abilities. Weights that are zero count as gone here; only heads, MLPs and the like "
        "make the model smaller when it runs."
    )
    return figure("Which method keeps most", caption, *plots, layout="pair")


def _score_points(study: StudyData, method: str, full: Row) -> Iterator[RetentionPoint]:
    """Points of a method's search in the first seed, as shares of the full model's score."""
    for search in study.searches(method)[:1]:
        reference = search.full.score
        for one in sorted(search.passes, key=lambda search_pass: search_pass.sparsity) if reference > 0 else ():
            kept = one.score / reference
            text = f"{100 * one.score / reference:.0f} %, score {number_format.score(one.score)}"
            left = _left(full, one.weights)
            yield RetentionPoint(METHOD_TITLES[method], one.sparsity, left, kept, None, None, text)
