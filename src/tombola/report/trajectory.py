"""The path of a search: what every pass removed and what was left of the score."""

from dataclasses import dataclass
from pathlib import Path

from tombola.report import figures
from tombola.search import Step, read_steps

_NAMED = 8
"""Heads that are named one by one before the rest is only counted."""


@dataclass(frozen=True)
class Trajectory:
    """The search of one seed, over or not; the first step is the full model."""

    pruning: str
    seed: int
    steps: tuple[Step, ...]

    @property
    def full(self) -> Step:
        """The full model, before any cut."""
        return self.steps[0]

    @property
    def good(self) -> Step:
        """The last state at or above the threshold: the good ticket, once the search is over."""
        return self.before(len(self.steps))

    def before(self, index: int) -> Step:
        """The state that the step at `index` cut: the last one before it that held."""
        return [step for step in self.steps[:index] if step.holds][-1]


def read_trajectory(path: Path, pruning: str, seed: int) -> Trajectory | None:
    """Read a `search.jsonl`; None where there is none yet.

    Raises:
        TombolaError: a line is damaged.
    """
    return Trajectory(pruning, seed, read_steps(path)) if path.is_file() else None


def removed(step: Step) -> str:
    """What a step removed, in words."""
    parts = []
    if weights := step.removed.get("weights"):
        parts.append(figures.plural(weights, "weight"))
    if heads := [f"{layer}.{head}" for layer, head in step.removed.get("heads", [])]:
        parts.append(_named("head", heads))
    if mlps := [str(layer) for layer in step.removed.get("mlps", [])]:
        parts.append(_named("MLP", mlps))
    return "; ".join(parts) or "nothing"


def _named(one: str, names: list[str]) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{one}{'' if len(names) == 1 else 's'} {', '.join(names[:_NAMED])}{rest}"
