"""Section on analyses that were asked for and could not be made."""

from tombola.report.html.elements import Html, element, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.study_data import StudyData
from tombola.study.left_out import in_sentences


def left_out(study: StudyData, _: FigureRegistry) -> Html | None:
    """The section; None where all was made that was asked for."""
    lines = in_sentences(study.left_out)
    if not lines:
        return None
    listed = element("ul", *(element("li", line) for line in lines))
    return section("Left out", listed, lead="Analyses that were asked for and could not be made of this model or task.")
