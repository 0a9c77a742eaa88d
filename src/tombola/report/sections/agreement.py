"""The section on agreement: do several seeds, or several tasks, keep the same, and is that more than chance?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tombola.analysis.agreement.comparison import CONTROLS, Comparison, KindComparison
from tombola.analysis.agreement.null_distribution import NullDistribution
from tombola.foundations.plurals import plural
from tombola.report import number_format
from tombola.report.charts.agreement import overlap_by_chance
from tombola.report.html.elements import Html, figure, note, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import TICKET_TITLES, and_words, capitalised, kind_title
from tombola.report.study_data import StudyData
from tombola.report.table import Block, Body, Column, Noted, Table, numbers
from tombola.tickets.kinds import kinds_in_words

_STATISTICS = {
    "super_survivors": "super-survivors",
    "jaccard": "Jaccard, mean over pairs",
    "fleiss_kappa": "Fleiss’ kappa",
    "krippendorff_alpha": "Krippendorff’s alpha",
    "cochran_q_p": "Cochran’s Q, p",
    "pairs_not_rejected": "pairs not rejected by it",
}
_COUNTS = ("super_survivors", "pairs_not_rejected")
_FEW = 4
"""Lines that get a sentence each."""
_AGAINST = {"above": "more than", "below": "less than", "within": "no more than can be expected of"}
_LEAD = (
    "Random tickets have exactly the sizes of the good ones; layer-matched ones have as many in each layer too. What "
    "is above the former and not above the latter is a profile over depth, not a choice of sites."
)


@dataclass(frozen=True)
class Agreeing:
    """The agreement of the tickets of one task, or (of no task) between tasks, on one kind of site or on weights."""

    ticket_kind: str
    task: str
    kind: str
    comparison: KindComparison


def agreements(comparison: Comparison) -> Iterator[Agreeing]:
    """Agreements of each kind of ticket: each task's by kinds of sites, and those between tasks, under no name."""
    for ticket_kind, found in comparison.kinds.items():
        places = {task: one.agreement for task, one in found.tasks.items()} | {"": found.between_tasks or {}}
        for task, sites in places.items():
            for kind, one in sites.items():
                yield Agreeing(ticket_kind, task, kind, one)


def agreement(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section of a study; None where its seeds were not compared."""
    if study.comparison is None:
        return None
    return agreement_section([one for one in agreements(study.comparison) if one.task], registry)


def agreement_section(
    found: Sequence[Agreeing], registry: FigureRegistry, *, several: Literal["seed", "task"] = "seed"
) -> Html | None:
    """The section on agreement of tickets that differ in seed or task; None where there is nothing to agree with."""
    found = [one for one in found if one.comparison.n > 1]
    if not found:
        return None
    body, name = [], f"agreement-{several}s"
    labelled = [(_label(one, found), one.comparison) for one in found]
    if any(one.jaccard is not None for _, one in labelled):
        chart = overlap_by_chance(labelled)
        plot = registry.plot(chart, name, "Shared survivors of two tickets beside random tickets")
        body.append(figure("", _reading(labelled), plot))
    text = (
        "Cochran’s Q tests whether tickets keep the same share of the sites, not the same sites: it is here because "
        "the literature reports it."
    )
    body += [registry.table(_table(labelled), name), note(text)]
    return section(f"Is it the same in every {several}?", *body, lead=_LEAD)


def _label(one: Agreeing, found: Sequence[Agreeing]) -> str:
    """The kind of site, and what else tells it from the others: the kind of ticket, the task."""
    label = kind_title(one.kind)
    if len({other.ticket_kind for other in found if other.kind == one.kind}) > 1:
        label += f", pruning {kinds_in_words(one.ticket_kind)}"
    if len({other.task for other in found}) > 1:
        label += f", {one.task or 'between tasks'}"
    return label


def _reading(labelled: Sequence[tuple[str, KindComparison]]) -> str:
    """A sentence for each line; of many lines how many stand above chance."""
    if len(labelled) <= _FEW:
        return " ".join(_sentence(label, one) for label, one in labelled)
    known = [one.null_distributions("jaccard") for _, one in labelled if one.jaccard is not None]
    parts = [
        f"more than {TICKET_TITLES[control]} ones of their sizes in {drawn.count('above')} of {len(drawn)}"
        for control in CONTROLS
        if (drawn := [chances[control].where for chances in known if control in chances])
    ]
    return f"Two good tickets share {and_words(parts)} lines (above 97.5 % of the draws)." if parts else ""


def _sentence(label: str, one: KindComparison) -> str:
    what = capitalised(label)
    if one.jaccard is None:
        return f"{what}: undefined, as {one.undefined.get('jaccard') or 'there is nothing to share'}."
    parts = [
        f"{_AGAINST[drawn.where]} {TICKET_TITLES[control]} ones ({number_format.share(drawn.mean)}, 95 % from "
        f"{number_format.interval(drawn.low, drawn.high, number_format.share)})"
        for control, drawn in one.null_distributions("jaccard").items()
    ]
    against = f", {and_words(parts)}" if parts else ""
    return f"{what}: two good tickets share {number_format.share(one.jaccard)} of their survivors{against}."


def _table(labelled: Sequence[tuple[str, KindComparison]]) -> Table:
    columns = (
        Column("kind", "head", shown=False),
        Column("tickets", "details"),
        Column("survivors", "details"),
        Column("statistic"),
        Column("good tickets", "number", strong=True),
        *numbers(*(f"{TICKET_TITLES[one]} (95 %)" for one in CONTROLS)),
    )
    bodies = tuple(Body((_block(label, one),)) for label, one in labelled)
    return Table("Agreement of tickets beside random ones", columns, bodies)


def _block(label: str, one: KindComparison) -> Block:
    deviation = "" if one.deviation is None else f" ± {number_format.short_count(round(one.deviation, 1))}"
    survivors = f"{number_format.short_count(one.mean_survivors)}{deviation} of {number_format.short_count(one.sites)}"
    lines: list[tuple[str | Noted, ...]] = []
    for name, title in _STATISTICS.items():
        value = Noted(_value(name, getattr(one, name)), one.undefined.get(name, ""))
        drawn = one.null_distributions(name)
        lines.append((title, value, *(_chance(name, drawn.get(control)) for control in CONTROLS)))
    return Block(tuple(lines), (label, plural(one.n, "ticket"), survivors))


def _value(name: str, value: float | None) -> str:
    if value is None:
        return "undefined"
    if name in _COUNTS:
        return number_format.short_count(round(value, 1))
    # Counts of weights give p values that no float holds.
    return "< 0.001" if name == "cochran_q_p" and value < 0.001 else number_format.score(value)


def _chance(name: str, drawn: NullDistribution | None) -> str:
    if drawn is None:
        return number_format.MISSING
    mean, low, high = (_value(name, part) for part in (drawn.mean, drawn.low, drawn.high))
    return mean if mean == low == high else f"{mean} ({low} to {high})"
