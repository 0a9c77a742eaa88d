"""Rows of a table of embeddings that texts ask for: the only ones that a training has gradients and moments of.

A batch has hundreds of a vocabulary's tens of thousands of tokens, and a training data set rarely half of them. A row
that no text has asked for yet has a gradient of zero and no moments, so that AdamW does nothing to it but its decay.
"""

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from tombola.subnetworks.subnetwork import structural_copy


class UsedRows(nn.Module):
    """Table of embeddings in which those rows stand that were asked for, in the order in which they were.

    Before them is a row of ones that nobody asks for: what the optimizer makes of it is what its decay leaves of all
    that are not here. Its size doubles when it is full.

    Args:
        table: of the whole vocabulary, which `write` brings up to date.

    Attributes:
        weight: rows [rows, width], of zeros behind those that are used.
        places: int64 [vocabulary], where in it each row is; 0 for those that nobody has asked for.
        optimizer: of `weight`, whose moments grow with it.
    """

    places: Tensor

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        # The same memory, but no parameter of this module.
        self._table = self._first = table.weight.detach()
        self._padding = table.padding_idx
        self.weight = nn.Parameter(torch.ones_like(self._table[:1]))
        self.register_buffer("places", torch.zeros(len(self._table), dtype=torch.int64))
        self.optimizer: torch.optim.Optimizer | None = None

    @override
    def forward(self, input: Tensor) -> Tensor:
        if not (places := self.places[input]).all():
            self._take(input[places == 0].unique())
            places = self.places[input]
        padding = -1 if self._padding is None else int(self.places[self._padding]) or -1
        found: Tensor = _Rows.apply(self.weight, places, padding)  # type: ignore[no-untyped-call]
        return found

    def _take(self, rows: Tensor) -> None:
        start = int(self.places.max()) + 1
        end = start + len(rows)
        if end > len(self.weight):
            self._grow(min(max(2 * len(self.weight), end), len(self._table) + 1))
        self.places[rows] = torch.arange(start, end)
        self.weight.data[start:end] = self._first[rows] * self.weight.data[0]

    def _grow(self, size: int) -> None:
        moments: dict[str, Any] = {} if self.optimizer is None else self.optimizer.state.get(self.weight, {})
        grown = {name: _grown(one, size) for name, one in moments.items() if one.ndim == 2}
        gradient, self.weight.grad = self.weight.grad, None
        self.weight.data = _grown(self.weight.data, size)
        self.weight.grad = None if gradient is None else _grown(gradient, size)
        moments.update(grown)

    def write(self) -> None:
        """Bring the whole table up to date."""
        used = self.places.nonzero().flatten()
        if not len(used):
            return
        first = self._first.clone()
        torch.mul(first, self.weight.data[0], out=self._table)
        self._table[used] = self.weight.data[self.places[used]]
        self._first = first


class _Rows(torch.autograd.Function):
    """Rows of a weight at given places; its gradient has the size that the weight has by then."""

    @staticmethod
    @override
    def forward(ctx: Any, weight: nn.Parameter, places: Tensor, padding: int) -> Any:
        ctx.weight, ctx.places, ctx.padding = weight, places, padding
        return nn.functional.embedding(places, weight)

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,), weight = gradients, ctx.weight
        found = torch.ops.aten.embedding_dense_backward(gradient, ctx.places, len(weight), ctx.padding, False)
        weight.grad = found if weight.grad is None else weight.grad.add_(found)
        return None, None, None


def _grown(tensor: Tensor, size: int) -> Tensor:
    return torch.cat((tensor, tensor.new_zeros(size - len(tensor), *tensor.shape[1:])))


def with_used_rows(model: nn.Module) -> tuple[nn.Module, UsedRows | None]:
    """A copy over the same weights that trains the rows of its vocabulary that are used; or the model itself.

    That is where it has no such table, or one that is frozen or that something else reads too (a language model's
    outputs are often of the same weights), or where accelerate has a hand in it.
    """
    try:
        table = model.get_input_embeddings()  # type: ignore[operator]
    except (AttributeError, NotImplementedError):
        return model, None
    special = type(table) is not nn.Embedding or table.max_norm is not None or table.scale_grad_by_freq or table.sparse
    hooked = any(hasattr(module, "_hf_hook") for module in model.modules())
    if special or hooked or not table.weight.requires_grad or table.weight.device.type != "cpu":
        return model, None
    uses = [name for name, one in model.named_parameters(remove_duplicate=False) if one is table.weight]
    if len(uses) != 1:
        return model, None
    copied, rows = structural_copy(model), UsedRows(table)
    copied.set_submodule(uses[0].rpartition(".")[0], rows)
    return copied, rows
