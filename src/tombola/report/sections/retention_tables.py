"""Tables of abilities: where each falls, what retraining brings back, what tickets keep, and every point."""

from collections.abc import Iterator, Sequence

from tombola.analysis.retention_profile import AbilityRetention, RetentionProfile, Scored
from tombola.report import number_format
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import folded, table_figure
from tombola.report.html.markup import Html
from tombola.report.labels import METHOD_TITLES, TICKET_TITLES
from tombola.report.tables.table import Column, Table, numbers, texts
from tombola.tickets.ticket import TICKETS

Profiles = Sequence[RetentionProfile]
Recovery = tuple[AbilityRetention, AbilityRetention]
"""Retention before and after training."""


def retained_share(kept: AbilityRetention) -> str:
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


def ability_falls(profiles: Profiles, registry: FigureRegistry) -> Html:
    """Sparsity at which each ability falls, by method; nothing where the full model has no ability."""
    rows = [
        (curve.title, *(one.curves[number].fall.in_words() for one in profiles))
        for number, curve in enumerate(profiles[0].curves)
        if curve.learned
    ]
    columns = (*texts("ability"), *numbers(*(METHOD_TITLES[one.method] for one in profiles)))
    threshold = f"{100 * profiles[0].threshold:g} %"
    title = f"Share of the prunable weights at which each ability falls under {threshold}"
    return registry.table(Table.of(title, columns, rows), "ability-falls") if rows else Html("")


def ability_recovery(profiles: Profiles, registry: FigureRegistry) -> Html:
    """Retention before and after retraining; nothing where no ticket was trained again."""
    rows = [
        (METHOD_TITLES[profile.method], TICKET_TITLES[ticket], *(recovery_in_words(*pair) for pair in pairs))
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


def ability_tickets(profiles: Profiles, registry: FigureRegistry) -> Html:
    """Retention of good, random and bad tickets; nothing where none was judged."""
    rows = [
        (
            METHOD_TITLES[profile.method],
            TICKET_TITLES[ticket.scored.ticket],
            ticket.scored.stage,
            *(retained_share(curve.tickets[number].retained) for curve in profile.curves),
        )
        for profile in profiles
        for number, ticket in enumerate(profile.curves[0].tickets)
    ]
    table = Table.of(
        "What tickets keep of each ability", (*texts("method", "ticket", "stage"), *_abilities(profiles)), rows
    )
    what = "What good, random and bad tickets keep of each ability"
    return folded(what, registry.table(table, "ability-tickets")) if rows else Html("")


def ability_points(profiles: Profiles, registry: FigureRegistry) -> Html:
    """The numbers behind the curves."""
    columns = (
        *texts("method", "ability"),
        *numbers("removed", "raw score", "95 % interval", "kept above chance"),
    )
    rows = [
        (
            METHOD_TITLES[profile.method],
            curve.title,
            number_format.share(point.sparsity),
            number_format.score(point.retained.raw),
            number_format.interval(point.retained.raw_low, point.retained.raw_high),
            retained_share(point.retained),
        )
        for profile in profiles
        for curve in profile.curves
        for point in curve.points
    ]
    table = Table.of("Abilities along every search", columns, rows, style="seeds")
    return folded("The numbers behind the curves", registry.table(table, "abilities"))


def _abilities(profiles: Profiles) -> tuple[Column, ...]:
    return numbers(*(curve.title for curve in profiles[0].curves))
