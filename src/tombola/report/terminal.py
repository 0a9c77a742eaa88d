"""The results of a study as a table in the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from tombola.metrics import metric_title
from tombola.report import figures
from tombola.report.rows import Summary, read_rows, sites_of, summarise
from tombola.results import Row
from tombola.ways import in_words

_SHORT = {"full": "full model", "random-layerwise": "layer-matched", "majority": "guessing"}
_NAMED = ("ticket", "stage", "score", "spread")
_SIZES = ("weights", "sparsity", "MB", "s")
_SITES = 2
"""A terminal often has no more than 80 characters: the seconds, which are no result, make way for a third kind of site.
"""
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
    sites = [in_words(kind) for kind in sites_of(rows)]
    narrow = len(sites) > _SITES
    sizes = [*sites, *(_SIZES[:-1] if narrow else _SIZES)]
    # The columns are as narrow as they can be.
    for name in ("", "", "score", "± std" if several else "interval"):
        found.add_column(name, no_wrap=True)
    for name in sizes:
        found.add_column("sparse" if name == "sparsity" and narrow else name, justify="right", no_wrap=True)
    group = ""
    for summary in summarise(rows):
        if summary.pruning not in ("none", group):
            group = summary.pruning
            found.add_row()
            # Its own name is shorter than its title, and no wider than the names of tickets below it.
            found.add_row(Text(group, style="bold underline"))
        cells = _cells(summary)
        # Text, not str: square brackets in a name must not be read as rich's markup.
        found.add_row(*(Text(cells[name]) for name in (*_NAMED, *sizes)), style=_STYLES.get(summary.ticket, ""))
    return found


def _cells(summary: Summary) -> dict[str, str]:
    return {
        "ticket": _SHORT.get(summary.ticket, summary.ticket),
        "stage": "" if summary.stage == "none" else summary.stage,
        "score": figures.score(summary.score),
        "spread": summary.spread.replace(" to ", "–"),
        "heads": figures.count(summary.mean("heads")),
        "MLPs": figures.count(summary.mean("mlps")),
        "neurons": figures.short_count(summary.mean("neurons")),
        "channels": figures.count(summary.mean("channels")),
        "weights": figures.short_count(summary.mean("weights")),
        "sparsity": figures.share(summary.mean("sparsity")),
        "MB": figures.megabytes(summary.mean("bytes")),
        "s": figures.seconds(summary.mean("seconds")),
    }
