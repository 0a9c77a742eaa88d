"""Attention patterns of each head on real inputs, as a value that is saved as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from tombola.analysis.attention.example_maps import ExampleMap
from tombola.analysis.attention.pattern_classes import CLASSES
from tombola.foundations.atomic_files import read_json, write_json
from tombola.foundations.errors import TombolaError

FORMAT = 1
_LETTERS = "vdmbh"
"""Letter of each of `CLASSES` in files; the m is for the mixed one."""


@dataclass(frozen=True, eq=False)
class AttentionPatterns:
    """Attention patterns of each head.

    Attributes:
        architecture: `Anatomy.signature` of the model.
        inputs: which examples of the split were looked at, in order.
        working: bool [rows, heads], False where the ticket that the model ran under had pruned the head.
        classes: weighting → for each row of heads int64 [inputs, uses, heads], indices of `CLASSES`. A layer that is
            used several times (ALBERT) has a map for each use; others have one.
        means, deviations: weighting → feature → float64 [rows, heads], over a head's maps; the deviation has n - 1 in
            its denominator. NaN for pruned heads, and where no input has the feature.
        example_maps: the clearest short maps of each class, see `example_maps.BestExampleMaps`.
    """

    architecture: str
    inputs: tuple[int, ...]
    working: Tensor
    classes: Mapping[str, tuple[Tensor, ...]]
    means: Mapping[str, Mapping[str, Tensor]]
    deviations: Mapping[str, Mapping[str, Tensor]]
    example_maps: tuple[ExampleMap, ...] = ()

    def __post_init__(self) -> None:
        for name in ("classes", "means", "deviations"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def by_input(self, weighting: str) -> Tensor:
        """Share of each class in a head's maps of one input, float64 [inputs, rows, heads, classes]; NaN for pruned.

        It is 0 or 1 but where a layer is used several times.
        """
        self._known(weighting)
        shares = [nn.functional.one_hot(labels, len(CLASSES)).double().mean(1) for labels in self.classes[weighting]]
        return torch.stack(shares, 1).where(self.working[..., None], torch.nan)

    def shares(self, weighting: str) -> Tensor:
        """Share of the inputs in each class, float64 [rows, heads, classes]; NaN for pruned heads."""
        return self.by_input(weighting).mean(0)

    def lists(self) -> dict[str, Any]:
        """JSON object. The classes of a head's maps are a string of letters, by input and then by use."""
        return {
            "format": FORMAT,
            "architecture": self.architecture,
            "letters": dict(zip(_LETTERS, CLASSES, strict=True)),
            "inputs": list(self.inputs),
            "uses": [labels.shape[1] for labels in self.classes["raw"]],
            "working": self.working.int().tolist(),
            "classes": {kind: [_strings(labels) for labels in rows] for kind, rows in self.classes.items()},
            "shares": {kind: _rounded(self.shares(kind)) for kind in self.classes},
            "means": _feature_lists(self.means),
            "deviations": _feature_lists(self.deviations),
            "example_maps": [picture.lists() for picture in self.example_maps],
        }

    @classmethod
    def from_lists(cls, lists: Mapping[str, Any]) -> Self:
        """Read what `lists` gave; features come back with six digits."""
        inputs = len(lists["inputs"])
        return cls(
            architecture=lists["architecture"],
            inputs=tuple(lists["inputs"]),
            working=torch.tensor(lists["working"], dtype=torch.bool),
            classes={
                kind: tuple(_labels(strings, inputs, uses) for strings, uses in zip(rows, lists["uses"], strict=True))
                for kind, rows in lists["classes"].items()
            },
            means=_feature_tensors(lists["means"]),
            deviations=_feature_tensors(lists["deviations"]),
            example_maps=tuple(ExampleMap(**picture) for picture in lists["example_maps"]),
        )

    def write(self, path: Path) -> None:
        """Write a JSON file, atomically."""
        write_json(path, self.lists())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            TombolaError: the file is missing or damaged.
        """
        lists = read_json(path)
        try:
            if lists["format"] != FORMAT:
                raise TombolaError(f"{path} has format {lists['format']}; this version of Tombola reads {FORMAT}")
            return cls.from_lists(lists)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise TombolaError(f"{path} is damaged ({error!r}); delete it and start again") from None

    def _known(self, weighting: str) -> None:
        if weighting not in self.classes:
            raise TombolaError(f"unknown weighting {weighting!r}; known: {', '.join(self.classes)}")


def _strings(labels: Tensor) -> list[str]:
    """Letters of the classes [inputs, uses, heads], a string for each head."""
    return ["".join(_LETTERS[label] for label in head) for head in labels.flatten(0, 1).T.tolist()]


def _labels(strings: list[str], inputs: int, uses: int) -> Tensor:
    found = torch.tensor([[_LETTERS.index(letter) for letter in head] for head in strings])
    return found.T.reshape(inputs, uses, len(strings))


def _rounded(values: Tensor) -> Any:
    """Nested lists of six digits, None for NaN: JSON has no such number."""

    def one(value: Any) -> Any:
        if isinstance(value, list):
            return [one(each) for each in value]
        return None if np.isnan(value) else round(value, 6)

    return one(values.tolist())


def _feature_lists(values: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Any]]:
    return {kind: {name: _rounded(one) for name, one in named.items()} for kind, named in values.items()}


def _feature_tensors(lists: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Tensor]]:
    return {
        # None becomes NaN in an array of floats.
        kind: {name: torch.from_numpy(np.array(one, dtype=np.float64)) for name, one in named.items()}
        for kind, named in lists.items()
    }
