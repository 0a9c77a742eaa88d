"""Options of a search: its threshold, the sizes of its cuts, how far it goes on."""

import math
from typing import Annotated, Literal

from tombola.foundations.errors import TombolaError, check_choice
from tombola.foundations.settings import Count, Flag, ProperShare, Share, Text, Whole, described, settings
from tombola.pruning.importance_methods import IMPORTANCES
from tombola.tickets.kinds import BLOCK

SAMPLES, SEQUENCE_LENGTH = 128, 2048
"""Calibration text of Wanda and SparseGPT (Sun et al. 2024; Frantar, Alistarh 2023): examples, and tokens of each."""
_setting = described("the search")
_OTHERS = "".join(f"; {name}" for name in [*IMPORTANCES][2:])


@settings
class SearchOptions:
    """Options of a search; the defaults are the paper's (Prasanna et al. 2020, section 4), but for neurons.

    What is found beyond the threshold, as far as `curve_until`, never becomes the good ticket.
    """

    threshold: Annotated[Share, _setting("share of the full model's score that must hold")] = 0.9
    over_chance: Annotated[Flag, _setting("take the threshold of what the full model scores over guessing")] = False
    heads_step: Annotated[Share, _setting("share of all heads removed in an iteration, at least one")] = 0.1
    mlps_step: Annotated[Whole, _setting("MLPs removed in an iteration")] = 1
    neurons_step: Annotated[
        Share, _setting("share of all blocks of neurons, or groups of channels, removed in an iteration")
    ] = 0.1
    neuron_block: Annotated[Count, _setting("neighbouring neurons that are removed together")] = BLOCK
    refine: Annotated[Flag, _setting("go on with heads alone, then MLPs or neurons alone")] = True
    refine_heads_step: Annotated[Share, _setting("share of all heads removed in a refining iteration")] = 0.05
    refine_neurons_step: Annotated[
        Share, _setting("share of all blocks of neurons, or groups of channels, removed in a refining iteration")
    ] = 0.05
    weights_step: Annotated[ProperShare, _setting("share of the remaining weights removed in an iteration")] = 0.1
    weights_cuts: Annotated[Count | None, _setting("iterations of a search of weights, at most")] = None
    sparsities: Annotated[
        tuple[ProperShare, ...],
        _setting("sparsities that a search of weights passes through, instead of steps", "0.2,0.5", uniqueItems=True),
    ] = ()
    curve_until: Annotated[
        Share | None,
        _setting(
            "go on, for the curve, until the score falls under this share of the full score, or through all sparsities"
        ),
    ] = None
    normalise_layers: Annotated[
        Flag | None, _setting("divide the importance of heads by their layer's norm; by default as serves the task")
    ] = None
    normalise_over: Annotated[
        Literal["survivors", "all"], _setting("heads whose importance makes that norm: the layer's survivors, or all")
    ] = "survivors"
    importance: Annotated[
        Text,
        _setting(
            "by what sites are ranked: per-example, the mean size of each example's gradient; accumulated, the size of "
            f"the sum of all batches so far, as the paper's code{_OTHERS}",
            enum=[*IMPORTANCES],
        ),
    ] = "per-example"
    emptied_attention: Annotated[
        Literal["bias", "nothing"],
        _setting("left of an attention without heads: the bias of its output, or nothing"),
    ] = "bias"
    calibration_samples: Annotated[
        Count, _setting("calibration samples, by whose activations Wanda and SparseGPT go")
    ] = SAMPLES
    sequence_length: Annotated[
        Count,
        _setting("tokens of each of them, of language models; of the texts to train and judge on, see --max-length"),
    ] = SEQUENCE_LENGTH

    def __post_init__(self) -> None:
        check_choice("importance", self.importance, IMPORTANCES, setting="importance")
        if self.curve_until is not None and self.curve_until > self.threshold:
            raise TombolaError(
                f"curve_until must lie above 0 and at most at the threshold {self.threshold}, not {self.curve_until}"
            )
        if list(self.sparsities) != sorted(set(self.sparsities)):
            raise TombolaError(f"sparsities must rise, not {', '.join(map(str, self.sparsities))}")

    def cut(self, kind: str, total: int, *, refining: bool = False) -> int:
        """Sites that an iteration removes, of all `total` sites of a kind."""
        if kind == "mlps":
            return 1 if refining else self.mlps_step
        # A group of channels is to a residual block what a block of neurons is to an MLP.
        kind = "neurons" if kind == "channels" else kind
        return share_of(getattr(self, f"refine_{kind}_step" if refining else f"{kind}_step"), total)


def share_of(share: float, total: int) -> int:
    """Share of a number, rounded down, at least 1; 0.29 of 100 is 29, whatever binary fractions make of it."""
    return max(1, math.floor(share * total + 1e-9))
