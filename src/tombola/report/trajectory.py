"""The path of a search: what every pass removed and what was left of the score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tombola.errors import TombolaError
from tombola.report import figures
from tombola.report.fields import Fields
from tombola.store import read_lines

_NAMED = 8
"""Heads that are named one by one before the rest is only counted."""


@dataclass(frozen=True)
class Importance:
    """Importance of every site, scaled to [0, 1]; None where a site is pruned."""

    heads: tuple[tuple[float | None, ...], ...]
    mlps: tuple[float | None, ...]


@dataclass(frozen=True)
class Pass:
    """One line of `search.jsonl`: a cut, and the score after it."""

    iteration: int
    phase: str
    removed: str
    heads: int
    mlps: int
    weights: int
    sparsity: float
    score: float
    holds: bool
    importance: Importance | None


@dataclass(frozen=True)
class Trajectory:
    """The search of one seed; the first pass is the full model."""

    pruning: str
    seed: int
    passes: tuple[Pass, ...]

    @property
    def full(self) -> Pass:
        """The full model, before any cut."""
        return self.passes[0]

    @property
    def good(self) -> Pass:
        """The last state at or above the threshold: the good ticket, once the search is over."""
        return [step for step in self.passes if step.holds][-1]

    def before(self, index: int) -> Pass:
        """The state that the pass at `index` cut: the last one before it that held."""
        return [step for step in self.passes[:index] if step.holds][-1]


def read_trajectory(path: Path, pruning: str, seed: int) -> Trajectory | None:
    """Read a `search.jsonl`; None where there is none yet.

    Raises:
        TombolaError: a line is damaged.
    """
    if not path.is_file():
        return None
    lines = read_lines(path)
    passes = tuple(_pass(Fields(line, f"{path}, line {number}")) for number, line in enumerate(lines, start=1))
    if not passes:
        return None
    if not passes[0].holds:
        raise TombolaError(f"{path} does not begin with the full model; delete it and start again")
    return Trajectory(pruning, seed, passes)


def _pass(fields: Fields) -> Pass:
    return Pass(
        iteration=fields.count("iteration"),
        phase=fields.text("phase"),
        removed=_removed(fields.inside("removed")),
        heads=fields.count("heads"),
        mlps=fields.count("mlps"),
        weights=fields.count("weights"),
        sparsity=fields.number("sparsity"),
        score=fields.number("score"),
        holds=fields.flag("holds"),
        importance=_importance(fields.inside("importance")),
    )


def _removed(fields: Fields) -> str:
    parts = []
    if fields.maybe_count("weights"):
        parts.append(figures.plural(fields.count("weights"), "weight"))
    for name, one in (("heads", "head"), ("mlps", "MLP")):
        sites = fields.items(name) if name in fields.values else []
        if sites:
            parts.append(f"{one if len(sites) == 1 else one + 's'} {_list([_site(site) for site in sites])}")
    return "; ".join(parts) or "nothing"


def _site(site: object) -> str:
    return ".".join(str(index) for index in site) if isinstance(site, list) else str(site)


def _list(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names) if rest <= 0 else f"{', '.join(names[:_NAMED])} and {rest} more"


def _importance(fields: Fields) -> Importance | None:
    if not fields.values:
        return None
    heads = []
    for layer in fields.items("heads"):
        if not isinstance(layer, list):
            raise TombolaError(f"{fields.where}: 'heads' should be a list of lists; run the study again")
        heads.append(tuple(_value(value, fields) for value in layer))
    return Importance(tuple(heads), tuple(_value(value, fields) for value in fields.items("mlps")))


def _value(value: object, fields: Fields) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise TombolaError(f"{fields.where}: an importance should be a number, found {value!r}; run the study again")
    return None if value is None else float(value)
