"""The report's pictures: each function takes values and gives an Altair chart without colours or width."""

from tombola.report.charts.bars import ticket_bars
from tombola.report.charts.beside import beside_published
from tombola.report.charts.curves import search_curves
from tombola.report.charts.grids import density_grid, importance_grid, mlp_bars, survival_grid

__all__ = [
    "beside_published",
    "density_grid",
    "importance_grid",
    "mlp_bars",
    "search_curves",
    "survival_grid",
    "ticket_bars",
]
