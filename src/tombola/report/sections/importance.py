"""Section on importance: of every site of the full model, before the first cut."""

import math
from collections.abc import Iterator, Mapping, Sequence

from tombola.architectures.anatomy import Places
from tombola.architectures.site_names import SITE_NAMES
from tombola.foundations.plurals import plural
from tombola.report import number_format
from tombola.report.charts.grids import importance_grid
from tombola.report.charts.layers import mlp_bars, neuron_boxes
from tombola.report.html.elements import Html, figure, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import capitalised, row_title
from tombola.report.study_data import StudyData

Rows = Sequence[Sequence[float | None]]
_TOLD = {
    "per-example": "how much the loss of single examples would feel a small change of the site's gate",
    "accumulated": "how much the loss of all examples so far would feel a small change of the site's gate",
}
"""Own rankings of Tombola, by name: what they tell of a site."""


def importance(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None where no search asked for importance."""
    kinds = {kind: rows for kind in SITE_NAMES if (rows := study.importance(kind)[0])}
    if not kinds:
        return None
    plots = list(_plots(kinds, study.places, registry))
    seeds = max(study.importance(kind)[1] for kind in kinds)
    layout = "wide-narrow" if len(plots) > 1 else ""
    told = _TOLD.get(str(study.facts.config.get("importance", "per-example")), "as the study's own ranking has it")
    return section(
        "How important every site is",
        figure("", _about(kinds, seeds, study.places), *plots, layout=layout),
        lead=f"In the full model, before the first cut: {told}.",
    )


def _plots(kinds: Mapping[str, Rows], places: Places, registry: FigureRegistry) -> Iterator[Html]:
    if heads := kinds.get("heads"):
        grid = importance_grid(heads, [places.attention(row) for row in range(len(heads))], "head", "heads")
        yield registry.plot(grid, "importance-heads", "Importance of every head")
    if mlps := kinds.get("mlps"):
        bars = mlp_bars([value for (value,) in mlps], places)
        yield registry.plot(bars, "importance-mlps", "Importance of every MLP")
    if neurons := kinds.get("neurons"):
        boxes = neuron_boxes(neurons, places)
        yield registry.plot(boxes, "importance-neurons", "Importance of the blocks of neurons of every MLP")
    if groups := kinds.get("channels"):
        names = [places.residual(row) for row in range(len(groups))]
        grid = importance_grid(groups, names, "group", "groups of channels")
        yield registry.plot(grid, "importance-channels", "Importance of every group of channels")


def _about(kinds: Mapping[str, Rows], seeds: int, places: Places) -> str:
    parts = []
    heads, mlps, neurons, channels = (_flat(kinds.get(kind, ())) for kind in SITE_NAMES)
    if spread := _spread(heads, "heads"):
        row, head = max(heads, key=heads.__getitem__)
        parts.append(f"Before pruning, importance looks {spread}. Head {places.attention(row)}.{head} ranks first")
    if mlps:
        first, last = (row_title(places.layer(choose(mlps, key=mlps.__getitem__)[0])) for choose in (max, min))
        parts.append(f"among MLPs {first} ranks first and {last} last")
    for sites, kind, name in ((neurons, "neurons", places.layer), (channels, "channels", places.residual)):
        if spread := _spread(sites, kind):
            where = row_title(name(max(sites, key=sites.__getitem__)[0]))
            parts.append(
                f"among {SITE_NAMES[kind][1]} importance looks {spread}, and the first of them belongs to {where}"
            )
    notes = ["head scores are divided by their layer's norm"] if heads else []
    notes.append("each kind of site is scaled to 0–1: compare ranks, not one kind with another")
    boxes = " A bar spans the middle half of an MLP's blocks of neurons, its line the least to the most important."
    source = "" if seeds == 1 else f" Means over {seeds} seeds."
    return f"{capitalised('; '.join(parts))}. {capitalised(', '.join(notes))}.{boxes if neurons else ''}{source}"


def _flat(rows: Rows) -> dict[tuple[int, int], float]:
    return {
        (row, site): value for row, values in enumerate(rows) for site, value in enumerate(values) if value is not None
    }


def _spread(sites: Mapping[tuple[int, int], float], kind: str) -> str:
    """Sentence on how uneven importance is, with the share that the top tenth holds; nothing where there is none."""
    one, many = SITE_NAMES[kind]
    total = math.fsum(sites.values())
    if not total:
        return ""
    top = sorted(sites.values(), reverse=True)[: max(1, round(len(sites) / 10))]
    share, even = math.fsum(top) / total, len(top) / len(sites)
    shape = "somewhat uneven" if share > 1.6 * even else "spread rather evenly"
    if share > 3 * even:
        shape = f"concentrated in few {many}"
    count, held = plural(len(top), one, many), number_format.share(share)
    return f"{shape}: the top {count} of {len(sites)} hold {held} of the sum"
