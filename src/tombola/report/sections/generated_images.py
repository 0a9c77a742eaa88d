"""Section on generated images, side by side: the same noise becomes an image in each model."""

import base64
from collections.abc import Iterable

from tombola.report.html.elements import Html, element, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import STAGES, method_title, model_title
from tombola.report.study_data import StudyData
from tombola.report.summary import Summary, scored
from tombola.tickets.kinds import TICKETS


def generated_images(study: StudyData, _: FigureRegistry) -> Html | None:
    """The section; None where nothing is drawn."""
    full = _image_grid(study, "full", "full model", study.full)
    body = _row([_image_grid(study, "guessing", study.floor_title), full])
    for method in study.methods:
        models = [(ticket, stage, study.summary(method, ticket, stage)) for ticket in TICKETS for stage in STAGES[1:]]
        row = _row(
            _image_grid(study, f"{method}/{ticket}/{stage}", model_title(ticket, stage), known)
            for ticket, stage, known in models
        )
        body += [element("h3", method_title(method)), *row] if row else []
    seed = f" Seed {study.seed_folders[0].seed}." if study.seeds > 1 else ""
    lead = f"Each model begins with the same noise, so that images at the same place are to be compared.{seed}"
    return section("What they draw", *body, lead=lead) if body else None


def _row(images: Iterable[Html | None]) -> list[Html]:
    """The images that there are, side by side; nothing where there are none."""
    known = [one for one in images if one is not None]
    return [element("div", *known, class_="drawings")] if known else []


def _image_grid(study: StudyData, place: str, title: str, known: Summary | None = None) -> Html | None:
    path = study.image_grid(place)
    if path is None:
        return None
    score = [element("span", f"{study.metric_title} {scored(known)}", class_="details")] if known else []
    caption = element("figcaption", element("strong", title), *score)
    source = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    return element("figure", element("img", src=source, alt=f"Images: {title}"), caption)
