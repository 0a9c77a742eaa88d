"""The report's pictures: each function takes values and gives an Altair chart without colours or width."""

from tombola.report.charts.bars import ticket_bars
from tombola.report.charts.beside import beside_published
from tombola.report.charts.curves import finer_curves, search_curves
from tombola.report.charts.grids import density_grid, importance_grid, survival_grid, survival_strip
from tombola.report.charts.layers import mlp_bars, neuron_bars, neuron_boxes

__all__ = [
    "beside_published",
    "density_grid",
    "finer_curves",
    "importance_grid",
    "mlp_bars",
    "neuron_bars",
    "neuron_boxes",
    "search_curves",
    "survival_grid",
    "survival_strip",
    "ticket_bars",
]
