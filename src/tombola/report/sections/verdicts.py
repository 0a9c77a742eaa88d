"""Section on the verdict: whether the good tickets match the full model, and controls of their size."""

from tombola.metrics.statistics import Verdict
from tombola.report.html.elements import Html, beside, element, folded, join
from tombola.report.labels import TICKET_TITLES, and_words, capitalised, method_title
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
        items = [element("li", _verdict_badge(one.verdict), " ", _control(one)) for one in controls]
        body.append(folded("The verdict on random and bad tickets of as many sites or weights", element("ul", *items)))
    return element("section", element("h2", "Verdict"), *body, class_="verdicts")


def _missing(study: StudyData) -> str:
    if study.facts.hash:
        return "No verdict yet. What follows is what there is so far."
    if study.full is None:
        return "No verdict: the full model, which a ticket is judged against, is not scored here."
    return "No verdict: the full model is scored here, and no ticket."


def _badge(good: bool, text: str) -> Html:
    return element("span", f"{'✓' if good else '✗'} {text}", class_=f"badge {'yes' if good else 'no'}")


def _verdict_badge(verdict: Verdict) -> Html:
    if not verdict.learned:
        return element("span", "? the full model did not learn", class_="badge no")
    if verdict.says_nothing:
        return element("span", f"? {verdict.says_nothing}", class_="badge no")
    return _badge(verdict.matches, f"{'matches' if verdict.matches else 'does not match'} the full model")


def _control_badges(one: TicketVerdict) -> list[Html]:
    """Badges on how a ticket stands to random and bad ones, of which only `better than` is a good one."""
    found = standings(one.against).items() if one.verdict.learned and not one.verdict.says_nothing else ()
    return [_badge(word == "better than", f"{word} {and_words(kinds)}") for word, kinds in found]


def _card(one: TicketVerdict) -> Html:
    # A verdict's sentence states its finding before the first colon and the numbers behind it.
    finding, _, numbers = one.sentence.partition(": ")
    return element(
        "article",
        element("h3", method_title(one.method)),
        _verdict_badge(one.verdict),
        *_control_badges(one),
        element("p", finding if finding.endswith(".") else f"{finding}.", class_="sentence"),
        element("p", capitalised(numbers), class_="evidence"),
    )


def _control(one: TicketVerdict) -> Html:
    name = f"{method_title(one.method)}, {TICKET_TITLES.get(one.ticket, one.ticket)}"
    return join(element("strong", name), ": ", one.sentence)
