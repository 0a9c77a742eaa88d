"""Terminal tables of retention: where each ability falls, and what retraining brings back."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from tombola.report import number_format
from tombola.report.sections.retention import read_profiles, recoveries, recovery_in_words
from tombola.report.study_data import read_record


def abilities_table(folder: Path) -> Table | None:
    """A line for each method, a column for each ability; None where a study has no abilities.

    Args:
        folder: of the study.
    """
    profiles = read_profiles(read_record(folder))
    if not profiles:
        return None
    threshold = f"{100 * profiles[0].threshold:g} %"
    found = _table(f"Percentage of the prunable weights at which each ability falls under {threshold}, 95 % interval")
    found.add_column("")
    curves = profiles[0].curves
    for curve in curves:
        found.add_column(curve.title, justify="right")
    raw = [f"{number_format.score(curve.full)}" + ("" if curve.learned else " (chance)") for curve in curves]
    found.add_row(*(Text(cell) for cell in ("full model", *raw)), style="bold")
    for profile in profiles:
        # A terminal is narrow.
        falls = [
            curve.fall.in_words("{} ({}–{})") if curve.learned else number_format.MISSING for curve in profile.curves
        ]
        found.add_row(*(Text(cell) for cell in (profile.method, *falls)))
    return found


def recovery_table(folder: Path) -> Table | None:
    """A line for each ticket that was trained again, a column for each ability; None where there is none.

    Args:
        folder: of the study.
    """
    profiles = read_profiles(read_record(folder))
    lines = [(profile.method, *one) for profile in profiles for one in recoveries(profile)]
    if not lines:
        return None
    found = _table("Percentage of each ability that tickets keep, pruned → trained again")
    for name in ("", "", *(curve.title for curve in profiles[0].curves)):
        found.add_column(name, justify="right" if name else "left")
    for method, ticket, pairs in lines:
        cells = (method, ticket, *(recovery_in_words(*pair, unit="") for pair in pairs))
        found.add_row(*(Text(cell) for cell in cells))
    return found


def _table(title: str) -> Table:
    found = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", title_justify="left")
    found.title = Text(title)
    return found
