"""The page of a sweep: its studies beside each other, beside the paper's, and what their tickets have in common."""

from collections.abc import Iterator
from urllib.parse import quote

from tombola.foundations.plurals import plural
from tombola.report import number_format
from tombola.report.charts.dots import sweep_dots
from tombola.report.comparison_page import comparison_sections
from tombola.report.html.elements import Html, element, figure, join, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.page import document, ending, heading
from tombola.report.labels import TICKET_TITLES, and_words, method_title, stage_title
from tombola.report.published import published
from tombola.report.sections.provenance import machines_note
from tombola.report.study_data import StudyData
from tombola.report.summary import Summary
from tombola.report.sweep_data import SweepData, kept
from tombola.report.table import Block, Body, Column, Table, numbers, texts
from tombola.tickets.kinds import TICKETS


def sweep_page(sweep: SweepData, registry: FigureRegistry) -> str:
    """The page as HTML; `registry` takes its charts and tables."""
    parts = [_studies(sweep), _results(sweep, registry), _beside_published(sweep, registry)]
    for name, comparison in sweep.comparisons:
        found = comparison_sections(comparison, registry)
        parts += [section(f"Tickets of the tasks, {name}"), *found] if name else found
    seeds = sorted({row.seed for study in sweep.studies.values() for row in study.rows})
    facts = [
        plural(len(sweep.record.studies), "study", "studies"),
        plural(len(sweep.tasks), "task"),
        plural(len(sweep.models), "model"),
        plural(len(seeds), "seed"),
    ]
    title = join("Sweep ", element("span", sweep.folder.resolve().name))
    main = join(*(part for part in parts if part is not None))
    return document(f"Sweep over {and_words(sweep.tasks)}", heading(title, facts), main, ending("Made by Tombola."))


def _studies(sweep: SweepData) -> Html:
    items = []
    for one in sweep.record.studies:
        done, of = sweep.steps.get(one.label, (0, 0))
        state = f"{done} of {plural(of, 'step')} done" if of else "not begun"
        name = element("a", one.label or one.folder, href=f"{quote(one.folder)}/report.html")
        items.append(element("li", name if one.label in sweep.studies else one.label, f": {state}"))
    every = all(done == of for done, of in (sweep.steps.get(one.label, (0, 1)) for one in sweep.record.studies))
    missing = "What is missing, and why, stands on each study's page; the same command does it."
    lead = "All are done." if every else missing
    return section("Studies", element("ul", *items), machines_note(sweep.machines), lead=lead)


def _results(sweep: SweepData, registry: FigureRegistry) -> Html:
    lead = (
        "Scores of the tickets of each study, trained again where its regime trains: mean over seeds, ± one sample "
        "standard deviation, or the 95 % interval over examples of a single seed. Searches stop at different sizes."
    )
    dots = [
        (", ".join(filter(None, (label, method_title(method)))), ticket, share, number_format.score(summary.score))
        for label, study, method in _lines(sweep)
        for ticket in TICKETS
        if (summary := study.final(method, ticket)) is not None and (share := kept(study, summary)) is not None
    ]
    parts = [registry.table(_table(sweep), "sweep")]
    if dots:
        about = "A score, as a share of the full model's, of every ticket of every study."
        plot = registry.plot(sweep_dots(dots), "sweep-kept", about)
        parts.append(figure("What the tickets keep", about, plot))
    return section("Results", *parts, lead=lead)


def _lines(sweep: SweepData) -> Iterator[tuple[str, StudyData, str]]:
    for label, study in sweep.studies.items():
        for method in study.methods:
            yield label, study, method


def _table(sweep: SweepData) -> Table:
    tickets = [one for one in TICKETS if any(study.final(method, one) for _, study, method in _lines(sweep))]
    columns = (
        Column("study", "group"),
        Column("pruning", "head"),
        Column("full", "number"),
        Column("good", "number", strong=True),
        Column("spread", "interval"),
        *numbers(*(TICKET_TITLES[one] for one in tickets if one != "good")),
        Column("sparsity", "number", unit="%"),
        Column("verdict"),
    )
    bodies = []
    for label, study in sweep.studies.items():
        title = f"{label or study.facts.name}: {study.metric_title}"
        blocks = tuple(Block((_line(study, method, tickets),), (method_title(method),)) for method in study.methods)
        if blocks:
            bodies.append(Body(blocks, group=title))
    return Table("Results of the sweep", columns, tuple(bodies), "results")


def _line(study: StudyData, method: str, tickets: list[str]) -> tuple[str, ...]:
    good = study.final(method, "good")
    found = {name: study.final(method, name) for name in tickets if name != "good"}
    return (
        _score(study.full),
        _score(good),
        number_format.MISSING if good is None else good.spread,
        *map(_score, found.values()),
        number_format.MISSING if good is None else number_format.share(good.mean("sparsity")),
        _verdict(study, method),
    )


def _score(summary: Summary | None) -> str:
    return number_format.MISSING if summary is None else number_format.score(summary.score)


def _verdict(study: StudyData, method: str) -> str:
    found = next((one.verdict for one in study.verdicts if (one.method, one.ticket) == (method, "good")), None)
    if found is None:
        return "none yet"
    if not found.learned:
        return "the full model did not learn"
    return found.says_nothing or ("matches" if found.matches else "does not match")


def _beside_published(sweep: SweepData, registry: FigureRegistry) -> Html | None:
    """Scores beside the paper's for GLUE; None where it has none of these tasks."""
    paper, lines = published(), []
    for label, study in sweep.studies.items():
        for row in paper.task(study.task.glue) if study.task.glue else ():
            if (ours := study.summary(row.method, row.ticket, row.stage)) is not None:
                where = (label or study.facts.name, method_title(row.method), TICKET_TITLES[row.ticket])
                theirs = number_format.spread(row.mean, row.std)
                lines.append((*where, stage_title(row.stage), number_format.score(ours.score), ours.spread, theirs))
    if not lines:
        return None
    columns = (
        *texts("study", "pruning", "ticket", "stage"),
        *numbers("here"),
        Column("spread", "interval"),
        *numbers("paper"),
    )
    lead = (
        f"{paper.source}: {paper.model}, {paper.seeds} seeds, {paper.split}; ± one {paper.std}. Models, metrics and "
        "sizes may differ: compare the pattern, not the level."
    )
    table = Table.of("Beside the paper's figures", columns, lines)
    return section("Beside the paper’s figures", registry.table(table, "sweep-published"), lead=lead)
