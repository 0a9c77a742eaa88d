"""Where each ability falls, as a table in the terminal."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from tombola.report import figures
from tombola.report.names import PRUNING_TITLES
from tombola.report.record import read_record
from tombola.report.retention import fall_in_words, read_profiles


def abilities_table(folder: Path) -> Table | None:
    """A line for each ability, a column for each way of pruning; None where a study has no abilities.

    Args:
        folder: of the study.
    """
    profiles = read_profiles(read_record(folder))
    if not profiles:
        return None
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title_justify="left")
    threshold = f"{100 * profiles[0].threshold:g} %"
    found.title = Text(f"Share of the prunable weights at which each ability falls under {threshold}")
    for name in ("", "full model", "chance"):
        found.add_column(name, justify="left" if not name else "right")
    for profile in profiles:
        found.add_column(PRUNING_TITLES[profile.pruning], justify="right")
    for number, curve in enumerate(profiles[0].curves):
        falls = [fall_in_words(profile.curves[number].fall) if curve.learned else "–" for profile in profiles]
        cells = (curve.title, figures.score(curve.full), figures.score(curve.chance), *falls)
        found.add_row(*(Text(cell) for cell in cells))
    return found
