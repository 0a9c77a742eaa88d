"""Terminal table of text generation: what a full model and its tickets write, in numbers."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from tombola.analysis.generation_profile import GeneratingModel
from tombola.report import number_format
from tombola.report.sections.text_generation import read_generation_profiles
from tombola.report.study_data import read_record


def generation_table(folder: Path) -> Table | None:
    """A line for each model; None where nobody was asked to write.

    Args:
        folder: of the study.
    """
    full, profiles = read_generation_profiles(read_record(folder))
    if not profiles:
        return None
    found = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", title_justify="left")
    found.title = Text("What is written: variety, repetition, tokens, perplexity under the full model")
    for name in ("", "", ""):
        found.add_column(name)
    for name in ("distinct-2", "repeated", "tokens", "perplexity"):
        found.add_column(name, justify="right")
    if full is not None:
        found.add_row(*_cells("full model", full), style="bold")
    for method, profile in profiles:
        for model in profile.models:
            found.add_row(*_cells(method, model))
    return found


def _cells(name: str, model: GeneratingModel) -> tuple[Text, ...]:
    whole, generated = model.stage == "none", model.generated
    cells = (
        name,
        "" if whole else model.ticket,
        "" if whole else model.stage,
        number_format.score(generated.distinct[1]),
        number_format.score(generated.repetition),
        number_format.count(generated.length),
        number_format.score(generated.perplexity),
    )
    return tuple(Text(cell) for cell in cells)
