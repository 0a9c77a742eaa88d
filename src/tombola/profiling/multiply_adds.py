"""Multiply-adds of a forward pass: every matrix product and convolution."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from transformers import PreTrainedModel

from tombola.profiling.tensor_memory import counter
from tombola.subnetworks.forward import Variant, forward, module_of
from tombola.subnetworks.subnetwork import Subnetwork, structural_copy


def multiply_adds(variant: Variant, given: Mapping[str, Any]) -> int:
    """Multiply-adds of the matrix products and convolutions of one forward pass on `given`.

    Where it can be, attention is computed step by step for it, as fused kernels hide their products; else their inputs
    say how many there are.
    """
    copied = structural_copy(module_of(variant))
    if isinstance(copied, PreTrainedModel):
        copied.set_attn_implementation("eager")
    stepwise = replace(variant, model=copied) if isinstance(variant, Subnetwork) else copied
    trainable = [parameter for parameter in copied.parameters() if parameter.requires_grad]
    try:
        # The counter follows the gradients of whatever has some, even where none are computed.
        for parameter in trainable:
            parameter.requires_grad_(False)
        with forward(stepwise, given) as run, counter() as operations:
            run()
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
    total: int = operations.get_total_flops()
    return total // 2
