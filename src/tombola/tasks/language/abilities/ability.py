"""An ability as data: examples in plain text, how each is judged, and what guessing reaches."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from tombola.foundations.errors import TombolaError
from tombola.foundations.plurals import plural
from tombola.tasks.language.item import Rule

BITS = 8.0
"""Bits per byte of a uniform guess of bytes."""


@dataclass(frozen=True)
class Example:
    """Example of an ability, as text.

    Attributes:
        choices: continuations, joined to the context as they are: with their leading space, where there is one. Of a
            sentence pair the two sentences, of a text the text.
        gold: which is right.
        context: what comes before, empty where nothing does.
        free: content-free versions of the context, by which the choices are calibrated (Zhao et al. 2021).
        group: paradigm, relation or class; samples keep the groups' shares.
        where: names the example in errors.
        contexts: of choices that come after contexts of their own, one for each; `context` does not count then.
        sizes: what log-probabilities are divided by, one for each choice, where it is not known from the choice itself:
            characters of a choice, bytes of a text.
    """

    choices: tuple[str, ...]
    gold: int = 0
    context: str = ""
    free: tuple[str, ...] = ()
    group: str = ""
    where: str = ""
    contexts: tuple[str, ...] = ()
    sizes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Ability:
    """Ability to measure: a curve of the retention profile.

    Attributes:
        name, title: for columns, flags and `--retain`; and for people.
        rule: how an example is judged, see `tombola.tasks.language.item`.
        examples: at least one, else a TombolaError.
        source: where they are from, for people.
        per_character: divide a choice's log-probability by its length in characters, so that a longer answer is not the
            worse for it: what lm-evaluation-harness calls acc_norm.
        guess: bits per byte of a text that guessing needs. Where the model's tokens are known, those of one who only
            knows how frequent each token is (`guess_bits` of `language_modelling`): a model that says no more than that
            has no understanding of text left, though it needs far fewer than 8.
        harness: tokenise as lm-evaluation-harness does, whose task it is: see `tombola.tasks.language.encoding`.
    """

    name: str
    title: str
    rule: Rule
    examples: tuple[Example, ...] = field(repr=False)
    source: str
    per_character: bool = False
    guess: float = BITS
    harness: bool = False

    def __post_init__(self) -> None:
        if not self.examples:
            raise TombolaError(f"{self.source} has no examples of {self.name}; give at least one")

    @property
    def measure(self) -> str:
        """`accuracy` or `bits per byte`."""
        return "bits per byte" if self.rule == "text" else "accuracy"

    @property
    def chance(self) -> float:
        """Score of one who never looks at the context: one in so many choices, on average over the examples; where
        all have the same choices, always the most common answer; bits per byte for a text, see `guess`.
        """
        if self.rule == "text":
            return self.guess
        if self.rule == "exact":
            # One in a whole vocabulary, for each token.
            return 0.0
        golds = Counter(example.gold for example in self.examples)
        # Labels of which only one ever occurs leave nothing to tell apart.
        if len({example.choices for example in self.examples}) == 1 and len(golds) > 1:
            return max(golds.values()) / len(self.examples)
        return float(np.mean([1 / len(example.choices) for example in self.examples]))

    def sample(self, rows: int | None, seed: int = 0) -> Self:
        """Sample of its examples, drawn with a seed from its groups in turn; all for None, or if it has no more."""
        if rows is None or rows >= len(self.examples):
            return self
        return self._of(balanced([example.group for example in self.examples], rows, seed))

    def parted(self, share: float, seed: int = 0) -> tuple[Self, Self]:
        """Split it in two: with the examples that judge, and with the share of them that is held out to search on.

        Every group gives the same share, so that chance is the same on both; a TombolaError if one had no examples.
        """
        count = len(self.examples)
        rank = np.random.default_rng(seed).permutation(count)
        ordered = sorted(range(count), key=lambda index: (self.examples[index].group, rank[index]))
        # Every so-many-th of a row of groups: rounding in one group makes good for that in another.
        held = {index for place, index in enumerate(ordered) if int((place + 1) * share) > int(place * share)}
        if not 0 < len(held) < count:
            raise TombolaError(
                f"{self.name} has {plural(count, 'example')}, of which a share of {share:g} cannot be held out; "
                "give more examples, or another share"
            )
        return self._of(sorted({*range(count)} - held)), self._of(sorted(held))

    def _of(self, indices: Sequence[int]) -> Self:
        return replace(self, examples=tuple(self.examples[index] for index in indices))


def balanced(groups: Sequence[str], rows: int, seed: int) -> list[int]:
    """Indices of a balanced sample, in order: one of each group after the other, drawn at random within each."""
    turns: Counter[str] = Counter()
    ranked: list[tuple[int, int, int]] = []
    for place, index in enumerate(np.random.default_rng(seed).permutation(len(groups)).tolist()):
        turns[groups[index]] += 1
        ranked.append((turns[groups[index]], place, index))
    return sorted(index for _, _, index in sorted(ranked)[:rows])
