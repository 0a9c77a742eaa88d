"""Sections on scores of tickets: good ones against random and bad ones, and super-survivors likewise."""

from dataclasses import replace

from tombola.report import number_format
from tombola.report.charts.bars import ticket_bars
from tombola.report.charts.parts import ScoreAxis
from tombola.report.html.elements import Html, figure, figures_section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import METHOD_TITLES, SITE_NAMES, TICKET_TITLES, and_words
from tombola.report.study_data import StudyData
from tombola.report.summary import Summary
from tombola.tickets.pruning_methods import METHODS, in_words
from tombola.tickets.ticket import SUPER_TICKETS, TICKETS

_LIKE = dict(zip(SUPER_TICKETS, ("good", "random", "bad"), strict=True))
"""Tickets of super-survivors take the names and colours of those of the good ticket's size."""


def ticket_scores(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section on good, random and bad tickets; None while none is scored."""
    figures = []
    for method in study.methods:
        if tickets := [one for one in study.summaries if one.method == method and one.ticket in TICKETS]:
            plot = _bars(study, tickets, "tickets", registry)
            figures.append(figure(METHOD_TITLES[method], _about_tickets(study, method), plot))
    several = "one standard deviation over seeds, dots are seeds"
    spread = several if study.seeds > 1 else "95 % bootstrap intervals over examples"
    lead = f"All tickets of one method have the same size. Lines on the bars: {spread}."
    return figures_section("Good tickets against random and bad ones", figures, lead)


def super_survivors(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section on super-survivors; None while none are scored."""
    figures = []
    for method in study.methods:
        tickets = [
            replace(one, ticket=_LIKE[one.ticket])
            for one in study.summaries
            if one.method == method and one.ticket in SUPER_TICKETS
        ]
        if tickets:
            plot = _bars(study, tickets, "super-survivors", registry)
            figures.append(figure(METHOD_TITLES[method], _about_super_survivors(study, method), plot))
    lead = (
        "Tickets of what survives in every seed (good), with random and bad ones of their size; bad ones keep what "
        "survives in the fewest seeds."
    )
    return figures_section("What the super-survivors can do", figures, lead)


def _bars(study: StudyData, tickets: list[Summary], what: str, registry: FigureRegistry) -> Html:
    method, guessing = tickets[0].method, study.summary("none", "guessing", "none")
    axis = ScoreAxis(study.metric_title, study.task.higher_is_better)
    label = f"{study.metric_title} of the {what} of {in_words(method)}, pruned and retrained"
    return registry.plot(ticket_bars(tickets, study.full, guessing, axis), f"{what}-{method}", label)


def _about_tickets(study: StudyData, method: str) -> str:
    """Good against random and bad, no bolder than the intervals allow."""
    good = study.final(method, "good")
    if good is None:
        return "The good ticket has no score yet."
    stage = "Retrained" if good.stage == "retrained" else "Pruned and not retrained"
    parts = [f"{stage}, the good ticket scores {_scored(good)}{_beside_full(study, good)}."]
    apart, close = [], []
    for ticket in TICKETS[1:]:
        control = study.summary(method, ticket, good.stage)
        if control is None:
            continue
        worse = control.score < good.score if study.task.higher_is_better else control.score > good.score
        if control.overlaps(good):
            close.append(f"{TICKET_TITLES[ticket]} ({_scored(control)})")
        else:
            apart.append(f"{TICKET_TITLES[ticket]} ({_scored(control)}, {'worse' if worse else 'better'})")
    ranges = "the 95 % intervals" if study.seeds == 1 else "the ranges of one standard deviation"
    if apart:
        parts.append(f"At the same size it is set apart from {and_words(apart)}: {ranges} do not overlap.")
    if close:
        parts.append(f"From {and_words(close)} this study does not clearly tell it apart: {ranges} overlap.")
    cut, random = (study.summary(method, ticket, "pruned") for ticket in ("good", "random"))
    if good.stage == "retrained" and cut is not None and random is not None:
        before = f"{number_format.score(cut.score)} for good and {number_format.score(random.score)} for random"
        parts.append(f"Before retraining it was {before}.")
    if study.seeds == 1:
        parts.append("With one seed, chance in training is not measured.")
    elif study.seeds < 5:
        parts.append(f"With {study.seeds} seeds this is a strong hint at most.")
    return " ".join(parts)


def _about_super_survivors(study: StudyData, method: str) -> str:
    """Sentences on what super-survivors keep of the score, against tickets of their size."""
    good = study.final(method, "super-survivors")
    if good is None:
        return "They have no score yet."
    words = {**SITE_NAMES, "neurons": ("neuron", "neurons")}
    sizes = [number_format.plural(getattr(good.rows[0], kind), *words[kind]) for kind in METHODS[method].sites]
    stage = "retrained" if good.stage == "retrained" else "cut out of the full models"
    text = f"The super-survivors, {and_words(sizes)}, score {_scored(good)} when {stage}{_beside_full(study, good)}"
    parts = []
    for ticket in SUPER_TICKETS[1:]:
        if (other := study.final(method, ticket)) is not None:
            apart = ", though the ranges of one standard deviation overlap" if good.overlaps(other) else ""
            difference = number_format.difference(good.score, other.score)
            parts.append(f"{difference} {_LIKE[ticket]} sites of that number{apart}")
    return f"{text}; {and_words(parts)}." if parts else f"{text}."


def _beside_full(study: StudyData, good: Summary) -> str:
    return f", {number_format.difference(good.score, study.full.score)} the full model" if study.full else ""


def _scored(summary: Summary) -> str:
    score = number_format.score(summary.score)
    return f"{score} {summary.spread}" if summary.std is not None else score
