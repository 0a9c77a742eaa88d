"""A comparison of tickets as tables in the terminal."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from tombola.analysis.agreement.coefficients import STATISTICS
from tombola.analysis.agreement.comparison import CONTROLS, Comparison, KindComparison, TicketKindComparison
from tombola.analysis.agreement.null_distribution import NullDistribution
from tombola.analysis.agreement.overlap import Overlap
from tombola.analysis.agreement.survival import Density
from tombola.foundations.errors import printable
from tombola.foundations.plain_table import PlainTable
from tombola.foundations.plurals import plural
from tombola.report import number_format
from tombola.report.labels import kind_title

_COLUMNS: Mapping[str, str] = {
    "mean_survivors": "mean\nsurvi-\nvors",
    "super_survivors": "super-\nsurvi-\nvors",
    "jaccard": "Jaccard",
    "fleiss_kappa": "Fleiss'\nkappa",
    "krippendorff_alpha": "Krippen-\ndorff's\nalpha",
    "cochran_q_p": "Cochran's\nQ: p",
    "pairs_not_rejected": "pairs not\nrejected",
}
"""Words short enough for 80 characters a line."""
_COUNTS = ("mean_survivors", "super_survivors", "pairs_not_rejected")
_CONTROLS: Mapping[str, Text] = {"random": Text("random"), "layer-matched": Text("layer-\nmatched")}
_WHAT = (
    "random: 2.5 % and 97.5 % quantiles over {draws:,} draws of random tickets of the same sizes; layer-matched: "
    "of the same sizes in each layer"
)


def tables(comparison: Comparison) -> Iterator[RenderableType]:
    """Terminal tables of a comparison, one after the other."""
    reasons: dict[str, None] = {}
    for kind, one in comparison.kinds.items():
        if kind != next(iter(comparison.kinds)):
            yield Text()
        yield Text(f"{kind}, {printable(one.architecture)}", style="bold")
        for site in one.overlap:
            yield Text(f"\n{kind_title(site)}: agreement between the tickets of a task")
            yield _statistics(site, one, reasons)
            if len(one.tasks) > 1:
                yield Text(f"\n{kind_title(site)}: Jaccard of two tasks' tickets, mean over pairs (of random ones)")
                yield _matrix(one.overlap[site], reasons)
        for task, found in one.tasks.items():
            if found.matrices:
                number = plural(len(found.tickets), "ticket")
                yield Text(f"\n{printable(task)}: share of the weights that survive in each matrix, mean over {number}")
                yield _densities(found.matrices)
    yield Text(f"\n{_WHAT.format(draws=comparison.draws)}", style="dim")
    for reason in reasons:
        yield Text(f"undefined: {printable(reason)}", style="dim")


def _statistics(kind: str, comparison: TicketKindComparison, reasons: dict[str, None]) -> PlainTable:
    table = PlainTable()
    table.add_column("task", overflow="fold", min_width=len("matched"))
    table.add_column("n", justify="right")
    for name, title in _COLUMNS.items():
        width = len("undefined") if name in STATISTICS[1:] else None
        table.add_column(title, justify="right", overflow="fold", min_width=width)
    for task, found in comparison.tasks.items():
        _add(table, task, found.agreement[kind], reasons)
    if comparison.between_tasks is not None:
        table.add_section()
        _add(table, "between tasks", comparison.between_tasks[kind], reasons)
    return table


def _add(table: PlainTable, title: str, comparison: KindComparison, reasons: dict[str, None]) -> None:
    reasons |= {reason: None for name, reason in comparison.undefined.items() if name not in CONTROLS}
    cells = [_value(name, getattr(comparison, name)) for name in _COLUMNS]
    cells[-1] += f" of {comparison.pairs}" if comparison.pairs_not_rejected is not None else ""
    table.line(title, str(comparison.n), *cells)
    for control in CONTROLS:
        distributions = comparison.null_distribution.get(control)
        if distributions is not None and comparison.n > 1:
            values = (_interval(name, distributions[name]) for name in STATISTICS)
            table.line(_CONTROLS[control], "", "", *values, style="dim")


def _value(name: str, value: float | None) -> str:
    if value is None:
        return "undefined"
    if name in _COUNTS:
        # Heads by one decimal, weights in millions.
        return number_format.short_count(value) if value >= 10_000 else f"{value:,.1f}".removesuffix(".0")
    return f"{value:.3f}" if value >= 0.0005 or not name.endswith("_p") else "< 0.001"


def _interval(name: str, found: NullDistribution | None) -> str:
    return "" if found is None else f"{_value(name, found.low)} – {_value(name, found.high)}"


def _matrix(overlap: Overlap, reasons: dict[str, None]) -> PlainTable:
    table = PlainTable()
    table.heads("", numbers=overlap.tasks)
    reasons |= dict.fromkeys(one.reason for one in overlap.undefined)
    random = overlap.null_distribution["random"]
    for row, task in enumerate(overlap.tasks):
        shown = []
        for column, jaccard in enumerate(overlap.jaccard[row]):
            chance = None if random is None else random.jaccard[row][column]
            mean = "" if chance is None else f" ({chance.mean:.2f})"
            shown.append("undefined" if jaccard is None else f"{jaccard:.2f}{mean}")
        table.line(task, *shown)
    return table


def _densities(density: Sequence[Density]) -> PlainTable:
    table = PlainTable()
    roles = list(dict.fromkeys(one.role for one in density))
    layers = list(dict.fromkeys(one.layer for one in density))
    shares = {(one.layer, one.role): one.share for one in density}
    table.heads(numbers=("layer", *roles))
    for layer in layers:
        cells = (shares.get((layer, role)) for role in roles)
        table.line(str(layer), *("" if share is None else f"{share:.3f}" for share in cells))
    return table
