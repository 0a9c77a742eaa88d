"""The results of a study as a table in the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from tombola.report import figures
from tombola.report.names import PRUNING_TITLES, TICKET_TITLES, metric_title
from tombola.report.rows import Row, Summary, read_rows, summarise

_STYLES = {"full": "bold", "majority": "dim", "good": "bold green", "bad": "red"}


def table(source: Path | Sequence[Row]) -> Table:
    """A summary for people, to be printed by `rich.console.Console.print`.

    Args:
        source: a study's folder, or its rows.

    Raises:
        TombolaError: the folder holds no study, or the study has no results yet.
    """
    rows = read_rows(source) if isinstance(source, Path) else tuple(source)
    found = Table(
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
        title_justify="left",
        caption_justify="left",
    )
    several = len({row.seed for row in rows}) > 1
    metric = metric_title(rows[0].metric) if rows else "score"
    found.add_column("", no_wrap=True)
    found.add_column("", no_wrap=True)
    found.add_column(Text(metric), justify="right", no_wrap=True)
    found.add_column("± std over seeds" if several else "95 % interval", no_wrap=True)
    for name in ("heads", "MLPs", "weights", "sparsity", "MB", "seconds"):
        found.add_column(name, justify="right", no_wrap=True)
    group = ""
    for summary in summarise(rows):
        if summary.pruning not in ("none", group):
            group = summary.pruning
            found.add_row()
            found.add_row(Text(PRUNING_TITLES[group], style="bold underline"))
        found.add_row(*_cells(summary), style=_STYLES.get(summary.ticket, ""))
    return found


def _cells(summary: Summary) -> list[Text]:
    # Text, not str: square brackets in a name must not be read as rich's markup.
    cells = [
        TICKET_TITLES[summary.ticket],
        "" if summary.stage == "none" else summary.stage,
        figures.score(summary.score),
        summary.spread,
        figures.count(summary.mean("heads")),
        figures.count(summary.mean("mlps")),
        figures.count(summary.mean("weights")),
        figures.share(summary.mean("sparsity")),
        figures.megabytes(summary.mean("bytes")),
        figures.seconds(summary.mean("seconds")),
    ]
    return [Text(cell) for cell in cells]
