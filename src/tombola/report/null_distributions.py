"""Agreement of tickets as a comparison's JSON states it: every statistic beside that of random tickets."""

from collections.abc import Iterator
from dataclasses import dataclass

from tombola.report.optional_json import Fields

CONTROLS = ("random", "random-layerwise")


@dataclass(frozen=True)
class NullDistributionSummary:
    """The distribution of a statistic over random tickets: mean, 2.5 % and 97.5 % quantile.

    `below` is the share of the draws below the observed value.
    """

    mean: float
    low: float
    high: float
    below: float | None

    @property
    def word(self) -> str:
        """Word for where the observed value lies: `above`, `within` or `below` the middle 95 %."""
        if self.below is None or 0.025 <= self.below <= 0.975:
            return "within"
        return "above" if self.below > 0.5 else "below"


@dataclass(frozen=True)
class Observed:
    """Observed statistic of some tickets; `value` is None where it is undefined, and `reason` says why."""

    value: float | None
    reason: str
    null_distributions: dict[str, NullDistributionSummary]


@dataclass(frozen=True)
class Agreeing:
    """The agreement of the tickets of one task, or between tasks, on one kind of site or on weights."""

    ticket_kind: str
    task: str
    kind: str
    fields: Fields

    @property
    def n(self) -> int:
        """Number of tickets."""
        return self.fields.get("n", int) or 0

    @property
    def sites(self) -> int:
        """Number of sites or weights, surviving or not."""
        return self.fields.get("sites", int) or 0

    def number(self, name: str) -> float | None:
        """A field that has no distribution."""
        return self.fields.get(name, float)

    def observed(self, name: str) -> Observed:
        """A statistic, by its name in `tombola.analysis.agreement.coefficients.Agreement`."""
        drawn = {}
        for control in CONTROLS:
            found = self.fields.inside("null_distribution").inside(control).inside(name)
            mean, low, high = (found.get(part, float) for part in ("mean", "low", "high"))
            if mean is not None and low is not None and high is not None:
                drawn[control] = NullDistributionSummary(mean, low, high, found.get("below", float))
        reason = self.fields.inside("undefined").get(name, str) or ""
        return Observed(self.fields.get(name, float), reason, drawn)


def kinds_of(comparison: Fields, ticket_kind: str) -> Iterator[Agreeing]:
    """Each task's tickets of one kind, by kinds of sites; those between tasks come last, under no task's name."""
    found = comparison.inside("kinds").inside(ticket_kind)
    kinds = ticket_kind.split("+")
    places = [(task, found.inside("tasks").inside(task)) for task in found.inside("tasks").values]
    for task, of_task in [*places, ("", found.inside("between_tasks"))]:
        for kind in kinds:
            if of_task.inside(kind).values:
                yield Agreeing(ticket_kind, task, kind, of_task.inside(kind))
