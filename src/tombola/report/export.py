"""A report's figures and tables as files for a paper: SVG, CSV and LaTeX."""

import re
from pathlib import Path

from tombola.foundations.atomic_files import publish, write_text
from tombola.report.build import page_of
from tombola.report.charts.vega import svg
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.tables.csv import table_csv
from tombola.report.tables.latex import latex

_MARKUP = re.compile(r"([\\`*_\[\]<>&])")


def export(folder: Path, out: Path) -> list[str]:
    """Write the figures and tables of a folder's report into a new folder, with an `index.md`, and return their names.

    They are made anew from the results, not read from `report.html`, which may be older.

    Args:
        folder: of a study, a comparison or a transfer.
        out: a new folder: `figures/*.svg`, `tables/*.csv` and `tables/*.tex`.

    Raises:
        TombolaError: as `report.build`; or `out` exists or cannot be written.
    """
    registry = FigureRegistry()
    page_of(folder, registry)
    files: list[str] = []
    index = ["# Figures and tables", ""]
    with publish(out) as draft:
        for name, (chart, label) in registry.charts.items():
            files.append(f"figures/{name}.svg")
            index.append(f"- `{files[-1]}`: {_plain(label)}")
            write_text(draft / files[-1], svg(chart))
        for name, table in registry.tables.items():
            files += [f"tables/{name}{ending}" for ending in (".csv", ".tex")]
            index.append(f"- `{files[-2]}`, `.tex`: {_plain(table.title)}")
            write_text(draft / files[-2], table_csv(table))
            write_text(draft / files[-1], latex(table, name))
        files.append("index.md")
        write_text(draft / files[-1], "\n".join([*index, "", "The LaTeX tables need the package booktabs.", ""]))
    return files


def _plain(text: str) -> str:
    """Text that means nothing else in Markdown."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
