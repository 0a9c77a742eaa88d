"""Options of a search: its threshold, the sizes of its cuts, how far it goes on."""

import math
from dataclasses import dataclass

from tombola.foundations.errors import TombolaError
from tombola.pruning.calibration import SAMPLES, SEQUENCE_LENGTH
from tombola.tickets.ticket import BLOCK


@dataclass(frozen=True)
class SearchOptions:
    """Options of a search; the defaults are the paper's (Prasanna et al. 2020, section 4), but for neurons.

    Attributes:
        threshold: share of the full model's score that must hold.
        heads_step: share of all heads that an iteration removes, at least one head.
        mlps_step: MLPs that an iteration removes.
        neurons_step: share of all blocks of neurons that an iteration removes, at least one block; and of all groups of
            channels.
        neuron_block: neighbouring neurons that are removed together.
        refine: after heads and MLPs (neurons) together, go on with heads alone, then with MLPs (neurons) alone.
        refine_heads_step: share of all heads that a refining iteration removes, at least one head.
        refine_neurons_step: the same for blocks of neurons and groups of channels.
        weights_step: share of the remaining weights that an iteration of m-pruning removes.
        sparsities: the sparsities that a search of weights passes through, instead of steps.
        curve_until: go on, for the sake of the curve, until the score falls under this share of the full model's, or
            through all `sparsities`; None to stop where the threshold does. What is found beyond the threshold never
            becomes the good ticket.
        normalise_layers: divide the importance of heads by their layer's norm; None for what serves the task.
        calibration_samples: examples of the task's text by whose activations Wanda and SparseGPT go.
        sequence_length: tokens of each, where the task's text is one long one.
    """

    threshold: float = 0.9
    heads_step: float = 0.1
    mlps_step: int = 1
    neurons_step: float = 0.1
    neuron_block: int = BLOCK
    refine: bool = True
    refine_heads_step: float = 0.05
    refine_neurons_step: float = 0.05
    weights_step: float = 0.1
    sparsities: tuple[float, ...] = ()
    curve_until: float | None = None
    normalise_layers: bool | None = None
    calibration_samples: int = SAMPLES
    sequence_length: int = SEQUENCE_LENGTH

    def __post_init__(self) -> None:
        shares = ("threshold", "heads_step", "neurons_step", "refine_heads_step", "refine_neurons_step", "weights_step")
        for name in shares:
            if not 0 < getattr(self, name) <= 1:
                raise TombolaError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        if self.mlps_step < 0:
            raise TombolaError(f"mlps_step must be 0 or more, not {self.mlps_step}")
        if self.neuron_block < 1:
            raise TombolaError(f"neuron_block must be 1 or more, not {self.neuron_block}")
        if self.weights_step == 1:
            raise TombolaError("weights_step must be below 1: removing all weights at once leaves no ticket")
        if self.curve_until is not None and not 0 < self.curve_until <= self.threshold:
            raise TombolaError(
                f"curve_until must lie above 0 and at most at the threshold {self.threshold}, not {self.curve_until}"
            )
        if any(not 0 < one < 1 for one in self.sparsities) or list(self.sparsities) != sorted(set(self.sparsities)):
            raise TombolaError(
                f"sparsities must rise, each above 0 and below 1, not {', '.join(map(str, self.sparsities))}"
            )

    def cut(self, kind: str, total: int, *, refining: bool = False) -> int:
        """Number of sites of a kind, of all `total`, that an iteration removes."""
        if kind == "mlps":
            return 1 if refining else self.mlps_step
        # A group of channels is to a residual block what a block of neurons is to an MLP.
        kind = "neurons" if kind == "channels" else kind
        return share_of(getattr(self, f"refine_{kind}_step" if refining else f"{kind}_step"), total)


def share_of(share: float, total: int) -> int:
    """Share of a number, rounded down, at least 1; 0.29 of 100 is 29, whatever binary fractions make of it."""
    return max(1, math.floor(share * total + 1e-9))
