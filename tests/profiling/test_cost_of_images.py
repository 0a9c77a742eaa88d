"""What a denoiser costs: against the allocator, closed forms and files; never against a clock."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler

from builders.denoisers import KINDS, tickets
from builders.unets import unet
from tombola.architectures.denoisers import denoiser_inputs
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import count_parameters
from tombola.cli import main
from tombola.profiling.model_cost import CostOptions, compare
from tombola.profiling.tensor_memory import bytes_of, estimate, measure, multiply_adds
from tombola.subnetworks.subnetwork import shrunk
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def half(model: Any) -> Ticket:
    every = Ticket.full(dissect(model), "heads+channels")
    heads = [[row, head] for row in range(4) for head in (0, 3)]
    return every.without({"heads": heads, "channels": [[row, group] for row in range(8) for group in (1, 2)]})


@pytest.mark.exhaustive
def test_steps_images_and_memory_of_each_variant() -> None:
    # Of smaller networks the workspace of a single convolution is all that is seen.
    model = unet(torch.float32, block_out_channels=(32, 64), sample_size=16, attention_head_dim=16)
    ticket = half(model)
    costs = compare(model, ticket, CostOptions(batches=(1, 8), steps=10, repeats=1, memory=True))
    dense, under_mask, small = (costs.variants[name] for name in ("dense", "masked", "shrunk"))
    part = shrunk(model, ticket).model
    assert (costs.steps, costs.length, costs.dtype) == (10, None, "float32")
    assert small.parameters == count_parameters(part) < dense.parameters == under_mask.parameters
    assert (dense.weights, small.weights) == (bytes_of(model), bytes_of(part))
    expected = {batch: denoiser_inputs(part, batch) for batch in (1, 8)}
    with torch.no_grad():
        for batch, given in expected.items():
            found = measure(lambda given=given: part(**given), CPU)  # type: ignore[misc]
            assert small.activations[batch] == pytest.approx(found, rel=0.1)
    assert small.activations[1] < small.activations[8] < dense.activations[8]
    assert small.disk < dense.disk
    assert dense.memory is None or dense.memory > 0
    entry = json.loads(json.dumps(costs.entry(), allow_nan=False))
    assert entry["steps"] == 10
    entry = entry["variants"]
    assert entry["shrunk"]["seconds_per_image"]["8"] == pytest.approx(small.seconds[8] * 10 / 8)
    assert entry["dense"]["activations"]["8"] == dense.activations[8]


@pytest.mark.parametrize("name", KINDS)
def test_multiply_adds_are_those_of_the_estimate(name: str) -> None:
    kind = KINDS[name]
    model = kind.make(torch.float32)
    given = denoiser_inputs(model, 1)
    found = estimate(kind.make(torch.float32), lambda m: denoiser_inputs(m, 1), dtype=torch.float32)
    assert multiply_adds(model, given) == found.multiply_adds > 0
    smaller = shrunk(model, tickets(model, kind)[f"random 0 of {'heads+channels' if name == 'unet' else 'heads+mlps'}"])
    assert multiply_adds(smaller, given) < found.multiply_adds


def test_the_command_proves_and_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tombola.profiling.peak_memory.measure", lambda *_, **__: 1_000_000)
    model = unet(torch.float32)
    DDPMPipeline(model, DDPMScheduler(num_train_timesteps=7)).save_pretrained(tmp_path / "whole")
    half(model).save(tmp_path / "ticket")
    arguments = ["shrink", str(tmp_path / "whole"), str(tmp_path / "ticket"), "--out"]
    assert main([*arguments, str(tmp_path / "small"), "--batches", "1,2", "--steps", "5"]) == 0
    shown = capsys.readouterr().out
    for words in ("images of 5 steps", "step, batch 2, ms", "images/s, batch 2", "activations, batch 1, MB", "largest"):
        assert words in shown
    assert main([*arguments, str(tmp_path / "again"), "--no-measure", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["difference"] < 1e-5
    assert result["parameters"] == count_parameters(shrunk(model, half(model)).model)
    assert main([*arguments, str(tmp_path / "small")]) == 2
    assert "exists already" in capsys.readouterr().err
    cast(Any, KINDS["dit"].make(torch.float32)).save_pretrained(tmp_path / "other")
    assert main(["shrink", str(tmp_path / "other"), str(tmp_path / "ticket"), "--out", str(tmp_path / "no")]) == 2
    said = capsys.readouterr().err
    assert "another model" in said
    assert said.count("\n") == 1
    export = ["export", str(tmp_path / "whole"), str(tmp_path / "ticket"), "--format", "zeros", "--out"]
    assert main([*export, str(tmp_path / "zeros")]) == 0
    assert DDPMPipeline.from_pretrained(
        tmp_path / "whole", unet=cast(Any, type(model)).from_pretrained(tmp_path / "zeros")
    )
