"""The section on agreement: do several seeds, or several tasks, keep the same, and is that more than chance?"""

from collections.abc import Sequence

from tombola.report import charts, number_format
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import figure, section
from tombola.report.html.markup import Html, element
from tombola.report.labels import TICKET_TITLES, and_words, kind_title
from tombola.report.null_distributions import CONTROLS, Agreeing, Observed
from tombola.report.tables.table import Block, Body, Column, Noted, Table
from tombola.tickets.ticket import kinds_in_words

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
_LEAD = (
    "Random tickets have exactly the sizes of the good ones; layer-matched ones have as many in each layer too. What "
    "is above the former and not above the latter is a profile over depth, not a choice of sites."
)


def agreement(found: Sequence[Agreeing], registry: FigureRegistry, *, several: str = "seeds") -> Html | None:
    """The section; None where there is nothing to agree with.

    Args:
        found: of each kind of ticket and of site, and of each task where there are several.
        registry: takes the picture and the table.
        several: what the tickets differ in: `seeds`, or `tasks`.
    """
    found = [one for one in found if one.n > 1]
    if not found:
        return None
    body = []
    labelled = [(_label(one, found), one) for one in found]
    if any(one.observed("jaccard").value is not None for one in found):
        chart = charts.overlap_by_chance(labelled)
        plot = registry.plot(chart, f"agreement-{several}", "Shared survivors of two tickets beside random tickets")
        body.append(figure("", _reading(labelled), plot))
    body.append(registry.table(_table(labelled), f"agreement-{several}"))
    note = (
        "Cochran’s Q tests whether tickets keep the same share of the sites, not the same sites: it is here because "
        "the literature reports it."
    )
    title = f"Is it the same in every {'seed' if several == 'seeds' else 'task'}?"
    return section(title, *body, element("p", note, class_="note"), lead=_LEAD)


def _label(one: Agreeing, found: Sequence[Agreeing]) -> str:
    """The kind of site, and what else tells it from the others: the kind of ticket, the task."""
    label = kind_title(one.kind)
    if len({other.ticket_kind for other in found if other.kind == one.kind}) > 1:
        label += f", pruning {kinds_in_words(one.ticket_kind)}"
    if len({other.task for other in found}) > 1:
        label += f", {one.task or 'between tasks'}"
    return label


def _reading(labelled: Sequence[tuple[str, Agreeing]]) -> str:
    """A sentence for each line; of many lines how many stand above chance."""
    if len(labelled) <= _FEW:
        return " ".join(_sentence(label, one) for label, one in labelled)
    parts = []
    for control in CONTROLS:
        drawn = [
            observed.null_distributions[control].word
            for _, one in labelled
            if (observed := one.observed("jaccard")).value is not None and control in observed.null_distributions
        ]
        if drawn:
            parts.append(
                f"more than {TICKET_TITLES[control]} ones of their sizes in {drawn.count('above')} of {len(drawn)}"
            )
    return f"Two good tickets share {and_words(parts)} lines (above 97.5 % of the draws)." if parts else ""


def _sentence(label: str, one: Agreeing) -> str:
    """Sentence on what one kind shares, against either kind of random ticket."""
    jaccard = one.observed("jaccard")
    what = label[:1].upper() + label[1:]
    if jaccard.value is None:
        return f"{what}: undefined, as {jaccard.reason or 'there is nothing to share'}."
    parts = []
    for control, drawn in jaccard.null_distributions.items():
        where = {
            "above": "more than",
            "below": "less than",
            "within": "no more than can be expected of",
        }[drawn.word]
        parts.append(
            f"{where} {TICKET_TITLES[control]} ones ({number_format.share(drawn.mean)}, 95 % from "
            f"{number_format.share(drawn.low)} "
            f"to {number_format.share(drawn.high)})"
        )
    against = f", {and_words(parts)}" if parts else ""
    return f"{what}: two good tickets share {number_format.share(jaccard.value)} of their survivors{against}."


def _table(labelled: Sequence[tuple[str, Agreeing]]) -> Table:
    columns = (
        Column("kind", "head", shown=False),
        Column("tickets", "details"),
        Column("survivors", "details"),
        Column("statistic"),
        Column("good tickets", "number", strong=True),
        *(Column(f"{TICKET_TITLES[one]} (95 %)", "number") for one in CONTROLS),
    )
    bodies = tuple(Body((_block(label, one),)) for label, one in labelled)
    return Table("Agreement of tickets beside random ones", columns, bodies)


def _block(label: str, one: Agreeing) -> Block:
    spread = one.number("deviation")
    deviation = "" if spread is None else f" ± {number_format.short_count(round(spread, 1))}"
    mean, sites = number_format.short_count(one.number("mean_survivors")), number_format.short_count(one.sites)
    survivors = f"{mean}{deviation} of {sites}"
    lines: list[tuple[str | Noted, ...]] = []
    for name, title in _STATISTICS.items():
        observed = one.observed(name)
        value = Noted(_value(name, observed.value), observed.reason)
        lines.append((title, value, *(_chance(name, observed, control) for control in CONTROLS)))
    return Block(tuple(lines), (label, f"{one.n} tickets", survivors))


def _value(name: str, value: float | None) -> str:
    if value is None:
        return "undefined"
    if name in _COUNTS:
        return number_format.short_count(round(value, 1))
    # Counts of weights give p values that no float holds.
    return "< 0.001" if name == "cochran_q_p" and value < 0.001 else number_format.score(value)


def _chance(name: str, observed: Observed, control: str) -> str:
    drawn = observed.null_distributions.get(control)
    if drawn is None:
        return number_format.MISSING
    mean, low, high = (_value(name, part) for part in (drawn.mean, drawn.low, drawn.high))
    return mean if mean == low == high else f"{mean} ({low} to {high})"
