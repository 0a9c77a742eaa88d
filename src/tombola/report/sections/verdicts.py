"""Section on the verdict: whether the good tickets match the full model, and controls of their size."""

from tombola.metrics.statistics import Verdict
from tombola.report.html.elements import Html, beside, element, folded, join
from tombola.report.labels import METHOD_TITLES, TICKET_TITLES, and_words, capitalised
from tombola.report.study_data import StudyData
from tombola.study.results import TicketVerdict, standings


def verdicts(study: StudyData) -> Html:
    """The section: good tickets on cards, controls folded away."""
    # A single step may be of another ticket alone.
    good = [one for one in study.verdicts if one.ticket == "good"] or study.verdicts[:1]
    controls = [one for one in study.verdicts if one not in good]
    if not study.verdicts:
        return element("section", element("p", _missing(study), class_="sentence"), class_="verdicts unfinished")
    cards = [_card(one) for one in good]
    body = [beside(*cards)] if cards else []
    if controls:
        items = [element("li", _badge(one.verdict), " ", _control(one)) for one in controls]
        body.append(folded("The verdict on random and bad tickets of the same size", element("ul", *items)))
    return element("section", element("h2", "Verdict"), *body, class_="verdicts")


def _missing(study: StudyData) -> str:
    """Reason why there is no verdict."""
    if study.facts.hash:
        return "No verdict yet. What follows is what there is so far."
    if study.full is None:
        return "No verdict: the full model, which a ticket is judged against, is not scored here."
    return "No verdict: the full model is scored here, and no ticket."


def _badge(verdict: Verdict) -> Html:
    if not verdict.learned:
        return element("span", "? the full model did not learn", class_="badge no")
    text = "✓ matches the full model" if verdict.matches else "✗ does not match the full model"
    return element("span", text, class_=f"badge {'yes' if verdict.matches else 'no'}")


def _control_badges(one: TicketVerdict) -> list[Html]:
    """Badges on how a ticket stands to random and bad ones, of which only `better than` is a good one."""
    found = standings(one.against).items() if one.verdict.learned else ()
    return [
        element(
            "span",
            f"{'✓' if word == 'better than' else '✗'} {word} {and_words(kinds)}",
            class_=f"badge {'yes' if word == 'better than' else 'no'}",
        )
        for word, kinds in found
    ]


def _card(one: TicketVerdict) -> Html:
    # A verdict's sentence states its finding before the first colon and the numbers behind it.
    finding, _, numbers = one.sentence.partition(": ")
    return element(
        "article",
        element("h3", METHOD_TITLES.get(one.method, one.method)),
        _badge(one.verdict),
        *_control_badges(one),
        element("p", finding if finding.endswith(".") else f"{finding}.", class_="sentence"),
        element("p", capitalised(numbers), class_="evidence"),
    )


def _control(one: TicketVerdict) -> Html:
    name = f"{METHOD_TITLES.get(one.method, one.method)}, {TICKET_TITLES.get(one.ticket, one.ticket)}"
    return join(element("strong", name), ": ", one.sentence)
