"""2:4 sparsity: of every four weights that a product sums over in a row, at most two survive.

The one of the [patterns][tombola.tickets.nm_sparsity] that NVIDIA's tensor cores (Ampere and later) run up to twice as
fast.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.sparse import to_sparse_semi_structured
from transformers.pytorch_utils import Conv1D

from tombola.architectures.dissect import dissect
from tombola.architectures.sites import Matrix, outputs_first
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import Subnetwork, masked
from tombola.tickets.nm_sparsity import WeightPattern
from tombola.tickets.ticket import Ticket

PATTERN = "2:4"
_PATTERN = WeightPattern.parse(PATTERN)
_DTYPES = (torch.float16, torch.bfloat16)
_ROWS, _COLUMNS = 32, 64
"""Multiples of these run in both of PyTorch's backends, CUTLASS and cuSPARSELt."""


def prune_semi_structured(model: nn.Module) -> Ticket:
    """The ticket of weights that keeps the two of largest magnitude of every four, at once and without a search.

    Among weights of equal magnitude the later ones survive, as in
    [`keep_largest`][tombola.pruning.magnitude.keep_largest]. Matrices whose contracted size is no multiple of four stay
    whole.

    Raises:
        TombolaError: unknown architecture.
    """
    anatomy = dissect(model)
    masks = {}
    for matrix, parameter in anatomy.prunable(model):
        weight = outputs_first(model, matrix, parameter.detach())
        mask = torch.ones_like(weight, dtype=torch.bool)
        if _PATTERN.divides(weight.shape[1]):
            mask = _PATTERN.largest(weight.abs().nan_to_num(torch.inf, torch.inf))
        masks[matrix.name] = outputs_first(model, matrix, mask).contiguous().cpu()
    return Ticket("weights", anatomy.signature, masks, {"ticket": PATTERN})


def not_semi_structured(model: nn.Module, ticket: Ticket) -> tuple[str, ...]:
    """Names of the matrices of a ticket of weights that do not follow 2:4; none if the whole ticket does.

    Raises:
        TombolaError: the ticket is for another architecture, or not one of weights.
    """
    _check(model, ticket)
    masks = {matrix.name: outputs_first(model, matrix, ticket.masks[matrix.name]) for matrix in dissect(model).matrices}
    return tuple(name for name, mask in masks.items() if not _PATTERN.holds(mask))


@dataclass(frozen=True)
class SemiStructured:
    """A model on a GPU whose 2:4 matrices are stored and multiplied as such.

    Attributes:
        model: to call; its weights cannot be trained.
        sparse: matrices that were converted, by the names that tickets use.
        dense: the others: they do not follow 2:4, or their size is no multiple of 32 x 64.
    """

    model: nn.Module
    sparse: tuple[str, ...]
    dense: tuple[str, ...]


def to_semi_structured(model: nn.Module, ticket: Ticket) -> SemiStructured:
    """A model under a ticket of weights with PyTorch's semi-structured matrices, for inference on a GPU.

    Args:
        model: the whole model, in fp16 or bf16, on a CUDA device of compute capability 8.0 or more; it is not changed.
        ticket: of weights, of which at least one matrix follows 2:4.

    Raises:
        TombolaError: the device or the dtype cannot do it, no matrix follows 2:4, or the ticket is for another model.
    """
    _check(model, ticket)
    check_device(model)
    part = masked(model, ticket)
    otherwise = set(not_semi_structured(model, ticket))
    sparse = []
    for matrix, parameter in part.anatomy.prunable(part.model):
        outputs, inputs = outputs_first(model, matrix, parameter).shape
        if matrix.name not in otherwise and not outputs % _ROWS and not inputs % _COLUMNS:
            _convert(part, matrix)
            sparse.append(matrix.name)
    if not sparse:
        raise TombolaError(
            "no matrix of this ticket follows 2:4 in a size that a GPU takes (multiples of 32 x 64); make such a "
            "ticket with tombola prune --method magnitude-2of4"
        )
    dense = tuple(matrix.name for matrix in part.anatomy.matrices if matrix.name not in sparse)
    return SemiStructured(part.model, tuple(sparse), dense)


def _convert(part: Subnetwork, matrix: Matrix) -> None:
    path = matrix.module
    old = part.model.get_submodule(path)
    assert isinstance(old, nn.Linear | Conv1D)
    weight = outputs_first(part.model, matrix, old.weight.detach()).contiguous()
    new = nn.Linear(1, 1, device="meta")
    new.out_features, new.in_features = weight.shape
    new.weight = nn.Parameter(to_sparse_semi_structured(weight), requires_grad=False)
    new.register_parameter("bias", old.bias)
    new.train(old.training)
    part.model.set_submodule(path, new)


def _check(model: nn.Module, ticket: Ticket) -> None:
    ticket.check(dissect(model))
    if ticket.kind != "weights":
        raise TombolaError(f"2:4 is a pattern of weights, and this ticket is one of {ticket.kind}")


def check_device(model: nn.Module) -> None:
    """Raise a TombolaError for a model that is on no GPU with 2:4 kernels, or of a precision that they lack."""
    parameter = next(model.parameters())
    if parameter.device.type != "cuda":
        raise TombolaError(f"2:4 sparse matrices need an NVIDIA GPU, and the model is on {parameter.device.type}")
    if torch.cuda.get_device_capability(parameter.device) < (8, 0):
        name = torch.cuda.get_device_name(parameter.device)
        raise TombolaError(
            f"2:4 sparse matrices need a GPU of compute capability 8.0 (Ampere) or more; {name} has less"
        )
    if parameter.dtype not in _DTYPES:
        raise TombolaError(f"2:4 sparse matrices need fp16 or bf16; convert the {parameter.dtype} model first")
