"""The retention profile: what is left of each ability along a search, and in the tickets that were made of it."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from tombola.foundations.json_dataclasses import JsonRecord
from tombola.pruning.search.records import Search
from tombola.tasks.base import Predictions
from tombola.tasks.capabilities import HasAbilities, Retained


@dataclass(frozen=True)
class Scored:
    """A ticket at a stage: `good`, `random`, ...; `pruned` or `retrained`."""

    ticket: str
    stage: str


@dataclass(frozen=True)
class AbilityRetention:
    """Retention of one ability in one pruned model.

    Attributes:
        raw, raw_low, raw_high: its raw score (accuracy, or bits per byte) with the 95 % bootstrap interval.
        share: above chance, in shares of the full model's; None where the full model is at chance.
        low, high: the 95 % interval of `share`, by Fieller's theorem over the examples of both models; None with it,
            and where nothing bounds it.
    """

    raw: float
    raw_low: float
    raw_high: float
    share: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, found: Retained) -> Self:
        """Build it from a measured retention."""
        pruned = found.pruned
        return cls(pruned.raw, pruned.raw_low, pruned.raw_high, found.share, found.low, found.high)


@dataclass(frozen=True)
class Point:
    """Point of an ability's curve: one iteration of a search, and the number of prunable `weights` that it left."""

    iteration: int
    sparsity: float
    weights: int
    retained: AbilityRetention


@dataclass(frozen=True)
class TicketRetention:
    """Retention of an ability in a ticket."""

    scored: Scored
    retained: AbilityRetention


@dataclass(frozen=True)
class Fall:
    """Sparsity at which an ability falls under a threshold, by straight lines between the points of a search.

    Attributes:
        sparsity: where the share itself does; None if it never did.
        low, high: where the lower and the upper end of its interval do; None likewise.
    """

    sparsity: float | None
    low: float | None
    high: float | None

    def in_words(self, form: str = "{} % ({} to {})") -> str:
        """Percent, `31 % (25 to 38)` or in another form; to the `end` of a search where the upper end never fell."""
        if self.sparsity is None:
            return "never"
        high = "end" if self.high is None else f"{100 * self.high:.0f}"
        return form.format(f"{100 * self.sparsity:.0f}", f"{100 * (self.low or 0.0):.0f}", high)


@dataclass(frozen=True)
class AbilityCurve:
    """Curve of one ability along a search.

    Attributes:
        name, title: of the ability.
        measure: `accuracy` or `bits per byte`.
        chance: what guessing reaches, of the raw score.
        n: examples.
        learned: whether the full model has the ability at all; otherwise nothing can be retained.
        full, full_low, full_high: raw score of the full model with its interval.
        points: iteration by iteration, without the full model.
        tickets: what tickets of the good one's size have kept, pruned and retrained.
        fall: where it falls under the threshold.
    """

    name: str
    title: str
    measure: str
    chance: float
    n: int
    learned: bool
    full: float
    full_low: float
    full_high: float
    points: tuple[Point, ...]
    tickets: tuple[TicketRetention, ...]
    fall: Fall


@dataclass(frozen=True)
class RetentionProfile(JsonRecord):
    """Curves of all abilities along one search, held against a threshold; `good` is the good ticket's sparsity."""

    method: str
    threshold: float
    good: float
    curves: tuple[AbilityCurve, ...]


@dataclass(frozen=True)
class ProfileOptions:
    """Options of a retention profile.

    Attributes:
        method: of the search.
        split: on which the search ran.
        threshold: the share under which an ability counts as fallen.
        seed, resamples: of the bootstrap.
    """

    method: str
    split: str = "dev"
    threshold: float = 0.9
    seed: int = 0
    resamples: int = 1000


def retention_profile(
    task: HasAbilities,
    found: Search,
    predictions: Sequence[Predictions],
    tickets: Mapping[Scored, Predictions],
    full: Predictions,
    options: ProfileOptions,
) -> RetentionProfile:
    """Retention of each ability, iteration by iteration and ticket by ticket.

    Args:
        predictions: [examples] of each of its iterations, on the options' split; the first are the full model's.
        tickets: those of tickets, on `dev`.
        full: those of the full model, on `dev`.
    """
    retained = functools.partial(task.retained, seed=options.seed, resamples=options.resamples)
    along = [retained(options.split, predictions[0], one) for one in predictions[1:]]
    of_tickets = {scored: retained("dev", full, one) for scored, one in tickets.items()}
    # A search that could not cut once leaves the full model alone.
    whole = along[0] if along else retained(options.split, predictions[0], predictions[0])
    curves = []
    for number, was in enumerate(one.full for one in whole):
        points = tuple(
            Point(one.iteration, one.sparsity, one.weights, AbilityRetention.of(kept[number]))
            for one, kept in zip(found.passes[1:], along, strict=True)
        )
        curves.append(
            AbilityCurve(
                name=was.ability,
                title=was.title,
                measure=was.measure,
                chance=was.chance,
                n=was.n,
                learned=was.learned,
                full=was.raw,
                full_low=was.raw_low,
                full_high=was.raw_high,
                points=points,
                tickets=tuple(
                    TicketRetention(scored, AbilityRetention.of(kept[number])) for scored, kept in of_tickets.items()
                ),
                fall=fall(points, options.threshold),
            )
        )
    return RetentionProfile(options.method, options.threshold, found.last.sparsity, tuple(curves))


def fall(points: Sequence[Point], threshold: float) -> Fall:
    """Sparsity at which the retained share, and either end of its interval, fall under the threshold along a search."""
    curves = ([(point.sparsity, getattr(point.retained, end)) for point in points] for end in ("share", "low", "high"))
    return Fall(*(crossing(curve, threshold) for curve in curves))


def crossing(points: Sequence[tuple[float, float | None]], threshold: float) -> float | None:
    """Sparsity at which a curve first falls under the threshold, by straight lines from (0, 1) through its points.

    Args:
        points: sparsity and share, in any order: refining phases of a search go back to a denser state, and a curve
            goes by sparsity. Those without a share are left out.
        threshold: at most 1.

    Returns:
        None if the curve never falls under it.
    """
    before, share_before = 0.0, 1.0
    for sparsity, share in sorted(((x, y) for x, y in points if y is not None), key=lambda point: point[0]):
        if share < threshold:
            return before + (sparsity - before) * (share_before - threshold) / (share_before - share)
        before, share_before = sparsity, share
    return None
