"""Parts of the section on attention: where attention goes, in numbers, and the clearest map of each class."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tombola.analysis.attention.attention_maps import WEIGHTINGS
from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.analysis.attention.patterns import AttentionPatterns
from tombola.architectures.anatomy import Places
from tombola.metrics.statistics import mean_std
from tombola.report import number_format
from tombola.report.charts.attention import attention_map
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import beside, figure, note
from tombola.report.html.markup import Html, element, join
from tombola.report.tables.table import Column, Table, numbers

WHERE = "Where attention goes"
_FEATURES = {
    "first": "to the first token",
    "separator": "to separators",
    "previous": "to the token before",
    "next": "to the token after",
    "same": "to the token itself",
    "entropy_share": "entropy, share of its largest",
    "distance": "distance in tokens",
}


def feature_table(
    full: Sequence[AttentionPatterns], pruned: Sequence[AttentionPatterns], masks: Sequence[Tensor]
) -> Table:
    """Mean and deviation of features over heads.

    Args:
        full: patterns of full models, whose heads all count.
        pruned: those that have tickets.
        masks: bool [rows, heads], the tickets' heads.
    """
    groups: dict[str, list[tuple[AttentionPatterns, Tensor]]] = {"all heads": [(one, one.working) for one in full]}
    if masks:
        groups["survivors"] = list(zip(pruned, masks, strict=True))
    names = (f"{name}, {weighting}" for weighting in WEIGHTINGS for name in groups)
    lines = [
        [title, *(_mean(feature, weighting, members) for weighting in WEIGHTINGS for members in groups.values())]
        for feature, title in _FEATURES.items()
    ]
    return Table.of(WHERE, (Column("mean over heads, ± std", "head"), *numbers(*names)), lines)


def _mean(feature: str, weighting: str, members: Sequence[tuple[AttentionPatterns, Tensor]]) -> str:
    values = torch.cat([one.means[weighting][feature][mask] for one, mask in members])
    known = values[~values.isnan()].tolist()
    return number_format.spread(*mean_std(known)) if known else number_format.MISSING


def example_maps(patterns: AttentionPatterns, places: Places, registry: FigureRegistry) -> Html:
    """The clearest map of each class."""
    figures = []
    for label, name in enumerate(CLASSES):
        known = [one for one in patterns.example_maps if (one.weighting, one.pattern) == ("raw", name)]
        if known:
            example = known[0]
            share = number_format.share(float(patterns.shares("raw")[example.row, example.head, label]))
            caption = f"Head {places.attention(example.row)}.{example.head}, of whose maps {share} are so."
            plot = registry.plot(attention_map(example), f"map-{name}", f"An attention map: {name}")
            figures.append(figure(name.capitalize(), caption, plot))
    if not figures:
        return Html("")
    text = "Of each class the clearest map of the head that has most of it, raw attention; rows attend to columns."
    body = [beside(*figures[first : first + 3]) for first in range(0, len(figures), 3)]
    return join(element("h3", "What the classes look like"), note(text), *body)
