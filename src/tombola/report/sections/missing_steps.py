"""Section on what is missing of a study that runs, was stopped, or failed in parts."""

from tombola.foundations.plurals import plural
from tombola.report import number_format
from tombola.report.html.elements import Html, element, join, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.study_data import StudyData

SHOWN = 12
"""Steps that are named, at most, of those that wait."""


def missing_steps(study: StudyData, _: FigureRegistry) -> Html | None:
    """The section; None where every step is done."""
    steps, missing = study.steps, study.missing
    if steps is None or not missing:
        return None
    names = [one.what for one in missing]
    failed = [element("li", element("b", name), f": {steps.failed[name]}") for name in names if name in steps.failed]
    waiting = [name for name in names if name not in steps.failed]
    parts = []
    if failed:
        parts.append(element("ul", *failed))
    if waiting:
        more = len(waiting) - SHOWN
        others = f"; and {plural(more, 'other')}" if more > 0 else ""
        text = f"Still to be done: {'; '.join(waiting[:SHOWN])}{others}."
        parts.append(element("p", text))
    done = number_format.count(len(steps.steps) - len(missing))
    lead = (
        f"{done} of {plural(len(steps.steps), 'step')} are done, and this page shows what they found. The same command "
        "does the rest."
    )
    return section("What is missing", join(*parts), lead=lead)
