"""Section on density: where the surviving weights lie."""

from collections.abc import Sequence
from statistics import fmean

from tombola.analysis.agreement.survival import Density
from tombola.architectures.anatomy import Places
from tombola.report import number_format
from tombola.report.charts.grids import density_grid
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import figure, section
from tombola.report.html.markup import Html
from tombola.report.labels import MATRIX_TITLES, row_title
from tombola.report.study_data import StudyData


def density(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None while no good ticket of weights is found."""
    if not study.density:
        return None
    chart = density_grid(study.density, study.places)
    plot = registry.plot(chart, "density", "Share of surviving weights in every matrix")
    spread = ", with its standard deviation over seeds" if study.seeds > 1 else ""
    return section(
        "Where the surviving weights lie",
        figure("", _about(study.density, study.places), plot),
        lead=f"The good ticket of weights: percentage of each matrix that survives{spread}.",
    )


def _about(density: Sequence[Density], places: Places) -> str:
    most, least = (choose(density, key=lambda one: one.share) for choose in (max, min))
    kinds = {kind: fmean(one.share for one in density if one.kind == kind) for kind in {one.kind for one in density}}
    best, worst = (choose(kinds, key=kinds.__getitem__) for choose in (max, min))
    (densest, dense), (sparsest, sparse) = (
        (MATRIX_TITLES.get(kind, kind), number_format.share(kinds[kind])) for kind in (best, worst)
    )
    return (
        f"The {_matrix(most, places)} keeps most of its weights ({number_format.share(most.share)}), "
        f"the {_matrix(least, places)} fewest ({number_format.share(least.share)}). By kind, {densest} matrices are "
        f"densest ({dense}), {sparsest} sparsest ({sparse}). One threshold cuts the whole model, so this shows where "
        "large weights lie, not by itself what the task needs."
    )


def _matrix(density: Density, places: Places) -> str:
    return f"{MATRIX_TITLES.get(density.kind, density.kind)} matrix of {row_title(places.layer(density.layer))}"
