"""Transfer of a ticket to another task, between the target's own ticket and a random one."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from typing_extensions import override

from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import JsonRecord
from tombola.metrics import statistics
from tombola.metrics.resampling import RESAMPLES
from tombola.metrics.statistics import mean_std
from tombola.tasks.base import Predictions, Task


@dataclass(frozen=True, eq=False)
class Scored:
    """A retrained ticket of one seed: what it predicts on dev, its score and its sparsity."""

    predictions: Predictions
    score: float
    sparsity: float


@dataclass(frozen=True)
class TransferCell:
    """The tickets of one task retrained on another, over seeds.

    Attributes:
        method, source, target: whose tickets, and where they were retrained.
        n: seeds.
        score, std: of the transferred tickets on the target, mean and sample deviation over seeds.
        own, own_std: of the target's own good tickets, retrained.
        random, random_std: of random tickets of the transferred ones' sizes, retrained.
        full: of the target's full models.
        sparsity, own_sparsity: of the transferred and of the own tickets: searches stop where they stop.
        beyond_random, beyond_random_low, beyond_random_high: by how much the transferred tickets are better than random
            ones, with the 95 % interval over examples and seeds, see `tombola.metrics.statistics.paired_difference`.
        beyond_own, beyond_own_low, beyond_own_high: the same against the own tickets.
        share: (score - random) / (own - random): 1 is as good as the target's own, 0 as a random one; None where the
            two ends are not told apart.
    """

    method: str
    source: str
    target: str
    n: int
    score: float
    std: float
    own: float
    own_std: float
    random: float
    random_std: float
    full: float
    sparsity: float
    own_sparsity: float
    beyond_random: float
    beyond_random_low: float
    beyond_random_high: float
    beyond_own: float
    beyond_own_low: float
    beyond_own_high: float
    share: float | None

    def sentence(self) -> str:
        """Sentence for people, hedged by the intervals."""
        better = _word(self.beyond_random_low, self.beyond_random_high)
        worse = _word(self.beyond_own_low, self.beyond_own_high)
        text = (
            f"Tickets of {self.source} are {better} than random ones of their size on {self.target} "
            f"({self.beyond_random:+.3f}, 95 % interval {self.beyond_random_low:+.3f} to "
            f"{self.beyond_random_high:+.3f}) and {worse} than its own ({self.beyond_own:+.3f}, "
            f"{self.beyond_own_low:+.3f} to {self.beyond_own_high:+.3f})"
        )
        # Each search stopped where it stopped, so that a difference may be one of size.
        if abs(self.sparsity - self.own_sparsity) < 0.02:
            return f"{text}."
        size = "larger" if self.own_sparsity < self.sparsity else "smaller"
        return f"{text}, which are {size} (sparsity {self.own_sparsity:.2f}, not {self.sparsity:.2f})."


@dataclass(frozen=True)
class Transfer(JsonRecord):
    """Transfer between all tasks, of one model and the same seeds: cells by method, target and source."""

    model: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: Mapping[str, str]
    cells: tuple[TransferCell, ...]

    mend: ClassVar[str] = "run `tombola transfer` again"

    @classmethod
    @override
    def read(cls, path: Path) -> Self:
        found = super().read(path)
        onto = {(cell.method, cell.target) for cell in found.cells}
        methods = {method for method, _ in onto}
        if onto != set(itertools.product(methods, found.tasks)) or not set(found.tasks) <= set(found.metrics):
            raise TombolaError(f"{path} is damaged: its cells and metrics are not those of its tasks; {cls.mend}")
        return found


@dataclass(frozen=True, eq=False)
class TransferScores:
    """Retrained tickets on one target, one for each seed.

    Attributes:
        moved: of the source.
        own: the target's own.
        random: of the sizes of the source's.
        full: scores of the target's full models.
    """

    moved: Sequence[Scored]
    own: Sequence[Scored]
    random: Sequence[Scored]
    full: Sequence[float]


def transferred(
    method: str, source: str, target: str, found: TransferScores, task: Task, *, resamples: int = RESAMPLES
) -> TransferCell:
    """Put one cell together from the same seeds of all kinds of tickets; `task` is the target."""
    references = task.references("dev")

    def difference(one: Sequence[Scored], other: Sequence[Scored]) -> tuple[float, float, float]:
        a, b = (np.stack([scored.predictions for scored in several]) for several in (one, other))
        return statistics.paired_difference(task.metric, a, b, references, seed=0, resamples=resamples)

    above, above_low, above_high = difference(found.moved, found.random)
    below, below_low, below_high = difference(found.moved, found.own)
    # Where the ends of the scale may be the same point, no place between them means anything.
    scale, scale_low, _ = difference(found.own, found.random)
    (score, std), (own, own_std), (random, random_std) = (
        mean_std([one.score for one in several]) for several in (found.moved, found.own, found.random)
    )
    return TransferCell(
        method=method,
        source=source,
        target=target,
        n=len(found.moved),
        score=score,
        std=std,
        own=own,
        own_std=own_std,
        random=random,
        random_std=random_std,
        full=mean_std(found.full)[0],
        sparsity=mean_std([one.sparsity for one in found.moved])[0],
        own_sparsity=mean_std([one.sparsity for one in found.own])[0],
        beyond_random=above,
        beyond_random_low=above_low,
        beyond_random_high=above_high,
        beyond_own=below,
        beyond_own_low=below_low,
        beyond_own_high=below_high,
        share=above / scale if scale_low > 0 else None,
    )


def _word(low: float, high: float) -> str:
    return "better" if low > 0 else "worse" if high < 0 else "not clearly better or worse"
