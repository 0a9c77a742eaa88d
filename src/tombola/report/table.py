"""The results of a study as a table in the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from tombola.report import figures
from tombola.report.names import PRUNING_TITLES, metric_title
from tombola.report.rows import Summary, read_rows, summarise
from tombola.results import Row

_SHORT = {"full": "full model", "random-layerwise": "layer-matched"}
_STYLES = {"full": "bold", "majority": "dim", "good": "bold green", "bad": "red"}


def table(source: Path | Sequence[Row]) -> Table:
    """A summary for people, to be printed by `rich.console.Console.print`.

    Args:
        source: a study's folder, or its rows.

    Raises:
        TombolaError: the folder holds no study, or the study has no results yet.
    """
    rows = read_rows(source) if isinstance(source, Path) else tuple(source)
    several = len({row.seed for row in rows}) > 1
    found = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", title_justify="left")
    if rows:
        spread = "± standard deviation over seeds" if several else "with its 95 % interval over examples"
        found.title = Text(f"{metric_title(rows[0].metric)} {spread}, n = {figures.count(rows[0].n)}")
    # The columns are as narrow as they can be: a terminal often has no more than 80 characters.
    for name in ("", "", "score", "± std" if several else "interval"):
        found.add_column(name, no_wrap=True)
    for name in ("heads", "MLPs", "weights", "sparsity", "MB", "s"):
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
        _SHORT.get(summary.ticket, summary.ticket),
        "" if summary.stage == "none" else summary.stage,
        figures.score(summary.score),
        summary.spread.replace(" to ", "–"),
        figures.count(summary.mean("heads")),
        figures.count(summary.mean("mlps")),
        figures.short_count(summary.mean("weights")),
        figures.share(summary.mean("sparsity")),
        figures.megabytes(summary.mean("bytes")),
        figures.seconds(summary.mean("seconds")),
    ]
    return [Text(cell) for cell in cells]
