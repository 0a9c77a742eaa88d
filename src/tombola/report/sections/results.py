"""The page's table of results: the same lines as in the terminal, and each seed's own below."""

from collections.abc import Sequence

from tombola.metrics.scores import metric_title
from tombola.report import number_format
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import section
from tombola.report.html.markup import Html, element
from tombola.report.labels import METHOD_TITLES, TICKET_TITLES
from tombola.report.study_data import Record
from tombola.report.summary import SIZES, Summary
from tombola.report.tables.table import Block, Body, Column, Table
from tombola.study.results import Row
from tombola.tickets.pruning_methods import METHODS, in_words

_HEADS = {"bytes": "size (MB)"}
"""Heads of columns that do not have the name of what they show."""


def results(record: Record, registry: FigureRegistry) -> Html:
    """The section with the results; `registry` takes the tables."""
    how = (
        f"mean and sample standard deviation over {record.seeds} seeds"
        if record.seeds > 1
        else "one seed, 95 % bootstrap interval over examples"
    )
    rows = record.rows
    # Not `capitalize`, which would take the capital from a name.
    title = metric_title(rows[0].metric)
    lead = f"{title[:1].upper()}{title[1:]} on {number_format.count(rows[0].n)} examples; {how}."
    if note := record.facts.inside("task").inside("floor").get("note", str):
        lead += f" {note}"
    table = registry.table(_table(record), "results")
    return section("Results", table, _memory(record), _by_seed(record, registry), lead=lead)


def _table(record: Record) -> Table:
    sizes = (*record.sites, *SIZES)
    columns = (
        Column("method", "group"),
        Column("ticket", "head", shown=False),
        Column("stage", shown=False),
        Column(metric_title(record.metric), "number", strong=True),
        Column("± std" if record.seeds > 1 else "95 % interval", "interval"),
        *(Column(in_words(kind), "number") for kind in record.sites),
        *(Column(_HEADS.get(name, name), "number", unit="%" if name == "sparsity" else "") for name in SIZES),
    )
    bodies = []
    for method in ("none", *METHOD_TITLES):
        summaries = [one for one in record.summaries if one.method == method]
        if summaries:
            tickets = dict.fromkeys(one.ticket for one in summaries)
            blocks = [_block([one for one in summaries if one.ticket == ticket], sizes) for ticket in tickets]
            if method == "none" and (floor := record.floors.get(record.metric)):
                line = (
                    "",
                    number_format.score(floor[0]),
                    f"± {number_format.score(floor[1])}",
                    *[number_format.MISSING] * len(sizes),
                )
                blocks.insert(0, Block((line,), (record.floor_title,), "majority"))
            bodies.append(Body(tuple(blocks), group=METHOD_TITLES.get(method, "")))
    return Table(
        "Results", columns, tuple(bodies), style="results many" if record.floors or len(sizes) > 6 else "results"
    )


def _block(stages: Sequence[Summary], sizes: Sequence[str]) -> Block:
    """The stages of one ticket."""
    ticket = stages[0].ticket
    lines = tuple(_line(summary, sizes) for summary in stages)
    return Block(lines, (TICKET_TITLES[ticket],), ticket, swatch=stages[0].method != "none")


def _line(summary: Summary, sizes: Sequence[str]) -> tuple[str, ...]:
    stage = "" if summary.stage == "none" else summary.stage
    return stage, number_format.score(summary.score), summary.spread, *summary.sizes(sizes)


def _memory(record: Record) -> Html:
    structured = [in_words(method) for method in record.methods if METHODS[method].sites]
    if len(structured) == len(record.methods):
        return Html("")
    text = (
        "Zeroed weights save no memory by themselves: a ticket of weights is smaller in a sparse file, and as large as "
        "the full model when it runs."
    )
    if structured:
        text += f" Only tickets of {' or of '.join(structured)} are physically smaller."
    return element("p", text, class_="note")


def _by_seed(record: Record, registry: FigureRegistry) -> Html:
    names = list(dict.fromkeys(name for row in record.rows for name in row.more))
    losses = any(row.loss is not None for row in record.rows)
    if record.seeds == 1 and not names:
        return Html("")
    further = (*(metric_title(name) for name in names), *(["loss"] if losses else []))
    numbers = ("seed", metric_title(record.metric), "95 % interval", *further)
    columns = (
        *(Column(name) for name in ("method", "ticket", "stage")),
        *(Column(name, "number") for name in numbers),
    )
    rows = [row for summary in record.summaries for row in summary.rows]
    lines = [(*_seed_line(row, names), *([number_format.score(row.loss)] if losses else [])) for row in rows]
    if record.floors:
        floors = [
            number_format.score(record.floors[name][0]) if name in record.floors else number_format.MISSING
            for name in names
        ]
        score, spread = (number_format.score(value) for value in record.floors[record.metric])
        rest = [number_format.MISSING] if losses else []
        lines.insert(0, ("", record.floor_title, "", number_format.MISSING, score, f"± {spread}", *floors, *rest))
    table = Table.of("Results seed by seed", columns, lines, style="seeds")
    title = "Seed by seed" + (", with the other metrics" if names else "")
    return element("details", element("summary", title), registry.table(table, "results-by-seed"))


def _seed_line(row: Row, names: Sequence[str]) -> tuple[str, ...]:
    return (
        METHOD_TITLES.get(row.method, ""),
        TICKET_TITLES[row.ticket],
        "" if row.stage == "none" else row.stage,
        str(row.seed),
        number_format.score(row.score),
        f"{number_format.score(row.score_low)} to {number_format.score(row.score_high)}",
        *(number_format.score(row.more.get(name)) for name in names),
    )
