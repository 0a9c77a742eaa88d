"""Sections on scores of tickets: good ones against random and bad ones, and super-survivors likewise."""

from dataclasses import replace

from tombola.architectures.site_names import SITE_NAMES
from tombola.foundations.plurals import plural
from tombola.pruning.controls import CLOSE
from tombola.report import number_format
from tombola.report.charts.bars import ticket_bars
from tombola.report.charts.parts import ScoreAxis
from tombola.report.html.elements import Html, figure, figures_section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import STAGES, and_words, method_title
from tombola.report.study_data import StudyData
from tombola.report.summary import Summary
from tombola.study.results import beside_controls
from tombola.tickets.kinds import SUPER_TICKETS, TICKETS
from tombola.tickets.pruning_methods import METHODS, in_words

_LIKE = dict(zip(SUPER_TICKETS, ("good", "random", "bad"), strict=True))
"""Tickets of super-survivors take the names and colours of those of the good ticket's size."""


def ticket_scores(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section on good, random and bad tickets; None while none is scored."""
    figures = []
    for method in study.methods:
        if tickets := [one for one in study.summaries if one.method == method and one.ticket in TICKETS]:
            plot = _bars(study, tickets, "tickets", registry)
            figures.append(figure(method_title(method), _about_tickets(study, method), plot))
    several = "one standard deviation over seeds, dots are seeds"
    spread = several if study.seeds > 1 else "95 % bootstrap intervals over examples"
    lead = f"All tickets of one method have as many sites, or weights. Lines on the bars: {spread}."
    controls = any(one.ticket in TICKETS[1:] for one in study.summaries)
    title = "Good tickets against random and bad ones" if controls else "Scores of the tickets"
    return figures_section(title, figures, lead if controls else f"Lines on the bars: {spread}.")


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
            figures.append(figure(method_title(method), _about_super_survivors(study, method), plot))
    lead = (
        "Tickets of what survives in every seed (good), with random and bad ones of their size; bad ones keep what "
        "survives in the fewest seeds."
    )
    return figures_section("What the super-survivors can do", figures, lead)


def _bars(study: StudyData, tickets: list[Summary], what: str, registry: FigureRegistry) -> Html:
    method, guessing = tickets[0].method, study.summary("none", "guessing", "none")
    axis = ScoreAxis(study.metric_title, study.task.higher_is_better)
    stages = " and ".join(stage for stage in STAGES if any(one.stage == stage for one in tickets))
    label = f"{study.metric_title} of the {what} of {in_words(method)}, {stages}"
    return registry.plot(ticket_bars(tickets, study.full, guessing, axis), f"{what}-{method}", label)


def _about_tickets(study: StudyData, method: str) -> str:
    good = study.final(method, "good")
    if good is None:
        return "The good ticket has no score yet."
    retrained = good.stage == "retrained"
    parts = [
        f"{'Retrained' if retrained else 'Pruned and not retrained'}, the good ticket scores "
        f"{_scored(good)}{_beside_full(study, good)}.",
        beside_controls(study.against(good)),
    ]
    cut, random = (study.summary(method, ticket, "pruned") for ticket in ("good", "random"))
    if retrained and cut is not None and random is not None:
        before = f"{number_format.score(cut.score)} for good and {number_format.score(random.score)} for random"
        parts.append(f"Before retraining it was {before}.")
    parts.append(_weights_apart([one for one in study.summaries if one.method == method and one.ticket in TICKETS]))
    if study.seeds == 1 and retrained:
        parts.append("With one seed, chance in training is not measured.")
    elif 1 < study.seeds < 5:
        parts.append(f"With {study.seeds} seeds this is a strong hint at most.")
    return " ".join(filter(None, parts))


def _about_super_survivors(study: StudyData, method: str) -> str:
    good = study.final(method, "super-survivors")
    if good is None:
        return "They have no score yet."
    words = {**SITE_NAMES, "neurons": ("neuron", "neurons")}
    sizes = [plural(getattr(good.rows[0], kind), *words[kind]) for kind in METHODS[method].sites]
    stage = "retrained" if good.stage == "retrained" else "cut out of the full models"
    text = f"The ticket of the super-survivors, {and_words(sizes)}, scores {_scored(good)} when {stage}"
    apart = _weights_apart([one for one in study.summaries if one.method == method and one.ticket in SUPER_TICKETS])
    parts = (f"{text}{_beside_full(study, good)}.", beside_controls(study.against(good)), apart)
    return " ".join(filter(None, parts))


def _weights_apart(tickets: list[Summary]) -> str:
    """Sentence on tickets that hold other numbers of weights than the first of them; empty where there are none."""
    sizes = {one.ticket: one.mean("weights") or 0.0 for one in tickets}
    first = next(iter(sizes.values()), 0.0)
    if all(abs(size - first) <= CLOSE * first for size in sizes.values()):
        return ""
    listed = ", ".join(f"{name} {number_format.count(size)}" for name, size in sizes.items())
    return f"As many sites do not hold as many weights here: {listed}."


def _beside_full(study: StudyData, good: Summary) -> str:
    if not study.full:
        return ""
    higher = study.task.higher_is_better
    return f", {number_format.difference(good.score, study.full.score, higher_is_better=higher)} the full model"


def _scored(summary: Summary) -> str:
    score = number_format.score(summary.score)
    return f"{score} {summary.spread}" if summary.std is not None else score
