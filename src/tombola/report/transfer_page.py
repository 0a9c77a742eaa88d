"""The page of a transfer: what the tickets of each task are worth on the others."""

from collections.abc import Sequence

from tombola.analysis.transfer import Transfer, TransferCell
from tombola.foundations.plurals import plural
from tombola.metrics.scores import metric_title
from tombola.report import number_format
from tombola.report.charts.dots import transfer_dots
from tombola.report.html.elements import Html, beside, element, figure, join, note, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.page import document, ending, heading
from tombola.report.labels import method_title
from tombola.report.table import Column, Table, numbers, texts
from tombola.tickets.pruning_methods import in_words


def transfer_page(found: Transfer, registry: FigureRegistry) -> str:
    """The page as HTML; `registry` takes its charts and tables."""
    methods = list(dict.fromkeys(cell.method for cell in found.cells))
    main = join(*(_method(found, method, registry) for method in methods))
    title = join("Do tickets transfer? ", element("span", found.model))
    facts = [plural(len(found.tasks), "task"), plural(len(found.seeds), "seed")]
    return document(f"Transfer of tickets, {found.model}", heading(title, facts), main, ending("Made by Tombola."))


def _method(found: Transfer, method: str, registry: FigureRegistry) -> Html:
    cells = [cell for cell in found.cells if cell.method == method]
    plots: list[Html] = []
    for target in found.tasks:
        of_target = [cell for cell in cells if cell.target == target]
        metric = metric_title(found.metrics[target])
        plot = registry.plot(
            transfer_dots(of_target, metric),
            f"transfer-{method}-{len(plots)}",
            f"{metric} of tickets of other tasks on {target}",
        )
        plots.append(figure(f"On {target}", " ".join(cell.sentence() for cell in of_target), plot))
    lead = (
        f"Good tickets of {in_words(method)}, retrained on another task from the same rewound weights, beside the "
        "task’s own tickets and random ones of the transferred tickets’ sizes (Chen et al. 2020). Lines are ± one "
        "standard deviation over seeds. Searches stop at different sizes: the table has them."
    )
    title = method_title(method)
    table = registry.table(_table(cells), f"transfer-{method}")
    place = (
        "Place: 0 is as good as a random ticket, 1 as the task’s own; undefined where these two are not told apart by "
        "their paired difference over examples and seeds."
    )
    return section(title, beside(*plots), table, note(place), lead=lead)


def _table(cells: Sequence[TransferCell]) -> Table:
    columns = (
        *texts("ticket of", "on"),
        *numbers("transferred", "random of its size", "own ticket", "full model"),
        *(Column(name, "number", unit="%") for name in ("sparsity", "own sparsity")),
        *numbers("place"),
    )
    return Table.of("Transfer between tasks", columns, [_line(cell) for cell in cells])


def _line(cell: TransferCell) -> tuple[str, ...]:
    return (
        cell.source,
        cell.target,
        _score(cell.score, cell.std, cell.n),
        _score(cell.random, cell.random_std, cell.n),
        _score(cell.own, cell.own_std, cell.n),
        number_format.score(cell.full),
        number_format.share(cell.sparsity),
        number_format.share(cell.own_sparsity),
        "undefined" if cell.share is None else number_format.minus(f"{cell.share:.2f}"),
    )


def _score(mean: float, std: float, n: int) -> str:
    return number_format.spread(mean, std) if n > 1 else number_format.score(mean)
