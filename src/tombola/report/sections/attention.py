"""The section on attention: what all heads and those that survive attend to, and whether it tells who survives."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tombola.analysis.attention.attention_features import FEATURES
from tombola.analysis.attention.attention_maps import WEIGHTINGS
from tombola.analysis.attention.attention_summary import (
    Correlation,
    Difference,
    Distribution,
    class_distribution,
    mean_shares,
    survival_correlation,
    survivors_against_pruned,
)
from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.analysis.attention.patterns import AttentionPatterns
from tombola.architectures.anatomy import Places
from tombola.metrics.statistics import mean_std
from tombola.report import charts, number_format
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import beside, figure, section
from tombola.report.html.markup import Html, element, join
from tombola.report.labels import and_words
from tombola.report.study_data import Record
from tombola.report.tables.table import Column, Table
from tombola.tickets.pruning_methods import METHODS, in_words
from tombola.tickets.ticket import Ticket

_TITLES = {"raw": "Raw attention", "norm": "Norm-weighted attention"}
_WHERE = "Where attention goes"
_FEATURES = {
    "first": "to the first token",
    "separator": "to separators",
    "previous": "to the token before",
    "next": "to the token after",
    "same": "to the token itself",
    "entropy_share": "entropy, share of its largest",
    "distance": "distance in tokens",
}


def attention(record: Record, registry: FigureRegistry) -> Html | None:
    """The section; None where no attention was looked at."""
    full = {
        seed_folder.seed: AttentionPatterns.read(path)
        for seed_folder in record.seed_folders
        if (path := seed_folder.analysis("attention")).is_file()
    }
    if not full:
        return None
    tickets: dict[str, dict[int, Ticket]] = {}
    retrained: dict[tuple[str, int], AttentionPatterns] = {}
    for method, chosen in METHODS.items():
        for seed_folder in record.seed_folders if chosen.standard and "heads" in chosen.sites else ():
            place = seed_folder.ticket(method, "good")
            if seed_folder.seed in full and (place / "ticket.json").is_file():
                tickets.setdefault(method, {})[seed_folder.seed] = Ticket.load(place)
            path = seed_folder.analysis("attention", method)
            if path.is_file():
                retrained[method, seed_folder.seed] = AttentionPatterns.read(path)
    return attention_section(full, tickets, retrained, record.places, registry)


def attention_section(
    full: Mapping[int, AttentionPatterns],
    tickets: Mapping[str, Mapping[int, Ticket]],
    retrained: Mapping[tuple[str, int], AttentionPatterns],
    places: Places,
    registry: FigureRegistry,
) -> Html:
    """The section.

    Args:
        full: seed → patterns of its full model, of the same inputs.
        tickets: method → seed → good ticket; only methods that prune heads.
        retrained: method and seed → patterns of the retrained good ticket.
        places: names of the rows of heads.
        registry: takes the pictures and the table.
    """
    body: list[Html] = []
    # One method tells the story; a study of several has the others in its files.
    method = next((one for one in METHODS if tickets.get(one)), None)
    seeds = sorted(full)
    masks = [tickets[method][seed].heads for seed in seeds if seed in tickets[method]] if method else []
    patterns = [full[seed] for seed in seeds]
    of_tickets = [full[seed] for seed in seeds if method is not None and seed in tickets[method]]
    again = [retrained[method, seed] for seed in seeds if method is not None and (method, seed) in retrained]
    figures_ = []
    for weighting in WEIGHTINGS:
        groups = _groups(patterns, of_tickets, masks, again, weighting)
        plot = registry.plot(
            charts.class_bars(groups), f"attention-classes-{weighting}", f"Classes of heads, {_TITLES[weighting]}"
        )
        difference = survivors_against_pruned(of_tickets, masks, weighting=weighting) if masks else None
        figures_.append(figure(_TITLES[weighting], _about_classes(groups, difference), plot))
    body.append(beside(*figures_))
    survival = torch.stack([mask.double() for mask in masks]).mean(0) if masks else None
    shares = mean_shares(patterns, "norm")
    grid = registry.plot(
        charts.class_grid(shares, survival, places), "attention-heads", "Most frequent class of each head"
    )
    body.append(figure("Head by head, norm-weighted", _about_grid(shares, survival), grid))
    if survival is not None and len(masks) > 1:
        body.append(_scatter(of_tickets, masks, shares, survival, places, registry))
    table = registry.table(_features(patterns, of_tickets, masks), "attention")
    body.append(element("figure", element("h3", _WHERE), table))
    body.append(_maps(patterns[0], places, registry))
    inputs = len(patterns[0].inputs)
    of = f", in the good tickets of {in_words(method)}" if method else ""
    lead = (
        f"Five classes of attention maps (Kovaleva et al. 2019), by rules, on {number_format.plural(inputs, 'input')} "
        f"of the dev split; survivors are heads that survive{of}. Norm-weighted attention counts what really arrives "
        "(Kobayashi et al. 2020)."
    )
    return section("What the survivors attend to", *body, lead=lead)


def _groups(
    patterns: Sequence[AttentionPatterns],
    of_tickets: Sequence[AttentionPatterns],
    masks: Sequence[Tensor],
    again: Sequence[AttentionPatterns],
    weighting: str,
) -> dict[str, Distribution]:
    groups = {"all heads": class_distribution(patterns, [None] * len(patterns), weighting=weighting)}
    if masks:
        groups["survivors"] = class_distribution(of_tickets, masks, weighting=weighting)
        groups["pruned heads"] = class_distribution(of_tickets, [~mask for mask in masks], weighting=weighting)
    if len(masks) > 1:
        always = torch.stack(list(masks)).all(0)
        groups["super-survivors"] = class_distribution(of_tickets, [always] * len(masks), weighting=weighting)
    if again:
        groups["survivors, retrained"] = class_distribution(again, [None] * len(again), weighting=weighting)
    return {name: found for name, found in groups.items() if found.heads}


def _about_classes(groups: Mapping[str, Distribution], difference: Difference | None) -> str:
    """Sentences on the share of heterogeneous heads, and the difference of survivors and pruned heads."""
    parts = []
    everyone = groups["all heads"].shares
    ranked = sorted(((share[0], name) for name, share in everyone.items() if share is not None), reverse=True)
    parts.append(
        "Of the maps of all heads "
        + and_words([f"{number_format.share(share)} are {name}" for share, name in ranked[:2]])
        + "."
    )
    if difference is not None and difference.value is not None and difference.low is not None:
        low, high = difference.low, difference.high or 0.0
        ends = f"95 % interval over heads {_points(low)} to {_points(high)}"
        if low <= 0 <= high:
            parts.append(
                f"Survivors are not clearly more or less heterogeneous than pruned heads: {_points(difference.value)} "
                f"points, {ends}."
            )
        else:
            word = "more" if difference.value > 0 else "less"
            parts.append(
                f"Survivors are {word} often heterogeneous than pruned heads: by {_points(abs(difference.value))} "
                f"points, {ends}."
            )
    best = groups.get("super-survivors")
    if best is not None and (share := best.shares["heterogeneous"]) is not None:
        parts.append(
            f"Of the super-survivors' maps {number_format.share(1 - share[0])} have one of the four readable patterns."
        )
    return " ".join(parts)


def _points(value: float) -> str:
    return f"{100 * value:.1f}".replace("-", "−")


def _about_grid(shares: Tensor, survival: Tensor | None) -> str:
    most = shares.argmax(-1)
    parts = []
    for label, name in enumerate(CLASSES):
        if count := int((most == label).sum()):
            parts.append(f"{count} are mostly {name}")
    text = f"Of {most.numel()} heads {and_words(parts)}."
    if survival is None:
        return text
    always = survival == 1
    readable = int((always & (most != CLASSES.index("heterogeneous"))).sum())
    dots = "A dot is as large as the share of seeds that keep the head."
    if not always.any():
        return f"{text} {dots} No head is kept by every seed."
    return (
        f"{text} {dots} Of the {number_format.plural(int(always.sum()), 'head')} that every seed keeps, {readable} "
        f"{'has' if readable == 1 else 'have'} a readable pattern most of the time."
    )


def _scatter(
    patterns: Sequence[AttentionPatterns],
    masks: Sequence[Tensor],
    shares: Tensor,
    survival: Tensor,
    places: Places,
    registry: FigureRegistry,
) -> Html:
    label = CLASSES.index("heterogeneous")
    heads = [
        (f"{places.attention(row)}.{head}", float(shares[row, head, label]), float(survival[row, head]))
        for row in range(shares.shape[0])
        for head in range(shares.shape[1])
    ]
    plot = registry.plot(
        charts.survival_dots(heads, "heterogeneous"),
        "attention-survival",
        "Share of heterogeneous maps of every head against its survival",
    )
    texts = []
    for weighting in reversed(WEIGHTINGS):
        found = survival_correlation(patterns, masks, weighting=weighting)
        texts.append(f"{_TITLES[weighting].lower()} {_correlation(found)}")
    caption = f"Spearman's correlation of heterogeneity with survival over heads: {'; '.join(texts)}."
    return figure("Does heterogeneity tell who survives?", caption, plot)


def _correlation(found: Correlation) -> str:
    if found.value is None:
        return "undefined, as one of the two never varies"
    text = f"{found.value:.2f}".replace("-", "−")
    if found.low is None or found.high is None:
        return text
    low, high = (f"{value:.2f}".replace("-", "−") for value in (found.low, found.high))
    verdict = "no clear relation" if found.low <= 0 <= found.high else "a relation, if a rough one"
    return f"{text} (95 % interval {low} to {high}: {verdict})"


def _features(
    patterns: Sequence[AttentionPatterns], of_tickets: Sequence[AttentionPatterns], masks: Sequence[Tensor]
) -> Table:
    """Table of where attention goes: mean and deviation over heads, all of them and survivors."""
    groups: dict[str, list[tuple[AttentionPatterns, Tensor]]] = {"all heads": [(one, one.working) for one in patterns]}
    if masks:
        groups["survivors"] = list(zip(of_tickets, masks, strict=True))
    columns = (
        Column("mean over heads, ± std", "head"),
        *(Column(f"{name}, {weighting}", "number") for weighting in WEIGHTINGS for name in groups),
    )
    lines = []
    for feature in FEATURES:
        if feature not in _FEATURES:
            continue
        cells = [_FEATURES[feature]]
        for weighting in WEIGHTINGS:
            for members in groups.values():
                values = torch.cat([one.means[weighting][feature][mask] for one, mask in members])
                known = values[~values.isnan()].tolist()
                parts = [number_format.score(part) for part in mean_std(known)] if known else [number_format.MISSING]
                cells.append(" ± ".join(parts))
        lines.append(cells)
    return Table.of(_WHERE, columns, lines)


def _maps(patterns: AttentionPatterns, places: Places, registry: FigureRegistry) -> Html:
    """The clearest map of each class."""
    found = []
    for label in CLASSES:
        known = [one for one in patterns.example_maps if (one.weighting, one.pattern) == ("raw", label)]
        if not known:
            continue
        picture = known[0]
        share = patterns.shares("raw")[picture.row, picture.head, CLASSES.index(label)]
        site = f"{places.attention(picture.row)}.{picture.head}"
        caption = f"Head {site}, of whose maps {number_format.share(float(share))} are so."
        plot = registry.plot(
            charts.attention_map(picture), f"map-{label.replace('+', '-')}", f"An attention map: {label}"
        )
        found.append(figure(label.capitalize(), caption, plot))
    if not found:
        return Html("")
    note = "Of each class the clearest map of the head that has most of it, raw attention; rows attend to columns."
    body = [beside(*found[first : first + 3]) for first in range(0, len(found), 3)]
    return join(element("h3", "What the classes look like"), element("p", note, class_="note"), *body)
