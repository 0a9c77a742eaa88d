"""Splits of labelled rows: rows that judge drawn from those of training, and rows that are in both."""

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tombola.foundations.errors import TombolaError

DEV = ("dev", "validation", "valid", "test")
"""Names of splits that judge, the first there is."""
SHARE = 0.2
"""Share of the training rows that judge, where there are no others."""


class Split(Protocol):
    """Labelled rows of a split."""

    def __len__(self) -> int: ...

    def select(self, indices: NDArray[np.int64]) -> Self:
        """The rows at `indices` [k], in that order."""

    def texts(self) -> Iterable[Hashable]:
        """Text of each row, by which it is known: rows of one are never parted, nor both trained on and judged."""

    def strata(self) -> Sequence[Hashable]:
        """Label of each row, whose shares a part of them keeps; the same of all where rows have many labels."""


S = TypeVar("S", bound=Split)


def with_dev(splits: Mapping[str, S], share: float | None, source: str) -> dict[str, S]:
    """Splits with a `dev`, drawn from `train` where there is none; rows that are in both are warned of.

    Raises:
        TombolaError: there are too few rows.
    """
    made = dict(splits)
    if "dev" not in made:
        rows = made["train"]
        train, dev = draw([*rows.texts()], rows.strata(), share or SHARE, source)
        made |= {"train": rows.select(train), "dev": rows.select(dev)}
    warn_of_shared_rows(source, made["train"], made["dev"])
    return made


def draw(
    texts: Sequence[Hashable], strata: Sequence[Hashable], share: float, source: object
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the rows that train and of those that judge: of each label a share, drawn with a seed.

    Rows of the same text stay together; their label is that of the first of them.

    Args:
        texts, strata: of each row, see `Split`.
        share: of the rows.
        source: name of the data.

    Raises:
        TombolaError: there are too few rows.

    Warns:
        UserWarning: so many rows judge now.
    """
    groups = dict[Hashable, list[int]]()
    for row, text in enumerate(texts):
        groups.setdefault(text, []).append(row)
    by_label = dict[Hashable, list[list[int]]]()
    for rows in groups.values():
        by_label.setdefault(strata[rows[0]], []).append(rows)
    rng, judging = np.random.default_rng(0), np.zeros(len(texts), dtype=bool)
    for alike in by_label.values():
        wanted, taken = share * sum(map(len, alike)), 0
        for number in rng.permutation(len(alike)):
            if taken + len(alike[number]) <= wanted:
                taken += len(alike[number])
                judging[alike[number]] = True
    if not judging.any():
        raise TombolaError(
            f"{len(texts)} rows are too few to split a share of {share:g} off that judges; give dev rows "
            "(--validation-file)"
        )
    warnings.warn(
        f"{source} has training rows only: {judging.sum()} of its {len(texts)} rows, drawn with seed 0, judge, and are "
        "not trained on; give dev rows (--validation-file) to choose them yourself",
        stacklevel=3,
    )
    return np.flatnonzero(~judging), np.flatnonzero(judging)


def warn_of_shared_rows(source: str, train: Split, dev: Split) -> None:
    """Warn where dev rows have the text, or pair of texts, or image, of a training row."""
    known = {*train.texts()}
    if shared := sum(text in known for text in dev.texts()):
        warnings.warn(
            f"{shared} of the {len(dev)} dev rows of {source} have the text of a training row: what was learnt by "
            "heart counts as understood; drop them from training",
            stacklevel=3,
        )
