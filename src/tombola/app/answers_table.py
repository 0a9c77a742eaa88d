"""Table of what several models say of one text, side by side."""

from collections.abc import Mapping, Sequence

from tombola.app.parts import percent
from tombola.report import number_format
from tombola.report.html.elements import Html, element, join


def answers_table(
    answers: Mapping[str, Sequence[float]], classes: Sequence[str] | None, right: int | None
) -> Html | None:
    """Table of answers by the names of their models; None of no answers.

    Args:
        answers: probabilities of each model in the order of the classes, or its value.
        classes: their names; None for a value.
        right: the class of the text's label, where it has one.
    """
    if not answers:
        return None
    names = [element("th", one, scope="col") for one in classes or ("value",)]
    head = element("thead", element("tr", element("th", "model", scope="col"), *names))
    body = element("tbody", *(_row(name, answer, classes is not None, right) for name, answer in answers.items()))
    caption = element("caption", "Predictions, side by side", class_="unseen")
    return element("table", caption, head, body, class_="answers")


def _row(name: str, answer: Sequence[float], of_classes: bool, right: int | None) -> Html:
    cells = [element("td", number_format.score(value)) for value in answer]
    if of_classes:
        best = max(range(len(answer)), key=answer.__getitem__)
        cells = [_share(share, first=i == best, right=i == right) for i, share in enumerate(answer)]
    # Of a retrained ticket, that of the ticket.
    ticket = name.partition(",")[0]
    head = element("th", element("i", class_=f"swatch {ticket}"), name, scope="row")
    return element("tr", head, *cells, data_model=name, data_ticket=ticket)


def _share(share: float, *, first: bool, right: bool) -> Html:
    tick = element("span", " ✓", class_="right", title="right answer")
    mark = join(tick, element("span", "right answer", class_="unseen")) if right else ""
    bar = element("i", class_="bar", style=f"--share: {100 * share:.1f}%")
    number = element("b" if first else "span", percent(share), data_share=f"{share:.6f}")
    return element("td", bar, number, mark)
