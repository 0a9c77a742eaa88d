"""The rows of `results.jsonl`, and what several seeds say together."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tombola.foundations.atomic_files import read_lines
from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import read
from tombola.metrics.scores import METRICS
from tombola.metrics.statistics import mean_std
from tombola.report import number_format
from tombola.report.labels import SCORED, STAGES
from tombola.study.results import Row
from tombola.study.study_record import read_record
from tombola.tickets.pruning_methods import METHODS, in_order

SIZES = ("weights", "sparsity", "bytes", "seconds")
"""Fields of a row that every table of results shows after the sites."""
_WRITTEN: Mapping[str, Callable[[float | None], str]] = MappingProxyType(
    {"sparsity": number_format.share, "bytes": number_format.megabytes, "seconds": number_format.seconds}
)
"""Formats of these fields; all others are counts."""
MEND = "run the study again"
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Summary:
    """Summary of one model of the study over all its seeds: a row for each of them, in their order."""

    method: str
    ticket: str
    stage: str
    rows: tuple[Row, ...]

    def mean(self, name: str) -> float | None:
        """Mean of a numeric field over the seeds; None for guessing, which is no network."""
        return None if self.ticket == "guessing" else self._mean(name)

    def _mean(self, name: str) -> float:
        return math.fsum(getattr(row, name) for row in self.rows) / len(self.rows)

    @property
    def score(self) -> float:
        """Mean score."""
        return self._mean("score")

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds, as in the verdict; None for one seed."""
        return mean_std([row.score for row in self.rows])[1] if len(self.rows) > 1 else None

    @property
    def low(self) -> float:
        """Lower end: of the 95 % interval for one seed, mean − std for several."""
        return self.rows[0].score_low if self.std is None else self.score - self.std

    @property
    def high(self) -> float:
        """Upper end: of the 95 % interval for one seed, mean + std for several."""
        return self.rows[0].score_high if self.std is None else self.score + self.std

    @property
    def spread(self) -> str:
        """The uncertainty in figures: `0.826 to 0.858` or `± 0.004`."""
        if self.std is not None:
            return f"± {number_format.score(self.std)}"
        return f"{number_format.score(self.low)} to {number_format.score(self.high)}"

    def sizes(self, names: Iterable[str], *, short: bool = False) -> tuple[str, ...]:
        """Means over the seeds of numeric fields, in figures; large counts in three figures or so if `short`."""
        count = number_format.short_count if short else number_format.count
        return tuple(_WRITTEN.get(name, count)(self.mean(name)) for name in names)

    def overlaps(self, other: "Summary") -> bool:
        """True if the two intervals touch."""
        return self.low <= other.high and other.low <= self.high


def read_rows(folder: Path) -> tuple[Row, ...]:
    """The rows of a study's folder.

    Raises:
        TombolaError: the folder holds no study, the study has no results yet, or a row is damaged.
    """
    read_record(folder)
    path = folder / "results.jsonl"
    lines = read_lines(path) if path.is_file() else []
    if not lines:
        raise TombolaError(f"the study in {folder} has no results yet; let `tombola study` go on and try again")
    rows = tuple(read_row(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1))
    for number, row in enumerate(rows, start=1):
        for name in ("task", "metric"):
            if (found := getattr(row, name)) != (first := getattr(rows[0], name)):
                raise TombolaError(f"{path}, line {number}: the {name} is {found!r}, and {first!r} before; {MEND}")
    return rows


def read_row(values: Mapping[str, object], where: str) -> Row:
    """Read one line.

    Raises:
        TombolaError: a field is missing, of another type or out of bounds, or names an unknown method, ticket or stage.
    """
    row = read(Row, values, where)
    for name, value, known in (
        ("method", row.method, ("none", *METHODS, *in_order([row.method]))),
        ("ticket", row.ticket, SCORED),
        ("stage", row.stage, STAGES),
    ):
        if value not in known:
            raise TombolaError(
                f"{where}: unknown {name} {value!r}; known: {', '.join(known)}; "
                "this Tombola may be older than the study"
            )
    known_metric = METRICS.get(row.metric)
    worst, best = (known_metric and known_metric.scale) or (-math.inf, math.inf)
    for what, found in (("score", row.score), ("score_low", row.score_low), ("score_high", row.score_high)):
        if not worst - _ROUNDING <= found <= best + _ROUNDING:
            raise TombolaError(
                f"{where}: the {what} is {found:g}, and {row.metric} lies from {worst:g} to {best:g}; {MEND}"
            )
    if row.score_low > row.score_high:
        raise TombolaError(f"{where}: the interval ends at {row.score_high:g}, before it begins; {MEND}")
    return row


def summarise(rows: Iterable[Row]) -> tuple[Summary, ...]:
    """Group rows over seeds: full model and guessing first, then method by method, ticket by ticket, stage by stage.

    A study that was resumed may have written a row twice; the last one counts.
    """
    groups: dict[tuple[str, str, str], dict[int, Row]] = {}
    for row in rows:
        groups.setdefault((row.method, row.ticket, row.stage), {})[row.seed] = row
    methods = ("none", *in_order(method for method, *_ in groups))
    ordered = sorted(groups, key=lambda key: (methods.index(key[0]), SCORED.index(key[1]), STAGES.index(key[2])))
    return tuple(Summary(*key, rows=tuple(groups[key][seed] for seed in sorted(groups[key]))) for key in ordered)


def sites_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """The kinds of sites that the models of some rows have; neurons, which every MLP has, where they are pruned."""
    full = [row for row in rows if row.ticket == "full"]
    if not full:
        return "heads", "mlps"
    found = [kind for kind in ("heads", "mlps", "channels") if any(getattr(row, kind) for row in full)]
    pruned = any("neurons" in METHODS[row.method].sites for row in rows if row.method in METHODS)
    return tuple([*found, "neurons"] if pruned else found)


def scored(summary: Summary) -> str:
    """A score with its deviation over seeds, or its interval over examples in brackets."""
    score = number_format.score(summary.score)
    return f"{score} {summary.spread}" if summary.std is not None else f"{score} ({summary.spread})"
