"""The rows of `results.jsonl` as values, and what several seeds say together."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tombola.errors import TombolaError
from tombola.report import figures
from tombola.report.fields import Fields
from tombola.report.names import STAGES, TICKETS
from tombola.store import read_lines
from tombola.ticket import PRUNINGS

_PRUNING_ORDER = ("none", *PRUNINGS)


@dataclass(frozen=True)
class Row:
    """One scored model of one seed; the names are those of `results.jsonl`, `low` and `high` its 95 % interval."""

    model: str
    task: str
    seed: int
    pruning: str
    ticket: str
    stage: str
    metric: str
    score: float
    low: float | None
    high: float | None
    n: int
    heads: int | None
    mlps: int | None
    weights: int | None
    sparsity: float | None
    parameters: int | None
    bytes: int | None
    seconds: float | None
    more: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, fields: Fields) -> "Row":
        """Read one line.

        Raises:
            TombolaError: a field is missing, of another type, or names an unknown pruning, ticket or stage.
        """
        for name, known in (("pruning", _PRUNING_ORDER), ("ticket", TICKETS), ("stage", STAGES)):
            if fields.text(name) not in known:
                raise TombolaError(
                    f"{fields.where}: unknown {name} {fields.text(name)!r}; known: {', '.join(known)}; "
                    "this Tombola may be older than the study"
                )
        more = fields.inside("more")
        return cls(
            model=fields.text("model"),
            task=fields.text("task"),
            seed=fields.count("seed"),
            pruning=fields.text("pruning"),
            ticket=fields.text("ticket"),
            stage=fields.text("stage"),
            metric=fields.text("metric"),
            score=fields.number("score"),
            low=fields.maybe_number("score_low"),
            high=fields.maybe_number("score_high"),
            n=fields.count("n"),
            heads=fields.maybe_count("heads"),
            mlps=fields.maybe_count("mlps"),
            weights=fields.maybe_count("weights"),
            sparsity=fields.maybe_number("sparsity"),
            parameters=fields.maybe_count("parameters"),
            bytes=fields.maybe_count("bytes"),
            seconds=fields.maybe_number("seconds"),
            more=tuple((name, more.number(name)) for name in more.values),
        )


@dataclass(frozen=True)
class Summary:
    """One model of the study over all its seeds.

    Attributes:
        rows: one row for each seed, in the order of the seeds.
    """

    pruning: str
    ticket: str
    stage: str
    rows: tuple[Row, ...]

    def mean(self, name: str) -> float | None:
        """Mean of a numeric field over the seeds; None where a seed has none, or for the majority (no network)."""
        if self.ticket == "majority":
            return None
        values = [getattr(row, name) for row in self.rows]
        return None if any(value is None for value in values) else math.fsum(values) / len(values)

    @property
    def score(self) -> float:
        """Mean score."""
        return math.fsum(row.score for row in self.rows) / len(self.rows)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds, as in the verdict; None for one seed."""
        return statistics.stdev(row.score for row in self.rows) if len(self.rows) > 1 else None

    @property
    def low(self) -> float | None:
        """Lower end: of the 95 % interval for one seed, mean − std for several."""
        return self.rows[0].low if self.std is None else self.score - self.std

    @property
    def high(self) -> float | None:
        """Upper end: of the 95 % interval for one seed, mean + std for several."""
        return self.rows[0].high if self.std is None else self.score + self.std

    @property
    def spread(self) -> str:
        """The uncertainty in figures: `0.826 to 0.858` or `± 0.004`; empty where none is known."""
        if self.std is not None:
            return f"± {figures.score(self.std)}"
        if self.low is None or self.high is None:
            return ""
        return f"{figures.score(self.low)} to {figures.score(self.high)}"

    def overlaps(self, other: "Summary") -> bool:
        """Whether the two intervals touch; an unknown interval is a point."""
        low, high = (self.score if end is None else end for end in (self.low, self.high))
        other_low, other_high = (other.score if end is None else end for end in (other.low, other.high))
        return low <= other_high and other_low <= high


def read_rows(folder: Path) -> tuple[Row, ...]:
    """The rows of a study's folder.

    Raises:
        TombolaError: the folder holds no study, the study has no results yet, or a row is damaged.
    """
    if not (folder / "study.json").is_file():
        raise TombolaError(f"{folder} holds no study (study.json is missing); make one with `tombola study`")
    path = folder / "results.jsonl"
    lines = read_lines(path) if path.is_file() else []
    if not lines:
        raise TombolaError(f"the study in {folder} has no results yet; let `tombola study` go on and try again")
    return tuple(Row.parse(Fields(line, f"{path}, line {number}")) for number, line in enumerate(lines, start=1))


def summarise(rows: Iterable[Row]) -> tuple[Summary, ...]:
    """Group rows over seeds: full model and majority first, then pruning by pruning, ticket by ticket, stage by stage.

    A study that was resumed may have written a row twice; the last one counts.
    """
    groups: dict[tuple[str, str, str], dict[int, Row]] = {}
    for row in rows:
        groups.setdefault((row.pruning, row.ticket, row.stage), {})[row.seed] = row
    ordered = sorted(
        groups, key=lambda key: (_PRUNING_ORDER.index(key[0]), TICKETS.index(key[1]), STAGES.index(key[2]))
    )
    return tuple(
        Summary(*key, rows=tuple(row for _, row in sorted(groups[key].items(), key=lambda item: item[0])))
        for key in ordered
    )
