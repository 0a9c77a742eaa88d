"""A comparison of tickets as tables in the terminal."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tombola.analysis.agreement import STATISTICS
from tombola.analysis.chance import Chance
from tombola.analysis.comparison import CONTROLS, Comparison, KindComparison, PruningComparison
from tombola.analysis.overlap import Overlap
from tombola.analysis.survival import Density

_KINDS: Mapping[str, str] = {"heads": "heads", "mlps": "MLPs", "neurons": "blocks of neurons", "weights": "weights"}
_COLUMNS: Mapping[str, str] = {
    "mean_survivors": "mean\nsurvivors",
    "super_survivors": "super-\nsurvivors",
    "jaccard": "Jaccard",
    "fleiss_kappa": "Fleiss'\nkappa",
    "krippendorff_alpha": "Krippendorff's\nalpha",
    "cochran_q_p": "Cochran's Q\np",
    "pairs_not_rejected": "pairs not\nrejected",
}
_COUNTS = ("mean_survivors", "super_survivors", "pairs_not_rejected")
_CONTROLS: Mapping[str, str] = {"random": "random", "random-layerwise": "layer-matched"}
_WHAT = "random and layer-matched: 2.5 % and 97.5 % quantiles over {draws:,} draws of random tickets of the same sizes"


def tables(comparison: Comparison) -> Iterator[RenderableType]:
    """What people see of a comparison, one thing after the other."""
    reasons: dict[str, None] = {}
    for pruning, one in comparison.prunings.items():
        yield Text(f"{pruning}, {one.architecture}", style="bold")
        for kind in one.overlap:
            yield _statistics(kind, one, reasons)
            if len(one.tasks) > 1:
                yield _matrix(kind, one.overlap[kind], reasons)
        for task, found in one.tasks.items():
            if found.density:
                yield _densities(task, len(found.found), found.density)
    yield Text(_WHAT.format(draws=comparison.draws), style="dim")
    for reason in reasons:
        yield Text(f"undefined: {reason}", style="dim")


def _statistics(kind: str, comparison: PruningComparison, reasons: dict[str, None]) -> Table:
    table = _table(f"{_KINDS[kind]}: agreement between the tickets of a task")
    table.add_column("task", no_wrap=True)
    table.add_column("n", justify="right")
    for title in _COLUMNS.values():
        table.add_column(title, justify="right")
    for task, found in comparison.tasks.items():
        _add(table, task, found.kinds[kind], reasons)
    if kind in comparison.between:
        table.add_section()
        _add(table, "between tasks", comparison.between[kind], reasons)
    return table


def _add(table: Table, title: str, comparison: KindComparison, reasons: dict[str, None]) -> None:
    """One line of values, and one for each kind of random ticket."""
    agreement = comparison.agreement
    reasons |= dict.fromkeys(agreement.undefined.values())
    # Text, not str: square brackets in a name must not be read as rich's markup.
    cells = [_value(name, getattr(agreement, name)) for name in _COLUMNS]
    cells[-1] += f" of {agreement.pairs}" if agreement.pairs_not_rejected is not None else ""
    table.add_row(Text(title), Text(str(agreement.n)), *map(Text, cells))
    for control in CONTROLS:
        distributions = comparison.by_chance.get(control)
        if distributions is not None and agreement.n > 1:
            values = ["", *(_interval(name, distributions[name]) for name in STATISTICS)]
            table.add_row(Text(f"  {_CONTROLS[control]}"), "", *map(Text, values), style="dim")


def _value(name: str, value: float | None) -> str:
    if value is None:
        return "undefined"
    if name in _COUNTS:
        return f"{value:,.1f}".removesuffix(".0")
    return f"{value:.3f}" if value >= 0.0005 or not name.endswith("_p") else f"{value:.0e}"


def _interval(name: str, chance: Chance | None) -> str:
    return "" if chance is None else f"{_value(name, chance.low)}…{_value(name, chance.high)}"


def _matrix(kind: str, overlap: Overlap, reasons: dict[str, None]) -> Table:
    table = _table(f"{_KINDS[kind]}: Jaccard of two tasks' tickets, mean over pairs (and for random tickets)")
    table.add_column("")
    for task in overlap.tasks:
        table.add_column(Text(task), justify="right")
    for row, task in enumerate(overlap.tasks):
        cells = [overlap.at(row, column) for column in range(len(overlap.tasks))]
        reasons |= dict.fromkeys(cell.undefined for cell in cells if cell.undefined is not None)
        shown = []
        for cell in cells:
            chance = cell.jaccard_by_chance["random"]
            mean = "" if chance is None else f" ({chance.mean:.2f})"
            shown.append("undefined" if cell.jaccard is None else f"{cell.jaccard:.2f}{mean}")
        table.add_row(Text(task), *map(Text, shown))
    return table


def _densities(task: str, tickets: int, density: Sequence[Density]) -> Table:
    table = _table(f"{task}: share of the weights that survive in each matrix, mean over {tickets} tickets")
    kinds = list(dict.fromkeys(one.kind for one in density))
    layers = list(dict.fromkeys(one.layer for one in density))
    shares = {(one.layer, one.kind): one.share for one in density}
    table.add_column("layer", justify="right")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for layer in layers:
        cells = (shares.get((layer, kind)) for kind in kinds)
        table.add_row(str(layer), *("" if share is None else f"{share:.3f}" for share in cells))
    return table


def _table(title: str) -> Table:
    return Table(
        title=Text(title), box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title_justify="left"
    )
