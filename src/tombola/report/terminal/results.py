"""The results of a study as a table in the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from tombola.foundations.plain_table import PlainTable
from tombola.metrics.scores import metric_title
from tombola.report import number_format
from tombola.report.summary import SIZES, read_rows, sites_of, summarise
from tombola.study.results import Row
from tombola.tickets.pruning_methods import in_words

_SHORT = {"full": "full model", "random-layerwise": "layer-matched", "majority": "guessing"}
_HEADS = {"bytes": "MB", "seconds": "s"}
"""Heads of columns that are narrower than the names of what they show."""
_SITES = 2
"""A terminal often has no more than 80 characters: the seconds, which are no result, make way for a third kind of site.
"""
_STYLES = {"full": "bold", "majority": "dim", "good": "bold green", "bad": "red"}


def table(source: Path | Sequence[Row]) -> PlainTable:
    """A summary for people, to be printed by `rich.console.Console.print`.

    Args:
        source: a study's folder, or its rows.

    Raises:
        TombolaError: the folder holds no study, or the study has no results yet.
    """
    rows = read_rows(source) if isinstance(source, Path) else tuple(source)
    several = len({row.seed for row in rows}) > 1
    spread = "± standard deviation over seeds" if several else "with its 95 % interval over examples"
    title = f"{metric_title(rows[0].metric)} {spread}, n = {number_format.count(rows[0].n)}" if rows else ""
    found = PlainTable(title)
    sites = sites_of(rows)
    narrow = len(sites) > _SITES
    sizes = (*sites, *(SIZES[:-1] if narrow else SIZES))
    for name in ("", "", "score", "± std" if several else "interval"):
        found.add_column(name, no_wrap=True)
    heads = _HEADS | ({"sparsity": "sparse"} if narrow else {})
    for name in sizes:
        found.add_column(in_words(name) if name in sites else heads.get(name, name), justify="right", no_wrap=True)
    group = ""
    for summary in summarise(rows):
        if summary.method not in ("none", group):
            group = summary.method
            found.add_row()
            # Its own name is shorter than its title, and no wider than the names of tickets below it.
            found.add_row(Text(group, style="bold underline"))
        found.line(
            _SHORT.get(summary.ticket, summary.ticket),
            "" if summary.stage == "none" else summary.stage,
            number_format.score(summary.score),
            summary.spread.replace(" to ", "–"),
            *summary.sizes(sizes, short=True),
            style=_STYLES.get(summary.ticket, ""),
        )
    return found
