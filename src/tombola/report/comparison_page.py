"""The page of a comparison of tickets: what survives for each task, and whether tasks share more of it than chance."""

import numpy as np

from tombola.analysis.agreement.comparison import Comparison, TicketKindComparison
from tombola.analysis.agreement.null_distribution import NullDistribution
from tombola.analysis.agreement.overlap import Overlap
from tombola.analysis.agreement.survival import KindSurvival, SiteSurvival
from tombola.architectures.anatomy import Places
from tombola.foundations.plurals import plural
from tombola.report import number_format
from tombola.report.charts.grids import survival_grid, task_matrix
from tombola.report.html.elements import Html, beside, element, figure, join, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.page import document, ending, heading
from tombola.report.labels import KIND_TITLES, and_words, kind_title
from tombola.report.sections.agreement import agreement_section, agreements
from tombola.tickets.kinds import TicketKind, kinds_in_words


def comparison_page(comparison: Comparison, registry: FigureRegistry) -> str:
    """The page as HTML; `registry` takes its charts and tables."""
    tasks = list(dict.fromkeys(task for of_kind in comparison.kinds.values() for task in of_kind.tasks))
    n = sum(len(task.tickets) for of_kind in comparison.kinds.values() for task in of_kind.tasks.values())
    title = join("Tickets of ", element("span", and_words(tasks)))
    facts = [
        plural(len(tasks), "task"),
        plural(n, "ticket"),
        f"{number_format.count(comparison.draws)} random tickets of each kind",
    ]
    main = join(*comparison_sections(comparison, registry))
    return document(f"Tickets of {and_words(tasks)}", heading(title, facts), main, ending("Made by Tombola."))


def comparison_sections(comparison: Comparison, registry: FigureRegistry) -> list[Html]:
    """Sections on a comparison: survival for each task, and what tasks and seeds share."""
    found = list(agreements(comparison))
    parts = (
        *(_survival(kind, of_kind, registry) for kind, of_kind in comparison.kinds.items()),
        agreement_section([one for one in found if one.task], registry),
        _overlaps(comparison, registry),
        agreement_section([one for one in found if not one.task], registry, several="task"),
    )
    return [part for part in parts if part is not None]


def _survival(kind: TicketKind, comparison: TicketKindComparison, registry: FigureRegistry) -> Html | None:
    if "heads" not in kind:
        return None
    found: list[Html] = []
    for task, one in comparison.tasks.items():
        sites = {site: KindSurvival(its.survival or (), its.jaccard) for site, its in one.agreement.items()}
        survival = SiteSurvival(kind, len(one.tickets), sites)
        chart = survival_grid(survival, Places())
        plot = registry.plot(chart, f"survivors-{kind}-{len(found)}", f"Heads that survive in the tickets of {task}")
        found.append(figure(task, _about(survival), plot))
    lead = "In which share of a task's tickets each head, and each layer's MLP, survives."
    return section(f"What survives, pruning {kinds_in_words(kind)}", beside(*found), lead=lead)


def _about(survival: SiteSurvival) -> str:
    parts = [
        f"{number_format.count(round(one.mean, 1))} of {number_format.count(one.total)} {kind_title(site)}, "
        f"{number_format.count(one.everywhere)} of them in every ticket"
        for site, one in survival.sites.items()
    ]
    return f"{and_words(parts)}."


def _overlaps(comparison: Comparison, registry: FigureRegistry) -> Html | None:
    found = []
    for kind, of_kind in comparison.kinds.items():
        for site, overlap in of_kind.overlap.items() if len(of_kind.tasks) > 1 else ():
            random = overlap.null_distribution["random"]
            drawn = random.jaccard if random else ((None,) * len(overlap.tasks),) * len(overlap.tasks)
            notes = [[_note(one) for one in row] for row in drawn]
            chart = task_matrix(overlap.tasks, overlap.jaccard, notes, f"shared {kind_title(site)} (Jaccard)")
            label = f"Share of {kind_title(site)} that the tickets of two tasks have in common"
            plot = registry.plot(chart, f"overlap-{kind}-{site}", label)
            title = f"{KIND_TITLES[kind]}: {kind_title(site)}" if kind != "weights" else "Weights"
            found.append(figure(title, _about_overlap(overlap), plot))
    if not found:
        return None
    lead = (
        "Mean Jaccard similarity of two tickets: of two tasks, and on the diagonal of two seeds of one task. A task is "
        "recognised by its tickets where the diagonal stands out."
    )
    return section("Do two tasks keep the same?", beside(*found), lead=lead)


def _note(drawn: NullDistribution | None) -> str:
    if drawn is None:
        return number_format.MISSING
    return "{}, 95 % from {} to {}".format(*map(number_format.share, (drawn.mean, drawn.low, drawn.high)))


def _about_overlap(overlap: Overlap) -> str:
    # None becomes NaN in an array of floats.
    values, upper = np.array(overlap.jaccard, dtype=float), np.triu_indices(len(overlap.tasks), 1)
    within, between = (shares[~np.isnan(shares)] for shares in (np.diag(values), values[upper]))
    parts = []
    if len(within) and len(between):
        inner, outer = (number_format.share(float(shares.mean())) for shares in (within, between))
        parts.append(f"On average, two seeds of one task share {inner}, two tasks {outer}.")
    if random := overlap.null_distribution["random"]:
        high = np.array([[one.high if one else np.nan for one in row] for row in random.jaccard])
        beyond = int((values[upper] > high[upper]).sum())
        parts.append(
            f"{number_format.count(beyond)} of {plural(len(upper[0]), 'pair')} of tasks share more than "
            "97.5 % of random tickets of their sizes do."
        )
    return " ".join(parts)
