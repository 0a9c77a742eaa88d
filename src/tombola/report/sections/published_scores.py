"""Section on published scores: this study's beside the paper's for GLUE."""

from collections.abc import Sequence

from tombola.report import number_format
from tombola.report.charts.dots import beside_published
from tombola.report.html.elements import Html, figure, figures_section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import method_title
from tombola.report.published import PublishedRow, published
from tombola.report.study_data import StudyData
from tombola.report.summary import Summary
from tombola.tickets.pruning_methods import in_words

Pairs = list[tuple[Summary, PublishedRow]]


def published_scores(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None for tasks that the paper does not have."""
    paper = published()
    rows = paper.task(study.task.glue) if study.task.glue else ()
    figures = []
    for method in study.methods:
        if pairs := _pairs(study, rows, method):
            label = f"{study.metric_title} of this study and of the paper, pruning {in_words(method)}"
            plot = registry.plot(beside_published(pairs, study.metric_title), f"published-{method}", label)
            figures.append(figure(method_title(method), _about(study, pairs, paper.model), plot))
    lead = f"{paper.source}: {paper.model}, {paper.seeds} seeds, {paper.split}; lines are ± one {paper.std}."
    return figures_section(f"Beside the paper’s figures for {study.task.glue}", figures, lead)


def _pairs(study: StudyData, rows: Sequence[PublishedRow], method: str) -> Pairs:
    found = []
    for summary in study.summaries:
        if summary.method in ("none", method):
            place = (summary.method, summary.ticket, summary.stage)
            found += [(summary, row) for row in rows if (row.method, row.ticket, row.stage) == place]
    return found if any(summary.method == method for summary, _ in found) else []


def _about(study: StudyData, pairs: Pairs, model: str) -> str:
    by_ticket = {(summary.ticket, summary.stage): (summary, row) for summary, row in pairs}
    text = ""
    if ("full", "none") in by_ticket and ("good", "retrained") in by_ticket:
        full, paper_full = by_ticket["full", "none"]
        good, paper_good = by_ticket["good", "retrained"]
        text = (
            f"The retrained good ticket is {number_format.difference(good.score, full.score)} the full model here, "
            f"{number_format.difference(paper_good.mean, paper_full.mean, 2)} it in the paper. "
        )
    text += "Tickets differ in size too, as each search stops where its score falls."
    metrics = {row.metric for _, row in pairs}
    if metrics != {study.metric}:
        text += f" The paper's metric is {', '.join(sorted(metrics))}."
    if study.model != model:
        text += f" This study's model is {study.model}, the paper's {model}: compare the pattern, not the level."
    return text
