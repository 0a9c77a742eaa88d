"""Section on abilities: what is left of each, where it falls, what retraining brings back, which method keeps most."""

from collections.abc import Iterator, Sequence

from tombola.analysis.retention_profile import AbilityCurve, AbilityRetention, RetentionProfile, Scored
from tombola.report import number_format
from tombola.report.charts.retention import Against, RetentionPoint, retention_lines
from tombola.report.html.elements import Html, beside, element, figure, folded, section, table_figure
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import TICKET_TITLES, and_words, method_title
from tombola.report.study_data import StudyData
from tombola.report.table import Column, Table, numbers, texts
from tombola.study.results import Row
from tombola.tickets.kinds import TICKETS
from tombola.tickets.pruning_methods import in_words

Profiles = Sequence[RetentionProfile]
Recovery = tuple[AbilityRetention, AbilityRetention]
"""Retention before and after training."""


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
        _falls(profiles, registry),
        _recovery(profiles, registry),
        _tickets(profiles, registry),
        _points_table(profiles, registry),
        lead=lead,
    )


def read_profiles(study: StudyData) -> list[RetentionProfile]:
    """The retention profile of every method that has one. Of several seeds the first: they share the model."""
    found = (study.analyses(RetentionProfile, "retention", method) for method in study.methods)
    return [next(iter(profiles.values())) for profiles in found if profiles]


def _full_sentence(profile: RetentionProfile) -> str:
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
    title, names = method_title(profile.method), [curve.title for curve in profile.curves if curve.learned]
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
                text = f"{_share(kept)}; {curve.measure} {number_format.score(kept.raw)}"
                left = _left(full, point.weights)
                yield RetentionPoint(curve.title, point.sparsity, left, kept.share, kept.low, kept.high, text)


def _left(full: Row, weights: int) -> float:
    """Millions of parameters that are left where so many of the prunable weights are."""
    return (full.parameters - full.weights + weights) / 1e6


def _about(profile: RetentionProfile) -> str:
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
    points = [point for profile in profiles for point in _score_points(study, profile.method, full)]
    names = [method_title(profile.method) for profile in profiles]
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
            yield RetentionPoint(method_title(method), one.sparsity, left, kept, None, None, text)


def _share(kept: AbilityRetention) -> str:
    """`82 % (75 to 89)`."""
    if kept.share is None:
        return "at chance in the full model"
    if kept.low is None or kept.high is None:
        return f"{100 * kept.share:.0f} % (nothing bounds it)"
    return f"{100 * kept.share:.0f} % ({100 * kept.low:.0f} to {100 * kept.high:.0f})"


def recoveries(profile: RetentionProfile) -> Iterator[tuple[str, tuple[Recovery, ...]]]:
    """Each ticket that was trained again, with what it kept of every ability before and after, in their order."""
    places = {one.scored: index for index, one in enumerate(profile.curves[0].tickets)}
    for ticket in TICKETS:
        before, after = (places.get(Scored(ticket, stage)) for stage in ("pruned", "retrained"))
        if before is not None and after is not None:
            yield ticket, tuple((one.tickets[before].retained, one.tickets[after].retained) for one in profile.curves)


def recovery_in_words(before: AbilityRetention, after: AbilityRetention, unit: str = " %") -> str:
    """Retained share before and after training: `31 → 78 %`."""
    if before.share is None or after.share is None:
        return number_format.MISSING
    # Adding 0 turns the -0.0 that rounding leaves into 0.0.
    ends = (number_format.minus(f"{round(100 * share) + 0:.0f}") for share in (before.share, after.share))
    return f"{' → '.join(ends)}{unit}"


def _falls(profiles: Profiles, registry: FigureRegistry) -> Html:
    rows = [
        (curve.title, *(one.curves[number].fall.in_words() for one in profiles))
        for number, curve in enumerate(profiles[0].curves)
        if curve.learned
    ]
    columns = (*texts("ability"), *numbers(*(method_title(one.method) for one in profiles)))
    threshold = f"{100 * profiles[0].threshold:g} %"
    title = f"Share of the prunable weights at which each ability falls under {threshold}"
    return registry.table(Table.of(title, columns, rows), "ability-falls") if rows else Html("")


def _recovery(profiles: Profiles, registry: FigureRegistry) -> Html:
    rows = [
        (method_title(profile.method), TICKET_TITLES[ticket], *(recovery_in_words(*pair) for pair in pairs))
        for profile in profiles
        for ticket, pairs in recoveries(profile)
    ]
    columns = (*texts("method", "ticket"), *_abilities(profiles))
    title, how = "What training again brings back", "kept above chance, pruned → retrained"
    lead = "Kept above chance of each ability: as it was pruned → after training on text."
    if not rows:
        return Html("")
    table = registry.table(Table.of(f"{title}: {how}", columns, rows), "ability-recovery")
    return table_figure(title, table, lead)


def _tickets(profiles: Profiles, registry: FigureRegistry) -> Html:
    rows = [
        (
            method_title(profile.method),
            TICKET_TITLES[ticket.scored.ticket],
            ticket.scored.stage,
            *(_share(curve.tickets[number].retained) for curve in profile.curves),
        )
        for profile in profiles
        for number, ticket in enumerate(profile.curves[0].tickets)
    ]
    columns = (*texts("method", "ticket", "stage"), *_abilities(profiles))
    table = Table.of("What tickets keep of each ability", columns, rows)
    what = "What good, random and bad tickets keep of each ability"
    return folded(what, registry.table(table, "ability-tickets")) if rows else Html("")


def _points_table(profiles: Profiles, registry: FigureRegistry) -> Html:
    columns = (*texts("method", "ability"), *numbers("removed", "raw score", "95 % interval", "kept above chance"))
    rows = [
        (
            method_title(profile.method),
            curve.title,
            number_format.share(point.sparsity),
            number_format.score(point.retained.raw),
            number_format.interval(point.retained.raw_low, point.retained.raw_high),
            _share(point.retained),
        )
        for profile in profiles
        for curve in profile.curves
        for point in curve.points
    ]
    table = Table.of("Abilities along every search", columns, rows, style="seeds")
    return folded("The numbers behind the curves", registry.table(table, "abilities"))


def _abilities(profiles: Profiles) -> tuple[Column, ...]:
    return numbers(*(curve.title for curve in profiles[0].curves))
