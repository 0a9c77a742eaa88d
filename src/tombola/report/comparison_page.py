"""The page of a comparison of tickets: what survives for each task, and whether tasks share more of it than chance."""

from collections.abc import Iterator, Sequence

from tombola.analysis.agreement.survival import KindSurvival, SiteSurvival
from tombola.architectures.layer_names import Places
from tombola.report import charts, number_format
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import beside, figure, section
from tombola.report.html.markup import Html, element, join
from tombola.report.html.page import document, ending, heading
from tombola.report.labels import KIND_TITLES, and_words, kind_title
from tombola.report.null_distributions import kinds_of
from tombola.report.optional_json import Fields
from tombola.report.sections.agreement import agreement
from tombola.tickets.ticket import TICKET_KINDS, TicketKind, kinds_in_words


def comparison_page(comparison: Fields, registry: FigureRegistry) -> str:
    """The page as HTML.

    Args:
        comparison: `comparison.json`, as `tombola compare` writes it.
        registry: takes the charts and tables.
    """
    kinds = [kind for kind in TICKET_KINDS if comparison.inside("kinds").inside(kind).values]
    tasks = list(dict.fromkeys(task for kind in kinds for task in _of(comparison, kind).inside("tasks").values))
    found = [one for kind in kinds for one in kinds_of(comparison, kind)]
    parts = [_survival(comparison, kind, registry) for kind in kinds]
    within, between = [one for one in found if one.task], [one for one in found if not one.task]
    parts.append(agreement(within, registry))
    parts.append(_overlaps(comparison, kinds, registry))
    parts.append(agreement(between, registry, several="tasks"))
    n = sum(len(_tickets(comparison, kind, task)) for kind in kinds for task in tasks)
    title = join("Tickets of ", element("span", and_words(tasks)))
    facts = [
        number_format.plural(len(tasks), "task"),
        number_format.plural(n, "ticket"),
        f"{number_format.count(comparison.get('draws', int))} random tickets of each kind",
    ]
    main = join(*(part for part in parts if part is not None))
    return document(f"Tickets of {and_words(tasks)}", heading(title, facts), main, ending("Made by Tombola."))


def _of(comparison: Fields, kind: str) -> Fields:
    return comparison.inside("kinds").inside(kind)


def _tickets(comparison: Fields, kind: str, task: str) -> Sequence[object]:
    return _of(comparison, kind).inside("tasks").inside(task).get("tickets", list) or []


def _survival(comparison: Fields, kind: TicketKind, registry: FigureRegistry) -> Html | None:
    """Survival map of each task: its heads with their layers' MLPs."""
    if "heads" not in kind:
        return None
    found: list[Html] = []
    for task in _of(comparison, kind).inside("tasks").values:
        survival = _site_survival(comparison, kind, task)
        if survival is None:
            continue
        chart = charts.survival_grid(survival, Places())
        name = f"survivors-{kind.replace('+', '-')}-{len(found)}"
        plot = registry.plot(chart, name, f"Heads that survive in the tickets of {task}")
        found.append(figure(task, _about(survival), plot))
    if not found:
        return None
    lead = "In which share of a task's tickets each head, and each layer's MLP, survives."
    return section(f"What survives, pruning {kinds_in_words(kind)}", beside(*found), lead=lead)


def _site_survival(comparison: Fields, kind: TicketKind, task: str) -> SiteSurvival | None:
    of_task = _of(comparison, kind).inside("tasks").inside(task)
    sites = {}
    for site in kind.split("+"):
        rows = of_task.inside(site).get("survival", list)
        if rows is None:
            return None
        shares = tuple(tuple(row) if isinstance(row, list) else (row,) for row in rows)
        # What chance would share stands in the section on agreement, drawn and not computed.
        sites[site] = KindSurvival(shares, of_task.inside(site).get("jaccard", float), expected_by_chance=0.0)
    return SiteSurvival(kind, len(_tickets(comparison, kind, task)), sites)


def _about(survival: SiteSurvival) -> str:
    parts = [
        f"{number_format.count(round(one.mean, 1))} of {number_format.count(one.total)} {kind_title(site)}, "
        f"{number_format.count(one.everywhere)} of them in every ticket"
        for site, one in survival.sites.items()
    ]
    return f"{and_words(parts)}."


def _overlaps(comparison: Fields, kinds: Sequence[TicketKind], registry: FigureRegistry) -> Html | None:
    found = []
    for kind in kinds:
        for site, overlap in _matrices(comparison, kind):
            tasks = overlap.get("tasks", list[str]) or []
            values = overlap.get("jaccard", list) or []
            if len(tasks) < 2:
                continue
            drawn = overlap.inside("null_distribution").inside("random").get("jaccard", list)
            notes = [[_note(drawn, i, j) for j in range(len(tasks))] for i in range(len(tasks))]
            chart = charts.task_matrix(tasks, values, notes, f"shared {kind_title(site)} (Jaccard)")
            label = f"Share of {kind_title(site)} that the tickets of two tasks have in common"
            plot = registry.plot(chart, f"overlap-{kind.replace('+', '-')}-{site}", label)
            title = f"{KIND_TITLES[kind]}: {kind_title(site)}" if kind != "weights" else "Weights"
            found.append(figure(title, _about_overlap(tasks, values, drawn), plot))
    if not found:
        return None
    lead = (
        "Mean Jaccard similarity of two tickets: of two tasks, and on the diagonal of two seeds of one task. A task is "
        "recognised by its tickets where the diagonal stands out."
    )
    return section("Do two tasks keep the same?", beside(*found), lead=lead)


def _matrices(comparison: Fields, kind: TicketKind) -> Iterator[tuple[str, Fields]]:
    overlap = _of(comparison, kind).inside("overlap")
    for site in overlap.values:
        yield site, overlap.inside(site)


def _note(drawn: list[list[dict[str, float] | None]] | None, row: int, column: int) -> str:
    one = drawn[row][column] if drawn else None
    if one is None:
        return number_format.MISSING
    return "{}, 95 % from {} to {}".format(*(number_format.share(one[name]) for name in ("mean", "low", "high")))


def _about_overlap(
    tasks: Sequence[str], values: Sequence[Sequence[float | None]], drawn: list[list[dict[str, float] | None]] | None
) -> str:
    """Within against between, and how many pairs of tasks share more than random tickets do."""
    numbers = range(len(tasks))
    within = [value for i in numbers if (value := values[i][i]) is not None]
    pairs = [(i, j) for i in numbers for j in numbers if i < j]
    between = [value for i, j in pairs if (value := values[i][j]) is not None]
    parts = []
    if within and between:
        inner, outer = (number_format.share(sum(shares) / len(shares)) for shares in (within, between))
        parts.append(f"On average, two seeds of one task share {inner}, two tasks {outer}.")
    beyond = sum(
        (value := values[i][j]) is not None and (one := drawn[i][j]) is not None and value > one["high"]
        for i, j in pairs
        if drawn
    )
    if drawn:
        parts.append(
            f"{number_format.count(beyond)} of {number_format.plural(len(pairs), 'pair')} of tasks share more than "
            "97.5 % of random tickets of their sizes do."
        )
    return " ".join(parts)
