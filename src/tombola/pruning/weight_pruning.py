"""Pruning single weights of a model at once, to a given sparsity: magnitude, random, Wanda and SparseGPT, and patterns.

What needs activations goes block after block: calibration text passes the blocks that are pruned already, as in the
papers.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.sites import Matrix, outputs_first
from tombola.foundations.errors import TombolaError, memory_errors
from tombola.foundations.progress import SILENT, Progress
from tombola.pruning.activation_statistics import ActivationObserver
from tombola.pruning.blockwise import BlockwiseRun, always_there
from tombola.pruning.calibration import Calibration, calibration_inputs, count
from tombola.pruning.magnitude import Threshold, keep_in_rows, keep_largest
from tombola.pruning.sparsegpt import InverseHessian, sparsegpt
from tombola.pruning.weight_criteria import CRITERIA, WeightCut, check_finite, prunable_anatomy
from tombola.subnetworks.pruned_model import keep_sparse
from tombola.subnetworks.subnetwork import structural_copy
from tombola.tickets.ticket import Ticket

Done = Callable[[Matrix, Tensor, Tensor], None]
"""Callback for a matrix that is pruned: the matrix, its mask and its new values, both as it is stored."""
_SLAB = 256
"""Rows whose scores are held at a time."""


@dataclass(frozen=True, eq=False)
class WeightPruning:
    """Result of pruning weights.

    Attributes:
        ticket: of weights.
        model: the model with +0.0 wherever the ticket prunes. With SparseGPT its surviving weights are new, so that
            ticket and model belong together; otherwise they are those of the model that was pruned. What was not
            touched is shared with that one.
    """

    ticket: Ticket
    model: nn.Module


@memory_errors()
def prune_weights(
    model: nn.Module, cut: WeightCut, *, calibration: Calibration | None = None, progress: Progress = SILENT
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
        progress: counts examples, those of every layer.

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
        prune_by_blocks(pruned, anatomy, inputs, cut, done, progress=progress)
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
    statistic = CRITERIA[cut.criterion].statistic
    assert statistic is not None
    by_name = {matrix.name: matrix for matrix in anatomy.matrices}
    layers = sorted({matrix.layer for matrix in anatomy.matrices})
    run = BlockwiseRun(model, anatomy, inputs, sequential=cut.sequential, residence=residence, progress=progress)
    with run.attached():
        for layer in layers:
            observer = ActivationObserver(model, anatomy, layer, statistic)
            with observer.attached():
                run.watch(layer, observer)
            residence({layer})
            for names, found in observer.results():
                ready = InverseHessian.of(found, cut.damping) if CRITERIA[cut.criterion].updates else found
                for matrix in (by_name[name] for name in names):
                    parameter = model.get_parameter(matrix.parameter).detach()
                    mask, values = prune_matrix(outputs_first(model, matrix, parameter), ready, cut)
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


def wanda_scores(weight: Tensor, norms: Tensor) -> Tensor:
    """|W| x ‖X‖₂ (Sun, Liu, Bair, Kolter 2023), to be compared within each output unit's row.

    Args:
        weight: [out, in].
        norms: [in], of each input unit over all calibration positions, as `Norms` has them.

    Returns:
        [out, in], fp32 or fp64 as the norms are.
    """
    return weight.abs().to(norms.dtype).mul_(norms)


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
            mask = _by_rows(rows, lambda part: part.abs().to(torch.promote_types(part.dtype, torch.float32)), cut)
            yield matrix, outputs_first(model, matrix, mask)


def prune_matrix(weight: Tensor, statistic: Tensor | InverseHessian, cut: WeightCut) -> tuple[Tensor, Tensor]:
    """The mask of a matrix by a criterion that looks at activations, and its new values.

    Args:
        weight: [out, in]; it is not changed.
        statistic: of its inputs; of SparseGPT its inverse, the same for all matrices that share it.

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
