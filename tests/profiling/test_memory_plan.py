"""What a denoiser would need, against published parameters, the notes of others and models that are really cut."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from builders.unets import UNET, unet
from tombola.architectures.parameters import count_parameters
from tombola.cli import main
from tombola.foundations.errors import TombolaError
from tombola.profiling.denoiser_memory import evenly, needs
from tombola.profiling.known_pipelines import KNOWN_PIPELINES
from tombola.profiling.tensor_memory import bytes_of
from tombola.subnetworks.subnetwork import shrunk

MIB = 2**20
PUBLISHED = {
    "sd-1.5": 859_520_964,
    "bk-sdm-base": 579_384_964,
    "bk-sdm-small": 482_346_884,
    "bk-sdm-tiny": 323_384_964,
    "sdxl": 2_567_463_684,
    "pixart-alpha": 611_349_152,
    "sd3-medium": 2_028_328_000,
    "flux-dev": 11_901_408_320,
}


def build() -> nn.Module:
    return unet(torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_known_denoisers_are_of_the_published_size(name: str) -> None:
    with torch.device("meta"):
        assert count_parameters(KNOWN_PIPELINES[name].denoiser.make()) == PUBLISHED[name]


def test_every_layer_keeps_its_share() -> None:
    model = build()
    ticket = evenly(model, 0.5)
    assert ticket.masks["heads"].sum(1).tolist() == [2, 2, 2, 2]
    assert ticket.masks["channels"].sum(1).tolist() == [2] * 8
    # Rounded up, so that no layer is left without.
    assert evenly(model, 0.01).masks["channels"].sum(1).tolist() == [1] * 8
    assert len(evenly(model, 1.0)) == evenly(model, 1.0).total


@pytest.mark.slow
def test_needs_are_those_of_models_that_are_cut() -> None:
    whole, half = needs(build, (1.0, 0.5), images=(1, 4), dtype=torch.float32)
    model = build()
    assert whole.parameters == count_parameters(model)
    assert whole.weights == bytes_of(model)
    real = shrunk(model, evenly(model, 0.5)).model
    assert half.parameters == count_parameters(real)
    assert half.weights == bytes_of(real)
    assert half.passes[1].multiply_adds < whole.passes[1].multiply_adds
    assert whole.passes[4].multiply_adds == 4 * whole.passes[1].multiply_adds
    assert whole.passes[4].activations > 3 * whole.passes[1].activations
    # It draws from nothing, so that there is nothing to guide it.
    assert needs(build, guidance=False, dtype=torch.float32)[0].passes == {1: whole.passes[1]}


@pytest.mark.slow
def test_the_smallest_stable_diffusion_needs_what_was_measured() -> None:
    (need,) = needs(KNOWN_PIPELINES["bk-sdm-tiny"].denoiser.make)
    assert round(need.weights / MIB) == 617
    assert 115 < need.passes[1].activations / MIB < 135
    (without,) = needs(KNOWN_PIPELINES["bk-sdm-tiny"].denoiser.make, guidance=False)
    assert without.passes[1].activations < 0.6 * need.passes[1].activations


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"densities": (0.0,)}, "density must lie above 0"),
        ({"densities": (1.5,)}, "density must lie above 0"),
        ({"images": (0,)}, "must be 1 or more"),
        ({"size": 0}, "must be 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(TombolaError, match=words):
        needs(build, **arguments)


@pytest.mark.slow
def test_the_command_reads_a_folder_without_its_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = build()
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel", **UNET}))
    assert main(["memory", str(tmp_path), "--density", "1,0.5", "--images", "1,2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["density"] for one in found["needs"]] == [1.0, 0.5]
    assert found["needs"][0]["parameters"] == count_parameters(model)
    assert found["needs"][0]["weights"] == 2 * count_parameters(model)
    assert found["needs"][0]["peak"].keys() == {"1", "2"}
    assert main(["memory", str(tmp_path), "--gpu-memory", "4"]) == 0
    shown = capsys.readouterr().out
    assert "4 GB" in shown
    assert "none" not in shown
    assert main(["memory", str(tmp_path), "--gpu-memory", "0.00001"]) == 0
    assert "none" in capsys.readouterr().out
    assert "text encoders" in shown


def test_the_command_says_what_a_denoiser_does_not_draw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel", **UNET}))
    assert main(["memory", str(tmp_path), "--size", "15"]) == 2
    said = capsys.readouterr().err
    assert "a UNet2DModel does not draw 15 x 15" in said
    assert "Traceback" not in said


def test_the_command_says_what_is_no_denoiser(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", str(tmp_path)]) == 2
    assert "neither a pipeline" in capsys.readouterr().err


def test_the_command_lists_what_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "--list"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "pipeline", "denoiser"]
    assert [line.split()[0] for line in lines] == list(KNOWN_PIPELINES)
    assert lines[0].split()[1:] == ["StableDiffusionPipeline", "UNet2DConditionModel"]
    assert main(["memory", "--list", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["known"]) == list(KNOWN_PIPELINES)
