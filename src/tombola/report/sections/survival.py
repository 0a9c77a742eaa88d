"""Sections on survival: which heads, MLPs, neurons and channels survive, and where surviving weights lie."""

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from tombola.analysis.agreement.survival import Density, SiteSurvival
from tombola.architectures.anatomy import Places
from tombola.architectures.site_names import SITE_NAMES
from tombola.foundations.plurals import plural
from tombola.report import number_format
from tombola.report.charts.grids import channel_grid, density_grid, survival_grid, survival_strip
from tombola.report.charts.layers import neuron_bars
from tombola.report.html.elements import Html, figure, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import KIND_TITLES, MATRIX_TITLES, and_words, capitalised, row_title
from tombola.report.study_data import StudyData
from tombola.tickets.kinds import kinds_in_words
from tombola.tickets.pruning_methods import in_words

_MANY = 4
"""Rows that keep equally many are counted from here on, and named below."""


def survival(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None while no good ticket is found."""
    if not study.survival:
        return None
    figures = []
    for one in study.survival:
        title = KIND_TITLES[one.kind] if len(study.survival) > 1 else ""
        plots = list(_plots(one, study.places, registry))
        layout = "wide-narrow" if len(plots) > 1 else ""
        figures.append(figure(title, _about(one, study.places), *plots, layout=layout))
    shown = [in_words(kind) for kind in SITE_NAMES if any(kind in one.sites for one in study.survival)]
    which = kinds_in_words(study.survival[0].kind) if len(study.survival) == 1 else "each kind"
    lead = f"The good ticket of {which}. Layers and heads are counted from 0, as in the model's code."
    return section(f"{capitalised(and_words(shown))} that survive", *figures, lead=lead)


def _plots(survival: SiteSurvival, places: Places, registry: FigureRegistry) -> Iterator[Html]:
    name, ends = f"survivors-{survival.kind}", "survive in the good ticket"
    if "heads" in survival.sites:
        what = "Heads" if "neurons" in survival.sites else KIND_TITLES[survival.kind]
        yield registry.plot(survival_grid(survival, places), name, f"{what} that {ends}")
    elif "mlps" in survival.sites:
        yield registry.plot(survival_strip(survival, places), name, f"MLPs that {ends}")
    if "neurons" in survival.sites:
        bars = neuron_bars(survival.sites["neurons"], survival.seeds, places)
        yield registry.plot(bars, f"{name}-shares", "Share of every MLP's neurons that survives")
    if "channels" in survival.sites:
        grid = channel_grid(survival, places)
        yield registry.plot(grid, f"{name}-groups", f"Groups of channels that {ends}")


def _about(survival: SiteSurvival, places: Places) -> str:
    seeds, kinds = survival.seeds, survival.sites
    parts = [
        f"{number_format.share(one.mean / one.total)} of the neurons"
        if kind == "neurons"
        else f"{number_format.count(round(one.mean, 1))} of {_sites(kind, one.total)}"
        for kind, one in kinds.items()
    ]
    text = capitalised(f"{and_words(parts)} survive{' on average' if seeds > 1 else ''}")
    if "heads" in kinds:
        text += _most_and_least(kinds["heads"].rows, sum, "heads", places.attention, number_format.count)
    if "neurons" in kinds:
        rows = kinds["neurons"].rows
        text += _most_and_least(rows, lambda row: sum(row) / len(row), "neurons", places.layer, number_format.share)
    if "channels" in kinds and "heads" not in kinds:
        text += _most_and_least(kinds["channels"].rows, sum, "groups", places.residual, number_format.count)
    if seeds == 1:
        other = and_words(["blocks of neurons" if kind == "neurons" else in_words(kind) for kind in kinds])
        return f"{text}. One seed shows one ticket: others may well pick other {other}."
    always = [
        f"{one.everywhere} of {_sites(kind, one.total)} (by chance {one.expected_by_chance:.1f})"
        for kind, one in kinds.items()
    ]
    text += (
        f". Super-survivors, which survive in every one of {seeds} seeds, are {and_words(always)}; chance is what "
        "independent random tickets of these sizes would share."
    )
    overlaps = [
        f"{number_format.share(one.overlap)} of their {SITE_NAMES[kind][1]}"
        for kind, one in kinds.items()
        if one.overlap is not None
    ]
    return f"{text} Two seeds' tickets share {and_words(overlaps)} on average (Jaccard)." if overlaps else text


def _sites(kind: str, total: int) -> str:
    return plural(total, *SITE_NAMES[kind])


def _most_and_least(
    rows: Sequence[Sequence[float]],
    kept: Callable[[Sequence[float]], float],
    what: str,
    name: Callable[[int], str],
    written: Callable[[float], str],
) -> str:
    """Part of a sentence on the rows that keep most and fewest; nothing where all keep equally many.

    A row without sites, in a model that was shrunk, keeps none because it has none.
    """
    values = {row: kept(shares) for row, shares in enumerate(rows) if shares}
    most, fewest = max(values.values()), min(values.values())
    if most == fewest:
        return ""
    parts = []
    for end, word in ((most, f"most {what}"), (fewest, "fewest")):
        names = [row_title(name(row)) for row, value in values.items() if value == end]
        which = and_words(names) if len(names) < _MANY else f"{len(names)} layers"
        number = written(round(end, 4))
        parts.append(f"{which} keeps {word} ({number})" if len(names) == 1 else f"{which} keep {word} ({number} each)")
    return f"; {', '.join(parts)}"


def density(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None while no good ticket of weights is found."""
    if not study.density:
        return None
    chart = density_grid(study.density, study.places)
    plot = registry.plot(chart, "density", "Share of surviving weights in every matrix")
    spread = ", with its standard deviation over seeds" if study.seeds > 1 else ""
    return section(
        "Where the surviving weights lie",
        figure("", _about_density(study.density, study.places), plot),
        lead=f"The good ticket of weights: percentage of each matrix that survives{spread}.",
    )


def _about_density(density: Sequence[Density], places: Places) -> str:
    most, least = (choose(density, key=lambda one: one.share) for choose in (max, min))
    roles = {role: fmean(one.share for one in density if one.role == role) for role in {one.role for one in density}}
    best, worst = (choose(roles, key=roles.__getitem__) for choose in (max, min))
    (densest, dense), (sparsest, sparse) = (
        (MATRIX_TITLES.get(role, role), number_format.share(roles[role])) for role in (best, worst)
    )
    return (
        f"The {_matrix(most, places)} keeps most of its weights ({number_format.share(most.share)}), "
        f"the {_matrix(least, places)} fewest ({number_format.share(least.share)}). By role, {densest} matrices are "
        f"densest ({dense}), {sparsest} sparsest ({sparse}). One threshold cuts the whole model, so this shows where "
        "large weights lie, not by itself what the task needs."
    )


def _matrix(density: Density, places: Places) -> str:
    return f"{MATRIX_TITLES.get(density.role, density.role)} matrix of {row_title(places.layer(density.layer))}"
