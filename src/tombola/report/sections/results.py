"""Section on results: the same lines as in the terminal, and each seed's own below."""

from collections.abc import Sequence

from tombola.foundations.plurals import plural
from tombola.metrics.scores import metric_title
from tombola.report import number_format
from tombola.report.html.elements import Html, folded, note, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import TICKET_TITLES, capitalised, method_title, stage_title
from tombola.report.study_data import StudyData
from tombola.report.summary import SIZES, Summary
from tombola.report.table import Block, Body, Column, Table, numbers, texts
from tombola.study.config import SEED
from tombola.tickets.pruning_methods import METHODS, in_words

_HEADS = {"bytes": "size (MB)"}
"""Heads of columns that do not have the name of what they show."""


def results(study: StudyData, registry: FigureRegistry) -> Html:
    """The section; `registry` takes the tables."""
    several = f"mean and sample standard deviation over {study.seeds} seeds"
    how = several if study.seeds > 1 else "one seed, 95 % bootstrap interval over examples"
    lead = f"{capitalised(study.metric_title)} on {plural(study.rows[0].n, 'example')}; {how}."
    full = study.facts.config.get("full")
    if study.seeds > 1 and full is not None and SEED not in str(full):
        lead += (
            f" All seeds begin with one fine-tuned model, {full}: they differ in retraining and random tickets alone, "
            "and no deviation or interval says how much fine-tuning varies."
        )
    if study.task.floor:
        lead += f" {study.task.floor.note}"
    table = registry.table(_table(study), "results")
    return section("Results", table, _memory(study), _by_seed(study, registry), lead=lead)


def _table(study: StudyData) -> Table:
    sizes = (*study.sites, *SIZES)
    columns = (
        Column("method", "group"),
        Column("ticket", "head", shown=False),
        Column("stage", shown=False),
        Column(study.metric_title, "number", strong=True),
        Column("± std" if study.seeds > 1 else "95 % interval", "interval"),
        *numbers(*map(in_words, study.sites)),
        *(Column(_HEADS.get(name, name), "number", unit="%" if name == "sparsity" else "") for name in SIZES),
    )
    bodies = []
    for method in ("none", *study.methods):
        summaries = [one for one in study.summaries if one.method == method]
        if summaries:
            tickets = dict.fromkeys(one.ticket for one in summaries)
            blocks = [_block([one for one in summaries if one.ticket == ticket], sizes) for ticket in tickets]
            if method == "none" and (floor := study.floors.get(study.metric)):
                mean, std = map(number_format.score, floor)
                line = ("", mean, f"± {std}", *[number_format.MISSING] * len(sizes))
                blocks.insert(0, Block((line,), (study.floor_title,), "guessing"))
            bodies.append(Body(tuple(blocks), group=method_title(method)))
    style = "results many" if study.floors or len(sizes) > 6 else "results"
    return Table("Results", columns, tuple(bodies), style)


def _block(stages: Sequence[Summary], sizes: Sequence[str]) -> Block:
    ticket = stages[0].ticket
    lines = ((stage_title(one.stage), number_format.score(one.score), one.spread, *one.sizes(sizes)) for one in stages)
    return Block(tuple(lines), (TICKET_TITLES[ticket],), ticket, swatch=stages[0].method != "none")


def _memory(study: StudyData) -> Html:
    structured = [in_words(method) for method in study.methods if METHODS[method].sites]
    if len(structured) == len(study.methods):
        return Html("")
    text = (
        "Zeroed weights save no memory by themselves: a ticket of weights is smaller in a sparse file, and as large as "
        "the full model when it runs."
    )
    if structured:
        text += f" Only tickets of {' or of '.join(structured)} are physically smaller."
    return note(text)


def _by_seed(study: StudyData, registry: FigureRegistry) -> Html:
    names = list(dict.fromkeys(name for row in study.rows for name in row.more))
    losses = ["loss"] if any(row.loss is not None for row in study.rows) else []
    if study.seeds == 1 and not names:
        return Html("")
    further = (*map(metric_title, names), *losses)
    columns = (*texts("method", "ticket", "stage"), *numbers("seed", study.metric_title, "95 % interval", *further))
    lines = [
        (
            method_title(row.method),
            TICKET_TITLES[row.ticket],
            stage_title(row.stage),
            str(row.seed),
            number_format.score(row.score),
            number_format.interval(row.score_low, row.score_high),
            *(number_format.score(row.more.get(name)) for name in names),
            *(number_format.score(row.loss) for _ in losses),
        )
        for summary in study.summaries
        for row in summary.rows
    ]
    if study.floors:
        score, spread = map(number_format.score, study.floors[study.metric])
        floors = (number_format.score(study.floors[name][0] if name in study.floors else None) for name in names)
        missing = number_format.MISSING
        rest = (*floors, *(missing for _ in losses))
        lines.insert(0, ("", study.floor_title, "", missing, score, f"± {spread}", *rest))
    table = Table.of("Results seed by seed", columns, lines, style="seeds")
    title = "Seed by seed" + (", with the other metrics" if names else "")
    return folded(title, registry.table(table, "results-by-seed"))
