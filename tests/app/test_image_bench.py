"""Images that the app draws are the library's, byte for byte."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from builders import drawing_study, pipelines
from tombola.app.image_bench import ImageBench
from tombola.app.memory_answer import FITS, NOT, PARTLY, fits
from tombola.app.pipeline_bench import PipelineBench
from tombola.checkpoints.checkpoint import load, save_shrunk
from tombola.checkpoints.denoisers import load as load_denoiser
from tombola.foundations.errors import TombolaError
from tombola.profiling.denoiser_memory import evenly
from tombola.subnetworks.subnetwork import shrunk
from tombola.tickets.ticket import Ticket

METHOD = "heads+channels"


def test_a_shrunk_pipeline_draws_what_diffusers_draws(tmp_path: Path) -> None:
    whole = pipelines.dit(tmp_path / "whole")
    model = load_denoiser(str(whole))
    save_shrunk(model, evenly(model, 0.5), tmp_path / "small")
    small: Any = load(tmp_path / "small")
    pipeline = DiffusionPipeline.from_pretrained(whole, transformer=small)
    pipeline.save_pretrained(tmp_path / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    told: list[tuple[int, int]] = []
    bench = PipelineBench.open(tmp_path / "pipeline")
    found = bench.draw("3", steps=2, seed=7, progress=lambda *done: told.append(done))
    # The class of none that diffusers guides by is not there.
    options: dict[str, Any] = {
        "guidance_scale": 1.0,
        "num_inference_steps": 2,
        "generator": torch.Generator().manual_seed(7),
    }
    (image,) = pipeline([3], **options).images
    file = io.BytesIO()
    image.save(file, "PNG")
    assert found.png == file.getvalue() != bench.draw("3", steps=2, seed=8).png
    assert found.weights < PipelineBench.open(whole).draw("3", steps=1).weights
    assert told == [(1, 2), (2, 2)]
    for given, steps, message in (("9", 2, "0 to 4"), ("x", 2, "number of a class"), ("1", 0, "steps are from")):
        with pytest.raises(TombolaError, match=message):
            bench.draw(given, steps=steps)


def test_prompts_and_what_is_no_pipeline(tmp_path: Path) -> None:
    bench = PipelineBench.open(pipelines.stable_diffusion(tmp_path / "texts"))
    assert bench.takes == "prompt"
    with pytest.raises(TombolaError, match="type what is to be drawn"):
        bench.draw(" ", steps=2)
    assert Image.open(io.BytesIO(bench.draw("a b", steps=2).png)).size == (16, 16)
    with pytest.raises(TombolaError, match="holds no pipeline"):
        PipelineBench.open(tmp_path)


def test_whether_it_fits(tmp_path: Path) -> None:
    folder = str(pipelines.dit(tmp_path / "pipeline"))
    found = fits(folder, 1.0)
    assert [(one.density, one.answer) for one in found] == [(1.0, FITS), (0.75, FITS), (0.5, FITS)]
    assert found[0].together > found[0].apart > found[2].apart
    between = (found[0].together + found[0].apart) / 2 / 2**30
    assert fits(folder, between)[0].answer == PARTLY
    assert fits(folder, 1e-9)[0].answer == NOT
    for model, card, message in (("nothing", 8.0, "unknown pipeline"), (folder, 0.0, "above 0 GB")):
        with pytest.raises(TombolaError, match=message):
            fits(model, card)


@pytest.mark.exhaustive
def test_a_studys_tickets_draw_from_the_same_noise() -> None:
    folder = drawing_study.finished().folder
    bench = ImageBench.open(folder)
    home = bench.seed_folder
    # What the study drew itself.
    assert bench.draw(METHOD, "full", count=40).png == (home.full / "drawn.png").read_bytes()
    found: Any = bench.task
    for method in bench.methods:
        for name in ("good", "random", "bad"):
            place = home.ticket(method, name)
            if not place.is_dir():
                continue
            part = shrunk(bench.model, Ticket.load(place)).model
            drawn = bench.draw(method, name, seed=3, count=4)
            assert drawn.png == found.image_grid(part, first=3, count=4)
            assert drawn.activations is not None
    names = [one.name for one in bench.choices(METHOD)]
    assert names == ["full", "good", "good retrained", "random", "bad"]
    assert (
        bench.draw(METHOD, "good retrained", count=40).png
        == (home.ticket(METHOD, "good") / "retrained" / "drawn.png").read_bytes()
    )
    states = bench.states(METHOD)
    for name, one in states.items():
        ticket = bench.ticket(METHOD, name)
        assert ticket is not None
        assert ticket.survivors(bench.anatomy)["heads"] == one.heads
    held = [name for name, one in states.items() if one.holds][-1]
    assert bench.ticket(METHOD, held) == Ticket.load(home.ticket(METHOD, "good"))
    assert bench.states("weights") == {}
    with pytest.raises(TombolaError, match="a seed is from 0"):
        bench.draw(METHOD, "full", seed=-1)
