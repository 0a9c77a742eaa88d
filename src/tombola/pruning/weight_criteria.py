"""Criteria by which weights are pruned, as data, and what each does to one matrix."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.architectures.matrix_layout import fan_in, outputs_first
from tombola.architectures.sites import Matrix
from tombola.foundations.errors import TombolaError
from tombola.pruning.activation_statistics import InputHessian, Norms, Statistic
from tombola.pruning.magnitude import Threshold, keep_largest
from tombola.pruning.sparsegpt import BLOCK, DAMPING, InverseHessian, sparsegpt
from tombola.pruning.topk_per_row import keep_in_rows
from tombola.pruning.wanda import wanda_scores
from tombola.tickets.nm_sparsity import WeightPattern

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_QUANTISED = (
    "this model is quantised: its matrices hold codes, of which no single weight can be pruned; give the checkpoint in "
    "16 or 32 bits that it was made from"
)
_SLAB = 256
"""Rows whose scores are held at a time."""

_SEEDS = 2**32
"""Seeds there are: shifted, to leave room for matrices, they still fit a generator."""


@dataclass(frozen=True)
class Criterion:
    """A criterion by which weights are chosen.

    Attributes:
        title: the name that people know it by.
        scopes: over what weights may be compared, the default first: `global`, the whole model; `matrix`, each matrix,
            which all lose the same share; `row`, the inputs of each output unit.
        statistic: what it wants to know of a matrix's inputs; None if nothing.
        updates: whether it changes the weights that survive.
    """

    title: str
    scopes: tuple[str, ...]
    statistic: Callable[[], Statistic] | None = None
    updates: bool = False


CRITERIA: Mapping[str, Criterion] = MappingProxyType(
    {
        "magnitude": Criterion("magnitude", ("global", "matrix", "row")),
        "random": Criterion("random", ("global", "matrix", "row")),
        "wanda": Criterion("Wanda", ("row", "matrix"), Norms),
        "sparsegpt": Criterion("SparseGPT", ("matrix",), InputHessian, updates=True),
    }
)
"""The criteria, by the names that users give."""


@dataclass(frozen=True)
class WeightCut:
    """Options of pruning a model's weights.

    Attributes:
        criterion: a name of `CRITERIA`.
        sparsity: share of the weights to remove, from 0 to below 1.
        pattern: N:M; the scope then has no meaning.
        scope: over what weights are compared.
        sequential: whether calibration text passes the pruned blocks, or the dense ones.
        seed: of random pruning.
        damping, block: of SparseGPT.
    """

    criterion: str
    sparsity: float
    pattern: WeightPattern | None
    scope: str
    sequential: bool = True
    seed: int = 0
    damping: float = DAMPING
    block: int = BLOCK

    @classmethod
    def of(
        cls,
        criterion: str,
        sparsity: float | None = None,
        pattern: str | None = None,
        scope: str | None = None,
        *,
        sequential: bool = True,
        seed: int = 0,
        damping: float = DAMPING,
        block: int = BLOCK,
    ) -> "WeightCut":
        """Options as a user asks for them, checked.

        Raises:
            TombolaError: there is no such criterion, share, pattern or scope, or they do not go together.
        """
        if criterion not in CRITERIA:
            raise TombolaError(f"unknown criterion {criterion!r}; known: {', '.join(CRITERIA)}")
        scopes = CRITERIA[criterion].scopes
        if scope is not None and scope not in scopes:
            raise TombolaError(f"{criterion} compares weights of a {' or '.join(scopes)}, not {scope!r}")
        shape = None if pattern is None else WeightPattern.parse(pattern)
        if shape is not None:
            if scope is not None:
                raise TombolaError(f"{pattern} compares weights within its groups: leave the scope out")
            if sparsity is not None and not math.isclose(sparsity, shape.sparsity):
                raise TombolaError(f"{pattern} removes {shape.sparsity:.4g} of the weights, not {sparsity}")
            sparsity = shape.sparsity
        if sparsity is None or not 0 <= sparsity < 1:
            raise TombolaError(f"the share of weights to remove must lie between 0 and below 1, not {sparsity}")
        if not 0 <= seed < _SEEDS:
            raise TombolaError(f"the seed must be a whole number from 0 to below {_SEEDS}, not {seed}")
        if not damping > 0 or block < 1:
            raise TombolaError(f"SparseGPT needs damping above 0 and blocks of columns, not {damping} and {block}")
        return cls(criterion, sparsity, shape, scope or scopes[0], sequential, seed, damping, block)

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
        inputs = fan_in(model, matrix)
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


def masks_without_data(
    model: nn.Module, matrices: Sequence[Matrix], weight: Callable[[Matrix], Tensor], cut: WeightCut
) -> Iterator[tuple[Matrix, Tensor]]:
    """The masks of a criterion that looks at no activations, matrix by matrix, in the order of the anatomy.

    Args:
        model: whose matrices they are; only its modules are asked, it may be without memory.
        matrices: all that are pruned.
        weight: gives the values of a matrix as they are stored. Called three times for each where the whole model is
            compared, so that they need not all be in memory.
        cut: what is asked.

    Yields:
        Each matrix with its mask, bool of its shape.
    """
    seeds = {matrix.name: index for index, matrix in enumerate(matrices)}

    def scores(matrix: Matrix) -> Tensor:
        if cut.criterion == "magnitude":
            return weight(matrix)
        # The same draw whenever it is asked for, so that none is kept.
        generator = torch.Generator().manual_seed((cut.seed << 20) + seeds[matrix.name])
        return torch.rand(matrix.shape, generator=generator)

    threshold = None
    if cut.pattern is None and cut.scope == "global":
        total = sum(matrix.size for matrix in matrices)
        threshold = Threshold.find(
            lambda: ((scores(matrix), None) for matrix in matrices), total - cut.remaining(total)
        )
    for matrix in matrices:
        found = scores(matrix)
        if threshold is not None:
            yield matrix, threshold.mask(found)
        elif cut.pattern is None and cut.scope == "matrix":
            yield matrix, keep_largest({"": found}, cut.remaining(matrix.size))[""].to(found.device)
        else:
            rows = outputs_first(model, matrix, found)
            yield matrix, outputs_first(model, matrix, _by_rows(rows, _magnitude, cut))


def prune_matrix(weight: Tensor, statistic: Tensor | InverseHessian, cut: WeightCut) -> tuple[Tensor, Tensor]:
    """The mask of a matrix by a criterion that looks at activations, and its new values.

    Args:
        weight: [out, in]; it is not changed.
        statistic: of its inputs, as `digest` made it.
        cut: what is asked.

    Returns:
        Bool [out, in], and values in the weight's dtype, +0.0 where pruned.

    Raises:
        TombolaError: the new values overflow.
    """
    if isinstance(statistic, InverseHessian):
        mask, changed = sparsegpt(weight, statistic, cut.sparsity, cut.pattern, block=cut.block)
        if not changed.isfinite().all():
            raise TombolaError(
                f"the weights that SparseGPT found overflow {weight.dtype}; load the model in fp32 or bf16"
            )
        return mask, changed
    if cut.pattern is None and cut.scope == "matrix":
        scores = wanda_scores(weight, statistic)
        mask = keep_largest({"": scores}, cut.remaining(weight.numel()))[""].to(weight.device)
    else:
        mask = _by_rows(weight, lambda rows: wanda_scores(rows, statistic), cut)
    return mask, weight.where(mask, 0.0)


def digest(statistic: Tensor, cut: WeightCut) -> Tensor | InverseHessian:
    """Form in which `prune_matrix` takes a statistic; the same for all matrices that share it."""
    return InverseHessian.of(statistic, cut.damping) if CRITERIA[cut.criterion].updates else statistic


def _by_rows(weight: Tensor, score: Callable[[Tensor], Tensor], cut: WeightCut) -> Tensor:
    """The mask of a matrix, bool [out, in], whose rows, or groups in them, are decided one by one."""
    masks = []
    for rows in weight.split(_SLAB):
        scores = score(rows)
        if cut.pattern is not None:
            masks.append(cut.pattern.largest(scores))
        else:
            masks.append(keep_in_rows(scores, scores.shape[1] - cut.remaining(scores.shape[1])))
    return torch.cat(masks)


def _magnitude(rows: Tensor) -> Tensor:
    return rows.abs().to(torch.promote_types(rows.dtype, torch.float32))
