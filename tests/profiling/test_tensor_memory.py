"""Memory against PyTorch's own allocator, as its profiler reports it, and against published figures."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from builders.unets import unet
from tombola.architectures.denoisers import denoiser_inputs
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import count_parameters
from tombola.profiling.tensor_memory import LiveBytes, bytes_of, estimate, measure
from tombola.subnetworks.subnetwork import shrunk
from tombola.tickets.ticket import Ticket

MIB = 2**20
CPU = torch.device("cpu")
WIDE: dict[str, Any] = {
    "block_out_channels": (32, 64),
    "sample_size": 16,
    "norm_num_groups": 8,
    "attention_head_dim": 8,
}


def test_live_bytes_are_those_of_tensors_that_live() -> None:
    with LiveBytes() as live:
        a = torch.zeros(1000)
        b = a.view(10, 100).t()
        assert live.now == 4000
        a += 1
        c = b.contiguous()
        assert live.now == 8000
        del a, b
        assert live.now == 4000
        (c * 2).sum()
    # 4,000 bytes stay, 4,000 of the product, 4 of the sum.
    assert live.now == 4000
    assert live.peak == 8004
    del c
    assert live.now == 0


def test_measured_and_estimated_memory_are_the_allocators_own() -> None:
    model = unet(torch.float32, **WIDE)
    given = denoiser_inputs(model, 16)
    with torch.no_grad():
        model(**given)
        expected = measure(lambda: model(**given), CPU)
        with LiveBytes() as live:
            model(**given)
    found = live.peak
    inputs = sum(tensor.nbytes for tensor in given.values())
    guessed = estimate(unet(torch.float32, **WIDE), lambda m: denoiser_inputs(m, 16), dtype=torch.float32)
    # What differs is workspace inside of single operations.
    assert 0.9 * expected <= found <= expected
    assert guessed.activations - inputs <= found <= guessed.activations
    # Two tensors of a known size and some scalars; nothing.
    assert 8000 <= measure(lambda: torch.zeros(1000) + 1, CPU) < 8100
    assert measure(lambda: None, CPU) == 0
    assert guessed.weights == bytes_of(model) == 4 * count_parameters(model)


def test_multiply_adds_are_those_of_every_convolution_and_product() -> None:
    model = unet(torch.float32)
    found = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal found
        positions = output.numel() // module.get_parameter("weight").shape[0]
        found += positions * module.get_parameter("weight").numel()

    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(**denoiser_inputs(model, 2))
    # Four attentions over 4 x 4 places: queries by keys and attention by values.
    found += 4 * 2 * 2 * 16 * 16 * 16
    assert estimate(unet(torch.float32), lambda m: denoiser_inputs(m, 2)).multiply_adds == found


def test_a_shrunk_network_is_estimated_without_weights() -> None:
    def small(model: nn.Module) -> nn.Module:
        every = Ticket.full(dissect(model), "heads+channels")
        groups = [[row, group] for row in range(8) for group in range(4)]
        return shrunk(model, every.without({"heads": [[0, 1], [2, 0]], "channels": groups})).model

    model = unet(torch.float32, **WIDE)
    real = small(model)
    found = estimate(real, lambda m: denoiser_inputs(m, 4), dtype=torch.float32)
    whole = estimate(model, lambda m: denoiser_inputs(m, 4), dtype=torch.float32)
    assert found.weights == bytes_of(real) < whole.weights
    assert found.multiply_adds < whole.multiply_adds
    with torch.no_grad():
        inputs = denoiser_inputs(real, 4)
        with LiveBytes() as live:
            real(**inputs)
    apart = found.activations - live.peak
    assert 0 <= apart <= sum(tensor.nbytes for tensor in inputs.values())


@pytest.mark.slow
def test_stable_diffusion_takes_what_was_published() -> None:
    # The configuration of version 1.5: the class's own defaults but for the size and the width of the text.
    with torch.device("meta"):
        model = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    found = estimate(model, lambda m: denoiser_inputs(m, 2))
    assert found.weights == 2 * 859_520_964
    assert round(found.weights / MIB) == 1639
    assert 120 < found.activations / MIB < 140
