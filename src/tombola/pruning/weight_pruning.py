"""Pruning single weights of a model at once, to a given sparsity: magnitude, random, Wanda and SparseGPT, and patterns.

What needs activations goes block after block: calibration text passes the blocks that are pruned already, as in the
papers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.sites import Matrix, outputs_first
from tombola.foundations.progress import SILENT, Progress
from tombola.pruning.activation_statistics import ActivationObserver
from tombola.pruning.blockwise import BlockwiseRun, always_there
from tombola.pruning.calibration import Calibration, calibration_inputs, count
from tombola.pruning.sparsegpt import InverseHessian
from tombola.pruning.weight_criteria import CRITERIA, WeightCut, check_finite, prunable_anatomy
from tombola.pruning.weight_masks import masks_without_data, prune_matrix
from tombola.subnetworks.subnetwork import structural_copy
from tombola.tickets.ticket import Ticket

Done = Callable[[Matrix, Tensor, Tensor], None]
"""Callback for a matrix that is pruned: the matrix, its mask and its new values, both as it is stored."""


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
