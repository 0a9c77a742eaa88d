"""The score of a language model: the mean over its abilities of what each is above chance, from 0 to 1.

An example's prediction is 1 where the model is right, 0 where it is wrong and a half where two choices tie; NaN, which
is what a broken model says, is wrong. Of a text it is bits per byte. An example's reference is the number of its
ability; its fraction, times 2^24, is the bytes of a text, by which texts are weighted, so that the mean over them is
that of the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tombola.metrics.scores import Array, Metric
from tombola.tasks.language.abilities.ability import BITS, Ability

NAME = "understanding"
_WEIGHT = 2.0**24


@dataclass(frozen=True)
class Scale:
    """Scale from the raw score of an ability to its share of what can be reached.

    Attributes:
        text: whether examples are texts, measured in bits per byte.
        chance: what guessing reaches.
    """

    text: bool
    chance: float

    @classmethod
    def of(cls, ability: Ability) -> "Scale":
        """Scale of an ability."""
        return cls(ability.rule == "text", ability.chance)

    def corrected(self, raw: Array) -> Array:
        """(accuracy - chance) / (1 - chance); of texts 1 - bits / bits of a guess. Below chance it is negative."""
        if self.text:
            return np.asarray(1 - raw / self.chance)
        return np.asarray((raw - self.chance) / (1 - self.chance))


TEXT = Scale(text=True, chance=BITS)


def reference(number: int, size: float = 0) -> float:
    """The reference of an example of ability `number`; `size` is the bytes of a text."""
    return number + min(size, _WEIGHT - 1) / _WEIGHT


def raw_score(predictions: Array, references: Array, number: int, scale: Scale) -> Array:
    """Accuracy, or bits per byte, of one ability: [..., n], [..., n] -> [...], NaN where it has no examples."""
    p, r = np.broadcast_arrays(np.asarray(predictions, dtype=np.float64), np.asarray(references, dtype=np.float64))
    weights = np.where(np.floor(r) == number, sizes_of(r), 0.0)
    values = answered(p, scale)
    total = weights.sum(-1)
    found = np.full(np.shape(total), np.nan)
    return np.asarray(np.divide((weights * values).sum(-1), total, out=found, where=total > 0))


def sizes_of(references: Array) -> Array:
    """Weight of each example: the bytes of a text, otherwise 1."""
    sizes = (references - np.floor(references)) * _WEIGHT
    return np.where(sizes > 0, sizes, 1.0)


def answered(predictions: Array, scale: Scale) -> Array:
    """Predictions without NaN: what a broken model says is as good as a guess of text, or wrong."""
    return np.where(np.isnan(predictions), scale.chance if scale.text else 0.0, predictions)


def alone(name: str, number: int, scale: Scale) -> Metric:
    """The metric of the raw score of one ability, under its own name: for reports, not for searches."""

    def compute(predictions: Array, references: Array) -> Array:
        return raw_score(predictions, references, number, scale)

    return Metric(name, not scale.text, "abilities", compute, lambda references: scale.chance)


def understanding(scales: Sequence[Scale], counted: Sequence[int] | None = None) -> Metric:
    """The metric over abilities.

    Args:
        scales: that of each ability, in the order of their numbers.
        counted: numbers of the abilities that count; by default all. Text that is none of the abilities, as training
            text, has the number after the last, and always counts.
    """
    numbered = [*enumerate(scales), (len(scales), TEXT)]
    counting = [(number, scale) for number, scale in numbered if counted is None or number in {*counted, len(scales)}]

    def compute(predictions: Array, references: Array) -> Array:
        values = np.stack(
            [scale.corrected(raw_score(predictions, references, number, scale)) for number, scale in counting]
        )
        # An ability that a resample, or a split, has no example of has no say.
        there = ~np.isnan(values)
        return np.asarray(np.where(there, values, 0.0).sum(0) / np.maximum(1, there.sum(0)))

    return Metric(NAME, True, "abilities", compute, lambda references: 0.0)
