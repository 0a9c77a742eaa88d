"""Section on searches: how far each could go, and what random tickets of the same sizes score."""

from collections.abc import Callable, Sequence

from tombola.analysis.locality.random_curve import RandomPoint
from tombola.foundations.plurals import plural
from tombola.metrics.scores import metric_title
from tombola.report import number_format
from tombola.report.charts.curves import Threshold, search_curves
from tombola.report.charts.parts import ScoreAxis
from tombola.report.html.elements import Html, figure, figures_section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import method_title
from tombola.report.study_data import StudyData
from tombola.report.trajectory import Trajectory
from tombola.tickets.pruning_methods import in_words


def searches(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None while no search has begun."""
    methods = dict.fromkeys(one.method for one in study.trajectories)
    figures = [_figure(study, found, registry) for method in methods if (found := study.searches(method))]
    over = "" if study.facts.chance is None else " over guessing"
    kept = f"{100 * study.facts.threshold:g} % of the full score{over}"
    lead = f"Each pass removes the least useful part of what is left, as long as {kept} holds"
    # Over guessing, the share is of a distance, whichever way is up.
    turned = not study.task.higher_is_better and not over
    lead += f": lower is better, so up to 1 / {study.facts.threshold:g} of it." if turned else "."
    return figures_section("How far each search could go", figures, lead)


def _figure(study: StudyData, found: Sequence[Trajectory], registry: FigureRegistry) -> Html:
    method = found[0].method
    best, random = study.floors.get(study.metric), study.random_curve(method)
    title = metric_title(study.task.search_metric or study.metric)
    chart = search_curves(
        found,
        ScoreAxis(title, study.task.higher_is_better),
        Threshold(study.facts.threshold, [study.bound(search.full.score) for search in found]),
        study.places,
        random=random,
        best=(study.floor_title, best[0]) if best else None,
    )
    label = f"{title} against sparsity while pruning {in_words(method)}"
    higher = study.task.higher_is_better
    about = (_about_search(found, higher), _about_guessing(study, found), _about_random_curve(higher, found, random))
    return figure(method_title(method), "".join(about), registry.plot(chart, f"search-{method}", label))


def _about_search(searches: Sequence[Trajectory], higher_is_better: bool) -> str:
    several = len(searches) > 1
    gone = _range([search.good.sparsity for search in searches], number_format.share)
    text = f"Pruning {in_words(searches[0].method)} could go on until {gone} of the prunable weights were gone"
    text += f" (over {len(searches)} seeds)" if several else ""
    if all(search.good.sparsity == 0 for search in searches):
        text = f"Pruning {in_words(searches[0].method)} found no ticket, as no cut held: what stands is the full model"
    elif higher_is_better:
        kept = [search.good.score / search.full.score for search in searches if search.full.score]
        if kept:
            text += f"; the last state that held stood at {_range(kept, number_format.share)} of the full score"
    else:
        held, full = (
            _range([getattr(search, state).score for search in searches], number_format.score)
            for state in ("good", "full")
        )
        text += f"; the last state that held scored {held}, the full model {full}"
    failed = [
        [index for index, search_pass in enumerate(search.passes) if not search_pass.holds] for search in searches
    ]
    if unfinished := failed.count([]):
        where = plural(unfinished, "search", "searches")
        more = "so more may be possible"
        if all(search.good.weights == 0 for search in searches):
            more = "and nothing is left to prune: what is said to hold is no network"
        return f"{text}. In {where} every pass held (so far), {more}."
    drops = [
        search.before(last).score - search.passes[last].score
        for search, (*_, last) in zip(searches, failed, strict=True)
    ]
    return (
        f"{text}. The last pass that did not hold moved the score by {number_format.score(-max(drops, key=abs))} at "
        f"once{' (the largest move of all seeds)' if several else ''} and was taken back."
    )


def _about_guessing(study: StudyData, searches: Sequence[Trajectory]) -> str:
    """Warning that a constant predictor holds the threshold; a sentence that begins with a space, or nothing."""
    chance = next((one.verdict.chance for one in study.verdicts), None)
    bounds = [study.bound(search.full.score) for search in searches]
    if chance is None or not any(chance >= one if study.task.higher_is_better else chance <= one for one in bounds):
        return ""
    return (
        f" Who always guesses alike scores {number_format.score(chance)} and holds the threshold, so that a ticket may "
        "be no better than that: take the threshold over chance."
    )


def _about_random_curve(higher_is_better: bool, searches: Sequence[Trajectory], random: Sequence[RandomPoint]) -> str:
    """From where on random tickets of the same size do worse; a sentence that begins with a space, or nothing."""
    if not random:
        return ""
    seeds = {search.seed: search for search in searches}
    pairs = [
        (point, min(seeds[point.seed].passes, key=lambda search_pass: abs(search_pass.sparsity - point.sparsity)))
        for point in random
        if point.seed in seeds
    ]
    above = sum(search_pass.score > point.score_high for point, search_pass in pairs)
    below = sum(search_pass.score < point.score_low for point, search_pass in pairs)
    worse, better = (above, below) if higher_is_better else (below, above)
    if not worse and not better:
        return " Random tickets with as many weights in every matrix cannot be told from those found."
    text = f" Random tickets with as many weights in every matrix do worse in {worse} of {len(pairs)} comparisons"
    text += f", and better in {better}" if better else ""
    return f"{text}: the found score lies outside their 95 % interval."


def _range(values: Sequence[float], written: Callable[[float], str]) -> str:
    low, high = written(min(values)), written(max(values))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"
