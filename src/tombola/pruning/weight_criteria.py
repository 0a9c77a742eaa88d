"""Criteria by which weights are pruned, as data, what can be asked of them, and which weights they can be asked of."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.architectures.sites import Matrix, outputs_first
from tombola.foundations.errors import TombolaError, check_choice, check_number
from tombola.foundations.registry import Registry
from tombola.pruning.activation_statistics import InputHessian, Norms, Statistic
from tombola.pruning.sparsegpt import BLOCK, DAMPING, InverseHessian, sparsegpt
from tombola.tickets.nm_sparsity import WeightPattern
from tombola.tickets.pruning_methods import CRITERIA_ENTRY_POINTS, add_criterion

_SEEDS = 2**32
"""Seeds there are: shifted, to leave room for matrices, they still fit a generator."""
_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_QUANTISED = (
    "this model is quantised: its matrices hold codes, of which no single weight can be pruned; give the checkpoint in "
    "16 or 32 bits that it was made from"
)
_SLAB = 256
"""Rows that are checked at a time."""


@dataclass(frozen=True, eq=False)
class ScoredMatrix:
    """Matrix whose weights a criterion is asked about.

    Attributes:
        matrix: its name, role, layer, and its shape as it is stored.
        weight: [out, in], whichever way round it is stored; of a convolution [out, in, height, width]. Some rows of it
            for a criterion that is `rowwise`. It must not be changed.
        statistic: of its inputs, as the criterion's own `statistic` gave it, and `prepare` after it; None without.
        transposed: whether it is stored as [in, out].
        seed: of `random`.
    """

    matrix: Matrix
    weight: Tensor
    statistic: Any = None
    transposed: bool = False
    seed: int = 0

    def random(self) -> Tensor:
        """Random numbers from 0 to below 1, fp32, one for each weight; always the same for a matrix and a seed."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.rand(self.matrix.shape, generator=generator).to(self.weight.device)
        return drawn.T if self.transposed else drawn


WeightScore = Callable[[ScoredMatrix], Tensor]
"""Callable that scores weights: a number from 0 for each, in the shape of `matrix.weight`; those of least go first."""
Solver = Callable[[ScoredMatrix, "WeightCut"], tuple[Tensor, Tensor]]
"""Callable that prunes a matrix and changes what survives: the mask, bool [out, in], and the values, of its dtype."""


@dataclass(frozen=True, eq=False)
class Criterion:
    """Criterion by which weights are chosen: a score of each, or a solver that also changes those that survive.

    Attributes:
        score: gives every weight's score; None where there is a solver.
        scopes: over what weights may be compared, the default first: `global`, the whole model; `matrix`, each matrix,
            which all lose the same share; `row`, the inputs of each output unit. Empty for all that can be.
        statistic: makes what is to be known of a matrix's inputs, such as
            [`Norms`][tombola.pruning.activation_statistics.Norms]; None if nothing. With it, matrices are pruned block
            by block, so that the whole model cannot be compared.
        prepare: turns what a statistic came to into what `ScoredMatrix.statistic` is, once for all the matrices that
            multiply the same inputs.
        solve: prunes a matrix; it needs a statistic.
        rowwise: whether a row's scores depend on that row and the statistic alone: it is then asked for some rows at a
            time, in less memory.
        seeded: whether it may draw, so that the seed is a part of the record.
    """

    score: WeightScore | None = None
    scopes: tuple[str, ...] = ()
    statistic: Callable[[], Statistic] | None = None
    prepare: Callable[[Tensor, "WeightCut"], Any] = lambda found, _: found
    solve: Solver | None = None
    rowwise: bool = False
    seeded: bool = True

    def __post_init__(self) -> None:
        possible: tuple[str, ...] = ("global", "matrix", "row")
        if self.solve is not None:
            possible = ("matrix",)
        elif self.statistic is not None:
            possible = ("row", "matrix")
        if (self.score is None) == (self.solve is None) or (self.solve is not None and self.statistic is None):
            raise TombolaError("a criterion has either a score, or a solver and the statistic that this needs")
        object.__setattr__(self, "scopes", self.scopes or possible)
        if not {*self.scopes} <= {*possible}:
            raise TombolaError(
                f"this criterion can compare weights of a {' or '.join(possible)}, not {', '.join(self.scopes)}"
            )

    @property
    def updates(self) -> bool:
        """True if it changes the weights that survive."""
        return self.solve is not None


def wanda_scores(weight: Tensor, norms: Tensor) -> Tensor:
    """|W| x ‖X‖₂ (Sun, Liu, Bair, Kolter 2023), to be compared within each output unit's row.

    Args:
        weight: [out, in].
        norms: [in], of each input unit over all calibration positions, as `Norms` has them.

    Returns:
        [out, in], fp32 or fp64 as the norms are.
    """
    return weight.abs().to(norms.dtype).mul_(norms)


def _sparsegpt(matrix: ScoredMatrix, cut: "WeightCut") -> tuple[Tensor, Tensor]:
    return sparsegpt(matrix.weight, matrix.statistic, cut.sparsity, cut.pattern, block=cut.block)


def _criterion(name: str, value: object) -> Criterion:
    if not isinstance(value, Criterion) and not callable(value):
        raise TombolaError(f"the criterion {name} is {value!r:.80}; give a function of a matrix, or a Criterion")
    return value if isinstance(value, Criterion) else Criterion(cast(WeightScore, value))


CRITERIA: Registry[Criterion] = Registry(
    "criterion",
    CRITERIA_ENTRY_POINTS,
    {
        "magnitude": Criterion(lambda matrix: matrix.weight.abs(), seeded=False),
        "random": Criterion(ScoredMatrix.random),
        "wanda": Criterion(
            lambda matrix: wanda_scores(matrix.weight, matrix.statistic), statistic=Norms, rowwise=True, seeded=False
        ),
        "sparsegpt": Criterion(
            solve=_sparsegpt,
            statistic=InputHessian,
            prepare=lambda gram, cut: InverseHessian.of(gram, cut.damping),
            seeded=False,
        ),
    },
    _criterion,
)
"""The criteria, by the names that users give."""


def register_criterion(name: str, criterion: WeightScore | Criterion) -> None:
    """Add a way to rank weights: `WeightCut(name, 0.5)`, and the pruning methods NAME, NAME-2:4 and NAME-4:8.

    A function will do where the weights alone decide; a [`Criterion`][tombola.pruning.weight_criteria.Criterion] says
    more. It is there from now on, in this process; a package that declares it as an entry point of the group
    `tombola.criteria` has it in every process, and on the command line. A name that was registered here before now
    means the new criterion; studies know it by its name and its code, see
    [`code_fingerprint`][tombola.foundations.fingerprint.code_fingerprint]: give a criterion that changes in what does
    not count there, such as a package that it calls, a new name.

    Args:
        name: small letters, digits and dashes.
        criterion: see [`WeightScore`][tombola.pruning.weight_criteria.WeightScore].

    Raises:
        TombolaError: the name is not fit or taken, or it is no criterion.
    """
    CRITERIA.register(name, criterion)
    try:
        add_criterion(name)
    except TombolaError:
        CRITERIA.forget(name)
        raise


def scores_of(matrix: ScoredMatrix, cut: "WeightCut") -> Tensor:
    """Scores that a cut's criterion gives the weights of a matrix, in the shape of `matrix.weight`.

    Raises:
        TombolaError: they are of another shape, or not all of them are finite and from 0.
    """
    score = CRITERIA[cut.criterion].score
    assert score is not None
    found: object = score(matrix)
    what, shape = f"the criterion {cut.criterion} gives {matrix.matrix.name}", list(matrix.weight.shape)
    if not isinstance(found, Tensor) or list(found.shape) != shape:
        given = f"scores of shape {list(found.shape)}" if isinstance(found, Tensor) else f"{found!r:.80}"
        raise TombolaError(f"{what} {given}; its weights are {shape}, of which each needs a score")
    low, high = found.detach().aminmax()
    if not 0 <= float(low) <= float(high) < math.inf:
        raise TombolaError(f"{what} scores from {low:.4g} to {high:.4g}; scores must be finite, and none below 0")
    return found.detach()


@dataclass(frozen=True, init=False)
class WeightCut:
    """Cut of a model's weights, as it is asked for.

    Args:
        criterion: `magnitude`, `random`, `wanda`, `sparsegpt`, or one of your own, see `register_criterion`.
        sparsity: share of the weights to remove, from 0 to below 1; with a pattern, the pattern's, or nothing.
        pattern: `2:4`, `4:8` or any other N:M: of every M neighbouring inputs of an output unit, N survive.
        scope: over what weights are compared: `global`, `matrix` or `row`; by default the whole model for magnitude
            and random, each row for Wanda. SparseGPT has its own: blocks of columns of a matrix.
        sequential: calibration text goes through the blocks that are pruned already, as in the papers; otherwise
            through the dense ones, in half the time.
        seed: of random pruning, and of criteria of your own that draw.
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
        shape = None if pattern is None else WeightPattern.parse(str(pattern))
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
        if CRITERIA[self.criterion].seeded:
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
        TombolaError: unknown architecture, quantised weights, a pattern that does not divide a matrix's inputs, or no
            cut.
    """
    if not isinstance(cut, WeightCut):
        raise TombolaError(f'give a cut, as WeightCut("magnitude", 0.5), not {cut!r}')
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
