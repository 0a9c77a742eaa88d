"""Section on attention: what all heads and those that survive attend to, and whether it tells who survives."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tombola.analysis.attention.attention_maps import WEIGHTINGS
from tombola.analysis.attention.attention_summary import (
    Distribution,
    Estimate,
    class_distribution,
    mean_shares,
    survival_correlation,
    survivors_against_pruned,
)
from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.analysis.attention.patterns import AttentionPatterns
from tombola.architectures.anatomy import Places
from tombola.foundations.plurals import plural
from tombola.metrics.statistics import mean_std
from tombola.report import number_format
from tombola.report.charts.attention import attention_map, class_bars, class_grid, survival_dots
from tombola.report.html.elements import Html, beside, element, figure, join, note, section, table_figure
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import and_words
from tombola.report.study_data import StudyData
from tombola.report.table import Column, Table, numbers
from tombola.tickets.pruning_methods import METHODS, in_words
from tombola.tickets.ticket import Ticket

_TITLES = {"raw": "Raw attention", "norm": "Norm-weighted attention"}
_UNREADABLE = CLASSES.index("heterogeneous")
_FEATURES = {
    "first": "to the first token",
    "separator": "to separators",
    "previous": "to the token before",
    "next": "to the token after",
    "same": "to the token itself",
    "entropy_share": "entropy, share of its largest",
    "distance": "distance in tokens",
}


@dataclass(frozen=True)
class StudyPatterns:
    """Attention patterns of a study, of the same inputs.

    Attributes:
        full: of the full model of each seed.
        method: that pruned heads; empty where none did.
        pruned: of the full models of those seeds that have its good ticket.
        masks: bool [rows, heads], the heads of those tickets.
        retrained: of the retrained tickets.
    """

    full: tuple[AttentionPatterns, ...]
    method: str = ""
    pruned: tuple[AttentionPatterns, ...] = ()
    masks: tuple[Tensor, ...] = ()
    retrained: tuple[AttentionPatterns, ...] = ()


def attention(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None where no attention was looked at."""
    full = study.analyses(AttentionPatterns, "attention")
    if not full:
        return None
    patterns = StudyPatterns(tuple(full.values()))
    # One method tells the story; a study of several has the others in its files.
    for method in (name for name, one in METHODS.items() if one.standard and "heads" in one.sites):
        tickets = {seed: Ticket.load(at) for seed, at in study.good_tickets(method).items() if seed in full}
        if tickets:
            pruned, masks = (full[seed] for seed in tickets), (ticket.heads for ticket in tickets.values())
            again = study.analyses(AttentionPatterns, "attention", method)
            retrained = (one for seed, one in again.items() if seed in full)
            patterns = StudyPatterns(patterns.full, method, tuple(pruned), tuple(masks), tuple(retrained))
            break
    return attention_section(patterns, study.places, registry)


def attention_section(patterns: StudyPatterns, places: Places, registry: FigureRegistry) -> Html:
    """The section; `places` names the rows of heads, `registry` takes the pictures and the table."""
    masks = patterns.masks
    survival = torch.stack([mask.double() for mask in masks]).mean(0) if masks else None
    shares = mean_shares(patterns.full, "norm")
    figures = beside(*_class_figures(patterns, registry))
    grid = registry.plot(class_grid(shares, survival, places), "attention-heads", "Most frequent class of each head")
    features = _features(patterns)
    inputs = plural(len(patterns.full[0].inputs), "input")
    of = f", in the good tickets of {in_words(patterns.method)}" if patterns.method else ""
    return section(
        "What the survivors attend to",
        figures,
        figure("Head by head, norm-weighted", _about_grid(shares, survival), grid),
        _scatter(patterns, shares, survival, places, registry) if survival is not None and len(masks) > 1 else "",
        table_figure(features.title, registry.table(features, "attention")),
        _example_maps(patterns.full[0], places, registry),
        lead=f"Five classes of attention maps (Kovaleva et al. 2019), by rules, on {inputs} of the dev split; "
        f"survivors are heads that survive{of}. Norm-weighted attention counts what really arrives (Kobayashi et al. "
        "2020).",
    )


def _class_figures(patterns: StudyPatterns, registry: FigureRegistry) -> Iterator[Html]:
    for weighting in WEIGHTINGS:
        groups, title = _groups(patterns, weighting), _TITLES[weighting]
        plot = registry.plot(class_bars(groups), f"attention-classes-{weighting}", f"Classes of heads, {title}")
        known = patterns.masks
        difference = survivors_against_pruned(patterns.pruned, known, weighting=weighting) if known else None
        yield figure(title, _about_classes(groups, difference), plot)


def _groups(patterns: StudyPatterns, weighting: str) -> dict[str, Distribution]:
    full, pruned, masks, again = patterns.full, patterns.pruned, patterns.masks, patterns.retrained
    groups = {"all heads": class_distribution(full, [None] * len(full), weighting=weighting)}
    if masks:
        groups["survivors"] = class_distribution(pruned, masks, weighting=weighting)
        groups["pruned heads"] = class_distribution(pruned, [~mask for mask in masks], weighting=weighting)
    if len(masks) > 1:
        always = torch.stack(masks).all(0)
        groups["super-survivors"] = class_distribution(pruned, [always] * len(masks), weighting=weighting)
    if again:
        groups["survivors, retrained"] = class_distribution(again, [None] * len(again), weighting=weighting)
    return {name: found for name, found in groups.items() if found.heads}


def _about_classes(groups: Mapping[str, Distribution], difference: Estimate | None) -> str:
    everyone = groups["all heads"].shares
    ranked = sorted(((share[0], name) for name, share in everyone.items() if share is not None), reverse=True)
    most = and_words([f"{number_format.share(share)} are {name}" for share, name in ranked[:2]])
    parts = [f"Of the maps of all heads {most}."]
    if difference is not None and difference.value is not None and difference.low is not None:
        low, high = difference.low, difference.high or 0.0
        ends = f"95 % interval over heads {number_format.interval(low, high, _points)}"
        if low <= 0 <= high:
            text = "are not clearly more or less heterogeneous than pruned heads"
            parts.append(f"Survivors {text}: {_points(difference.value)} points, {ends}.")
        else:
            text = f"are {'more' if difference.value > 0 else 'less'} often heterogeneous than pruned heads"
            parts.append(f"Survivors {text}: by {_points(abs(difference.value))} points, {ends}.")
    best = groups.get("super-survivors")
    if best is not None and (share := best.shares["heterogeneous"]) is not None:
        readable = number_format.share(1 - share[0])
        parts.append(f"Of the super-survivors' maps {readable} have one of the four readable patterns.")
    return " ".join(parts)


def _points(value: float) -> str:
    """Percentage points."""
    return number_format.minus(f"{100 * value:.1f}")


def _about_grid(shares: Tensor, survival: Tensor | None) -> str:
    most = shares.argmax(-1)
    counts = {name: int((most == label).sum()) for label, name in enumerate(CLASSES)}
    parts = [f"{count} are mostly {name}" for name, count in counts.items() if count]
    text = f"Of {plural(most.numel(), 'head')} {and_words(parts)}."
    if survival is None:
        return text
    always = survival == 1
    readable = int((always & (most != _UNREADABLE)).sum())
    dots = "A dot is as large as the share of seeds that keep the head."
    if not always.any():
        return f"{text} {dots} No head is kept by every seed."
    return (
        f"{text} {dots} Of the {plural(int(always.sum()), 'head')} that every seed keeps, {readable} "
        f"{'has' if readable == 1 else 'have'} a readable pattern most of the time."
    )


def _scatter(
    patterns: StudyPatterns, shares: Tensor, survival: Tensor, places: Places, registry: FigureRegistry
) -> Html:
    heads = [
        (f"{places.attention(row)}.{head}", float(shares[row, head, _UNREADABLE]), float(survival[row, head]))
        for row in range(shares.shape[0])
        for head in range(shares.shape[1])
    ]
    texts = []
    for weighting in reversed(WEIGHTINGS):
        found = survival_correlation(patterns.pruned, patterns.masks, weighting=weighting)
        texts.append(f"{_TITLES[weighting].lower()} {_correlation(found)}")
    caption = f"Spearman's correlation of heterogeneity with survival over heads: {'; '.join(texts)}."
    label = "Share of heterogeneous maps of every head against its survival"
    plot = registry.plot(survival_dots(heads, CLASSES[_UNREADABLE]), "attention-survival", label)
    return figure("Does heterogeneity tell who survives?", caption, plot)


def _correlation(found: Estimate) -> str:
    if found.value is None:
        return "undefined, as one of the two never varies"
    text = number_format.minus(f"{found.value:.2f}")
    if found.low is None or found.high is None:
        return text
    ends = number_format.minus(f"{found.low:.2f} to {found.high:.2f}")
    verdict = "no clear relation" if found.low <= 0 <= found.high else "a relation, if a rough one"
    return f"{text} (95 % interval {ends}: {verdict})"


def _features(patterns: StudyPatterns) -> Table:
    groups = {"all heads": [(one, one.working) for one in patterns.full]}
    if patterns.masks:
        groups["survivors"] = list(zip(patterns.pruned, patterns.masks, strict=True))
    names = (f"{name}, {weighting}" for weighting in WEIGHTINGS for name in groups)
    lines = [
        [title, *(_mean(feature, weighting, members) for weighting in WEIGHTINGS for members in groups.values())]
        for feature, title in _FEATURES.items()
    ]
    return Table.of("Where attention goes", (Column("mean over heads, ± std", "head"), *numbers(*names)), lines)


def _mean(feature: str, weighting: str, members: Sequence[tuple[AttentionPatterns, Tensor]]) -> str:
    values = torch.cat([one.means[weighting][feature][mask] for one, mask in members])
    known = values[~values.isnan()].tolist()
    return number_format.spread(*mean_std(known)) if known else number_format.MISSING


def _example_maps(patterns: AttentionPatterns, places: Places, registry: FigureRegistry) -> Html:
    figures = []
    for label, name in enumerate(CLASSES):
        known = (one for one in patterns.example_maps if (one.weighting, one.pattern) == ("raw", name))
        if example := next(known, None):
            share = number_format.share(float(patterns.shares("raw")[example.row, example.head, label]))
            caption = f"Head {places.attention(example.row)}.{example.head}, of whose maps {share} are so."
            plot = registry.plot(attention_map(example), f"map-{name}", f"An attention map: {name}")
            figures.append(figure(name.capitalize(), caption, plot))
    if not figures:
        return Html("")
    text = "Of each class the clearest map of the head that has most of it, raw attention; rows attend to columns."
    body = [beside(*figures[first : first + 3]) for first in range(0, len(figures), 3)]
    return join(element("h3", "What the classes look like"), note(text), *body)
