"""The report's sections of pictures: a chart each, the sentence that reads it, nothing where there is no data."""

import re
from collections.abc import Sequence
from dataclasses import replace

from tombola.analysis.agreement.survival import SiteSurvival
from tombola.architectures.anatomy import Places
from tombola.metrics.scores import metric_title
from tombola.report import charts, number_format
from tombola.report.charts.vega import AnyChart
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import beside, figure, section
from tombola.report.html.markup import Html, join
from tombola.report.labels import KIND_TITLES, METHOD_TITLES, SITE_NAMES, and_words
from tombola.report.published import PublishedRow, published
from tombola.report.sections import captions
from tombola.report.sections.agreement import agreement, agreements
from tombola.report.sections.attention import attention
from tombola.report.sections.generated_images import drawings
from tombola.report.sections.interactions import interactions
from tombola.report.sections.neurons_vs_mlps import about_finer, finer, finer_table
from tombola.report.sections.random_tickets import random_tickets
from tombola.report.sections.representations import representations
from tombola.report.sections.retention import retention
from tombola.report.sections.text_generation import text_generation
from tombola.report.study_data import Record
from tombola.report.summary import Summary
from tombola.tickets.pruning_methods import METHODS, in_words
from tombola.tickets.ticket import SUPER_TICKETS, TICKETS, kinds_in_words

_LIKE = dict(zip(SUPER_TICKETS, ("good", "random", "bad"), strict=True))
"""Tickets of super-survivors take the names and colours of those of the good ticket's size."""


def pictures(record: Record, registry: FigureRegistry) -> list[Html]:
    """Every section that the study has data for, in the page's order."""
    sections = (
        retention,
        drawings,
        text_generation,
        _searches,
        _tickets,
        _finer,
        _survival,
        _agreement,
        _super_survivors,
        random_tickets,
        attention,
        interactions,
        representations,
        _density,
        _importance,
        _published,
    )
    return [html for section in sections if (html := section(record, registry)) is not None]


def _searches(record: Record, registry: FigureRegistry) -> Html | None:
    found = []
    for method in METHODS:
        searches = record.searches(method)
        if not searches:
            continue
        floors = [record.floor(search.full.score) for search in searches]
        best = record.floors.get(record.metric)
        chart = charts.search_curves(
            searches,
            floors,
            record.threshold,
            metric_title(record.metric),
            record.places,
            random=(random := record.random_curve(method)),
            best=(record.floor_title, best[0]) if best else None,
            higher_is_better=record.higher_is_better,
        )
        label = f"{metric_title(record.metric)} against sparsity while pruning {in_words(method)}"
        plot = registry.plot(chart, f"search-{_slug(method)}", label)
        caption = f"{captions.about_search(record, searches)}{captions.about_random_curve(record, searches, random)}"
        found.append(figure(METHOD_TITLES[method], caption, plot))
    if not found:
        return None
    kept = f"{100 * record.threshold:g} % of the full score"
    lead = f"Each pass removes the least useful part of what is left, as long as {kept} holds."
    return section("How far each search could go", beside(*found), lead=lead)


def _tickets(record: Record, registry: FigureRegistry) -> Html | None:
    found = []
    for method in record.methods:
        tickets = [one for one in record.summaries if one.method == method and one.ticket in TICKETS]
        if not tickets:
            continue
        chart = charts.ticket_bars(
            tickets,
            record.full,
            record.summary("none", "majority", "none"),
            metric_title(record.metric),
            record.higher_is_better,
        )
        label = f"{metric_title(record.metric)} of the tickets of {in_words(method)}, pruned and retrained"
        plot = registry.plot(chart, f"tickets-{_slug(method)}", label)
        found.append(figure(METHOD_TITLES[method], captions.about_tickets(record, method), plot))
    if not found:
        return None
    spread = (
        "one standard deviation over seeds, dots are seeds"
        if record.seeds > 1
        else "95 % bootstrap intervals over examples"
    )
    lead = f"All tickets of one method have the same size. Lines on the bars: {spread}."
    return section("Good tickets against random and bad ones", beside(*found), lead=lead)


def _finer(record: Record, registry: FigureRegistry) -> Html | None:
    found = []
    for one in finer(record):
        metric = metric_title(record.metric)
        searches = [[s for s in record.searches(p) if s.seed in one.seeds] for p in (one.coarse, one.fine)]
        plots = []
        if all(searches):
            floors = [record.floor(search.full.score) for search in searches[0]]
            chart = charts.finer_curves(searches[0], searches[1], floors, record.threshold, metric)
            label = f"{metric} against sparsity for {in_words(one.coarse)} and for {in_words(one.fine)}"
            plots.append(registry.plot(chart, f"finer-{_slug(one.fine)}", label))
        caption = about_finer(one, record.higher_is_better)
        table = registry.table(finer_table(one, metric), f"finer-{_slug(one.fine)}")
        found.append(join(figure("", caption, *plots), table))
    if not found:
        return None
    block = record.facts.inside("config").get("neuron_block", int)
    blocks = f"blocks of {number_format.plural(block, 'neuron')}" if block else "blocks of neurons"
    lead = (
        f"One search takes whole MLPs, the other {blocks}; both stop at {100 * record.threshold:g} % of the full score."
    )
    return section("What pruning neurons buys", *found, lead=lead)


def _survival(record: Record, registry: FigureRegistry) -> Html | None:
    if not record.survival:
        return None
    found = []
    for survival in record.survival:
        title = KIND_TITLES[survival.kind] if len(record.survival) > 1 else ""
        caption = captions.about_survival(survival, record.places)
        plots = _survivors(survival, record.places, registry)
        found.append(figure(title, caption, *plots, layout="wide-narrow" if len(plots) > 1 else ""))
    shown = [kind for kind in SITE_NAMES if any(kind in one.sites for one in record.survival)]
    kinds = and_words([in_words(kind) for kind in shown])
    which = kinds_in_words(record.survival[0].kind) if len(record.survival) == 1 else "each kind"
    return section(
        f"{kinds[:1].upper()}{kinds[1:]} that survive",
        *found,
        lead=f"The good ticket of {which}. Layers and heads are counted from 0, as in the model's code.",
    )


def _survivors(survival: SiteSurvival, places: Places, registry: FigureRegistry) -> list[Html]:
    """The plots of one kind of ticket: heads with their MLP or the share of its neurons beside them; channels."""
    kept, name = kinds_in_words(survival.kind), f"survivors-{_slug(survival.kind)}"
    if "heads" in survival.sites:
        grid = charts.survival_grid(survival, places)
        plots = [
            registry.plot(
                grid,
                name,
                f"{'Heads' if 'neurons' in kept else KIND_TITLES[survival.kind]} that survive in the good ticket",
            )
        ]
    elif "mlps" in survival.sites:
        plots = [registry.plot(charts.survival_strip(survival, places), name, "MLPs that survive in the good ticket")]
    else:
        plots = []
    if "neurons" in survival.sites:
        bars = charts.neuron_bars(survival.sites["neurons"], survival.seeds, places)
        plots.append(registry.plot(bars, f"{name}-shares", "Share of every MLP's neurons that survives"))
    if "channels" in survival.sites:
        grid = charts.channel_grid(survival, places)
        plots.append(registry.plot(grid, f"{name}-groups", "Groups of channels that survive in the good ticket"))
    return plots


def _agreement(record: Record, registry: FigureRegistry) -> Html | None:
    comparison = record.comparison
    if comparison is None:
        return None
    return agreement([one for one in agreements(comparison) if one.task], registry)


def _super_survivors(record: Record, registry: FigureRegistry) -> Html | None:
    found = []
    for method in record.methods:
        tickets = [one for one in record.summaries if one.method == method and one.ticket in SUPER_TICKETS]
        if not tickets:
            continue
        chart = charts.ticket_bars(
            [replace(one, ticket=_LIKE[one.ticket]) for one in tickets],
            record.full,
            record.summary("none", "majority", "none"),
            metric_title(record.metric),
            record.higher_is_better,
        )
        label = f"{metric_title(record.metric)} of the super-survivors of {in_words(method)}, pruned and retrained"
        plot = registry.plot(chart, f"super-survivors-{_slug(method)}", label)
        found.append(figure(METHOD_TITLES[method], captions.about_super_survivors(record, method), plot))
    if not found:
        return None
    lead = (
        "Tickets of what survives in every seed (good), with random and bad ones of their size; bad ones keep what "
        "survives in the fewest seeds."
    )
    return section("What the super-survivors can do", beside(*found), lead=lead)


def _density(record: Record, registry: FigureRegistry) -> Html | None:
    if not record.density:
        return None
    plot = registry.plot(
        charts.density_grid(record.density, record.places),
        "density",
        "Share of surviving weights in every matrix",
    )
    return section(
        "Where the surviving weights lie",
        figure("", captions.about_density(record.density, record.places), plot),
        lead="The good ticket of weights: percentage of each matrix that survives"
        + (", with its standard deviation over seeds." if record.seeds > 1 else "."),
    )


def _importance(record: Record, registry: FigureRegistry) -> Html | None:
    kinds = {kind: rows for kind in SITE_NAMES if (rows := record.importance(kind)[0])}
    if not kinds:
        return None
    plots, places = [], record.places
    if "heads" in kinds:
        names = [places.attention(row) for row in range(len(kinds["heads"]))]
        chart: AnyChart = charts.importance_grid(kinds["heads"], names)
        plots.append(registry.plot(chart, "importance-heads", "Importance of every head"))
    if "mlps" in kinds:
        chart = charts.mlp_bars([value for (value,) in kinds["mlps"]], places)
        plots.append(registry.plot(chart, "importance-mlps", "Importance of every MLP"))
    if "neurons" in kinds:
        chart = charts.neuron_boxes(kinds["neurons"], places)
        plots.append(registry.plot(chart, "importance-neurons", "Importance of the blocks of neurons of every MLP"))
    if "channels" in kinds:
        names = [places.residual(row) for row in range(len(kinds["channels"]))]
        chart = charts.importance_grid(kinds["channels"], names, "group", "groups of channels")
        plots.append(registry.plot(chart, "importance-channels", "Importance of every group of channels"))
    seeds = max(record.importance(kind)[1] for kind in kinds)
    return section(
        "How important every site is",
        figure(
            "", captions.about_importance(kinds, seeds, places), *plots, layout="wide-narrow" if len(plots) > 1 else ""
        ),
        lead="In the full model, before the first cut: how much the loss of single examples would feel a small change "
        "of the site's gate.",
    )


def _published(record: Record, registry: FigureRegistry) -> Html | None:
    paper = published()
    rows = paper.task(record.glue) if record.glue else ()
    found = []
    for method in record.methods:
        pairs = _pairs(record, rows, method)
        if not pairs:
            continue
        chart = charts.beside_published(pairs, metric_title(record.metric))
        label = f"{metric_title(record.metric)} of this study and of the paper, pruning {in_words(method)}"
        plot = registry.plot(chart, f"published-{_slug(method)}", label)
        caption = captions.about_published(record, pairs, paper.model)
        found.append(figure(METHOD_TITLES[method], caption, plot))
    if not found:
        return None
    lead = f"{paper.source}: {paper.model}, {paper.seeds} seeds, {paper.split}; lines are ± one {paper.std}."
    return section(f"Beside the paper’s figures for {record.glue}", beside(*found), lead=lead)


def _pairs(record: Record, rows: Sequence[PublishedRow], method: str) -> list[tuple[Summary, PublishedRow]]:
    found = []
    for summary in record.summaries:
        if summary.method in ("none", method):
            place = (summary.method, summary.ticket, summary.stage)
            found += [(summary, row) for row in rows if (row.method, row.ticket, row.stage) == place]
    return found if any(summary.method == method for summary, _ in found) else []


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
