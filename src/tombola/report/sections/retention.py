"""The section on abilities: what is left of each, where it falls, and which method keeps most."""

from collections.abc import Sequence

from tombola.analysis.retention_profile import AbilityCurve, AbilityRetention, RetentionProfile, Scored
from tombola.report import charts, number_format
from tombola.report.charts.retention import RetentionPoint
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import beside, figure, section
from tombola.report.html.markup import Html, element
from tombola.report.labels import METHOD_TITLES, TICKET_TITLES, and_words
from tombola.report.study_data import Record
from tombola.report.tables.table import Column, Table
from tombola.study.results import Row
from tombola.tickets.pruning_methods import in_words
from tombola.tickets.ticket import TICKETS


def retention(record: Record, registry: FigureRegistry) -> Html | None:
    """The section; None where the task has no abilities."""
    profiles = read_profiles(record)
    if not profiles or record.full is None:
        return None
    full = record.full.rows[0]
    figures_ = [_abilities(profile, full, registry) for profile in profiles]
    known = [curve for curve in profiles[0].curves if curve.learned]
    lead = (
        "Each ability in shares of what the full model has above chance: 100 % is the full model, 0 % a guess. Bands "
        "are 95 % intervals over examples, full and pruned model on the same ones."
    )
    return section(
        "What is left of each ability",
        element("p", _full_sentence(profiles[0]), class_="sentence"),
        beside(*figures_),
        _methods(record, profiles, full, registry) if len(profiles) > 1 else "",
        registry.table(_falls(profiles), "ability-falls") if known else "",
        _recovery(profiles, registry),
        _tickets(profiles, registry),
        _raw(profiles, registry),
        lead=lead,
    )


def read_profiles(record: Record) -> list[RetentionProfile]:
    """The retention profile of every method that has one. Of several seeds the first: they share the model."""
    profiles = []
    for method in record.methods:
        paths = [seed_folder.analysis("retention", method) for seed_folder in record.seed_folders]
        found = next((path for path in paths if path.is_file()), None)
        if found is not None:
            profiles.append(RetentionProfile.read(found))
    return profiles


def _full_sentence(profile: RetentionProfile) -> str:
    """Sentence on the abilities that the full model has, and those it never had."""
    have = [f"{curve.title} ({_raw_score(curve)})" for curve in profile.curves if curve.learned]
    lack = [curve for curve in profile.curves if not curve.learned]
    text = f"The full model has {and_words(have)}." if have else "The full model is at chance in every ability."
    if lack:
        names = and_words(
            [f"{curve.title} ({_raw_score(curve)}, chance {number_format.score(curve.chance)})" for curve in lack]
        )
        text += f" It is at chance in {names}, which nothing can be kept of and which no score counts."
    return text


def _raw_score(curve: AbilityCurve) -> str:
    interval = f"{number_format.score(curve.full_low)} to {number_format.score(curve.full_high)}"
    return f"{curve.measure} {number_format.score(curve.full)}, {interval}"


def _points(profile: RetentionProfile, full: Row) -> list[RetentionPoint]:
    found = []
    for curve in profile.curves:
        if not curve.learned:
            continue
        found.append(RetentionPoint(curve.title, 0.0, full.parameters / 1e6, 1.0, None, None, "all: the full model"))
        # Refining phases of a search go back to a denser state.
        for point in sorted(curve.points, key=lambda one: one.sparsity):
            if point.retained.share is None:
                continue
            found.append(
                RetentionPoint(
                    curve.title,
                    point.sparsity,
                    _left(full, point.weights),
                    point.retained.share,
                    point.retained.low,
                    point.retained.high,
                    f"{_share(point.retained)}; {curve.measure} {number_format.score(point.retained.raw)}",
                )
            )
    return found


def _left(full: Row, weights: int) -> float:
    """Millions of parameters that are left where so many of the prunable weights are."""
    return (full.parameters - full.weights + weights) / 1e6


def _share(kept: AbilityRetention) -> str:
    if kept.share is None:
        return "at chance in the full model"
    if kept.low is None or kept.high is None:
        return f"{100 * kept.share:.0f} % (nothing bounds it)"
    return f"{100 * kept.share:.0f} % ({100 * kept.low:.0f} to {100 * kept.high:.0f})"


def _abilities(profile: RetentionProfile, full: Row, registry: FigureRegistry) -> Html:
    points = _points(profile, full)
    names = [curve.title for curve in profile.curves if curve.learned]
    title, slug = METHOD_TITLES[profile.method], profile.method.replace("+", "-")
    if not points:
        return figure(title, "The full model is at chance in every ability.")
    chart = charts.retention_lines(points, names, profile.threshold, title="kept above chance")
    label = f"What is left of each ability while pruning {in_words(profile.method)}"
    return figure(title, _about(profile), registry.plot(chart, f"retention-{slug}", label))


def _about(profile: RetentionProfile) -> str:
    """Sentence on which ability goes first, and which holds longest."""
    learned = [curve for curve in profile.curves if curve.learned]
    fallen = [curve for curve in learned if curve.fall.sparsity is not None]
    line = f"{100 * profile.threshold:g} %"
    if not fallen:
        return f"No ability fell under {line} here."
    order = sorted(fallen, key=lambda curve: curve.fall.sparsity or 0.0)
    first = order[0]
    text = f"{first.title} falls under {line} first, at {first.fall.in_words()} of the prunable weights"
    if len(order) > 1:
        second = order[1]
        apart = first.fall.high is not None and second.fall.low is not None and first.fall.high < second.fall.low
        text += f"; then {second.title}, at {second.fall.in_words()}"
        text += "" if apart else " (the intervals overlap)"
    holding = [curve.title for curve in learned if curve.fall.sparsity is None]
    if holding:
        text += f"; {and_words(holding)} held as far as this search went"
    return f"{text}."


def _methods(record: Record, profiles: Sequence[RetentionProfile], full: Row, registry: FigureRegistry) -> Html:
    points = []
    for profile in profiles:
        searches = record.searches(profile.method)
        if not searches:
            continue
        passes = sorted(searches[0].passes, key=lambda search_pass: search_pass.sparsity)
        reference = searches[0].full.score
        points += [
            RetentionPoint(
                METHOD_TITLES[profile.method],
                search_pass.sparsity,
                _left(full, search_pass.weights),
                search_pass.score / reference,
                None,
                None,
                f"{100 * search_pass.score / reference:.0f} %, score {number_format.score(search_pass.score)}",
            )
            for search_pass in passes
            if reference > 0
        ]
    names = [METHOD_TITLES[profile.method] for profile in profiles]
    plots = [
        registry.plot(
            charts.retention_lines(
                points, names, record.threshold, title="understanding kept", against=against, height=320
            ),
            f"retention-methods-{against}",
            f"Understanding that is left by every method, against {against}",
        )
        for against in ("sparsity", "parameters")
    ]
    lead = (
        "The score is the mean over abilities. Weights that are zero count as gone here; only heads, MLPs and the like "
        "make the model smaller when it runs."
    )
    return figure("Which method keeps most", lead, *plots, layout="pair")


def _falls(profiles: Sequence[RetentionProfile]) -> Table:
    columns = (Column("ability"), *(Column(METHOD_TITLES[one.method], "number") for one in profiles))
    rows = []
    for number, curve in enumerate(profiles[0].curves):
        if not curve.learned:
            continue
        rows.append((curve.title, *(one.curves[number].fall.in_words() for one in profiles)))
    threshold = f"{100 * profiles[0].threshold:g} %"
    return Table.of(f"Share of the prunable weights at which each ability falls under {threshold}", columns, rows)


def recoveries(profile: RetentionProfile) -> list[tuple[str, tuple[tuple[AbilityRetention, AbilityRetention], ...]]]:
    """Each ticket that was trained again, with what it kept of every ability before and after, in their order."""
    found = []
    for ticket in TICKETS:
        places = {one.scored: index for index, one in enumerate(profile.curves[0].tickets)}
        before, after = (places.get(Scored(ticket, stage)) for stage in ("pruned", "retrained"))
        if before is not None and after is not None:
            pairs = tuple((curve.tickets[before].retained, curve.tickets[after].retained) for curve in profile.curves)
            found.append((ticket, pairs))
    return found


def recovery_in_words(before: AbilityRetention, after: AbilityRetention, unit: str = " %") -> str:
    """Retained share before and after training: `31 → 78 %`."""
    if before.share is None or after.share is None:
        return number_format.MISSING
    # Adding 0 turns the -0.0 that rounding leaves into 0.0.
    ends = (f"{round(100 * share) + 0:.0f}".replace("-", "−") for share in (before.share, after.share))
    return f"{' → '.join(ends)}{unit}"


def _recovery(profiles: Sequence[RetentionProfile], registry: FigureRegistry) -> Html:
    """Table of what retraining brings back: the profile before and after."""
    names = [curve.title for curve in profiles[0].curves]
    columns = (Column("method"), Column("ticket"), *(Column(name, "number") for name in names))
    rows = [
        (
            METHOD_TITLES[profile.method],
            TICKET_TITLES[ticket],
            *(recovery_in_words(before, after) for before, after in pairs),
        )
        for profile in profiles
        for ticket, pairs in recoveries(profile)
    ]
    if not rows:
        return Html("")
    title = "What training again brings back: kept above chance, pruned → retrained"
    return element(
        "figure",
        element("h3", "What training again brings back"),
        element("p", "Kept above chance of each ability: as it was pruned → after training on text.", class_="lead"),
        registry.table(Table.of(title, columns, rows), "ability-recovery"),
    )


def _tickets(profiles: Sequence[RetentionProfile], registry: FigureRegistry) -> Html:
    names = [curve.title for curve in profiles[0].curves]
    columns = (
        *(Column(name) for name in ("method", "ticket", "stage")),
        *(Column(name, "number") for name in names),
    )
    rows = []
    for profile in profiles:
        for number, ticket in enumerate(profile.curves[0].tickets):
            kept = [_share(curve.tickets[number].retained) for curve in profile.curves]
            scored = ticket.scored
            rows.append((METHOD_TITLES[profile.method], TICKET_TITLES[scored.ticket], scored.stage, *kept))
    if not rows:
        return Html("")
    table = registry.table(Table.of("What tickets keep of each ability", columns, rows), "ability-tickets")
    return element("details", element("summary", "What good, random and bad tickets keep of each ability"), table)


def _raw(profiles: Sequence[RetentionProfile], registry: FigureRegistry) -> Html:
    """The numbers behind the curves."""
    columns = (
        Column("method"),
        Column("ability"),
        *(Column(name, "number") for name in ("removed", "raw score", "95 % interval", "kept above chance")),
    )
    rows = [
        (
            METHOD_TITLES[profile.method],
            curve.title,
            number_format.share(point.sparsity),
            number_format.score(point.retained.raw),
            f"{number_format.score(point.retained.raw_low)} to {number_format.score(point.retained.raw_high)}",
            _share(point.retained),
        )
        for profile in profiles
        for curve in profile.curves
        for point in curve.points
    ]
    table = registry.table(Table.of("Abilities along every search", columns, rows, style="seeds"), "abilities")
    return element("details", element("summary", "The numbers behind the curves"), table)
