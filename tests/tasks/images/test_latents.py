"""Images as latents: denoisers that draw from a text or a class are pruned on a folder of images, without either."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from torch import Tensor

import tombola
from builders.latents import MAKE, check_gates, coloured, opened, parts_of
from builders.pipelines import WORDS, dit, schedule, stable_diffusion, vae
from tombola.architectures.dissect import dissect
from tombola.checkpoints.model_libraries import load_any
from tombola.cli import main
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions, evaluate
from tombola.pruning.one_shot import one_shot
from tombola.pruning.search.guessing import GuessingWarning
from tombola.pruning.search.loop import search_ticket
from tombola.pruning.search.options import SearchOptions
from tombola.pruning.search.records import NoTicketWarning
from tombola.subnetworks.subnetwork import shrunk, whole
from tombola.tasks.images.conditioning import LatentConditioning, check, images_of, load_conditioning
from tombola.tasks.images.diffusion import seeded_noise
from tombola.tasks.images.image_folder import image_folder
from tombola.tickets.find_tickets import ticket_folder
from tombola.tickets.ticket import Ticket, every_site

pytestmark = pytest.mark.slow

KEPT = {"unet": "heads=0.5,channels=0.75,neurons=0.5", "dit": "heads=0.5,neurons=0.5"}


@pytest.fixture(params=list(KEPT))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pipeline(tmp_path: Path, kind: str) -> Path:
    return MAKE[kind](tmp_path / "pipeline")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return coloured(tmp_path / "mine")


def told(whole_pipeline: Any) -> dict[str, Tensor]:
    """What the denoiser is given for nothing, by hand."""
    if hasattr(whole_pipeline, "unet"):
        start, end = WORDS.index("<|startoftext|>"), WORDS.index("<|endoftext|>")
        return {"encoder_hidden_states": whole_pipeline.text_encoder(torch.tensor([[start] + [end] * 6]))[0]}
    return {"class_labels": torch.tensor([whole_pipeline.transformer.config.num_embeds_ada_norm])}


@pytest.mark.parametrize("predicted", ["epsilon", "v_prediction"])
def test_the_loss_is_that_of_latents(folder: Path, tmp_path: Path, kind: str, predicted: str) -> None:
    pipeline = MAKE[kind](tmp_path / "pipeline", prediction_type=predicted)
    one, model = opened(folder, pipeline)
    assert one.seen == (4, 8, 8)
    assert one.facts()["latents"] == [4, 8, 8]
    found = evaluate(whole(model), one, EvaluationOptions(batch_size=5))
    (batch,) = one.batches("dev", 99)
    parts = parts_of(pipeline)
    alphas = parts.scheduler.alphas_cumprod
    for index in (0, 7):
        pixels = one.images("dev").pixels[index : index + 1]
        losses = []
        with torch.no_grad():
            latent = parts.vae.encode(pixels).latent_dist.mean * 0.7
            for level in range(4):
                t = batch.inputs["timesteps"][index, level : level + 1]
                a, b = alphas[t].sqrt(), (1 - alphas[t]).sqrt()
                noise = batch.inputs["noise"][index, level]
                goal = noise if predicted == "epsilon" else a * noise - b * latent
                said = model(a * latent + b * noise, timestep=t, **told(parts)).sample[:, :4]
                losses.append(float((said - goal).square().mean()))
        assert float(found.losses[index]) == pytest.approx(np.mean(losses), rel=1e-4)
    assert np.isfinite(found.score)


def test_samples_are_those_of_the_pipeline_without_guidance(folder: Path, pipeline: Path, kind: str) -> None:
    one, model = opened(folder, pipeline)
    parts = parts_of(pipeline)
    parts.scheduler = one.sampler.scheduler()
    start = seeded_noise((4, 8, 8), [0, 1])
    if kind == "unet":
        images = parts(["", ""], latents=start, guidance_scale=1.0, num_inference_steps=3, output_type="np").images
    else:
        none = parts.transformer.config.num_embeds_ada_norm
        generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
        options = {"generator": generators, "num_inference_steps": 3, "output_type": "np"}
        images = parts([none, none], guidance_scale=1.0, **options).images
    expected = torch.from_numpy(images).movedim(-1, 1) * 2 - 1
    torch.testing.assert_close(one.draw(model, count=2), expected, rtol=0, atol=1e-4)
    assert one.image_grid(model) is not None


def test_gates_are_deletions_and_importance_is_finite(folder: Path, pipeline: Path, kind: str) -> None:
    check_gates(*opened(folder, pipeline), "heads+neurons+channels" if kind == "unet" else "heads+neurons")


@pytest.mark.parametrize("kind", ["dit", pytest.param("unet", marks=pytest.mark.exhaustive)])
def test_commands_prune_score_shrink_and_retrain(
    folder: Path, pipeline: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what = ["--model", str(pipeline), "--task", "images", "--data", str(folder), "--json", "--dev-rows", "16"]
    assert main(["prune", *what, "--density", KEPT[kind], "--out", str(tmp_path / "cut")]) == 0
    result = json.loads(capsys.readouterr().out)
    ticket = Ticket.load(ticket_folder(tmp_path / "cut"))
    assert ticket.counts()["heads"] == (8 if kind == "unet" else 3)
    assert np.isfinite(result["score"])
    assert ticket.provenance["metric"] == "frechet_distance"
    assert main(["score", *what, "--ticket", str(tmp_path / "cut")]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["score"] == pytest.approx(result["score"], rel=1e-4)
    assert scored["score"] > 0
    # At a rate that moves the score, so that the old weights would be noticed.
    flags = ["--ticket", str(tmp_path / "cut"), "--epochs", "1", "--learning-rate", "0.01"]
    assert main(["retrain", *what, *flags, "--out", str(tmp_path / "again")]) == 0
    retrained = json.loads(capsys.readouterr().out)
    assert np.isfinite(retrained["score"])
    # What was written is the denoiser alone: with the pipeline around it, it is what was measured in memory.
    alone = ["--model", str(tmp_path / "again"), *what[2:], "--pipeline", str(pipeline)]
    assert main(["score", *alone]) == 0
    scored_again = json.loads(capsys.readouterr().out)
    assert scored_again["score"] == pytest.approx(retrained["score"], rel=1e-4)
    assert scored_again["score"] != pytest.approx(scored["score"], rel=1e-4)
    assert main(["score", *alone[:-2]]) == 2
    assert "give the folder or hub id of the whole pipeline as --pipeline" in capsys.readouterr().err
    assert main(["prune", *alone, "--density", "heads=0.5", "--out", str(tmp_path / "cut again")]) == 0
    assert json.loads(capsys.readouterr().out)["full_score"] == pytest.approx(retrained["score"], rel=1e-4)
    once_more = [*flags, "--out", str(tmp_path / "once more"), "--train-rows", "8"]
    assert main(["retrain", *alone, *once_more]) == 0
    capsys.readouterr()
    again, model = load_any(str(tmp_path / "again")), load_any(str(pipeline))
    assert type(again) is type(model)
    changed = [not torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True)]
    assert any(changed)
    assert (tmp_path / "again" / "scheduler" / "scheduler_config.json").is_file()
    shrink = ["shrink", str(pipeline), str(tmp_path / "cut"), "--out", str(tmp_path / "small")]
    assert main([*shrink, "--no-measure"]) == 0
    capsys.readouterr()
    small = tombola.load(tmp_path / "small")
    part = "unet" if kind == "unet" else "transformer"
    pruned = DiffusionPipeline.from_pretrained(pipeline, **{part: small})
    assert getattr(pruned, part) is small
    smaller = ["--model", str(tmp_path / "small"), *alone[2:]]
    assert main(["score", *smaller]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(scored["score"], rel=1e-4)
    assert main(["score", *smaller, "--ticket", str(tmp_path / "cut")]) == 2
    assert "which was shrunk since; give the one that it was shrunk from" in capsys.readouterr().err
    assert main(["prune", *smaller, "--density", "heads=0.5", "--out", str(tmp_path / "further")]) == 0
    assert json.loads(capsys.readouterr().out)["full_score"] == pytest.approx(scored["score"], rel=1e-4)
    further = ["shrink", str(tmp_path / "small"), str(tmp_path / "further"), "--force", "--no-measure"]
    assert main([*further, "--out", str(tmp_path / "less")]) == 0
    capsys.readouterr()
    assert main(["score", *smaller, "--ticket", str(tmp_path / "further")]) == 0
    once = json.loads(capsys.readouterr().out)["score"]
    assert main(["score", "--model", str(tmp_path / "less"), *alone[2:]]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(once, rel=1e-4)


def test_searches_run(folder: Path, pipeline: Path) -> None:
    one, model = opened(folder, pipeline)
    anatomy = dissect(model)
    options = SearchOptions(threshold=0.97, heads_step=0.4, neurons_step=0.4, refine=False)
    # A denoiser that was never trained has nothing to lose.
    with pytest.warns(GuessingWarning), pytest.warns(NoTicketWarning, match="with nothing of the model left"):
        found = search_ticket(model, one, every_site(anatomy), options=options)
    assert len(found.passes) > 3
    assert len({step.score for step in found.passes}) > 1
    found.good.check(anatomy)


def test_a_cut_lowers_the_loss_that_it_is_made_for(folder: Path, pipeline: Path) -> None:
    one, model = opened(folder, pipeline)
    least = one_shot(model, one, {"heads": 0.5})
    most = ~least
    losses = [float(np.mean(evaluate(shrunk(model, ticket), one).losses)) for ticket in (least, most)]
    full = float(np.mean(evaluate(whole(model), one).losses))
    assert abs(losses[0] - full) < abs(losses[1] - full)


def test_units_of_latents() -> None:
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plain = LatentConditioning(vae(scaling_factor=1.0)).encode(images)
    for options, shift, scale in (
        ({"shift_factor": 0.1}, 0.1, 0.7),
        ({"latents_mean": [0.0, 1.0, 2.0, 3.0], "latents_std": [1.0, 2.0, 3.0, 4.0]}, 0.0, 0.7),
    ):
        conditioning = LatentConditioning(vae(**options))
        found = conditioning.encode(images)
        torch.testing.assert_close(found[:, 0], (plain[:, 0] - shift) * scale)
        if "latents_std" in options:
            torch.testing.assert_close(found[:, 3], (plain[:, 3] - 3) * 0.7 / 4)
        decoded = cast(AutoencoderKL, conditioning.vae).decode(plain).sample.clamp(-1, 1)
        torch.testing.assert_close(conditioning.decode(found), decoded, rtol=0, atol=1e-5)
    assert torch.equal(LatentConditioning().encode(images), images)
    assert torch.equal(LatentConditioning().decode(images * 3), (images * 3).clamp(-1, 1))
    assert LatentConditioning().condition(3, torch.device("cpu")) == {}


def test_what_is_given_is_repeated() -> None:
    given = {"text": torch.arange(6.0).view(1, 2, 3), "more": {"size": torch.ones(1, 2), "none": None}}
    found = LatentConditioning(None, given).condition(4, torch.device("cpu"))
    assert found["text"].shape == (4, 2, 3)
    assert torch.equal(found["text"][3], given["text"][0])  # type: ignore[index]
    assert found["more"]["size"].shape == (4, 2)
    assert found["more"]["none"] is None


def test_bad_pipelines_are_one_line(folder: Path, tmp_path: Path, kind: str, pipeline: Path) -> None:
    def refused(words: str, **options: Any) -> None:
        with pytest.raises(TombolaError, match=words) as caught:
            opened(folder, pipeline, **options)
        assert "\n" not in str(caught.value)

    index = pipeline / "model_index.json"
    content = index.read_text()

    def change(**parts: Any) -> None:
        changed = {**json.loads(content), **parts}
        index.write_text(json.dumps({name: part for name, part in changed.items() if part is not None}))

    # The denoiser sees 8 x 8 latents; of 7 it cannot make half, and of 15 pixels the VAE cannot.
    refused("do not fit into the pipeline's VAE; their sides must be multiples of 2", size=15)
    refused("multiples of 2", size=14)
    change(vae=None)
    refused("has no VAE; the task of images needs an AutoencoderKL")
    change(vae=["diffusers", "VQModel"])
    refused("has a VQModel as VAE")
    index.write_text(content)
    weights = pipeline / "vae" / "diffusion_pytorch_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:100])
    refused("cannot load a denoiser")
    weights.unlink()
    refused("cannot load a denoiser")
    weights.write_bytes(kept)
    part = next(name for name in ("unet", "transformer") if (pipeline / name).is_dir())
    with pytest.raises(TombolaError, match=r"without its pipeline, whose VAE and condition .* the whole pipeline"):
        images_of(str(pipeline / part))
    assert images_of(str(pipeline)) == (3, 16)
    opened(folder, pipeline)


def test_pipelines_that_read_otherwise_are_refused(folder: Path, tmp_path: Path) -> None:
    pipeline = stable_diffusion(tmp_path / "pipeline")
    index = pipeline / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "AltDiffusionPipeline"))
    with pytest.raises(TombolaError, match="is a AltDiffusionPipeline, of which it is not known how it reads a text"):
        images_of(str(pipeline))
    index.write_text(index.read_text().replace("AltDiffusionPipeline", "StableDiffusionPipeline"))
    config = pipeline / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "class_embed_type": "timestep"}))
    with pytest.raises(TombolaError, match="draws from a class or picture"):
        images_of(str(pipeline))


def test_the_noise_is_the_models_own_else_the_pipelines(folder: Path, tmp_path: Path) -> None:
    pipeline = dit(tmp_path / "pipeline", beta_end=0.03)
    alone = pipeline / "transformer"

    def last_beta() -> float:
        one = image_folder(folder, str(alone), pipeline=str(pipeline), steps=3)
        return float(cast(Any, one.sampler.schedule).config.beta_end)

    assert last_beta() == 0.03
    schedule(beta_end=0.01).save_pretrained(alone / "scheduler")
    assert last_beta() == 0.01


def test_a_model_and_a_pipeline_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    pipeline, other = stable_diffusion(tmp_path / "pipeline"), dit(tmp_path / "classes")

    def refused(words: str, model: Path, around: Path) -> None:
        with pytest.raises(TombolaError, match=words) as caught:
            image_folder(folder, str(model), pipeline=str(around))
        assert "\n" not in str(caught.value)

    refused("is a DiTTransformer2DModel, the pipeline .* is of a UNet2DConditionModel", other / "transformer", pipeline)
    refused(r"is no pipeline .* no model_index\.json", pipeline / "unet", other / "transformer")
    refused(r"is no pipeline .* no model_index\.json", pipeline / "unet", tmp_path / "nowhere")
    config = json.loads((pipeline / "unet" / "config.json").read_text())
    alone = tmp_path / "alone"
    alone.mkdir()
    for name, value in (("in_channels", 9), ("sample_size", 16), ("cross_attention_dim", 24)):
        (alone / "config.json").write_text(json.dumps({**config, name: value}))
        refused(f"its {name} is {value}, the pipeline's {config[name]}", alone, pipeline)
    # Files of earlier versions leave out what is a default.
    del config["addition_embed_type"], config["use_linear_projection"]
    (alone / "config.json").write_text(json.dumps(config))
    assert images_of(str(alone), str(pipeline)) == (3, 16)


def test_transformers_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    one, model = opened(folder, dit(tmp_path / "pipeline"))
    for channels, size, words in (
        (4, (6, 8), "latents of 6 x 8 pixels do not fit into a DiTTransformer2DModel, which draws squares"),
        (4, (7, 7), "cuts them into patches of 2 x 2; their sides must be multiples of 2"),
        (8, (8, 8), "have 8 channels, the DiTTransformer2DModel takes 4 and gives 8"),
    ):
        with pytest.raises(TombolaError, match=words):
            check(model, channels, size, one.sampler.schedule)


def test_the_text_encoder_is_read_as_safetensors(tmp_path: Path) -> None:
    pipeline = stable_diffusion(tmp_path / "pipeline")
    weights = pipeline / "text_encoder" / "model.safetensors"
    torch.save({}, weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(TombolaError, match="cannot load a denoiser") as caught:
        load_conditioning(str(pipeline), (16, 16))
    assert "\n" not in str(caught.value)


def test_memory_is_estimated_for_latents(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = dit(tmp_path / "pipeline")
    seen: list[int] = []
    monkeypatch.setattr("tombola.profiling.denoiser_memory.check", lambda *_, size, **__: seen.append(size))
    what = ["--model", str(pipeline), "--task", "images", "--data", str(folder), "--json"]
    assert main(["score", *what, "--image-size", "8"]) == 0
    assert main(["score", *what]) == 0
    assert seen == [4, 8]


def test_memory_that_is_not_there_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = stable_diffusion(tmp_path / "pipeline")
    monkeypatch.setattr("tombola.profiling.denoiser_memory.free_and_total_memory", lambda _: (1000, 1000))
    assert main(["score", "--model", str(pipeline), "--task", "images", "--data", str(folder)]) == 2
    assert "images at a time takes about" in capsys.readouterr().err
