"""The page of a study: verdict first, then results, pictures and how it was made."""

from tombola.metrics.scores import metric_title
from tombola.metrics.statistics import Verdict
from tombola.report import number_format
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import beside
from tombola.report.html.markup import Html, element, join
from tombola.report.html.page import document, ending, heading
from tombola.report.labels import METHOD_TITLES, TICKET_TITLES
from tombola.report.sections.model_sizes import smaller
from tombola.report.sections.provenance import making
from tombola.report.sections.results import results
from tombola.report.sections.study_sections import pictures
from tombola.report.study_data import Record
from tombola.study.results import TicketVerdict


def study_page(record: Record, registry: FigureRegistry) -> str:
    """The report of a study as HTML; `registry` takes its charts and tables."""
    main = join(
        _verdicts(record),
        results(record, registry),
        smaller(record, registry) or "",
        *pictures(record, registry),
        making(record),
    )
    title = f"{record.model} on {record.task_title}: winning tickets"
    return document(title, _header(record), main, _footer(record))


def _header(record: Record) -> Html:
    name = record.facts.get("name", str)
    seeds = number_format.plural(record.seeds, "seed")
    parts = [metric_title(record.metric), f"{number_format.count(record.rows[0].n)} examples", seeds]
    parts += [f"study {name}"] if name else []
    return heading(join(element("span", record.model), " on ", element("span", record.task_title)), parts)


def _verdicts(record: Record) -> Html:
    good = [one for one in record.verdicts if one.ticket == "good"]
    controls = [one for one in record.verdicts if one.ticket != "good"]
    if not record.verdicts:
        text = "No verdict yet. What follows is what there is so far."
        return element("section", element("p", text, class_="sentence"), class_="verdicts unfinished")
    cards = [_verdict(one) for one in good]
    body = [beside(*cards)] if cards else []
    if controls:
        items = [element("li", _badge(one.verdict), " ", _control(one)) for one in controls]
        body.append(
            element(
                "details",
                element("summary", "The verdict on random and bad tickets of the same size"),
                element("ul", *items),
            )
        )
    return element("section", element("h2", "Verdict"), *body, class_="verdicts")


def _badge(verdict: Verdict) -> Html:
    if not verdict.learned:
        return element("span", "? the full model did not learn", class_="badge no")
    text = "✓ matches the full model" if verdict.matches else "✗ does not match the full model"
    return element("span", text, class_=f"badge {'yes' if verdict.matches else 'no'}")


def _verdict(one: TicketVerdict) -> Html:
    # A verdict's sentence states its finding before the first colon and the numbers behind it.
    finding, _, numbers = one.sentence.partition(": ")
    return element(
        "article",
        element("h3", METHOD_TITLES.get(one.method, one.method)),
        _badge(one.verdict),
        element("p", finding if finding.endswith(".") else f"{finding}.", class_="sentence"),
        element("p", f"{numbers[:1].upper()}{numbers[1:]}", class_="evidence"),
    )


def _control(one: TicketVerdict) -> Html:
    name = f"{METHOD_TITLES.get(one.method, one.method)}, {TICKET_TITLES.get(one.ticket, one.ticket)}"
    return join(element("strong", name), ": ", one.sentence)


def _footer(record: Record) -> Html:
    versions = record.facts.inside("versions")
    version = versions.get("tombola", str)
    digest = record.facts.get("hash", str)
    return ending(f"Made by Tombola{f' {version}' if version else ''}{f' from study {digest}' if digest else ''}.")
