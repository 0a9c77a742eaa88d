"""The page: verdict first, then results, pictures and how it was made, in one file that loads nothing."""

import base64
import hashlib
from importlib import resources
from pathlib import Path
from string import Template

from tombola.report import figures, theme
from tombola.report.layout import beside
from tombola.report.making import making
from tombola.report.markup import Html, element, escape, join
from tombola.report.names import PRUNING_TITLES, TICKET_TITLES, metric_title
from tombola.report.pictures import pictures, script_json
from tombola.report.record import Record, read_record
from tombola.report.render import bundle
from tombola.report.results_table import results
from tombola.report.smaller import smaller
from tombola.results import TicketVerdict
from tombola.statistics import Verdict
from tombola.store import write_text


def build(folder: Path) -> Path:
    """Write `report.html` into a study's folder, from whatever results it has by now, and return its path.

    Raises:
        TombolaError: the folder holds no study, the study has no results yet, or one of its files is damaged.
    """
    path = Path(folder) / "report.html"
    write_text(path, page(read_record(Path(folder))))
    return path


def page(record: Record) -> str:
    """The report as HTML."""
    library, script = bundle(), _own("page.js")
    return Template(_own("page.html")).substitute(
        title=escape(f"{record.model} on {record.task_title}: winning tickets"),
        policy=_policy(library, script),
        css=_own("page.css"),
        header=_header(record),
        main=join(_verdicts(record), results(record), smaller(record) or "", *pictures(record), making(record)),
        footer=_footer(record),
        themes=script_json({"light": theme.LIGHT, "dark": theme.DARK}),
        bundle=library,
        script=script,
    )


def _own(name: str) -> str:
    return resources.files("tombola.report").joinpath(name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """A content security policy: these scripts may run, and nothing may be loaded, whatever the page contains.

    Vega compiles its expressions with `Function`, hence `unsafe-eval`; it styles its elements, hence the styles.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    return f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"


def _header(record: Record) -> Html:
    name = record.facts.get("name", str)
    seeds = figures.plural(record.seeds, "seed")
    parts = [metric_title(record.metric), f"{figures.count(record.rows[0].n)} examples", seeds]
    parts += [f"study {name}"] if name else []
    return join(
        element("p", "Tombola · lottery tickets", class_="brand"),
        element("h1", element("span", record.model), " on ", element("span", record.task_title)),
        element("p", " · ".join(parts), class_="facts"),
    )


def _verdicts(record: Record) -> Html:
    good = [one for one in record.verdicts if one.ticket == "good"]
    controls = [one for one in record.verdicts if one.ticket != "good"]
    if not record.verdicts:
        text = "No verdict yet: the study is not finished. What follows is what it has so far."
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
        element("h3", PRUNING_TITLES.get(one.pruning, one.pruning)),
        _badge(one.verdict),
        element("p", finding if finding.endswith(".") else f"{finding}.", class_="sentence"),
        element("p", f"{numbers[:1].upper()}{numbers[1:]}", class_="evidence"),
    )


def _control(one: TicketVerdict) -> Html:
    name = f"{PRUNING_TITLES.get(one.pruning, one.pruning)}, {TICKET_TITLES.get(one.ticket, one.ticket)}"
    return join(element("strong", name), ": ", one.sentence)


def _footer(record: Record) -> Html:
    versions = record.facts.inside("versions")
    version = versions.get("tombola", str)
    digest = record.facts.get("hash", str)
    made = f"Made by Tombola{f' {version}' if version else ''}{f' from study {digest}' if digest else ''}."
    return element("p", f"{made} This page is one file: it loads nothing and works without a network.")
