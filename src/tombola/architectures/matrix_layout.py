"""Layout of matrices in memory: `nn.Linear` stores [out, in], GPT-2's `Conv1D` [in, out]."""

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tombola.architectures.sites import Matrix


def units_of(linear: nn.Linear) -> tuple[int, int]:
    """Units out and in, whichever way round the matrix is stored."""
    rows, columns = linear.weight.shape
    return (columns, rows) if is_transposed(linear) else (rows, columns)


def is_transposed(linear: nn.Module) -> bool:
    """True if a linear map stores its matrix as [in, out]."""
    return isinstance(linear, Conv1D)


def outputs_first(model: nn.Module, matrix: Matrix, tensor: Tensor) -> Tensor:
    """A weight or mask of a matrix as [out, in], whichever way round it is stored; done twice it is as it was."""
    return tensor.T if is_transposed(model.get_submodule(matrix.module)) else tensor


def fan_in(model: nn.Module, matrix: Matrix) -> int:
    """Input units of a matrix, over which its product sums."""
    return matrix.shape[0] if is_transposed(model.get_submodule(matrix.module)) else matrix.shape[1]
