"""Gates on sites: one factor for every head and MLP of every example, as a context manager.

A head's gate multiplies the head's slice of the attention output projection's input; an MLP's gate multiplies the
sublayer's whole contribution to the residual stream, bias included. All at one, the model computes what it always
does; a gate at zero is the deletion of its site.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tombola.anatomy import Anatomy
from tombola.ticket import Ticket


@dataclass
class Gates:
    """The gates of the pass that comes next; `open` makes new ones for every batch.

    Attributes:
        present: the sites that the model physically has.
        values: float [layers, heads] and [layers], what the gates are set to when opened.
        heads: for each layer that has heads, its gates [batch, present heads], fp32.
        mlps: for each layer that has an MLP, its gates [batch], fp32.
    """

    present: Ticket
    values: Ticket
    heads: dict[int, Tensor] = field(default_factory=dict)
    mlps: dict[int, Tensor] = field(default_factory=dict)

    def open(self, batch: int, device: torch.device, *, grad: bool) -> list[Tensor]:
        """Make fresh gates, one of each site for every example, and return them, heads first."""
        heads, mlps = self.values.heads.to(device, torch.float32), self.values.mlps.to(device, torch.float32)
        self.heads = {
            layer: heads[layer, kept].expand(batch, -1).clone().requires_grad_(grad)
            for layer, kept in enumerate(self.present.heads.to(device))
            if kept.any()
        }
        self.mlps = {
            layer: mlps[layer].expand(batch).clone().requires_grad_(grad)
            for layer, kept in enumerate(self.present.mlps)
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

    def gate_heads(layer: int, size: int) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
            (x,) = inputs
            split = x.unflatten(-1, (-1, size))
            # fp32 gates: under autocast the product is taken in fp32, so that a gate's gradient sums in fp32 too.
            gate = gates.heads[layer].reshape(x.shape[0], *[1] * (x.ndim - 2), -1, 1)
            return ((split * gate).flatten(-2).to(x.dtype),)

        module = model.get_submodule(anatomy.layers[layer].path("attention_output"))
        return module.register_forward_pre_hook(hook)

    def gate_mlp(layer: int) -> torch.utils.hooks.RemovableHandle:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            gate = gates.mlps[layer].reshape(output.shape[0], *[1] * (output.ndim - 1))
            return (output * gate).to(output.dtype)

        return model.get_submodule(anatomy.layers[layer].path("mlp_out")).register_forward_hook(hook)

    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handles = []
    try:
        for layer in anatomy.layers:
            if present.heads[layer.index].any():
                handles.append(gate_heads(layer.index, layer.head_size))
            if present.mlps[layer.index]:
                handles.append(gate_mlp(layer.index))
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield gates
    finally:
        for handle in handles:
            handle.remove()
        for parameter in trainable:
            parameter.requires_grad_(True)
