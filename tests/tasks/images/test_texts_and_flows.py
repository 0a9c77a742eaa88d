"""Denoisers of texts and of flows on a folder of images: what they are given, how they are judged, what they draw."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
)

import tombola
from builders.latents import CPU, MAKE, check_gates, coloured, opened, parts_of
from builders.pipelines import stable_diffusion, stable_diffusion_3
from tombola.architectures.denoisers import predict
from tombola.architectures.dissect import dissect
from tombola.checkpoints.checkpoint import load, save_shrunk
from tombola.checkpoints.denoisers import schedule_of
from tombola.checkpoints.model_libraries import load_any
from tombola.cli import main
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions, evaluate
from tombola.subnetworks.subnetwork import expanded, shrunk, whole
from tombola.tasks.images.conditioning import images_of, load_conditioning
from tombola.tasks.images.diffusion import Sampler, add_noise, seeded_noise
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow


@pytest.fixture(params=["xl", "pixart", "sigma", "sd3", "flux"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pipeline(tmp_path: Path, kind: str) -> Path:
    return MAKE[kind](tmp_path / "pipeline")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return coloured(tmp_path / "mine")


def test_samples_are_those_of_the_pipeline_without_guidance(folder: Path, pipeline: Path, kind: str) -> None:
    one, model = opened(folder, pipeline)
    parts = parts_of(pipeline)
    parts.scheduler = one.sampler.scheduler()
    start = seeded_noise((4, 8, 8), [0, 1])
    options: dict[str, Any] = {"height": 16, "width": 16, "num_inference_steps": 3, "output_type": "np"}
    if kind == "xl":
        # Its guidance compares with zeros, not with what it reads in an empty text.
        options["prompt_embeds"], options["pooled_prompt_embeds"] = torch.zeros(2, 7, 32), torch.zeros(2, 8)
    else:
        options["prompt"] = ["", ""]
    if kind in ("pixart", "sigma"):
        options |= {"use_resolution_binning": False, "clean_caption": False}
    if kind in ("sd3", "flux"):
        options["sigmas"] = np.linspace(1.0, 1 / 3, 3).tolist()
    if kind == "sd3":
        options["mu"] = None
    if kind == "flux":
        start = parts._pack_latents(start, 2, 4, 8, 8)
    images = parts(latents=start, guidance_scale=1.0, **options).images
    expected = torch.from_numpy(images).movedim(-1, 1) * 2 - 1
    torch.testing.assert_close(one.draw(model, count=2), expected, rtol=0, atol=1e-4)


def test_the_loss_is_that_of_latents(folder: Path, pipeline: Path, kind: str) -> None:
    one, model = opened(folder, pipeline)
    found = evaluate(whole(model), one, EvaluationOptions(batch_size=5))
    assert np.isfinite(found.score)
    (batch,) = one.batches("dev", 99)
    parts = parts_of(pipeline)
    given = load_conditioning(str(pipeline), (16, 16)).condition(1, CPU)
    index, losses = 5, []
    pixels = one.images("dev").pixels[index : index + 1]
    with torch.no_grad():
        shift = parts.vae.config.shift_factor or 0
        latent = (parts.vae.encode(pixels).latent_dist.mean - shift) * 0.7
        for level in range(4):
            step = int(batch.inputs["timesteps"][index, level])
            noise = batch.inputs["noise"][index : index + 1, level]
            if kind in ("xl", "pixart", "sigma"):
                alpha = parts.scheduler.alphas_cumprod[step]
                x, goal, time = alpha.sqrt() * latent + (1 - alpha).sqrt() * noise, noise, torch.tensor([step])
            else:
                sigma = (step + 1) / 1000
                sigma = 3 * sigma / (1 + 2 * sigma) if kind == "sd3" else sigma
                x, goal, time = (1 - sigma) * latent + sigma * noise, noise - latent, torch.tensor([1000 * sigma])
            said = predict(model, x, time, **given)
            losses.append(float((said - goal).square().mean()))
    assert float(found.losses[index]) == pytest.approx(np.mean(losses), rel=1e-4)


def test_gates_are_deletions_and_importance_is_finite(folder: Path, pipeline: Path) -> None:
    check_gates(*opened(folder, pipeline), "heads+neurons")


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", MAKE)
def test_the_commands_run(
    folder: Path, pipeline: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what = ["--model", str(pipeline), "--task", "images", "--data", str(folder), "--json", "--dev-rows", "8"]
    # Flux does not say how large its images are.
    ticket = str(tmp_path / "cut")
    assert main(["prune", *what, "--density", "heads=0.5,neurons=0.5", "--out", str(tmp_path / "cut")]) == 0
    assert np.isfinite(json.loads(capsys.readouterr().out)["score"])
    flags = ["--ticket", ticket, "--epochs", "1", "--train-rows", "16", "--learning-rate", "0.01"]
    assert main(["retrain", *what, *flags, "--out", str(tmp_path / "again")]) == 0
    retrained = json.loads(capsys.readouterr().out)["score"]
    assert np.isfinite(retrained)
    assert main(["score", "--model", str(tmp_path / "again"), *what[2:], "--pipeline", str(pipeline)]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(retrained, rel=1e-4)
    assert type(load_any(str(tmp_path / "again"))) is type(load_any(str(pipeline)))
    written = json.loads((tmp_path / "again" / "scheduler" / "scheduler_config.json").read_text())
    flows = kind in ("sd3", "flux")
    assert written["_class_name"] == ("FlowMatchEulerDiscreteScheduler" if flows else "DDIMScheduler")
    assert main(["shrink", str(pipeline), ticket, "--out", str(tmp_path / "small"), "--no-measure", "--force"]) == 0
    companion = json.loads((tmp_path / "small" / "scheduler" / "scheduler_config.json").read_text())
    assert companion["_class_name"].startswith("FlowMatch") == flows


def test_a_flow_goes_straight() -> None:
    generator = torch.Generator().manual_seed(0)
    images, noise = torch.randn(2, 3, 1, 2, 2, generator=generator)
    schedule = FlowMatchEulerDiscreteScheduler()
    noisy, goal, times = add_noise(schedule, images, noise, torch.tensor([0, 499, 999]))
    torch.testing.assert_close(times, torch.tensor([1.0, 500.0, 1000.0]))
    torch.testing.assert_close(noisy[2], noise[2])
    torch.testing.assert_close(noisy - times.view(-1, 1, 1, 1) / 1000 * goal, images)


def test_schedules_of_another_kind_are_refused(folder: Path, tmp_path: Path) -> None:
    for made, other, words in (
        (
            stable_diffusion,
            FlowMatchEulerDiscreteScheduler(),
            "a FlowMatchEulerDiscreteScheduler, is not that of a UNet2D",
        ),
        (stable_diffusion_3, DDIMScheduler(), "a DDPMScheduler, is not that of a SD3Transformer2DModel"),
    ):
        pipeline = made(tmp_path / made.__name__)
        other.save_pretrained(pipeline / "scheduler")
        with pytest.raises(TombolaError, match=words):
            opened(folder, pipeline)


def test_noise_that_is_not_known_is_refused(folder: Path, tmp_path: Path) -> None:
    pipeline = stable_diffusion(tmp_path / "pipeline")
    for scheduler in (EDMEulerScheduler(), DPMSolverMultistepScheduler(use_flow_sigmas=True)):
        cast(Any, scheduler).save_pretrained(pipeline / "scheduler")
        with pytest.raises(TombolaError, match=f"a {type(scheduler).__name__}, is not known; Tombola knows"):
            opened(folder, pipeline)
    for path in sorted((pipeline / "scheduler").iterdir()):
        path.unlink()
    with pytest.raises(TombolaError, match=r"schedule in .* cannot be read"):
        opened(folder, pipeline)
    (pipeline / "scheduler").rmdir()
    with pytest.raises(TombolaError, match="has no scheduler, which says what noise"):
        opened(folder, pipeline)


@pytest.mark.parametrize("kind", [PNDMScheduler, EulerDiscreteScheduler, DPMSolverMultistepScheduler])
def test_the_noise_is_that_of_any_scheduler_of_betas(kind: Any, tmp_path: Path) -> None:
    scheduler = kind(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction")
    scheduler.save_pretrained(tmp_path / "scheduler")
    found: Any = schedule_of(str(tmp_path), trusted=True)
    torch.testing.assert_close(found.alphas_cumprod, scheduler.alphas_cumprod)
    assert found.config.prediction_type == "v_prediction"
    assert Sampler(found, 3, bounded=False).scheduler().config["clip_sample"] is False


def test_missing_text_encoders_are_one_line(tmp_path: Path) -> None:
    pipeline = stable_diffusion_3(tmp_path / "pipeline")
    index = pipeline / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "text_encoder_3": [None, None]}))
    with pytest.raises(TombolaError, match="has no text_encoder_3, without which it reads no text"):
        images_of(str(pipeline))


def test_no_text_is_read_by_a_text_encoder_that_was_shrunk(tmp_path: Path) -> None:
    pipeline: Any = DiffusionPipeline.from_pretrained(stable_diffusion(tmp_path / "made"))
    encoder, rows = pipeline.text_encoder, dissect(pipeline.text_encoder).attentions
    # Rows of unequal length: the first layer alone loses a head.
    ticket = Ticket.full(dissect(encoder), "heads").without({"heads": [(0, rows[0].heads - 1)]})
    save_shrunk(encoder, ticket, tmp_path / "small", force=True)
    pipeline.text_encoder = load(tmp_path / "small")
    tombola.save(pipeline, tmp_path / "again")
    found = load_conditioning(str(tmp_path / "again"), (16, 16)).given["encoder_hidden_states"]
    words = pipeline.tokenizer("", padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        expected = expanded(shrunk(encoder, ticket))(words)[0]
    assert torch.allclose(found, expected, atol=1e-5)
