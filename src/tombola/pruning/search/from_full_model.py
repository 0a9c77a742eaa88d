"""Strategy of all other methods for weights: each cut prunes the full model at once.

What Wanda or SparseGPT removes at one sparsity need not be part of what it removes at the next.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from tombola.foundations.progress import SILENT, Progress
from tombola.pruning.calibration import Calibration
from tombola.pruning.search.options import SearchOptions
from tombola.pruning.search.strategy import Cut, State
from tombola.pruning.weight_criteria import CRITERIA, WeightCut
from tombola.pruning.weight_pruning import WeightPruning, prune_weights
from tombola.tasks.base import Task
from tombola.tickets.pruning_methods import PruningMethod


@dataclass(frozen=True, eq=False)
class WeightPruner:
    """Prunes weights of a full model by a method, on the task's own calibration text.

    Attributes:
        model: the full model; it is not changed.
        task: gives calibration text, where the method goes by activations.
        method: one of weights.
        options: how much text.
        seed: of the text and of random pruning.
    """

    model: nn.Module
    task: Task
    method: PruningMethod
    options: SearchOptions
    seed: int = 0

    @property
    def updates(self) -> bool:
        """True if the method changes the weights that survive."""
        return CRITERIA[self.method.criterion].updates

    def prune(self, sparsity: float | None, progress: Progress = SILENT) -> WeightPruning:
        """Prune to a sparsity; with a pattern, to the pattern's own. `progress` counts examples of every layer."""
        method = self.method
        share = None if method.pattern else sparsity
        cut = WeightCut(method.criterion, share, pattern=method.pattern, scope=method.scope, seed=self.seed)
        return prune_weights(self.model, cut, calibration=self._calibration(), progress=progress)

    def _calibration(self) -> Calibration | None:
        if CRITERIA[self.method.criterion].statistic is None:
            return None
        return self.task.calibration_text(self.options.calibration_samples, self.options.sequence_length, self.seed)


@dataclass(frozen=True, eq=False)
class FromFullModel:
    """Prunes the full model anew for each cut.

    Attributes:
        pruner: of the full model.
        counts: how many weights remain after each cut.
    """

    pruner: WeightPruner
    counts: Iterator[int]

    def next_cut(self, state: State) -> Cut | None:
        """The next cut; None after the last count."""
        remaining = next(self.counts, None)
        if remaining is None:
            return None
        found = self.pruner.prune(1 - remaining / state.ticket.total)
        removed = {"weights": len(state.ticket) - len(found.ticket)}
        return Cut(found.ticket, removed, found.model, self.pruner.updates)
