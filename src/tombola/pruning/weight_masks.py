"""Masks of a model's matrices by each criterion, one matrix at a time."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from tombola.architectures.sites import Matrix, outputs_first
from tombola.foundations.errors import TombolaError
from tombola.pruning.magnitude import Threshold, keep_in_rows, keep_largest
from tombola.pruning.sparsegpt import InverseHessian, sparsegpt
from tombola.pruning.weight_criteria import WeightCut

_SLAB = 256
"""Rows whose scores are held at a time."""


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
