"""Memory of folders that were written after pruning: the shapes that are there, without weights."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline
from safetensors.torch import load_file, save_file

import tombola
from builders.denoisers import KINDS, TEXTS_AND_IMAGES, tickets
from builders.encoders import classifier, some_sites, some_weights
from builders.pipelines import stable_diffusion
from builders.unets import made, unet
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import count_parameters
from tombola.checkpoints.checkpoint import load, save_shrunk, save_zeros
from tombola.cli import main

pytestmark = pytest.mark.slow


def reckoned(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert main(["memory", *arguments, "--images", "1", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["memory", *arguments]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    return said


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_a_shrunk_denoiser_is_as_small_as_it_is(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = KINDS[name].make(torch.float32)
    ticket = next(one for what, one in tickets(model, KINDS[name]).items() if what.startswith("random 1"))
    save_shrunk(model, ticket, tmp_path / "small")
    (need,) = reckoned(capsys, str(tmp_path / "small"))["needs"]
    small = load(tmp_path / "small")
    assert need["parameters"] == count_parameters(cast(Any, small)) < count_parameters(model)
    # Saved again by its own library, as a trainer does.
    cast(Any, small).save_pretrained(tmp_path / "again")
    assert reckoned(capsys, str(tmp_path / "again"))["needs"] == [need]
    (half,) = reckoned(capsys, str(tmp_path / "small"), "--density", "0.5")["needs"]
    assert half["parameters"] < need["parameters"]
    # Of zeros and of a sparse file nothing is smaller in memory.
    save_zeros(model, ticket, tmp_path / "zeros")
    save_shrunk(model, some_weights(model, 1), tmp_path / "sparse")
    for folder in ("zeros", "sparse"):
        assert reckoned(capsys, str(tmp_path / folder))["needs"][0]["parameters"] == count_parameters(model)


def test_a_pipeline_with_a_shrunk_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = unet(torch.float32)
    ticket = next(one for what, one in tickets(model, KINDS["unet"]).items() if what.startswith("random 1"))
    save_shrunk(model, ticket, tmp_path / "small")
    small = load(tmp_path / "small")
    tombola.save(DDPMPipeline(cast(Any, small), DDPMScheduler()), tmp_path / "pipeline")
    (need,) = reckoned(capsys, str(tmp_path / "pipeline"))["needs"]
    assert need["parameters"] == count_parameters(cast(Any, small))


def test_a_pipeline_with_a_shrunk_text_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline: Any = DiffusionPipeline.from_pretrained(stable_diffusion(tmp_path / "made"))
    before = reckoned(capsys, str(tmp_path / "made"), "--density", "1")
    encoder = pipeline.text_encoder
    save_shrunk(encoder, some_sites(encoder, 1), tmp_path / "small")
    pipeline.text_encoder = load(tmp_path / "small")
    tombola.save(pipeline, tmp_path / "again")
    after = reckoned(capsys, str(tmp_path / "again"), "--density", "1")
    sizes = [
        next(one["parameters"] for one in said["parts"] if one["part"] == "text_encoder") for said in (before, after)
    ]
    assert sizes[1] == count_parameters(pipeline.text_encoder) < sizes[0]
    assert after["needs"][0]["parameters"] == before["needs"][0]["parameters"]


def test_blocks_that_are_never_pruned_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = made("UNet2DConditionModel", TEXTS_AND_IMAGES, torch.float32)
    cast(Any, model).save_pretrained(tmp_path / "unet")
    assert list(reckoned(capsys, str(tmp_path / "unet"), "--density", "1")["never_pruned"]) == [
        one.name for one in dissect(model).without_sites
    ]
    assert main(["memory", str(tmp_path / "unet"), "--density", "1", "--images", "1"]) == 0
    assert "Never pruned: mid_block.attentions.0 (Attention: its family's entry has no heads" in " ".join(
        capsys.readouterr().out.split()
    )


def test_files_of_other_shapes_than_the_configuration_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cast(Any, unet(torch.float32)).save_pretrained(tmp_path / "cut")
    path = tmp_path / "cut" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    name = "down_blocks.1.attentions.0.to_q.weight"
    save_file({**tensors, name: tensors[name][4:].contiguous()}, path, {"format": "pt"})
    said = refused(capsys, str(tmp_path / "cut"))
    assert f"holds {name} as [12, 16], and its configuration asks for [16, 16]" in said


def test_a_model_of_texts_is_told_from_a_denoiser(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = classifier(dtype=torch.float32)
    model.save_pretrained(tmp_path / "whole")
    save_shrunk(model, some_sites(model, 1), tmp_path / "small")
    for name in ("whole", "small"):
        assert "a bert of another library, which is no model of diffusers" in refused(capsys, str(tmp_path / name))
