"""Section on model sizes: what retrained good tickets save on disk, in multiply-adds and in time."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tombola.foundations.plurals import plural
from tombola.metrics.statistics import mean_std
from tombola.profiling.model_cost import Costs
from tombola.report import number_format
from tombola.report.html.elements import Html, element, note, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import method_title
from tombola.report.study_data import StudyData
from tombola.report.summary import Summary, scored
from tombola.report.table import Column, Table, numbers
from tombola.study.folder_layout import COST
from tombola.tickets.pruning_methods import METHODS, in_order, in_words

_WEIGHTS = (
    *("model*.safetensors", "shrunk.safetensors", "masks.safetensors"),
    # Of diffusers, by itself or in its pipeline.
    *("diffusion_pytorch_model*.safetensors", "*/diffusion_pytorch_model*.safetensors"),
)
_DISK, _MULTIPLY_ADDS = "parameters on disk, MB", "multiply-adds of an example, M"

Measure = tuple[float, float, Callable[[float], str]]
"""A measure of the full model and of the smaller one, and how it is written."""


@dataclass(frozen=True)
class SmallerModel:
    """The smaller model of one method and one seed.

    Attributes:
        folder: that `tombola.load` opens, from the study's.
        costs: `cost.json`; None for a ticket of weights, whose zeros are back when it runs.
        measures: title of a line → what was measured, without the lines that do not apply.
    """

    method: str
    seed: int
    folder: Path
    costs: Costs | None
    measures: Mapping[str, Measure]


Groups = Sequence[Sequence[SmallerModel]]
"""Smaller models, method by method."""


def model_sizes(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None while there is no smaller model. `registry` takes the table."""
    found = list(_found(study))
    if not found:
        return None
    methods = in_order(one.method for one in found)
    groups = [[one for one in found if one.method == method] for method in methods]
    names = ("full model", *(method_title(method) for method in methods))
    columns = (Column("measure", "head", shown=False), *numbers(*names))
    table = Table.of("Sizes and times of the smaller models", columns, _lines(study, groups))
    # From wherever Python was started; JSON quotes a text as Python does.
    path = json.dumps(str((study.folder / found[0].folder).resolve()), ensure_ascii=False)
    return section(
        "The good tickets as smaller models",
        registry.table(table, "smaller"),
        note(_sentence(groups)),
        note("Open one with ", element("code", f"tombola.load({path})"), "."),
        lead="The retrained good tickets without what they do not need, each checked against its masked model.",
    )


def _found(study: StudyData) -> Iterator[SmallerModel]:
    for method in study.methods:
        for one in study.seed_folders:
            place = one.ticket(method, "good")
            disk = _bytes(one.full), _bytes(place / "shrunk")
            if all(disk):
                costs = Costs.read(place / COST) if (place / COST).is_file() else None
                folder = (place / "shrunk").relative_to(study.folder)
                yield SmallerModel(method, one.seed, folder, costs, dict(_measures(disk, costs)))


def _bytes(folder: Path) -> int:
    """Bytes of the weights in a folder, and of the masks that they need; not of evaluations or earlier steps."""
    return sum(file.stat().st_size for name in _WEIGHTS for file in folder.glob(name))


def _measures(disk: tuple[int, int], costs: Costs | None) -> Iterator[tuple[str, Measure]]:
    yield _DISK, (*disk, number_format.megabytes)
    if costs is None:
        return
    dense, shrunk = costs.variants["dense"], costs.variants["shrunk"]
    yield _MULTIPLY_ADDS, (dense.multiply_adds, shrunk.multiply_adds, number_format.megabytes)
    batches = sorted(dense.seconds)
    what = "latency" if costs.steps is None else "step"
    for batch in batches:
        yield f"{what} of a batch of {batch}, ms", (dense.seconds[batch], shrunk.seconds[batch], _milliseconds)
    for batch in batches if costs.steps else ():
        before, after = (costs.seconds_per_image(variant)[batch] for variant in ("dense", "shrunk"))
        yield f"an image of {plural(costs.steps or 0, 'step')}, {batch} at once, ms", (before, after, _milliseconds)
    if dense.weights:
        yield "parameters in memory, MB", (dense.weights, shrunk.weights, number_format.megabytes)
        if costs.dtype == "float32":
            yield "the same in 16 bits, MB", (dense.weights / 2, shrunk.weights / 2, number_format.megabytes)
    for batch in batches:
        if batch in dense.activations and batch in shrunk.activations:
            measured = dense.activations[batch], shrunk.activations[batch]
            yield f"activations of a batch of {batch}, MB", (*measured, number_format.megabytes)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}"


def _lines(study: StudyData, groups: Groups) -> Iterator[tuple[str, ...]]:
    models = [one for group in groups for one in group]
    full = _of(study.full, {one.seed for one in models})
    tickets = [
        _of(study.summary(group[0].method, "good", "retrained"), {one.seed for one in group}) for group in groups
    ]
    cells = [scored(one) if one else number_format.MISSING for one in (full, *tickets)]
    yield f"{study.metric_title}, retrained", *cells
    parameters = [one.mean("parameters") if one else None for one in (full, *tickets)]
    yield "parameters that are not pruned", *map(number_format.short_count, parameters)
    first = next((one for one in models if one.costs), models[0])
    for title in dict.fromkeys((_DISK, _MULTIPLY_ADDS, *first.measures)):
        yield _line(title, groups)


def _of(summary: Summary | None, seeds: set[int]) -> Summary | None:
    """The part of a summary whose seeds have a smaller model: others would say something of other models."""
    rows = tuple(row for row in summary.rows if row.seed in seeds) if summary else ()
    return replace(summary, rows=rows) if summary and rows else None


def _line(title: str, groups: Groups) -> tuple[str, ...]:
    """Means over seeds, with the ratio of these means to that of the full models beside which they were measured."""
    found = [[one.measures[title] for one in group if title in one.measures] for group in groups]
    known = [measure for measures in found for measure in measures]
    if not known:
        return title, *[number_format.MISSING] * (len(groups) + 1)
    written = known[0][2]
    cells = [written(mean_std([before for before, _, _ in known])[0])]
    for measures in found:
        if not measures:
            cells.append("as the full model's")
            continue
        pairs = [(before, after) for before, after, _ in measures]
        ratio, std = _ratio(pairs)
        spread = f" ± {std:.2f}" if len(measures) > 1 else ""
        before, after = (written(mean_std(values)[0]) for values in zip(*pairs, strict=True))
        # Each was timed in turns with a full model of its own.
        text = after if before == cells[0] else f"{before} → {after}"
        cells.append(f"{text} (x {ratio:.2f}{spread})")
    return title, *cells


def _ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Ratio of the second values' mean to that of the first, and its standard deviation over seeds."""
    first, second = (mean_std(values)[0] for values in zip(*pairs, strict=True))
    # A seed's distance from the line through the means: the mean of ratios would let one slow run rule.
    return second / first, mean_std([after - second / first * before for before, after in pairs])[1] / first


def _sentence(groups: Groups) -> str:
    texts: list[str] = []
    for group in groups:
        known = [one.costs for one in group if one.costs]
        if not known:
            continue
        first = known[0]
        if not texts:
            what = f"{plural(first.length, 'token')}, " if first.length is not None else ""
            if first.steps is not None:
                what = "the denoiser alone, "
            threads = plural(first.threads, "thread")
            texts.append(
                f"Measured on {what}{first.dtype}, {first.device}, {threads}; a ratio is of means over seeds, to the "
                "full models that took turns with the smaller ones."
            )
        pairs = [(one.variants["dense"], one.variants["shrunk"]) for one in known]
        batch = max(first.variants["dense"].seconds)
        time = _ratio([(dense.seconds[batch], small.seconds[batch]) for dense, small in pairs])[0]
        work = _ratio([(dense.multiply_adds, small.multiply_adds) for dense, small in pairs])[0]
        texts.append(
            f"Without the pruned {in_words(group[0].method)} a batch of {batch} runs {1 / time:.2f} times as fast: "
            f"{100 * work / time:.0f} % of the theoretical speed-up, by multiply-adds."
        )
    if any(METHODS[group[0].method].kind == "weights" for group in groups):
        texts.append("A ticket of weights is smaller on disk only: its zeros are there again when it runs.")
    return " ".join(texts)
