"""What a full model and its tickets write, in numbers, as a table in the terminal."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from tombola.analysis.generation_profile import Author
from tombola.report import number_format as figures
from tombola.report.study_data import read_record
from tombola.report.text_generation import read_works


def writing_table(folder: Path) -> Table | None:
    """A line for each model; None where nobody was asked to write.

    Args:
        folder: of the study.
    """
    full, works = read_works(read_record(folder))
    if not works:
        return None
    found = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", title_justify="left")
    found.title = Text("What is written: variety, repetition, tokens, perplexity under the full model")
    for name in ("", "", ""):
        found.add_column(name)
    for name in ("distinct-2", "repeated", "tokens", "perplexity"):
        found.add_column(name, justify="right")
    if full is not None:
        found.add_row(*_cells("full model", full), style="bold")
    for method, profile in works:
        for author in profile.authors:
            found.add_row(*_cells(method, author))
    return found


def _cells(name: str, author: Author) -> tuple[Text, ...]:
    whole, work = author.stage == "none", author.writing
    cells = (
        name,
        "" if whole else author.ticket,
        "" if whole else author.stage,
        figures.score(work.distinct[1]),
        figures.score(work.repetition),
        figures.count(work.length),
        figures.score(work.perplexity),
    )
    return tuple(Text(cell) for cell in cells)
