"""Statistics of scores: bootstrap intervals over examples, spread over seeds, the verdict."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap, t

from tombola.foundations.errors import check_choice
from tombola.metrics.resampling import LEVEL, RESAMPLES
from tombola.metrics.scores import Array, Metric, metric_title

BATCH_CELLS = 2**21
"""Array cells that one batch of resamples may take: about 50 MB of working memory."""
_ROUNDING = 1e-12
"""Equal scores averaged over seeds may differ by this much."""


def mean_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (over n - 1) of seeds, 0 for a single value; a ValueError for none."""
    if not len(values):
        raise ValueError("no values to average")
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def interval(
    metric: Metric,
    predictions: ArrayLike,
    references: ArrayLike,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a score over the examples.

    Predictions are [n], or [seeds, n] for the interval of the mean score of these seeds' models, over examples alone;
    references are [n]. Where examples are vectors, [n, features] stands for [n]. Where resampled examples alone make a
    score worse (`Metric.biased`), the interval is moved by as much as the resamples' mean lies off the score. A mean
    over examples has an exact end where all say the same (`unseen`); any other score of a single example has an
    interval of no width. A ValueError where the shapes do not fit, or there are no examples.
    """
    p, r = _seeds_by_examples(metric, predictions, references)

    def score(drawn: Array) -> Array:
        return _mean_score(metric, p, r, drawn)

    ends = _percentiles(score, len(r), p.size, seed, resamples, level, centred=metric.biased)
    return ends if metric.scale is None else unseen(ends, len(r), level, metric.scale)


def paired_difference(
    metric: Metric,
    a: ArrayLike,
    b: ArrayLike,
    references: ArrayLike,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    fixed_seeds: bool = False,
) -> tuple[float, float, float]:
    """Difference by which `a` is better than `b`, with its interval: (difference, low, high).

    Positive means that `a` is better, also where a lower score is. Both are scored on the same resampled examples. `a`
    and `b` are [n], or [seeds, n] for the difference of mean scores; references are [n]. ValueErrors as in `interval`.

    The interval is the percentile bootstrap's over examples. Those of several seeds answer the same examples and yet
    vary together, so that other seeds would differ by more than other examples do: each end is as far off as that of
    the bootstrap and that of Student's t over the seeds' differences are together, in squares (Zou & Donner 2008). With
    `fixed_seeds` it speaks of these seeds' models alone, and goes by the examples.
    """
    p, r = _seeds_by_examples(metric, a, references)
    q, _ = _seeds_by_examples(metric, b, references)
    sign = 1.0 if metric.higher_is_better else -1.0

    def difference(drawn: Array) -> Array:
        return sign * (_mean_score(metric, p, r, drawn) - _mean_score(metric, q, r, drawn))

    ends = _percentiles(difference, len(r), p.size + q.size, seed, resamples, level, centred=metric.biased)
    low, high = ends
    if metric.scale is not None:
        widest = metric.scale[1] - metric.scale[0]
        low, high = unseen(ends, len(r), level, (-widest, widest))
    found, reach = float(difference(np.arange(len(r)))), 0.0
    by_seed = _scores(metric, p, r, np.arange(len(r))) - _scores(metric, q, r, np.arange(len(r)))
    if (seeds := len(by_seed)) > 1 and not fixed_seeds:
        reach = float(t.ppf((1 + level) / 2, seeds - 1) * by_seed.std(ddof=1)) / math.sqrt(seeds)
    return found, found - math.hypot(found - low, reach), found + math.hypot(high - found, reach)


def unseen(ends: tuple[float, float], n: int, level: float, scale: tuple[float, float]) -> tuple[float, float]:
    """Ends of the interval of a mean over n examples, each from the lower to the upper end of the `scale`.

    Examples that all say the same give the bootstrap nothing to draw, which does not say that none ever is otherwise:
    up to a share 1 - (α/2)^(1/n) of all examples may be (Clopper & Pearson 1934), and at the other end of the scale.
    """
    low, high = ends
    if not high - low <= _ROUNDING:
        return ends
    share = 1 - ((1 - level) / 2) ** (1 / n)
    return low - share * (low - scale[0]), high + share * (scale[1] - high)


def _seeds_by_examples(metric: Metric, predictions: ArrayLike, references: ArrayLike) -> tuple[Array, Array]:
    p, r = np.asarray(predictions), np.asarray(references)
    axes = metric.axes
    if p.ndim not in (axes, axes + 1) or r.ndim != axes or r.size == 0 or p.shape[-axes:] != r.shape or p.size == 0:
        shape = "[n]" if axes == 1 else "[n, features]"
        raise ValueError(
            f"predictions {p.shape} must be {shape}, or as many for each seed, where references are {r.shape}, n > 0"
        )
    p = p if p.ndim > axes else p[None]
    return p if metric.counts is None else metric.counts(p, r), r


def _scores(metric: Metric, predictions: Array, references: Array, drawn: Array) -> Array:
    """Scores of the drawn examples [..., n] by seed, of predictions (or counts) [seeds, n, ...] -> [seeds, ...]."""
    if metric.of_sums is not None:
        return np.asarray(metric.of_sums(predictions[:, drawn].sum(-2)))
    return np.asarray(metric.compute(predictions[:, drawn], references[drawn]))


def _mean_score(metric: Metric, predictions: Array, references: Array, drawn: Array) -> Array:
    """Scores of the drawn examples [..., n], averaged over the seeds of predictions [seeds, n, ...] -> [...]."""
    return np.asarray(_scores(metric, predictions, references, drawn).mean(axis=0))


def _percentiles(
    statistic: Callable[[Array], Array], n: int, cells: int, seed: int, resamples: int, level: float, *, centred: bool
) -> tuple[float, float]:
    """The interval of a statistic of drawn example numbers [..., n] -> [...]; one resample draws from `cells` cells."""
    value = float(statistic(np.arange(n)))
    if n == 1 or math.isnan(value):  # SciPy refuses to resample the one and warns of the other.
        return value, value
    result = bootstrap(
        (np.arange(n),),
        lambda drawn, axis: statistic(drawn),
        n_resamples=resamples,
        batch=max(1, BATCH_CELLS // cells),
        vectorized=True,
        axis=-1,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    bias = float(result.bootstrap_distribution.mean()) - value if centred else 0.0
    return float(result.confidence_interval.low) - bias, float(result.confidence_interval.high) - bias


Left = Literal["nothing", "part", "all"]
"""Extent of a model that a ticket leaves."""


def signed(value: float) -> str:
    """`+0.012`; without the sign that rounding leaves before 0."""
    return f"{round(value, 3) + 0:+.3f}"


def better_or_worse(difference: float) -> str:
    """`0.012 better`, `0.012 worse` or `level`."""
    apart = f"{abs(difference):.3f}"
    return "level" if float(apart) == 0 else f"{apart} {'better' if difference > 0 else 'worse'}"


@dataclass(frozen=True)
class Verdict:
    """Verdict on a ticket: whether it matches the full model, and what that rests on.

    Attributes:
        matches: the verdict.
        metric: the metric's name.
        mean, std: the ticket's over seeds; `std` is the sample standard deviation, 0 for one seed.
        full_mean, full_std: the full model's.
        difference: ticket minus full, turned so that positive means a better ticket.
        low, high: its 95 % interval, see `paired_difference`: over examples and seeds, or over examples alone where the
            rule is `bootstrap`.
        n_seeds, n_examples: how many of each.
        chance: the score of guessing without looking at the inputs.
        learned: whether the full model clearly beats chance: its 95 % bootstrap interval over examples lies beyond
            it. If not, a ticket that matches it says nothing.
        empty, alike: of how many seeds nothing of the ticket is left, and in how many others it answers every example
            alike, as who guesses does. With either it matches nothing.
        entire: of how many seeds nothing is removed from the ticket, as a search leaves it that finds none: it is the
            full model, and matches itself.
        rule: `seeds`: no worse than one standard deviation of the full model below its mean; `bootstrap`, for one seed
            or one full model: the interval contains 0 or lies above it.
    """

    matches: bool
    metric: str
    mean: float
    std: float
    full_mean: float
    full_std: float
    difference: float
    low: float
    high: float
    n_seeds: int
    n_examples: int
    chance: float
    learned: bool
    rule: Literal["seeds", "bootstrap"]
    empty: int = 0
    alike: int = 0
    entire: int = 0

    @property
    def says_nothing(self) -> str:
        """Reason why the ticket's score says nothing of a ticket; empty where it does."""
        parts = ["nothing of it is left"] * (self.empty > 0) + ["it answers every example alike"] * (self.alike > 0)
        parts += ["it is the full model itself, of which nothing is removed"] * (self.entire > 0)
        found = self.empty + self.alike + self.entire
        return " or ".join(parts) + (f" in {found} of {self.n_seeds} seeds" if 0 < found < self.n_seeds else "")

    def sentence(self, name: str, *, trained: bool = True) -> str:
        """The verdict on the ticket called `name`, which was `trained` again or not, in one or two plain sentences."""
        what = metric_title(self.metric)
        if not self.learned:
            return (
                f"Nothing can be said of {name}, because the full model does not clearly beat guessing: {what} "
                f"{self.full_mean:.3f}, chance {self.chance:.3f}, the ticket {self.mean:.3f}. Train the full model on "
                f"more rows or for longer."
            )
        seeds = f" and {self.n_seeds} seeds" if self.rule == "seeds" else ""
        difference = (
            f"{better_or_worse(self.difference)} (95 % interval of the difference {signed(self.low)} to "
            f"{signed(self.high)} over {self.n_examples:,} examples{seeds})"
        )
        if self.says_nothing:
            seeds = f"Over {self.n_seeds} seeds" if self.n_seeds > 1 else "With one seed"
            return (
                f"{seeds}, {name} says nothing, because {self.says_nothing}: {what} {self.mean:.3f}, "
                f"chance {self.chance:.3f}, the full model {self.full_mean:.3f}; {difference}."
            )
        if self.rule == "bootstrap":
            scores = f"{what} {self.mean:.3f} against the full model's {self.full_mean:.3f}; {difference}"
            lost = f"{name} falls short of the full model"
            found = f"no loss of {name} against the full model can be shown" if self.matches else lost
            if trained and self.n_seeds == 1:
                return f"With one seed, {found}: {scores}. How much training runs vary is unknown from one seed."
            why = f"The {self.n_seeds} seeds share one full model" if trained else "It was not trained again"
            return f"{found[:1].upper()}{found[1:]}: {scores}. {why}."
        scores = (
            f"mean {what} {self.mean:.3f} ± {self.std:.3f} against the full model's "
            f"{self.full_mean:.3f} ± {self.full_std:.3f} (± sample standard deviation)"
        )
        found, than = ("matches", "no more than") if self.matches else ("does not match", "more than")
        found = f"{name} {found} the full model ({than} one of the latter's standard deviations worse)"
        # The two criteria answer different questions; where they part, say so rather than hide one.
        caution = ""
        if self.matches and self.high < 0:
            caution = " The interval lies below 0, so a small loss is likely all the same."
        elif not self.matches and self.high >= 0:
            caution = " The interval does not rule out that there is no loss."
        return f"Over {self.n_seeds} seeds, {found}: {scores}; {difference}.{caution}"


def verdict(
    metric: Metric,
    full: Sequence[Array],
    ticket: Sequence[Array],
    references: ArrayLike,
    seed: int,
    resamples: int = RESAMPLES,
    *,
    shared: bool = False,
    left: Sequence[Left] = (),
) -> Verdict:
    """Judge a ticket against the full model from the predictions of both, [n] for each seed; `references` are [n].

    Where one full model is `shared` by all seeds, it was never trained and says nothing of how much training varies:
    the verdict goes by the bootstrap then, as with one seed. `left` tells of each seed how much of the model its ticket
    leaves; without it, each leaves a part.

    Raises:
        ValueError: there are no seeds, the two have different numbers of seeds, or the shapes do not fit.
    """
    if not len(full) or len(full) != len(ticket):
        raise ValueError(f"{len(full)} full models and {len(ticket)} tickets: give the same seeds for both")
    for extent in left:
        check_choice("extent of a ticket", extent, get_args(Left))
    by_seeds = len(full) > 1 and not shared
    difference, low, high = paired_difference(
        metric, np.stack(ticket), np.stack(full), references, seed=seed, resamples=resamples, fixed_seeds=not by_seeds
    )
    mean, std = mean_std([metric.score(predictions, references) for predictions in ticket])
    full_mean, full_std = mean_std([metric.score(predictions, references) for predictions in full])
    chance, left = metric.chance(np.asarray(references)), left or ["part"] * len(full)
    alike = sum(_alike(metric, its) for its, extent in zip(ticket, left, strict=True) if extent == "part")
    holds = difference >= -full_std - _ROUNDING if by_seeds else high >= 0
    return Verdict(
        matches=bool(holds) and not alike and {*left} == {"part"},
        metric=metric.name,
        mean=mean,
        std=std,
        full_mean=full_mean,
        full_std=full_std,
        difference=difference,
        low=low,
        high=high,
        n_seeds=len(full),
        n_examples=len(np.asarray(references)),
        chance=chance,
        learned=metric.beats(*interval(metric, np.stack(full), references, seed=seed, resamples=resamples), chance),
        rule="seeds" if by_seeds else "bootstrap",
        empty=left.count("nothing"),
        alike=alike,
        entire=left.count("all"),
    )


def _alike(metric: Metric, predictions: Array) -> bool:
    """True if predictions of labels or values are the same of every example, but for rounding."""
    if metric.alike is not None:
        return metric.alike(predictions)
    judges_each = metric.kind in ("classes", "binary", "ranking", "values")
    return judges_each and bool(np.ptp(predictions) <= 1e-6 * np.abs(predictions).max())
