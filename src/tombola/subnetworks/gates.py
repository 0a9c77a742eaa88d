"""Gates on sites: one factor for every head, MLP, block of neurons or group of channels of every example.

A head's gate multiplies the head's slice of the attention output projection's input (of both, where two streams of
tokens attend together), that of a block of neurons its slice of the MLP output projection's input, that of a group of
channels its slice of the second convolution's input; an MLP's gate multiplies the sublayer's whole contribution to the
residual stream, bias included. All at one, the model computes what it always does; a gate at zero is the deletion of
its site.
A layer that is used several times (ALBERT) has its gates once, and their gradient sums over the uses.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.parameters import device_of
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tickets.ticket import Ticket

Place = tuple[str, int]
"""A kind of site, and the row of its mask."""


@dataclass
class Gates:
    """The gates of the pass that comes next; `open` makes new ones for every batch.

    Attributes:
        present: the sites that the model physically has.
        values: what the gates are set to when opened: one where it survives.
        opened: for each row of a mask that has any sites, kind by kind, its gates [batch, present sites], fp32.
    """

    present: Ticket
    values: Ticket
    opened: dict[Place, Tensor] = field(default_factory=dict)

    def places(self) -> Iterator[tuple[Place, Tensor]]:
        """Each row of a mask that has any sites, with those that it has, bool [sites]."""
        for kind in self.present.sites:
            for row, sites in enumerate(self.present.rows(kind)):
                if sites.any():
                    yield (kind, row), sites

    def open(self, batch: int, device: torch.device, *, grad: bool) -> list[Tensor]:
        """Make fresh gates, one of each site for every example, and return them in the order of `places`."""
        values = {kind: self.values.rows(kind) for kind in self.present.sites}
        self.opened = {
            (kind, row): values[kind][row][sites]
            .to(device, torch.float32)
            .expand(batch, -1)
            .clone()
            .requires_grad_(grad)
            for (kind, row), sites in self.places()
        }
        return list(self.opened.values())


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

    def gate_input(path: str, place: Place, size: int, **where: Any) -> None:
        hook = functools.partial(_gate_input, gates, place, size, **where)
        stack.enter_context(model.get_submodule(path).register_forward_pre_hook(hook))

    with contextlib.ExitStack() as stack:
        for parameter in model.parameters():
            if parameter.requires_grad:
                stack.callback(parameter.requires_grad_, True)
                parameter.requires_grad_(False)
        for place, sites in gates.places():
            kind, row = place
            if kind == "heads":
                attention = anatomy.attentions[row]
                for path in attention.outputs:
                    gate_input(path, place, attention.size)
            elif kind == "channels":
                residual = anatomy.residuals[row]
                gate_input(residual.output, place, residual.size, axis=1)
            else:
                mlp = anatomy.feed_forwards[row]
                if kind == "neurons" or mlp.plan.shared_output:
                    gate_input(mlp.output, place, mlp.neurons // len(sites), last=mlp.plan.shared_output)
                else:
                    output_hook = functools.partial(_gate_output, gates, place)
                    stack.enter_context(model.get_submodule(mlp.gate).register_forward_hook(output_hook))
        if "heads" in gates.values.masks:
            for emptied in gates.values.kept(anatomy).without_bias(anatomy.attentions):
                for path in emptied.outputs:
                    stack.enter_context(model.get_submodule(path).register_forward_hook(_without_bias))
        yield gates


def _gate_input(
    gates: Gates,
    place: Place,
    size: int,
    _: nn.Module,
    inputs: tuple[Tensor, ...],
    *,
    axis: int = -1,
    last: bool = False,
) -> tuple[Tensor]:
    """A hook before a module: each gate times `size` neighbours along an axis of its input."""
    (x,) = inputs
    # fp32 gates: under autocast the product is taken in fp32, so that a gate's gradient sums in fp32 too.
    gate = _by_example(gates.opened[place], x).repeat_interleave(size, 1)
    own, others = gate.shape[1], x.shape[axis] - gate.shape[1]
    if others:
        # Units of an MLP stand beside those of heads.
        one = gate.new_ones(len(gate), others)
        gate = torch.cat((one, gate) if last else (gate, one), 1)
    shape = [1] * x.ndim
    shape[0], shape[axis] = len(gate), own + others
    return ((x * gate.reshape(shape)).to(x.dtype),)


def _gate_output(gates: Gates, place: Place, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A forward hook: one gate of each example times all of a module's output."""
    gate = _by_example(gates.opened[place], output)
    return (output * gate.reshape(output.shape[0], *[1] * (output.ndim - 1))).to(output.dtype)


def _without_bias(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A forward hook: all heads are gated to zero, so that what comes out is the bias."""
    bias = module.bias
    return output - bias.to(output.dtype) if isinstance(bias, Tensor) else output


def _by_example(gate: Tensor, x: Tensor) -> Tensor:
    """The gate of each row of `x`, where a family lays the tokens of all examples in one dimension (OPT's MLP)."""
    tokens = x.shape[0] // gate.shape[0]
    # Of a model that is dispatched over devices the gates are where the inputs go.
    gate = gate.to(x.device)
    return gate if tokens == 1 else gate.repeat_interleave(tokens, 0)


Variant = nn.Module | Subnetwork
"""Model that can be run; a subnetwork brings the gates that it needs."""


def module_of(variant: Variant) -> nn.Module:
    """The model to call."""
    return variant.model if isinstance(variant, Subnetwork) else variant


@contextlib.contextmanager
def ticket_gates(variant: Variant) -> Iterator[Callable[[int], object]]:
    """Gates at zero on every site that a subnetwork still has and its ticket pruned, while the block runs.

    Yields:
        What opens them, without gradients, before each pass of so many examples; it does nothing where none are needed.
    """
    if not (isinstance(variant, Subnetwork) and variant.gated):
        yield lambda _: None
        return
    device = device_of(variant.model)
    with attach(variant.model, variant.anatomy, variant.present, variant.ticket) as gates:
        yield functools.partial(gates.open, device=device, grad=False)


@contextlib.contextmanager
def forward(variant: Variant, given: Mapping[str, Any]) -> Iterator[Callable[[], Any]]:
    """Yield what runs the variant on keyword arguments `given`, on its device, without gradients."""
    with torch.no_grad(), ticket_gates(variant) as open_gates:
        open_gates(len(next(iter(given.values()))))
        yield lambda: module_of(variant)(**given)
