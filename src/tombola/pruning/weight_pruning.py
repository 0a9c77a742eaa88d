"""Pruning single weights of a model at once, to a given sparsity, by any criterion: whole, by rows, or by patterns.

What needs activations goes block after block: calibration text passes the blocks that are pruned already, as in the
papers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.sites import Matrix, is_transposed, outputs_first
from tombola.foundations.errors import TombolaError, memory_errors
from tombola.foundations.progress import SILENT, Progress, shown
from tombola.foundations.shown import Shown
from tombola.pruning.activation_statistics import ActivationObserver
from tombola.pruning.blockwise import BlockwiseRun, always_there
from tombola.pruning.calibration import Calibration, calibration_inputs, count
from tombola.pruning.magnitude import Pair, Threshold, keep_in_rows, keep_largest
from tombola.pruning.weight_criteria import (
    CRITERIA,
    ScoredMatrix,
    WeightCut,
    check_finite,
    prunable_anatomy,
    scores_of,
)
from tombola.subnetworks.pruned_model import keep_sparse
from tombola.subnetworks.subnetwork import structural_copy
from tombola.tickets.ticket import Ticket

Done = Callable[[Matrix, Tensor, Tensor], None]
"""Callback for a matrix that is pruned: the matrix, its mask and its new values, both as it is stored."""
_SLAB = 256
"""Rows whose scores are held at a time."""


@dataclass(frozen=True, eq=False)
class WeightPruning(Shown):
    """Result of pruning weights.

    Attributes:
        ticket: of weights.
        model: the model with +0.0 wherever the ticket prunes. With SparseGPT its surviving weights are new, so that
            ticket and model belong together; otherwise they are those of the model that was pruned. What was not
            touched is shared with that one.
    """

    ticket: Ticket
    model: nn.Module

    def __repr__(self) -> str:
        return f"WeightPruning({self.ticket}, {type(self.model).__name__})"


@memory_errors()
def prune_weights(
    model: nn.Module, cut: WeightCut, *, calibration: Calibration | None = None, progress: Progress | bool = SILENT
) -> WeightPruning:
    """Remove a share of a model's prunable weights, at once: `prune_weights(model, WeightCut("magnitude", 0.5))`.

    The count is exact: `round(sparsity x size)` weights go, of the model, of each matrix or of each row, as the scope
    says. Among weights of equal score the later survive.

    Args:
        model: a whole model of a known family, in floating point; it is not changed.
        cut: criterion, sparsity or pattern, scope.
        calibration: for Wanda and SparseGPT, text in batches; the field takes 128 sequences of 2,048 tokens of
            training text ([`windows`][tombola.tasks.base.windows] draws them). Padding does not
            count.
        progress: counts examples, those of every layer; True for a bar on stderr.

    Raises:
        TombolaError: unknown architecture; a pattern that does not divide a matrix's inputs; a quantised model; weights
            or activations that are not finite; no calibration text where it is needed.
    """
    anatomy = prunable_anatomy(model, cut)
    inputs = calibration_inputs(calibration, model) if cut.calibrated else []
    weights = {matrix.name: parameter.detach() for matrix, parameter in anatomy.prunable(model)}
    for name, weight in weights.items():
        check_finite(name, weight)
    pruned = structural_copy(model).eval()
    # What was zero in a sparse model may not be so any more.
    keep_sparse(pruned, None)
    masks: dict[str, Tensor] = {}
    later: list[tuple[Matrix, Tensor]] = []

    def done(matrix: Matrix, mask: Tensor, values: Tensor) -> None:
        masks[matrix.name] = mask.contiguous().cpu()
        if cut.calibrated and not cut.sequential:
            # The blocks that the text passes stay dense to the end.
            later.append((matrix, values))
        else:
            _put(pruned, matrix, values)

    if cut.calibrated:
        with shown(progress, "pruning") as counted:
            prune_by_blocks(pruned, anatomy, inputs, cut, done, progress=counted)
    else:
        for matrix, mask in masks_without_data(pruned, anatomy.matrices, lambda one: weights[one.name], cut):
            done(matrix, mask, weights[matrix.name].where(mask.to(weights[matrix.name].device), 0.0))
    for matrix, values in later:
        _put(pruned, matrix, values)
    for own, copied in zip(model.modules(), pruned.modules(), strict=True):
        copied.training = own.training
    ordered = {matrix.name: masks[matrix.name] for matrix in anatomy.matrices}
    return WeightPruning(Ticket("weights", anatomy.signature, ordered, record(cut, inputs)), pruned)


def prune_by_blocks(
    model: nn.Module,
    anatomy: Anatomy,
    inputs: Sequence[Mapping[str, Tensor]],
    cut: WeightCut,
    done: Done,
    *,
    residence: Callable[[set[int]], None] = always_there,
    progress: Progress = SILENT,
) -> None:
    """Prune the layers of a model one after the other by a criterion that looks at activations.

    Args:
        model: in evaluation mode; `done` changes it, if the text shall pass pruned layers.
        done: is told of each matrix as soon as it is pruned.
        residence: see [`BlockwiseRun`][tombola.pruning.blockwise.BlockwiseRun].
        progress: counts examples, those of every layer.
    """
    criterion = CRITERIA[cut.criterion]
    assert criterion.statistic is not None
    numbers = {matrix.name: number for number, matrix in enumerate(anatomy.matrices)}
    layers = sorted({matrix.layer for matrix in anatomy.matrices})
    run = BlockwiseRun(model, anatomy, inputs, sequential=cut.sequential, residence=residence, progress=progress)
    with run.attached():
        for layer in layers:
            observer = ActivationObserver(model, anatomy, layer, criterion.statistic)
            with observer.attached():
                run.watch(layer, observer)
            residence({layer})
            for names, found in observer.results():
                ready = criterion.prepare(found, cut)
                for number in (numbers[name] for name in names):
                    matrix = anatomy.matrices[number]
                    stored = model.get_parameter(matrix.parameter).detach()
                    mask, values = prune_matrix(_asked(model, anatomy.matrices, number, stored, cut, ready), cut)
                    # Stored as it was, whichever way round, and in one piece.
                    values = outputs_first(model, matrix, values).contiguous()
                    done(matrix, outputs_first(model, matrix, mask), values)
            progress.note(f"layer {layer + 1} of {len(layers)}")


def record(cut: WeightCut, inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, object]:
    """JSON values that say how the ticket was found."""
    return {**cut.facts(), **({"calibration": count(inputs)} if inputs else {})}


def _put(model: nn.Module, matrix: Matrix, values: Tensor) -> None:
    old = model.get_parameter(matrix.parameter)
    model.get_submodule(matrix.module).weight = nn.Parameter(values, old.requires_grad)


def masks_without_data(
    model: nn.Module, matrices: Sequence[Matrix], weight: Callable[[Matrix], Tensor], cut: WeightCut
) -> Iterator[tuple[Matrix, Tensor]]:
    """The masks of a criterion that looks at no activations, matrix by matrix, in the order of the anatomy.

    Args:
        model: whose matrices they are; only its modules are asked, it may be without memory.
        matrices: all that are pruned.
        weight: gives the values of a matrix as they are stored. Called three times for each where the whole model is
            compared, so that they need not all be in memory.

    Yields:
        Each matrix with its mask, bool of its shape.
    """
    if cut.pattern is None and cut.scope == "global":
        total = sum(matrix.size for matrix in matrices)
        yield from _largest(model, matrices, weight, cut, cut.remaining(total))
        return
    for index, matrix in enumerate(matrices):
        mask = _compared(_asked(model, matrices, index, weight(matrix), cut), cut)
        yield matrix, outputs_first(model, matrix, mask)


def keep_by_criterion(
    model: nn.Module,
    anatomy: Anatomy,
    criterion: str,
    count: int,
    alive: Mapping[str, Tensor] | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Masks of the `count` weights of highest score over the whole model, by a criterion that looks at no activations.

    Args:
        model: whole; it is not changed.
        anatomy: of the model.
        criterion: name of one.
        count: number of survivors.
        alive: bool masks of the weights that may survive; by default all.
        seed: of a criterion that draws.

    Returns:
        Bool masks on the CPU, by the names of matrices.
    """
    weights, cut = anatomy.weights_of(model), WeightCut(criterion, 0.0, scope="global", seed=seed)
    found = _largest(model, anatomy.matrices, lambda one: weights[one.name].detach(), cut, count, alive)
    return {matrix.name: mask.contiguous().cpu() for matrix, mask in found}


def _largest(
    model: nn.Module,
    matrices: Sequence[Matrix],
    weight: Callable[[Matrix], Tensor],
    cut: WeightCut,
    count: int,
    alive: Mapping[str, Tensor] | None = None,
) -> Iterator[tuple[Matrix, Tensor]]:
    """Masks, as matrices are stored, of the weights of highest score of all, exactly as many as asked."""

    def pairs() -> Iterator[Pair]:
        for index, matrix in enumerate(matrices):
            scores = scores_of(_asked(model, matrices, index, weight(matrix), cut), cut)
            yield outputs_first(model, matrix, scores), None if alive is None else alive[matrix.name]

    threshold = Threshold.find(pairs, sum(matrix.size for matrix in matrices) - count)
    for matrix, pair in zip(matrices, pairs(), strict=True):
        yield matrix, threshold.mask(*pair)


def _asked(
    model: nn.Module, matrices: Sequence[Matrix], index: int, stored: Tensor, cut: WeightCut, statistic: object = None
) -> ScoredMatrix:
    """Question to a criterion about one of the matrices, whose values are given as they are stored."""
    matrix = matrices[index]
    turned = is_transposed(model.get_submodule(matrix.module))
    # Another draw for each matrix.
    seed = (cut.seed << 20) + index
    return ScoredMatrix(matrix, outputs_first(model, matrix, stored), statistic, turned, seed)


def prune_matrix(matrix: ScoredMatrix, cut: WeightCut) -> tuple[Tensor, Tensor]:
    """The mask of a matrix by a criterion that looks at activations, and its new values.

    Returns:
        Bool [out, in], and values in the weight's dtype, +0.0 where pruned.

    Raises:
        TombolaError: the criterion gave something else than it should, or the new values overflow.
    """
    solve, weight = CRITERIA[cut.criterion].solve, matrix.weight
    if solve is None:
        mask = _compared(matrix, cut).to(weight.device)
        return mask, weight.where(mask, 0.0)
    mask, values = solve(matrix, cut)
    if (mask.dtype, mask.shape, values.shape) != (torch.bool, weight.shape, weight.shape):
        raise TombolaError(
            f"the criterion {cut.criterion} solves {matrix.matrix.name} by a mask {mask.dtype} {list(mask.shape)} and "
            f"values {list(values.shape)}; both are {list(weight.shape)}, and the mask is bool"
        )
    if not values.isfinite().all():
        raise TombolaError(
            f"the weights that {cut.criterion} found overflow {weight.dtype}; load the model in fp32 or bf16"
        )
    return mask, values


def _compared(matrix: ScoredMatrix, cut: WeightCut) -> Tensor:
    """The mask of a matrix, bool in the shape of its weights, whose weights are compared among themselves."""
    if cut.pattern is None and cut.scope == "matrix":
        scores = scores_of(matrix, cut)
        # Ties are broken in the order in which it is stored.
        stored = scores.T if matrix.transposed else scores
        mask = keep_largest({"": stored}, cut.remaining(scores.numel()))[""].to(scores.device)
        return mask.T if matrix.transposed else mask
    if CRITERIA[cut.criterion].rowwise:
        parts = (scores_of(replace(matrix, weight=rows), cut) for rows in matrix.weight.split(_SLAB))
    else:
        parts = iter(scores_of(matrix, cut).split(_SLAB))
    return torch.cat([_by_rows(scores, cut) for scores in parts])


def _by_rows(scores: Tensor, cut: WeightCut) -> Tensor:
    """The mask of some rows of a matrix, bool [rows, in], by their scores: each, or each group in it, by itself."""
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if cut.pattern is not None:
        return cut.pattern.largest(scores)
    return keep_in_rows(scores, scores.shape[1] - cut.remaining(scores.shape[1]))
