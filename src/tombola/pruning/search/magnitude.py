"""Strategy of m-pruning: the smallest of the remaining weights go, over the whole model."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tombola.architectures.anatomy import Anatomy
from tombola.pruning.magnitude import keep_largest
from tombola.pruning.search.options import SearchOptions, share_of
from tombola.pruning.search.strategy import Cut, State


@dataclass(frozen=True)
class SmallestWeights:
    """Removes the smallest of the weights that remain, by their values in the model that was evaluated last.

    Attributes:
        anatomy: of the model.
        counts: how many weights remain after each cut.
    """

    anatomy: Anatomy
    counts: Iterator[int]

    def next_cut(self, state: State) -> Cut | None:
        """The next cut; None after the last count."""
        remaining = next(self.counts, None)
        if remaining is None:
            return None
        masks = keep_largest(self.anatomy.weights_of(state.part.model), remaining, state.ticket.masks)
        return Cut(replace(state.ticket, masks=masks), {"weights": len(state.ticket) - remaining})


def remaining_weights(total: int, options: SearchOptions) -> Iterator[int]:
    """Numbers of weights that remain after each cut: as the sparsities say, or in steps down to the last weight."""
    if options.sparsities:
        yield from (total - round(sparsity * total) for sparsity in options.sparsities)
        return
    remaining = total
    while (removed := share_of(options.weights_step, remaining)) < remaining:
        remaining -= removed
        yield remaining
