"""Wanda (Sun, Liu, Bair, Kolter 2023): a weight counts by its magnitude times the norm of what it multiplies."""

from torch import Tensor


def wanda_scores(weight: Tensor, norms: Tensor) -> Tensor:
    """|W| x ‖X‖₂, to be compared within each output unit's row.

    Args:
        weight: [out, in].
        norms: [in], of each input unit over all calibration positions, as `Norms` has them.

    Returns:
        [out, in], fp32 or fp64 as the norms are.
    """
    return weight.abs().to(norms.dtype).mul_(norms)
