"""Strategies of weights: the smallest that remain go, or each cut prunes the full model anew."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from torch import nn

from tombola.architectures.anatomy import Anatomy
from tombola.foundations.progress import SILENT, Progress
from tombola.pruning.search.options import SearchOptions, share_of
from tombola.pruning.search.strategy import Cut, Phase, State, Strategy
from tombola.pruning.weight_criteria import CRITERIA, WeightCut
from tombola.pruning.weight_pruning import WeightPruning, keep_by_criterion, prune_weights
from tombola.tasks.base import Task
from tombola.tickets.nm_sparsity import WeightPattern
from tombola.tickets.pruning_methods import PruningMethod


@dataclass(frozen=True, eq=False)
class WeightPruner:
    """Prunes weights of a full model, which is not changed, by a method of weights.

    Where the method goes by activations, the task gives calibration text, and `options` say how much; others need none.
    `seed` is that of the text and of random pruning.
    """

    model: nn.Module
    task: Task | None
    method: PruningMethod
    options: SearchOptions
    seed: int = 0

    @property
    def updates(self) -> bool:
        """True if the method changes the weights that survive."""
        return CRITERIA[self.method.criterion].updates

    def prune(self, sparsity: float | None, progress: Progress | bool = SILENT) -> WeightPruning:
        """Prune to a sparsity; with a pattern, to the pattern's own. `progress` counts examples of every layer."""
        method, text = self.method, None
        share = None if method.pattern else sparsity
        cut = WeightCut(method.criterion, share, pattern=method.pattern, scope=method.scope, seed=self.seed)
        if cut.calibrated and self.task is not None:
            text = self.task.calibration_text(self.options.calibration_samples, self.options.sequence_length, self.seed)
        found = prune_weights(self.model, cut, calibration=text, progress=progress)
        if text is None or self.task is None:
            return found
        read = cast(Mapping[str, object], found.ticket.provenance["calibration"])
        read = {**self.task.text_facts("train"), **read, "seed": self.seed}
        return replace(found, ticket=found.ticket.with_provenance(calibration=read))


def weight_phases(pruner: WeightPruner, anatomy: Anatomy) -> Iterator[Phase]:
    """Phases of a search of weights: one, to the pattern's sparsity or through several.

    What Wanda or SparseGPT removes at one sparsity need not be part of what it removes at the next: but for the
    iterative method, every cut prunes the full model.
    """
    method, options = pruner.method, pruner.options
    counts = _remaining_weights(anatomy.weights, options)
    if method.pattern is not None:
        counts = iter([anatomy.weights - round(WeightPattern.parse(method.pattern).sparsity * anatomy.weights)])
    strategy: Strategy = partial(_from_full_model, pruner, counts)
    if method.iterative:
        strategy = partial(_smallest_weights, anatomy, method.criterion, counts)
    # Sparsities that were asked for are all measured, if there is to be a curve at all.
    to_the_end = options.curve_until is not None and bool(options.sparsities)
    yield Phase(method.criterion, strategy, beyond=True, to_the_end=to_the_end)


def _smallest_weights(anatomy: Anatomy, criterion: str, counts: Iterator[int], state: State) -> Cut | None:
    remaining = next(counts, None)
    if remaining is None:
        return None
    masks = keep_by_criterion(state.part.model, anatomy, criterion, remaining, state.ticket.masks)
    return Cut(replace(state.ticket, masks=masks), {"weights": len(state.ticket) - remaining})


def _from_full_model(pruner: WeightPruner, counts: Iterator[int], state: State) -> Cut | None:
    remaining = next(counts, None)
    if remaining is None:
        return None
    found = pruner.prune(1 - remaining / state.ticket.total)
    removed = {"weights": len(state.ticket) - len(found.ticket)}
    return Cut(found.ticket, removed, found.model, pruner.updates)


def _remaining_weights(total: int, options: SearchOptions) -> Iterator[int]:
    if options.sparsities:
        yield from (total - round(sparsity * total) for sparsity in options.sparsities)
        return
    remaining, cuts = total, 0
    while cuts != options.weights_cuts and (removed := share_of(options.weights_step, remaining)) < remaining:
        cuts += 1
        remaining -= removed
        yield remaining
