"""SparseGPT (Frantar, Alistarh 2023): prune a matrix column by column and compensate in the columns to come.

Removing a weight w of column j costs w² / [H⁻¹]ⱼⱼ of the layer's squared error on the calibration text, H being the
Gram matrix of its inputs, and is best compensated by moving the later columns along row j of H⁻¹ (optimal brain
surgeon). With columns taken in order, row j of the inverse for those that remain is, but for a factor, row j of the
upper Cholesky factor of H⁻¹: the same for all rows of the matrix. Updates of columns far to the right are put off until
a block of columns is done.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tombola.foundations.errors import TombolaError
from tombola.pruning.magnitude import keep_largest
from tombola.tickets.nm_sparsity import WeightPattern

DAMPING = 0.01
"""Damping as in the paper: this share of the mean of H's diagonal is added to it."""
BLOCK = 128
"""Columns of a block: their mask is chosen together, before any of them is pruned."""
_TRIES = 6


@dataclass(frozen=True, eq=False)
class InverseHessian:
    """Inverse Hessian of a matrix's inputs; the same for all matrices that multiply the same inputs.

    Attributes:
        factor: [in, in], the upper Cholesky factor of the inverse of the damped Gram matrix.
        dead: bool [in], inputs that were always zero.
    """

    factor: Tensor
    dead: Tensor

    @classmethod
    def of(cls, gram: Tensor, damping: float = DAMPING) -> Self:
        """From the sum over calibration positions of the outer products of the inputs, as `InputHessian` has it.

        Args:
            gram: [in, in], fp32 or fp64. It is overwritten.
            damping: what is added to the diagonal, relative to its mean.

        Raises:
            TombolaError: the matrix is too far from positive definite, whatever the damping.
        """
        diagonal = gram.diagonal()
        dead, mean = diagonal == 0, diagonal.mean()
        # An input that is always zero: its weights do nothing, and its row is that of the identity.
        diagonal[dead] = mean if mean > 0 else 1.0
        for _ in range(_TRIES):
            diagonal += damping * mean
            factor, failed = torch.linalg.cholesky_ex(gram)
            if not failed:
                factor, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(factor), upper=True)
                if not failed and factor.isfinite().all():
                    return cls(factor, dead)
            # Rounding made it indefinite: more of the same.
            damping *= 10
        raise TombolaError(
            "the activations of a layer cannot be inverted for SparseGPT, however much they are damped; load the model "
            "in fp32, or give more calibration text"
        )


def sparsegpt(
    weight: Tensor,
    inverse_hessian: InverseHessian,
    sparsity: float,
    pattern: WeightPattern | None = None,
    *,
    block: int = BLOCK,
) -> tuple[Tensor, Tensor]:
    """Prune a matrix and update what survives.

    Without a pattern, the share is removed from each block of columns, over all rows together, so that
    `round(sparsity x size)` weights go; among equal costs the later survive. With one, every group of inputs is decided
    when its first column is reached.

    Args:
        weight: [out, in]; it is not changed.
        inverse_hessian: of its inputs.
        sparsity: share to remove; of a pattern, its own.
        pattern: N:M.
        block: columns of a block; with a pattern, rounded down to whole groups.

    Returns:
        The mask, bool [out, in], and the new weights in the dtype of `weight`, +0.0 where pruned.
    """
    rows, columns = weight.shape
    group = 1 if pattern is None else pattern.group
    block = max(group, block - block % group)
    upper = inverse_hessian.factor
    # Columns along the first dimension: each is then contiguous.
    w = weight.detach().T.to(upper.dtype, copy=True).contiguous()
    w[inverse_hessian.dead] = 0
    kept = torch.empty(columns, rows, dtype=torch.bool, device=w.device)
    for start in range(0, columns, block):
        end = min(start + block, columns)
        part, inverse, chosen = w[start:end], upper[start:end, start:end], kept[start:end]
        scale, errors = inverse.diagonal()[:, None], torch.empty_like(part)
        if pattern is None:
            goes = round(sparsity * (rows * end)) - round(sparsity * (rows * start))
            # In the order of the matrix, not of its transpose: ties are broken as everywhere else.
            ratios = (part / scale).T.contiguous()
            chosen.copy_(keep_largest({"": ratios}, ratios.numel() - goes)[""].T)
        for column in range(end - start):
            if pattern is not None and column % group == 0:
                reached = slice(column, column + group)
                costs = (part[reached] / scale[reached]).square().T.contiguous()
                chosen[reached] = pattern.largest(costs).T
            survivors = part[column].where(chosen[column], 0.0)
            errors[column] = (part[column] - survivors) / scale[column]
            part[column] = survivors
            part[column + 1 :].addr_(inverse[column, column + 1 :], errors[column], alpha=-1)
        w[end:].addmm_(upper[start:end, end:].T, errors, alpha=-1)
    mask = kept.T.contiguous()
    return mask, w.T.to(weight.dtype).where(mask, 0.0)
