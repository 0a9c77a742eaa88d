"""Section on generated images, side by side: the same noise becomes an image in each model."""

import base64
from pathlib import Path

from tombola.metrics.scores import metric_title
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import section
from tombola.report.html.markup import Html, element
from tombola.report.labels import METHOD_TITLES, TICKET_TITLES
from tombola.report.study_data import Record
from tombola.report.summary import scored
from tombola.tickets.ticket import TICKETS


def drawings(record: Record, _: FigureRegistry) -> Html | None:
    """The section of pictures; None where nothing is drawn."""
    first = [_picture(record, "majority", record.floor_title, ""), _picture(record, "full", "full model", "none")]
    groups = [one for one in first if one]
    body = [element("div", *groups, class_="drawings")] if groups else []
    for method in record.methods:
        found = [
            one
            for ticket in TICKETS
            for stage in ("pruned", "retrained")
            if (one := _picture(record, f"{method}/{ticket}/{stage}", TICKET_TITLES[ticket], stage, method, ticket))
        ]
        if found:
            body += [element("h3", METHOD_TITLES[method]), element("div", *found, class_="drawings")]
    if not body:
        return None
    seed = f" Seed {record.seed_folders[0].seed}." if record.seeds > 1 else ""
    lead = f"Each model begins with the same noise, so that images at the same place are to be compared.{seed}"
    return section("What they draw", *body, lead=lead)


def _picture(
    record: Record, place: str, title: str, stage: str, method: str = "none", ticket: str = "full"
) -> Html | None:
    path = record.drawing(place)
    if path is None:
        return None
    known = record.summary(method, ticket, stage) if stage else None
    name = f"{title}, {stage}" if stage in ("pruned", "retrained") else title
    score = [element("span", f"{metric_title(record.metric)} {scored(known)}", class_="details")] if known else []
    caption = element("figcaption", element("strong", name), *score)
    return element("figure", element("img", src=_embedded(path), alt=f"Images: {name}"), caption)


def _embedded(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
