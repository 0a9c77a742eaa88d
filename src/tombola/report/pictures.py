"""The report's sections of pictures: a chart each, the sentence that reads it, nothing where there is no data."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tombola.report import charts, sentences
from tombola.report.markup import Html, element, join
from tombola.report.names import PRUNING_TITLES, metric_title
from tombola.report.published import PublishedRow, published
from tombola.report.record import Record
from tombola.report.render import Picture, specification
from tombola.report.rows import Summary
from tombola.ticket import TICKETS


@dataclass
class Gallery:
    """Numbers the pictures of one page and turns charts into HTML."""

    _names: list[str] = field(default_factory=list)

    def plot(self, chart: Picture, name: str, label: str) -> Html:
        """The place of a chart and its specification.

        Args:
            chart: what to draw.
            name: file name of a saved picture, without ending.
            label: what it shows, for people who cannot see it.
        """
        self._names.append(name)
        key = f"spec-{len(self._names)}"
        return join(
            element("div", class_="plot", role="img", aria_label=label, data_spec=key, data_name=name),
            element("script", Html(script_json(specification(chart))), type="application/json", id=key),
        )


def script_json(value: object) -> str:
    r"""JSON that cannot end the script element it stands in: every `<` is written \u003c."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def pictures(record: Record) -> list[Html]:
    """Every section that the study has data for, in the page's order."""
    gallery = Gallery()
    sections = (_searches, _tickets, _survival, _density, _importance, _published)
    return [html for section in sections if (html := section(record, gallery)) is not None]


def section(title: str, *body: str, lead: str = "") -> Html:
    """A section of the page with its heading."""
    head = [element("h2", title)] + ([element("p", lead, class_="lead")] if lead else [])
    return element("section", *head, *body)


def _figure(title: str, caption: str, *plots: str, layout: str = "") -> Html:
    head = [element("h3", title)] if title else []
    body = element("div", *plots, class_=f"plots {layout}".strip())
    return element("figure", *head, body, element("figcaption", caption))


def _searches(record: Record, gallery: Gallery) -> Html | None:
    found = []
    for pruning in PRUNING_TITLES:
        searches = record.searches(pruning)
        if not searches:
            continue
        floors = [record.floor(search.full.score) for search in searches]
        chart = charts.search_curves(searches, floors, record.threshold, metric_title(record.metric))
        label = f"{metric_title(record.metric)} against sparsity while pruning {pruning}"
        plot = gallery.plot(chart, f"search-{_slug(pruning)}", label)
        found.append(_figure(PRUNING_TITLES[pruning], sentences.about_search(record, searches), plot))
    if not found:
        return None
    kept = f"{100 * record.threshold:g} % of the full score"
    lead = f"Each pass removes the least useful part of what is left, as long as {kept} holds."
    return section("How far each search could go", element("div", *found, class_="pair"), lead=lead)


def _tickets(record: Record, gallery: Gallery) -> Html | None:
    found = []
    for pruning in record.prunings:
        tickets = [one for one in record.summaries if one.pruning == pruning and one.ticket in TICKETS]
        if not tickets:
            continue
        chart = charts.ticket_bars(
            tickets,
            record.full,
            record.summary("none", "majority", "none"),
            metric_title(record.metric),
            record.higher_is_better,
        )
        label = f"{metric_title(record.metric)} of the tickets of {pruning}, pruned and retrained"
        plot = gallery.plot(chart, f"tickets-{_slug(pruning)}", label)
        found.append(_figure(PRUNING_TITLES[pruning], sentences.about_tickets(record, pruning), plot))
    if not found:
        return None
    spread = (
        "one standard deviation over seeds, dots are seeds"
        if record.seeds > 1
        else "95 % bootstrap intervals over examples"
    )
    lead = f"All tickets of one pruning have the same size. Lines on the bars: {spread}."
    return section("Good tickets against random and bad ones", element("div", *found, class_="pair"), lead=lead)


def _survival(record: Record, gallery: Gallery) -> Html | None:
    if record.survival is None:
        return None
    plot = gallery.plot(
        charts.survival_grid(record.survival), "survivors", "Heads and MLPs that survive in the good ticket"
    )
    return section(
        "Heads and MLPs that survive",
        _figure("", sentences.about_survival(record.survival), plot),
        lead="The good ticket of heads and MLPs. Layers and heads are counted from 0, as in the model's code.",
    )


def _density(record: Record, gallery: Gallery) -> Html | None:
    if not record.density:
        return None
    plot = gallery.plot(charts.density_grid(record.density), "density", "Share of surviving weights in every matrix")
    return section(
        "Where the surviving weights lie",
        _figure("", sentences.about_density(record.density), plot),
        lead="The good ticket of weights: percentage of each matrix that survives.",
    )


def _importance(record: Record, gallery: Gallery) -> Html | None:
    found = [one.full.importance for one in record.searches("heads+mlps") if one.full.importance is not None]
    if not found:
        return None
    layers = zip(*(one["heads"] for one in found), strict=True)
    heads = [[_mean(values) for values in zip(*layer, strict=True)] for layer in layers]
    mlps = [_mean(values) for values in zip(*(one["mlps"] for one in found), strict=True)]
    plots = (
        gallery.plot(charts.importance_grid(heads), "importance-heads", "Importance of every head"),
        gallery.plot(charts.mlp_bars(mlps), "importance-mlps", "Importance of every MLP"),
    )
    return section(
        "How important every site is",
        _figure("", sentences.about_importance(heads, mlps, len(found)), *plots, layout="wide-narrow"),
        lead="In the full model, before the first cut: how much the loss of single examples would feel a small change "
        "of the site's gate.",
    )


def _published(record: Record, gallery: Gallery) -> Html | None:
    paper = published()
    rows = paper.task(record.glue) if record.glue else ()
    found = []
    for pruning in record.prunings:
        pairs = _pairs(record, rows, pruning)
        if not pairs:
            continue
        chart = charts.beside_published(pairs, metric_title(record.metric))
        label = f"{metric_title(record.metric)} of this study and of the paper, pruning {pruning}"
        plot = gallery.plot(chart, f"published-{_slug(pruning)}", label)
        caption = sentences.about_published(record, pairs, paper.model)
        found.append(_figure(PRUNING_TITLES[pruning], caption, plot))
    if not found:
        return None
    lead = f"{paper.source}: {paper.model}, {paper.seeds} seeds, {paper.split}; lines are ± one {paper.std}."
    return section(f"Beside the paper’s figures for {record.glue}", element("div", *found, class_="pair"), lead=lead)


def _pairs(record: Record, rows: Sequence[PublishedRow], pruning: str) -> list[tuple[Summary, PublishedRow]]:
    found = []
    for summary in record.summaries:
        if summary.pruning in ("none", pruning):
            place = (summary.pruning, summary.ticket, summary.stage)
            found += [(summary, row) for row in rows if (row.pruning, row.ticket, row.stage) == place]
    return found if any(summary.pruning == pruning for summary, _ in found) else []


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
