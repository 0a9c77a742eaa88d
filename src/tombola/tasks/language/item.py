"""Item as a model sees it: token sequences, and the rule by which their log-probabilities become a verdict."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tombola.tasks.language.prefix_tree import PrefixTree, Tokens, build_prefix_tree

Rule = Literal["choice", "exact", "text"]
RULES: tuple[Rule, ...] = ("choice", "exact", "text")
"""`choice`: the right sequence must be the most probable. `exact`: each of its tokens must be the most probable one.
`text`: bits per byte."""


@dataclass(frozen=True)
class Item:
    """Example of an ability, in tokens.

    Attributes:
        rule: how it is judged.
        sequences: context and continuation, for each choice; then, where the choices are calibrated, each choice after
            the first content-free context, after the second, and so on.
        given: for each sequence the number of first tokens that are not scored.
        choices: number of choices.
        gold: the right one.
        divisors: for each choice what its log-probability is divided by: 1, its characters, or the bytes of a text.
    """

    rule: Rule
    sequences: tuple[Tokens, ...]
    given: tuple[int, ...]
    choices: int
    gold: int
    divisors: tuple[float, ...]

    @property
    def groups(self) -> int:
        """1, and one more for each content-free context."""
        return len(self.sequences) // self.choices

    @property
    def positions(self) -> int:
        """Tokens that the longest sequence makes the model read."""
        return max(1, *(len(sequence) - 1 for sequence in self.sequences))

    @property
    def scored(self) -> int:
        """Scored tokens of the right sequence."""
        return max(0, len(self.sequences[self.gold]) - max(1, self.given[self.gold]))

    @cached_property
    def tree(self) -> PrefixTree:
        """Its sequences with what they share there once."""
        return build_prefix_tree(self.sequences, self.given)

    @cached_property
    def rows(self) -> tuple[PrefixTree, ...]:
        """Its sequences one by one."""
        return tuple(
            build_prefix_tree([tokens], [given]) for tokens, given in zip(self.sequences, self.given, strict=True)
        )
