"""Attention patterns of each head on real inputs, as a value that is saved as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import StringConstraints
from torch import Tensor, nn
from typing_extensions import override

from tombola.analysis.array_record import ArrayRecord, BoolTensor, FloatTensor, lists
from tombola.analysis.attention.example_maps import ExampleMap
from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.foundations.errors import check_choice

LETTERS = "vdmbh"
"""Letter of each of `CLASSES`; the m is for the mixed one."""

Letters = Annotated[str, StringConstraints(pattern=f"^[{LETTERS}]*$")]
Features = Mapping[str, Mapping[str, FloatTensor]]


@dataclass(frozen=True, eq=False)
class AttentionPatterns(ArrayRecord):
    """Attention patterns of each head.

    Attributes:
        format: of the file.
        architecture: `Anatomy.signature` of the model.
        inputs: which examples of the split were looked at, in order.
        working: bool [rows, heads], False where the ticket that the model ran under had pruned the head.
        classes: weighting → for each row of heads, a string for each head: the letters of its maps' classes, by input
            and then by use. A layer that is used several times (ALBERT) has a map for each use; others have one.
        means, deviations: weighting → feature → float64 [rows, heads], over a head's maps; the deviation has n - 1 in
            its denominator. NaN for pruned heads, and where no input has the feature.
        example_maps: the clearest short maps of each class, see `example_maps.BestExampleMaps`.
    """

    format: Literal[1] = field(default=1, kw_only=True)
    architecture: str
    inputs: tuple[int, ...]
    working: BoolTensor
    classes: Mapping[str, tuple[tuple[Letters, ...], ...]]
    means: Features
    deviations: Features
    example_maps: tuple[ExampleMap, ...] = ()

    def labels(self, weighting: str) -> tuple[Tensor, ...]:
        """Classes of each row of heads, int64 [inputs, uses, heads], indices of `CLASSES`.

        Raises:
            TombolaError: the weighting is unknown.
        """
        check_choice("weighting", weighting, self.classes)
        rows = ([[LETTERS.index(letter) for letter in head] for head in heads] for heads in self.classes[weighting])
        return tuple(torch.tensor(row).T.reshape(len(self.inputs), -1, len(row)) for row in rows)

    def by_input(self, weighting: str) -> Tensor:
        """Share of each class in a head's maps of one input, float64 [inputs, rows, heads, classes]; NaN for pruned.

        It is 0 or 1 but where a layer is used several times.
        """
        shares = [nn.functional.one_hot(labels, len(CLASSES)).double().mean(1) for labels in self.labels(weighting)]
        return torch.stack(shares, 1).where(self.working[..., None], torch.nan)

    def shares(self, weighting: str) -> Tensor:
        """Share of the inputs in each class, float64 [rows, heads, classes]; NaN for pruned heads."""
        return self.by_input(weighting).mean(0)

    @override
    def entry(self) -> dict[str, Any]:
        """The fields as a JSON object, with what the letters stand for and the shares that follow."""
        shares = {weighting: lists(self.shares(weighting)) for weighting in self.classes}
        return {**super().entry(), "letters": dict(zip(LETTERS, CLASSES, strict=True)), "shares": shares}

    @override
    def check(self) -> None:
        for weighting in self.classes:
            self.shares(weighting)


def letters(labels: Tensor) -> tuple[str, ...]:
    """Letters of the classes [inputs, uses, heads], a string for each head."""
    return tuple("".join(LETTERS[label] for label in head) for head in labels.flatten(0, 1).T.tolist())
