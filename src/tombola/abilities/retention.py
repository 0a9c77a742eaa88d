"""What is left of each ability after pruning: its share of the full model's, above chance, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from tombola import statistics
from tombola.abilities.ability import Ability
from tombola.abilities.score import Scale, raw_score, understanding
from tombola.metrics import Array
from tombola.statistics import RESAMPLES

SIGNIFICANCE = 0.05
"""Of the one-sided test that the full model has an ability at all."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """One ability of one model.

    Attributes:
        ability: its name.
        measure: `accuracy` or `bits per byte`.
        raw, raw_low, raw_high: the raw score with its 95 % bootstrap interval over examples.
        corrected: above chance: 0 for guessing, 1 for perfection.
        chance: what guessing reaches, of the raw score.
        learned: whether the model is clearly better than chance.
        n: examples.
    """

    ability: str
    measure: str
    raw: float
    raw_low: float
    raw_high: float
    corrected: float
    chance: float
    learned: bool
    n: int


@dataclass(frozen=True)
class Retained:
    """How much of one ability a pruned model has kept.

    Attributes:
        full, pruned: the ability of each.
        share: corrected score of the pruned model in shares of the full model's; None where the full model is at
            chance, as nothing can be retained that was never there.
        low, high: its 95 % bootstrap interval, both models on the same resampled examples; None with `share`.
    """

    full: Measured
    pruned: Measured
    share: float | None
    low: float | None
    high: float | None


def measure(
    abilities: Sequence[Ability], predictions: Array, references: Array, *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[Measured, ...]:
    """Each ability from predictions [n] and references [n] of the split `dev`; see `tombola.abilities.score`."""
    return tuple(
        _measured(number, ability, np.asarray(predictions, dtype=np.float64), references, seed, resamples)
        for number, ability in enumerate(abilities)
    )


def retention(
    abilities: Sequence[Ability],
    full: Array,
    pruned: Array,
    references: Array,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[Retained, ...]:
    """What the pruned model has kept of each ability, from the predictions [n] of both on the split `dev`."""
    before = measure(abilities, full, references, seed=seed, resamples=resamples)
    after = measure(abilities, pruned, references, seed=seed, resamples=resamples)
    found = []
    for number, (ability, was, now) in enumerate(zip(abilities, before, after, strict=True)):
        if not was.learned:
            found.append(Retained(was, now, None, None, None))
            continue
        chosen = np.floor(references) == number
        low, high = _ratio(ability, full[chosen], pruned[chosen], references[chosen], number, seed, resamples)
        found.append(Retained(was, now, now.corrected / was.corrected, low, high))
    return tuple(found)


def learned(measured: Sequence[Measured]) -> tuple[str, ...]:
    """Names of the abilities that a model has: those whose retention can be told, and that a score should count."""
    return tuple(one.ability for one in measured if one.learned)


def _measured(
    number: int, ability: Ability, predictions: Values, references: Array, seed: int, resamples: int
) -> Measured:
    chosen = np.floor(references) == number
    p, r, scale = predictions[chosen], np.asarray(references)[chosen], Scale.of(ability)
    raw = float(raw_score(p, r, number, scale))
    # The interval of the score of this ability alone, turned back into the raw one.
    metric = understanding([scale] * (number + 1), [number])
    ends = statistics.interval(metric, p, r, seed=seed, resamples=resamples)
    low, high = sorted(_raw(scale, end) for end in ends)
    if ability.rule == "choice":
        # Ties count half; what half a hit is left over is no hit.
        hits = int(np.nan_to_num(p).sum())
        better = bool(binomtest(hits, len(p), scale.chance, alternative="greater").pvalue < SIGNIFICANCE)
    else:
        better = ends[0] > 0
    return Measured(
        ability.name,
        ability.measure,
        raw,
        low,
        high,
        float(scale.corrected(np.array(raw))),
        scale.chance,
        better,
        len(p),
    )


def _raw(scale: Scale, corrected: float) -> float:
    """The raw score of a corrected one."""
    return scale.chance * (1 - corrected) if scale.text else scale.chance + corrected * (1 - scale.chance)


def _ratio(
    ability: Ability, full: Values, pruned: Values, references: Array, number: int, seed: int, resamples: int
) -> tuple[float, float]:
    scale, rng, ratios = Scale.of(ability), np.random.default_rng(seed), []
    for _ in range(resamples):
        drawn = rng.integers(len(references), size=len(references))
        was, now = (
            float(scale.corrected(raw_score(p[drawn], references[drawn], number, scale))) for p in (full, pruned)
        )
        # A resample in which the full model has nothing says nothing of what was kept.
        if was > 0:
            ratios.append(now / was)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)
