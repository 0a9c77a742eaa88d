"""Proof that what is made of a model computes what the masked one does, on inputs that any model takes."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tombola.architectures.dummy_inputs import dummy_inputs, few_dummy_inputs
from tombola.architectures.parameters import device_of, dtype_of, evaluating
from tombola.foundations.errors import TombolaError, reason
from tombola.foundations.tensor_bits import same_bits
from tombola.subnetworks.gates import forward
from tombola.subnetworks.subnetwork import Subnetwork, masked

_OUTPUTS = ("logits", "sample", "start_logits", "last_hidden_state")

_PRECISE = (torch.float32, torch.float64)

TOLERANCE = 1e-4
"""Largest difference of an output in the self-check, relative to the largest output; rounding is near 1e-6 in fp32."""


def largest_difference(gated: Subnetwork, shrunk: Subnetwork) -> float:
    """Largest difference of an output between two forms of a ticket on random inputs, relative to the largest output.

    Raises:
        TombolaError: an output is not finite.
    """
    given = dummy_inputs(gated.model, 4)
    return _relative(computed(gated, given), computed(shrunk, given))


def computed(subnetwork: Subnetwork, given: Mapping[str, Any]) -> Tensor:
    """Logits, the last hidden state of a model without a head, or a denoiser's prediction, fp32 on the CPU.

    See `meaningful`.
    """
    model, device = subnetwork.model, device_of(subnetwork.model)
    given = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in given.items()}
    with evaluating(model), forward(subnetwork, given) as run:
        output = run()
    found: Tensor = next(output[name] for name in _OUTPUTS if name in output)
    return meaningful(found.float().cpu(), given)


def meaningful(output: Tensor, given: Mapping[str, Tensor]) -> Tensor:
    """An output with 0 at padding, where a model promises nothing."""
    if output.ndim == 3 and "attention_mask" in given and "decoder_input_ids" not in given:
        return output.where(given["attention_mask"].to(output.device).bool()[..., None], 0.0)
    return output


def precise(model: nn.Module) -> nn.Module:
    """The model, or an fp32 copy of one of 16 bits, in which rounding alone would exceed the tolerance."""
    # Not the class's own way, which in diffusers leaves some parts as they are.
    return model if dtype_of(model) in _PRECISE else nn.Module.float(copy.deepcopy(model))


def _relative(expected: Tensor, found: Tensor) -> float:
    if not (expected.isfinite().all() and found.isfinite().all()):
        raise TombolaError("the model's outputs on random inputs are not finite, so nothing can be compared")
    return float((expected - found).abs().max() / expected.abs().max())


def difference(expected: Tensor, found: Tensor, what: str) -> float:
    """Largest difference of two outputs, relative to the largest expected one, if it is small enough.

    Raises:
        TombolaError: it is above `TOLERANCE`, or an output is not finite; `what` names the one that was found.
    """
    apart = _relative(expected, found)
    if not apart <= TOLERANCE:
        raise TombolaError(
            f"{what} differs from the masked model by {apart:.1e} of the largest output, so it was not saved; please "
            "report this model and ticket"
        )
    return apart


def verify_equivalent(model: nn.Module, small: Subnetwork, again: nn.Module, what: str) -> float:
    """Compare a model that was read back with the masked one.

    Args:
        model: the whole model.
        small: its ticket made flesh; of a ticket of weights, the masked model.
        again: what was read back; it may be changed to fp32.
        what: names it in an error.

    Returns:
        The largest difference of an output, relative to the largest output; 0 for a ticket of weights, of which every
        bit of every tensor was compared.

    Raises:
        TombolaError: they differ, or the one that was read back does not run.
    """
    if small.ticket.kind == "weights":
        expected, found = small.model.state_dict(), again.state_dict()
        differing = [name for name in expected if name not in found or not same_bits(expected[name], found[name])]
        if differing:
            raise TombolaError(
                f"{what} differs from the masked one in {', '.join(differing[:3])}, so it was not saved; please report "
                "this model and ticket"
            )
        return 0.0
    exact = precise(model)
    given = few_dummy_inputs(exact)
    expected_output = computed(masked(exact, small.ticket), given)
    # One fp32 copy of a model of 16 bits at a time.
    del exact
    exact = again if dtype_of(again) in _PRECISE else nn.Module.float(again)
    try:
        output = computed(replace(small, model=exact), given)
    except (RuntimeError, ValueError, IndexError) as error:
        raise TombolaError(
            f"{what} does not run ({reason(error, 150)}), so it was not saved; please report this model and ticket"
        ) from error
    return difference(expected_output, output, what)
