"""Values as charts of a report, in its light theme."""

from functools import singledispatch
from typing import Any

from tombola.analysis.agreement.survival import densities, mean_densities, site_survival
from tombola.architectures.anatomy import Anatomy, Places
from tombola.architectures.site_names import SITE_NAMES
from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import metric, metric_title
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.search.records import Search
from tombola.pruning.weight_pruning import WeightPruning
from tombola.report.charts.curves import Threshold, search_curves
from tombola.report.charts.grids import channel_grid, density_grid, importance_grid, survival_grid, survival_strip
from tombola.report.charts.layers import mlp_bars, neuron_bars
from tombola.report.charts.parts import ScoreAxis
from tombola.report.charts.vega import AnyChart, themed
from tombola.report.opened_study import OpenedStudy
from tombola.report.trajectory import Trajectory
from tombola.study.study import Study
from tombola.tickets.ticket import Ticket, every_site

_PLACES = Places()


@singledispatch
def of(value: object) -> Any:
    """The value as an Altair chart, see `Shown.plot`."""
    raise NotImplementedError(type(value).__name__)


@of.register
def _(ticket: Ticket) -> Any:
    if not ticket.sites:
        return themed(density_grid(mean_densities([densities(ticket)]), _PLACES))
    survival = site_survival([ticket])
    assert survival is not None
    charts: list[AnyChart] = []
    if "heads" in survival.sites:
        charts.append(survival_grid(survival, _PLACES))
    elif "mlps" in survival.sites:
        charts.append(survival_strip(survival, _PLACES))
    if "neurons" in survival.sites:
        charts.append(neuron_bars(survival.sites["neurons"], 1, _PLACES))
    if "channels" in survival.sites:
        charts.append(channel_grid(survival, _PLACES))
    return themed(*charts)


@of.register
def _(found: Search) -> Any:
    facts = found.good.provenance
    name, share = str(facts.get("metric", "accuracy")), float(str(facts.get("threshold", 0.9)))
    judged = metric(name)
    trajectory = Trajectory(found.good.method, 0, found.passes)
    # What was accepted lies over chance, perhaps, which no record of a search says: the line is the threshold's own.
    bound = judged.bound(found.full_score, share)
    axis = ScoreAxis(metric_title(name), judged.higher_is_better)
    return themed(search_curves([trajectory], axis, Threshold(share, [bound]), _PLACES))


@of.register
def _(found: WeightPruning) -> Any:
    return of(found.ticket)


@of.register
def _(found: Evaluation) -> Any:
    if found.importance is None:
        raise TombolaError("this evaluation took no importance to draw; evaluate with importance=True")
    lists: dict[str, Any] = found.importance.normalised().lists()
    charts: list[AnyChart] = []
    for kind in ("heads", "neurons", "channels"):
        if kind in lists:
            rows = [str(row) for row in range(len(lists[kind]))]
            charts.append(importance_grid(lists[kind], rows, *SITE_NAMES[kind]))
    if "mlps" in lists:
        charts.append(mlp_bars(lists["mlps"], _PLACES))
    return themed(*charts)


@of.register
def _(anatomy: Anatomy) -> Any:
    return of(Ticket.full(anatomy, every_site(anatomy)))


@of.register
def _(study: Study) -> Any:
    return of(OpenedStudy.of(study.folder))


@of.register
def _(study: OpenedStudy) -> Any:
    shown = next((chart for name, chart in study.figures.items() if name.startswith("tickets-")), None)
    if shown is None:
        raise TombolaError(f"no ticket of {study.folder} has a score yet; run the study first")
    return shown
