"""Criteria by which weights are pruned, as data, what can be asked of them, and which weights they can be asked of."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import torch
from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.architectures.sites import outputs_first
from tombola.foundations.errors import TombolaError, check_choice, check_number
from tombola.pruning.activation_statistics import InputHessian, Norms, Statistic
from tombola.pruning.sparsegpt import BLOCK, DAMPING
from tombola.tickets.nm_sparsity import WeightPattern

_SEEDS = 2**32
"""Seeds there are: shifted, to leave room for matrices, they still fit a generator."""
_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_QUANTISED = (
    "this model is quantised: its matrices hold codes, of which no single weight can be pruned; give the checkpoint in "
    "16 or 32 bits that it was made from"
)
_SLAB = 256
"""Rows that are checked at a time."""


@dataclass(frozen=True)
class Criterion:
    """A criterion by which weights are chosen.

    Attributes:
        scopes: over what weights may be compared, the default first: `global`, the whole model; `matrix`, each matrix,
            which all lose the same share; `row`, the inputs of each output unit.
        statistic: what it wants to know of a matrix's inputs; None if nothing.
        updates: whether it changes the weights that survive.
    """

    scopes: tuple[str, ...]
    statistic: Callable[[], Statistic] | None = None
    updates: bool = False


CRITERIA: Mapping[str, Criterion] = MappingProxyType(
    {
        "magnitude": Criterion(("global", "matrix", "row")),
        "random": Criterion(("global", "matrix", "row")),
        "wanda": Criterion(("row", "matrix"), Norms),
        "sparsegpt": Criterion(("matrix",), InputHessian, updates=True),
    }
)
"""The criteria, by the names that users give."""


@dataclass(frozen=True, init=False)
class WeightCut:
    """Cut of a model's weights, as it is asked for.

    Args:
        criterion: `magnitude`, `random`, `wanda` or `sparsegpt`.
        sparsity: share of the weights to remove, from 0 to below 1; with a pattern, the pattern's, or nothing.
        pattern: `2:4`, `4:8` or any other N:M: of every M neighbouring inputs of an output unit, N survive.
        scope: over what weights are compared: `global`, `matrix` or `row`; by default the whole model for magnitude
            and random, each row for Wanda. SparseGPT has its own: blocks of columns of a matrix.
        sequential: calibration text goes through the blocks that are pruned already, as in the papers; otherwise
            through the dense ones, in half the time.
        seed: of random pruning.
        damping, block: of SparseGPT, see [`tombola.pruning.sparsegpt`][].

    Raises:
        TombolaError: there is no such criterion, share, pattern or scope, or they do not go together.
    """

    criterion: str
    sparsity: float
    pattern: WeightPattern | None
    scope: str
    sequential: bool
    seed: int
    damping: float
    block: int

    def __init__(
        self,
        criterion: str,
        sparsity: float | None = None,
        *,
        pattern: str | None = None,
        scope: str | None = None,
        sequential: bool = True,
        seed: int = 0,
        damping: float = DAMPING,
        block: int = BLOCK,
    ) -> None:
        check_choice("criterion", criterion, CRITERIA)
        scopes = CRITERIA[criterion].scopes
        if scope is not None and scope not in scopes:
            raise TombolaError(f"{criterion} compares weights of a {' or '.join(scopes)}, not {scope!r}")
        if sparsity is not None:
            check_number("the share of weights to remove", sparsity, 0, 1)
        shape = None if pattern is None else WeightPattern.parse(pattern)
        if shape is not None:
            if scope is not None:
                raise TombolaError(f"{pattern} compares weights within its groups: leave the scope out")
            if sparsity is not None and not math.isclose(sparsity, shape.sparsity):
                raise TombolaError(f"{pattern} removes {shape.sparsity:.4g} of the weights, not {sparsity}")
            sparsity = shape.sparsity
        if sparsity is None or sparsity == 1:
            raise TombolaError(f"the share of weights to remove must lie between 0 and below 1, not {sparsity}")
        check_number("the seed", seed, 0, _SEEDS - 1, whole=True)
        check_number("the damping of SparseGPT", damping, 0)
        if damping == 0:
            raise TombolaError("SparseGPT needs damping above 0: without it, its matrices may have no inverse")
        check_number("the block of columns of SparseGPT", block, 1, whole=True)
        values = (criterion, sparsity, shape, scope or scopes[0], sequential, seed, damping, block)
        for one, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, one.name, value)

    @property
    def calibrated(self) -> bool:
        """True if the method looks at activations."""
        return CRITERIA[self.criterion].statistic is not None

    def facts(self) -> dict[str, object]:
        """JSON values for a ticket's record."""
        facts: dict[str, object] = {"ticket": self.criterion, "asked_sparsity": self.sparsity}
        facts |= {"scope": self.scope} if self.pattern is None else {"pattern": str(self.pattern)}
        if self.calibrated:
            facts["sequential"] = self.sequential
        if self.criterion == "random":
            facts["seed"] = self.seed
        if CRITERIA[self.criterion].updates:
            facts |= {"updated_weights": True, "damping": self.damping, "block": self.block}
        return facts

    def remaining(self, size: int) -> int:
        """Number of survivors of so many weights."""
        return size - round(self.sparsity * size)


def prunable_anatomy(model: nn.Module, cut: WeightCut) -> Anatomy:
    """The anatomy of a model whose weights can be pruned so.

    Raises:
        TombolaError: unknown architecture, quantised weights, or a pattern that does not divide a matrix's inputs.
    """
    try:
        anatomy = dissect(model)
    except TombolaError as error:
        # Some quantisers replace the linear maps, which then cannot be found.
        if getattr(getattr(model, "config", None), "quantization_config", None) is not None:
            raise TombolaError(_QUANTISED) from error
        raise
    for matrix, parameter in anatomy.prunable(model):
        check_stored(parameter.dtype)
        # Others pack codes into a tensor of their own kind, which says that it is fp32.
        if type(parameter.data) is not Tensor:
            raise TombolaError(_QUANTISED)
        inputs = outputs_first(model, matrix, parameter).shape[1]
        if cut.pattern is not None and not cut.pattern.divides(inputs):
            raise TombolaError(
                f"{cut.pattern} does not divide the {inputs} inputs of {matrix.name}; choose another pattern, or a "
                "sparsity"
            )
    return anatomy


def check_stored(dtype: torch.dtype) -> None:
    """Raise a TombolaError unless single weights of this type can be pruned."""
    if dtype not in _FLOATS:
        raise TombolaError(_QUANTISED)


def check_finite(name: str, weight: Tensor) -> None:
    """Raise a TombolaError if a matrix holds NaN or infinity."""
    if not all(part.isfinite().all() for part in weight.split(_SLAB)):
        raise TombolaError(f"the matrix {name} holds NaN or infinity: the checkpoint is damaged or its training failed")
