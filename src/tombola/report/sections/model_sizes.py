"""Section on model sizes: what retrained good tickets save on disk, in multiply-adds and in time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tombola.foundations.atomic_files import read_json
from tombola.metrics.scores import metric_title
from tombola.metrics.statistics import mean_std
from tombola.report import number_format
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.html.layout import section
from tombola.report.html.markup import Html, element
from tombola.report.labels import METHOD_TITLES
from tombola.report.optional_json import Fields
from tombola.report.study_data import Record
from tombola.report.summary import Summary, scored
from tombola.report.tables.table import Column, Table
from tombola.tickets.pruning_methods import METHODS, in_words

_WEIGHTS = (
    *("model*.safetensors", "shrunk.safetensors", "masks.safetensors"),
    # Of diffusers, by itself or in its pipeline.
    *("diffusion_pytorch_model*.safetensors", "*/diffusion_pytorch_model*.safetensors"),
)


@dataclass(frozen=True)
class Smaller:
    """The smaller model of one method and one seed.

    Attributes:
        method, seed: which.
        folder: that `tombola.load` opens, from the study's.
        disk: bytes of the full model's weights on disk, and of its own.
        cost: `cost.json`; empty for a ticket of weights, whose zeros are back when it runs.
    """

    method: str
    seed: int
    folder: Path
    disk: tuple[int, int]
    cost: Fields

    def measured(self, name: str, batch: str | None = None) -> tuple[float, float] | None:
        """A field of the full model's cost and of its own."""
        pair = []
        for variant in ("dense", "shrunk"):
            fields = self.cost.inside(variant)
            value = fields.get(name, float) if batch is None else fields.inside(name).get(batch, float)
            if value is None:
                return None
            pair.append(value)
        return pair[0], pair[1]

    @property
    def batches(self) -> tuple[str, ...]:
        """The batch sizes that were measured, as their fields are called; the smallest first."""
        return tuple(sorted(self.cost.inside("dense").inside("seconds").values, key=int))

    @property
    def images(self) -> int | None:
        """Passes that an image takes; None where the model draws none."""
        return self.cost.get("steps", int)


def smaller(record: Record, registry: FigureRegistry) -> Html | None:
    """The section on the smaller models; None while there is none. `registry` takes the table."""
    found = list(_found(record))
    if not found:
        return None
    methods = [method for method in METHODS if any(one.method == method for one in found)]
    groups = [[one for one in found if one.method == method] for method in methods]
    models = ("full model", *(METHOD_TITLES[method] for method in methods))
    columns = (Column("measure", "head", shown=False), *(Column(name, "number") for name in models))
    table = Table.of("Sizes and times of the smaller models", columns, _lines(record, groups))
    path = found[0].folder.as_posix()
    how = element("p", "Open one with ", element("code", f'tombola.load("{path}")'), ".", class_="note")
    return section(
        "The good tickets as smaller models",
        registry.table(table, "smaller"),
        element("p", _sentence(groups), class_="note"),
        how,
        lead="The retrained good tickets without what they do not need, each checked against its masked model.",
    )


def _found(record: Record) -> Iterator[Smaller]:
    for method in record.methods:
        for seed in sorted({row.seed for row in record.rows}):
            home = record.home / f"seed-{seed}"
            place = home / method / "good"
            disk = _bytes(home / "full"), _bytes(place / "shrunk")
            if all(disk):
                path = place / "cost.json"
                cost = Fields(read_json(path) if path.is_file() else {}, str(path))
                yield Smaller(method, seed, (place / "shrunk").relative_to(record.folder), disk, cost)


def _bytes(folder: Path) -> int:
    """Bytes of the weights in a folder, and of the masks that they need; not of evaluations or earlier steps."""
    return sum(file.stat().st_size for name in _WEIGHTS for file in folder.glob(name))


def _lines(record: Record, groups: Sequence[Sequence[Smaller]]) -> Iterator[tuple[str, ...]]:
    seeds = {one.seed for group in groups for one in group}
    full = _of(record.full, seeds)
    scores = [
        _of(record.summary(group[0].method, "good", "retrained"), {one.seed for one in group}) for group in groups
    ]
    cells = [scored(one) if one else number_format.MISSING for one in (full, *scores)]
    yield f"{metric_title(record.metric)}, retrained", *cells
    parameters = [one.mean("parameters") if one else None for one in (full, *scores)]
    yield "parameters that are not pruned", *(number_format.short_count(value) for value in parameters)
    yield _pairs("weights on disk, MB", groups, lambda one: one.disk, number_format.megabytes)
    work = "multiply-adds of an example, M"
    yield _pairs(work, groups, lambda one: one.measured("multiply_adds"), _millions)
    known = [one for group in groups for one in group if one.cost.values]
    batches = known[0].batches if known else ()
    images = known[0].images if known else None
    for batch in batches:
        yield _pairs(
            f"{'latency' if images is None else 'step'} of a batch of {batch}, ms",
            groups,
            lambda one, batch=batch: one.measured("seconds", batch),  # type: ignore[misc]
            lambda seconds: f"{1000 * seconds:,.1f}",
        )
    for batch in batches if images is not None else ():
        yield _pairs(
            f"an image of {images} steps, {batch} at once, ms",
            groups,
            lambda one, batch=batch: one.measured("seconds_per_image", batch),  # type: ignore[misc]
            lambda seconds: f"{1000 * seconds:,.1f}",
        )
    if known and known[0].measured("weights"):
        yield _pairs("weights in memory, MB", groups, lambda one: one.measured("weights"), _small)
        if known[0].cost.get("dtype", str) == "float32":
            yield _pairs("the same in 16 bits, MB", groups, lambda one: _halved(one.measured("weights")), _small)
    for batch in batches:
        if known[0].measured("activations", batch):
            yield _pairs(
                f"activations of a batch of {batch}, MB",
                groups,
                lambda one, batch=batch: one.measured("activations", batch),  # type: ignore[misc]
                _small,
            )


def _millions(number: float) -> str:
    return f"{number / 1e6:.1f}" if number < 1e8 else number_format.count(round(number / 1e6))


def _small(size: float) -> str:
    """Bytes as MB, of networks that may have less than one."""
    return f"{size / 1e6:.2f}" if size < 1e7 else number_format.megabytes(size)


def _halved(pair: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if pair is None else (pair[0] / 2, pair[1] / 2)


def _of(summary: Summary | None, seeds: set[int]) -> Summary | None:
    """The part of a summary whose seeds have a smaller model: others would say something of other models."""
    rows = tuple(row for row in summary.rows if row.seed in seeds) if summary else ()
    return replace(summary, rows=rows) if summary and rows else None


def _pairs(
    title: str,
    groups: Sequence[Sequence[Smaller]],
    pair: Callable[[Smaller], tuple[float, float] | None],
    written: Callable[[float], str],
) -> tuple[str, ...]:
    """A line of means over seeds, with the ratio to the full model beside which each was measured."""
    found = [[known for one in group if (known := pair(one)) is not None] for group in groups]
    whole = [before for pairs in found for before, _ in pairs]
    cells = [written(mean_std(whole)[0]) if whole else number_format.MISSING]
    for pairs in found:
        if not pairs:
            cells.append("as the full model's" if whole else number_format.MISSING)
            continue
        ratio, std = mean_std([after / before for before, after in pairs])
        spread = f" ± {std:.2f}" if len(pairs) > 1 else ""
        cells.append(f"{written(mean_std([after for _, after in pairs])[0])} (x {ratio:.2f}{spread})")
    return title, *cells


def _sentence(groups: Sequence[Sequence[Smaller]]) -> str:
    """Sentence on how it was measured, and on theoretical and measured speed-up."""
    texts: list[str] = []
    for group in groups:
        known = [one.cost for one in group if one.cost.values]
        shares = [value for cost in known if (value := cost.inside("shrunk").get("share", float)) is not None]
        reached = [
            value for cost in known if (value := cost.inside("shrunk").get("measured_speedup", float)) is not None
        ]
        if not shares:
            continue
        batch = next(one.batches[-1] for one in group if one.cost.values)
        if not texts:
            length, dtype = known[0].get("length", int), known[0].get("dtype", str)
            what = f"{length} tokens, " if length is not None else ""
            if known[0].get("steps", int) is not None:
                what = "the denoiser alone, "
            device, threads = (
                known[0].get("device", str),
                number_format.plural(known[0].get("threads", int) or 1, "thread"),
            )
            texts.append(
                f"Measured on {what}{dtype}, {device}, {threads}; a ratio is to the full model that took turns with it."
            )
        texts.append(
            f"Without the pruned {in_words(group[0].method)} a batch of {batch} runs "
            f"{mean_std(reached)[0]:.2f} times as fast: {100 * mean_std(shares)[0]:.0f} % of what the multiply-adds "
            "promise."
        )
    if any(METHODS[group[0].method].kind == "weights" for group in groups):
        texts.append("A ticket of weights is smaller on disk only: its zeros are there again when it runs.")
    return " ".join(texts)
