"""Terminal tables of retention: where each ability falls, and what retraining brings back."""

from tombola.foundations.plain_table import PlainTable
from tombola.report import number_format
from tombola.report.sections.retention import read_profiles
from tombola.report.sections.retention_tables import recoveries, recovery_in_words
from tombola.report.study_data import StudyData


def abilities_table(study: StudyData) -> PlainTable | None:
    """A line for each method, a column for each ability; None where a study has no abilities."""
    profiles = read_profiles(study)
    if not profiles:
        return None
    curves, threshold = profiles[0].curves, f"{100 * profiles[0].threshold:g} %"
    found = PlainTable(
        f"Percentage of the prunable weights at which each ability falls under {threshold}, 95 % interval"
    )
    found.heads("", numbers=[curve.title for curve in curves])
    raw = [f"{number_format.score(curve.full)}{'' if curve.learned else ' (chance)'}" for curve in curves]
    found.line("full model", *raw, style="bold")
    for profile in profiles:
        # A terminal is narrow.
        falls = (
            curve.fall.in_words("{} ({}–{})") if curve.learned else number_format.MISSING for curve in profile.curves
        )
        found.line(profile.method, *falls)
    return found


def recovery_table(study: StudyData) -> PlainTable | None:
    """A line for each ticket that was trained again, a column for each ability; None where there is none."""
    profiles = read_profiles(study)
    lines = [(profile.method, *one) for profile in profiles for one in recoveries(profile)]
    if not lines:
        return None
    found = PlainTable("Percentage of each ability that tickets keep, pruned → trained again")
    found.heads("", "", numbers=[curve.title for curve in profiles[0].curves])
    for method, ticket, pairs in lines:
        found.line(method, ticket, *(recovery_in_words(*pair, unit="") for pair in pairs))
    return found
