"""Denoisers on disk: shrunk, sparse and with zeros, read back bit for bit, and at work in their pipelines."""

import copy
import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DDPMPipeline, DDPMScheduler, DiffusionPipeline, DiTPipeline
from huggingface_hub import ModelCard
from torch import nn

from builders.denoisers import KINDS, computed, tickets
from builders.encoders import some_weights
from builders.unets import denoised, unet
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import count_parameters
from tombola.checkpoints.checkpoint import load, save_shrunk, save_zeros
from tombola.checkpoints.export_onnx import save_onnx
from tombola.checkpoints.model_card import bytes_on_disk, dense_bytes
from tombola.checkpoints.model_libraries import DIFFUSERS, library_at, load_any
from tombola.checkpoints.shrunk_folder import TENSORS
from tombola.foundations.errors import TombolaError
from tombola.foundations.tensor_bits import same_bits
from tombola.subnetworks.subnetwork import masked, shrunk
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow


def one_of(model: nn.Module, kind: str) -> Ticket:
    """A random ticket of heads with channels or neurons."""
    return next(ticket for what, ticket in tickets(model, KINDS[kind]).items() if what.startswith("random 1"))


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two models hold the same tensors, those that stand in no file included."""
    a = {**dict(one.named_parameters()), **dict(one.named_buffers())}
    b = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    return a.keys() == b.keys() and all(same_bits(tensor, b[name]) for name, tensor in a.items())


@pytest.mark.parametrize("name", KINDS)
def test_a_shrunk_denoiser_loads_bit_for_bit(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    model = kind.make(torch.float32)
    ticket = one_of(model, name)
    assert save_shrunk(model, ticket, tmp_path / "small") < 1e-5
    again = load(tmp_path / "small")
    part = shrunk(model, ticket).model
    assert type(again) is type(model)
    assert same(again, part)
    # A file's tensors lie at other places in memory, which rounding may feel; copies do not.
    assert torch.equal(computed(copy.deepcopy(again), kind), computed(copy.deepcopy(part), kind))
    torch.testing.assert_close(computed(again, kind), computed(masked(model, ticket), kind), rtol=1e-4, atol=1e-5)
    assert count_parameters(again) < count_parameters(model)
    assert bytes_on_disk(tmp_path / "small") < dense_bytes(model)
    assert not again.training
    card = ModelCard.load(tmp_path / "small" / "README.md")
    assert "DiffusionPipeline.from_pretrained" in card.text
    assert ("unet=model" in card.text) == name.startswith("unet")


@pytest.mark.parametrize("name", ["unet", "dit", "sd3"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dtypes_are_kept(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = KINDS[name].make(dtype)
    ticket = one_of(model, name)
    save_shrunk(model, ticket, tmp_path / "small")
    assert same(load(tmp_path / "small"), shrunk(model, ticket).model)


@pytest.mark.parametrize("name", KINDS)
def test_a_sparse_denoiser_loads_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = KINDS[name].make(torch.float32)
    ticket = some_weights(model, 1, 0.3)
    assert save_shrunk(model, ticket, tmp_path / "sparse") == 0
    assert same(load(tmp_path / "sparse"), masked(model, ticket).model)
    assert bytes_on_disk(tmp_path / "sparse") < dense_bytes(model)


@pytest.mark.parametrize("name", KINDS)
def test_zeros_load_as_diffusers_does(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    model = kind.make(torch.float32)
    ticket = one_of(model, name)
    save_zeros(model, ticket, tmp_path / "zeros")
    again = cast(Any, type(model)).from_pretrained(tmp_path / "zeros", use_safetensors=True)
    torch.testing.assert_close(computed(again, kind), computed(masked(model, ticket), kind), rtol=1e-4, atol=1e-5)
    assert ModelCard.load(tmp_path / "zeros" / "README.md").data.library_name == "diffusers"


def pipeline_of_digits(folder: Path) -> nn.Module:
    model = unet(torch.float32)
    DDPMPipeline(model, DDPMScheduler(num_train_timesteps=7)).save_pretrained(folder)
    return model


def test_no_folder_of_the_machine_is_written(tmp_path: Path) -> None:
    pipeline_of_digits(tmp_path / "whole")
    model = load_any(str(tmp_path / "whole"))
    for name, write in (("small", save_shrunk), ("zeros", save_zeros)):
        write(model, one_of(model, "unet"), tmp_path / name)
        assert str(tmp_path) not in (tmp_path / name / "config.json").read_text()


def test_a_shrunk_denoiser_works_in_its_pipeline(tmp_path: Path) -> None:
    model = pipeline_of_digits(tmp_path / "whole")
    ticket = one_of(model, "unet")
    save_shrunk(model, ticket, tmp_path / "small", tokenizer=str(tmp_path / "whole"))
    assert (
        json.loads((tmp_path / "small" / "scheduler" / "scheduler_config.json").read_text())["num_train_timesteps"] == 7
    )
    # By its original's folder, or by its own schedule.
    ours = DiffusionPipeline.from_pretrained(tmp_path / "whole", unet=load(tmp_path / "small"))
    own = DDPMPipeline(load(tmp_path / "small"), DDPMScheduler.from_pretrained(tmp_path / "small" / "scheduler"))
    save_zeros(model, ticket, tmp_path / "zeros")
    zeros = DDPMPipeline(cast(Any, type(model)).from_pretrained(tmp_path / "zeros"), own.scheduler)
    images = []
    for pipeline in (ours, own, zeros):
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        images.append(torch.from_numpy(pipeline(2, generator, num_inference_steps=7, output_type="np").images))
    assert torch.equal(images[0], images[1])
    torch.testing.assert_close(images[0], images[2], rtol=0, atol=1e-4)


def test_a_shrunk_transformer_works_in_its_pipeline(tmp_path: Path) -> None:
    model = KINDS["dit"].make(torch.float32)
    cast(Any, model).register_to_config(num_embeds_ada_norm=5)
    torch.manual_seed(0)
    vae = AutoencoderKL(latent_channels=4, block_out_channels=(4,), norm_num_groups=2, sample_size=8)
    save_shrunk(model, one_of(model, "dit"), tmp_path / "small")
    pipeline = DiTPipeline(transformer=load(tmp_path / "small"), vae=vae, scheduler=DDIMScheduler())
    pipeline.set_progress_bar_config(disable=True)
    with torch.no_grad():
        found = pipeline([1, 3], guidance_scale=1.0, num_inference_steps=2, output_type="np").images
    assert found.shape[0] == 2
    assert torch.from_numpy(found).isfinite().all()


def test_a_source_may_be_a_model_or_a_pipeline(tmp_path: Path) -> None:
    model = pipeline_of_digits(tmp_path / "pipeline")
    cast(Any, unet(torch.bfloat16)).save_pretrained(tmp_path / "model")
    for folder, dtype in (("pipeline", torch.float32), ("model", torch.bfloat16)):
        found = load_any(str(tmp_path / folder))
        assert library_at(str(tmp_path / folder)) is DIFFUSERS
        assert next(found.parameters()).dtype == dtype
    assert torch.equal(denoised(load_any(str(tmp_path / "pipeline"))), denoised(model))


def test_bad_sources_are_one_line(tmp_path: Path) -> None:
    model = pipeline_of_digits(tmp_path / "whole")
    index = json.loads((tmp_path / "whole" / "model_index.json").read_text())
    del index["unet"]
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(TombolaError, match="without a denoiser that can be pruned: it has no unet or transformer"):
        load_any(str(tmp_path / "bare"))
    weights = next((tmp_path / "whole" / "unet").glob("*.safetensors"))
    content = weights.read_bytes()
    for broken in (content[:-100], b"", content[:8] + b"x" * (len(content) - 8)):
        weights.write_bytes(broken)
        with pytest.raises(TombolaError, match="cannot load a denoiser") as refused:
            load_any(str(tmp_path / "whole"))
        assert "\n" not in str(refused.value)
    weights.unlink()
    torch.save(model.state_dict(), weights.with_suffix(".bin"))
    with pytest.raises(TombolaError, match="holds weights as a pickle"):
        load_any(str(tmp_path / "whole"))
    save_shrunk(model, one_of(model, "unet"), tmp_path / "small")
    assert computed(load_any(str(tmp_path / "small")), KINDS["unet"]).equal(
        computed(load(tmp_path / "small"), KINDS["unet"])
    )


def test_what_does_not_fit_is_never_saved(tmp_path: Path) -> None:
    model, other = unet(torch.float32), KINDS["dit"].make(torch.float32)
    with pytest.raises(TombolaError, match="another model"):
        save_shrunk(model, one_of(other, "dit"), tmp_path / "small")
    wider = unet(torch.float32, block_out_channels=(16, 16))
    with pytest.raises(TombolaError, match="another model"):
        save_shrunk(wider, one_of(model, "unet"), tmp_path / "small")
    with pytest.raises(TombolaError, match="cannot export it to ONNX"):
        save_onnx(model, one_of(model, "unet"), tmp_path / "small")
    with pytest.raises(TombolaError, match="is not a transformers model"):
        save_shrunk(nn.Linear(2, 2), one_of(model, "unet"), tmp_path / "small")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sparse", [False, True])
def test_damage_is_one_line(sparse: bool, tmp_path: Path) -> None:
    model = unet(torch.float32)
    ticket = some_weights(model, 0) if sparse else one_of(model, "unet")
    save_shrunk(model, ticket, tmp_path / "small")
    for file in (TENSORS, "masks.safetensors"):
        content = (tmp_path / "small" / file).read_bytes()
        for broken in (content[:-10], b"", content[:-1] + bytes([content[-1] ^ 1])):
            (tmp_path / "small" / file).write_bytes(broken)
            with pytest.raises(TombolaError, match="is damaged") as refused:
                load(tmp_path / "small")
            assert "\n" not in str(refused.value)
        (tmp_path / "small" / file).write_bytes(content)
    for name in ("config.json", "tombola.json"):
        content = (tmp_path / "small" / name).read_bytes()
        for text in ("{}", "[", ""):
            (tmp_path / "small" / name).write_text(text)
            with pytest.raises(TombolaError) as refused:
                load(tmp_path / "small")
            assert "\n" not in str(refused.value)
        (tmp_path / "small" / name).write_bytes(content)
    assert len(dissect(model).residuals) == 8
    load(tmp_path / "small")
