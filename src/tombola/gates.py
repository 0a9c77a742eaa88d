"""Gates on sites: one factor for every head and MLP of every example, as a context manager.

A head's gate multiplies the head's slice of the attention output projection's input; an MLP's gate multiplies the
sublayer's whole contribution to the residual stream, bias included. All at one, the model computes what it always
does; a gate at zero is the deletion of its site. A layer that is used several times (ALBERT) has its gates once, and
their gradient sums over the uses.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tombola.anatomy import Anatomy, HeadRow, MLPRow
from tombola.ticket import Ticket


@dataclass
class Gates:
    """The gates of the pass that comes next; `open` makes new ones for every batch.

    Attributes:
        present: the sites that the model physically has.
        values: what the gates are set to when opened: one where it survives.
        heads: for each row of heads that has any, its gates [batch, present heads], fp32.
        mlps: for each MLP that is present, its gates [batch], fp32.
    """

    present: Ticket
    values: Ticket
    heads: dict[int, Tensor] = field(default_factory=dict)
    mlps: dict[int, Tensor] = field(default_factory=dict)

    def open(self, batch: int, device: torch.device, *, grad: bool) -> list[Tensor]:
        """Make fresh gates, one of each site for every example, and return them, heads first."""
        heads, mlps = self.values.heads.to(device, torch.float32), self.values.mlps.to(device, torch.float32)
        self.heads = {
            row: heads[row, kept].expand(batch, -1).clone().requires_grad_(grad)
            for row, kept in enumerate(self.present.heads.to(device))
            if kept.any()
        }
        self.mlps = {
            row: mlps[row].expand(batch).clone().requires_grad_(grad)
            for row, kept in enumerate(self.present.mlps)
            if kept
        }
        return [*self.heads.values(), *self.mlps.values()]


@contextlib.contextmanager
def attach(model: nn.Module, anatomy: Anatomy, present: Ticket, values: Ticket | None = None) -> Iterator[Gates]:
    """Put gates on a model's sites while the block runs, with all parameters frozen.

    Args:
        model: the model, whole or shrunk.
        anatomy: anatomy of the whole model.
        present: ticket of the sites that `model` still has (everything, for a whole model).
        values: ticket of the gates that are one; the others are zero. By default all that are present are one.

    Yields:
        Gates, to be opened before every forward pass. On the way out hooks go and `requires_grad` is restored.
    """
    # Asked for by name: a ticket without survivors is false.
    gates = Gates(present, present if values is None else values)

    def gate_heads(index: int, row: HeadRow) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
            (x,) = inputs
            split = x.unflatten(-1, (-1, row.size))
            # fp32 gates: under autocast the product is taken in fp32, so that a gate's gradient sums in fp32 too.
            gate = _by_example(gates.heads[index], x)
            gate = gate.reshape(x.shape[0], *[1] * (x.ndim - 2), -1, 1)
            return ((split * gate).flatten(-2).to(x.dtype),)

        return model.get_submodule(row.output).register_forward_pre_hook(hook)

    def gate_mlp(index: int, row: MLPRow) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            gate = _by_example(gates.mlps[index], output)
            return (output * gate.reshape(output.shape[0], *[1] * (output.ndim - 1))).to(output.dtype)

        return model.get_submodule(row.gate).register_forward_hook(hook)

    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handles = []
    try:
        for index, row in enumerate(anatomy.attentions):
            if present.heads[index].any():
                handles.append(gate_heads(index, row))
        for index, mlp in enumerate(anatomy.feed_forwards):
            if present.mlps[index]:
                handles.append(gate_mlp(index, mlp))
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield gates
    finally:
        for handle in handles:
            handle.remove()
        for parameter in trainable:
            parameter.requires_grad_(True)


def _by_example(gate: Tensor, x: Tensor) -> Tensor:
    """The gate of each row of `x`, where a family lays the tokens of all examples in one dimension (OPT's MLP)."""
    tokens = x.shape[0] // gate.shape[0]
    return gate if tokens == 1 else gate.repeat_interleave(tokens, 0)
