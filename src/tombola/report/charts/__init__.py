"""Charts of the report: each function takes values and gives an Altair chart without colours or width."""

from tombola.report.charts.agreement import overlap_by_chance
from tombola.report.charts.attention import attention_map, class_bars, class_grid, survival_dots
from tombola.report.charts.axes import ScoreAxis
from tombola.report.charts.bars import ticket_bars
from tombola.report.charts.beside import beside_published
from tombola.report.charts.curves import Threshold, finer_curves, search_curves
from tombola.report.charts.grids import channel_grid, density_grid, importance_grid, survival_grid, survival_strip
from tombola.report.charts.interactions import interaction_grid, pair_bars
from tombola.report.charts.layers import mlp_bars, neuron_bars, neuron_boxes
from tombola.report.charts.random_tickets import random_dots
from tombola.report.charts.representations import layer_lines
from tombola.report.charts.retention import retention_lines
from tombola.report.charts.tasks import task_matrix
from tombola.report.charts.transfer import transfer_dots

__all__ = [
    "ScoreAxis",
    "Threshold",
    "attention_map",
    "beside_published",
    "channel_grid",
    "class_bars",
    "class_grid",
    "density_grid",
    "finer_curves",
    "importance_grid",
    "interaction_grid",
    "layer_lines",
    "mlp_bars",
    "neuron_bars",
    "neuron_boxes",
    "overlap_by_chance",
    "pair_bars",
    "random_dots",
    "retention_lines",
    "search_curves",
    "survival_dots",
    "survival_grid",
    "survival_strip",
    "task_matrix",
    "ticket_bars",
    "transfer_dots",
]
