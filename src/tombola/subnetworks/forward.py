"""Forward passes of whole models and of subnetworks, with the gates that a subnetwork needs."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from tombola.architectures.parameters import device_of
from tombola.subnetworks.gates import attach
from tombola.subnetworks.subnetwork import Subnetwork

Variant = nn.Module | Subnetwork
"""Model that can be run; a subnetwork brings the gates that it needs."""


def module_of(variant: Variant) -> nn.Module:
    """The model to call."""
    return variant.model if isinstance(variant, Subnetwork) else variant


@contextlib.contextmanager
def ticket_gates(variant: Variant) -> Iterator[Callable[[int], None]]:
    """Gates at zero on every site that a subnetwork still has and its ticket pruned, while the block runs.

    Yields:
        What opens them, without gradients, before each pass of so many examples; it does nothing where none are needed.
    """
    if not (isinstance(variant, Subnetwork) and variant.gated):
        yield lambda _: None
        return
    device = device_of(variant.model)
    with attach(variant.model, variant.anatomy, variant.present, variant.ticket) as gates:

        def open_gates(batch: int) -> None:
            gates.open(batch, device, grad=False)

        yield open_gates


@contextlib.contextmanager
def forward(variant: Variant, given: Mapping[str, Any]) -> Iterator[Callable[[], Any]]:
    """Yield what runs the variant on keyword arguments `given`, on its device, without gradients."""
    with torch.no_grad(), ticket_gates(variant) as open_gates:
        open_gates(len(next(iter(given.values()))))
        yield lambda: module_of(variant)(**given)
