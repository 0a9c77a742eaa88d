"""`tombola results`: scores, verdicts, searches and settings of many studies as one table, or what SQL makes of it."""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from tombola.cli.command import Command, say
from tombola.foundations.errors import TombolaError
from tombola.foundations.plurals import plural

_FORMATS = ("table", "csv", "json", "latex", "markdown", "parquet")
_VIEWS = {
    "rows": (
        *("study", "finished", "method", "ticket", "stage", "seed", "metric"),
        *("score", "score_low", "score_high", "sparsity"),
    ),
    "verdicts": (
        *("study", "finished", "method", "ticket", "stage", "matches", "metric"),
        *("mean", "full_mean", "difference", "low", "high"),
    ),
    "searches": (
        *("study", "finished", "method", "seed", "iteration", "phase", "heads", "mlps", "weights"),
        *("sparsity", "score", "holds"),
    ),
    "studies": ("study", "finished", "regime", "model", "task", "seeds", "hash"),
}
"""Tables, with the columns that people are shown; programs get all."""
_WIDTH = 160
"""Characters of a line where there is no terminal to ask."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of a study, or that holds studies")
    asked = parser.add_mutually_exclusive_group()
    views = "a row for each scored model, verdict, iteration of a search, or study (rows)"
    asked.add_argument("--view", choices=(*_VIEWS,), default="rows", help=views)
    asked.add_argument("--sql", metavar="QUERY", help="what to select from these four, in the SQL of DuckDB")
    formats = "table for people; the others have every column, and parquet needs --out (by the ending of FILE; table)"
    parser.add_argument("--format", choices=_FORMATS, help=formats)
    parser.add_argument("--out", type=Path, metavar="FILE", help="new file, in place of the terminal")


def _run(options: argparse.Namespace) -> dict[str, Any]:
    out: Path | None = options.out
    if out is not None and out.exists():
        raise TombolaError(f"{out} exists already; delete it or choose another file")
    if options.format == "parquet" and out is None:
        raise TombolaError("parquet is not for a terminal; name a file (--out)")
    from tombola.foundations.atomic_files import write_bytes
    from tombola.report.result_files import FILES, plain_table, records
    from tombola.report.result_tables import result_table

    endings = {ending: name for name, (ending, _) in FILES.items()}
    format = options.format or (endings.get(out.suffix) if out is not None else "table")
    if format is None or (format == "table" and out is not None):
        raise TombolaError(f"{out} is no file for a table; let it end in {', '.join(endings)}, or give --format")
    found = result_table(options.folder, options.view, options.sql)
    if format in ("table", "latex", "markdown") and options.sql is None:
        known = {"finished"} if all(found["finished"].to_pylist()) else set[str]()
        found = found.select([name for name in _VIEWS[options.view] if name not in known])
    if out is not None:
        text = FILES[format][1](found)
        write_bytes(out, text if isinstance(text, bytes) else text.encode())
        if not options.json:
            say(f"{out}: {plural(len(found), 'row')}")
    elif options.json:
        pass
    elif format == "table":
        console = Console(markup=False, emoji=False)
        console = console if console.is_terminal else Console(width=_WIDTH, markup=False, emoji=False)
        console.print(plain_table(found))
    else:
        print(FILES[format][1](found), end="")
    return {"rows": records(found), "out": None if out is None else str(out)} if options.json else {}


COMMAND = Command(
    "results",
    "what many studies found, as one table: rows, verdicts, searches, settings; with SQL",
    _add_arguments,
    _run,
)
