"""What a whole pipeline would need, against published parameters, closed forms and parts that are loaded and run."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import diffusers
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, FluxPipeline
from torch import nn

from builders.denoisers import KINDS
from builders.pipelines import dit, flux, pixart, stable_diffusion, stable_diffusion_3, stable_diffusion_xl, vae
from builders.unets import UNET, made
from tombola.architectures.parameters import count_parameters
from tombola.cli import main
from tombola.foundations.errors import TombolaError
from tombola.profiling.denoiser_memory import needs
from tombola.profiling.known_pipelines import KNOWN_PIPELINES
from tombola.profiling.pipeline_memory import (
    TEXT_TOKENS,
    Decoding,
    Part,
    all_on_gpu,
    known_parts,
    need_of,
    one_at_a_time,
    parts_of,
)
from tombola.profiling.tensor_memory import LiveBytes, Memory, Need, bytes_of

SD_VAE, WIDE_VAE, LARGE, LARGE_PROJECTED, BIG_G, XXL = (
    83_653_863,
    83_819_683,
    123_060_480,
    123_650_304,
    694_659_840,
    4_762_310_656,
)
PUBLISHED = {
    "sd-1.5": {"text_encoder": LARGE, "vae": SD_VAE},
    "sdxl": {"text_encoder": LARGE, "text_encoder_2": BIG_G, "vae": SD_VAE},
    "dit-xl-2": {"vae": SD_VAE},
    "pixart-alpha": {"text_encoder": XXL, "vae": SD_VAE},
    "sd3-medium": {
        "text_encoder": LARGE_PROJECTED,
        "text_encoder_2": BIG_G,
        "text_encoder_3": XXL,
        "vae": WIDE_VAE,
    },
    "flux-dev": {"text_encoder": LARGE, "text_encoder_2": XXL, "vae": WIDE_VAE},
}


def part(name: str, which: str) -> Part:
    return next(one for one in known_parts(KNOWN_PIPELINES[name]).counted if one.name == which)


@pytest.mark.parametrize("name", PUBLISHED)
def test_known_parts_are_of_the_published_size(name: str) -> None:
    with torch.device("meta"):
        found = {one.name: count_parameters(one.build()) for one in known_parts(KNOWN_PIPELINES[name]).counted}
    assert found == PUBLISHED[name]


@pytest.mark.parametrize("pipeline", [*(f"{one}Pipeline" for one in TEXT_TOKENS), "StableDiffusion3Img2ImgPipeline"])
def test_texts_are_as_long_as_pipelines_make_them(pipeline: str) -> None:
    call = inspect.signature(getattr(diffusers, pipeline).__call__)
    (tokens,) = (count for family, count in TEXT_TOKENS.items() if pipeline.startswith(family))
    assert tokens == call.parameters["max_sequence_length"].default


def test_decoding_takes_what_its_widest_layers_do() -> None:
    # Where 256 channels are of full size and become 128: the input, its norm, and what the activation makes of it.
    found = need_of(part("sd-1.5", "vae"), (1, 4), 64)
    for count in (1, 4):
        latents = count * 4 * 64 * 64 * 2
        assert found.passes[count].activations == 3 * count * 256 * 512 * 512 * 2 + 2 * latents
        assert found.passes[count].weights == found.weights == 2 * SD_VAE


def test_the_vae_of_xl_runs_in_fp32() -> None:
    found = need_of(part("sdxl", "vae"), (1,), 128)
    assert (found.weights, found.passes[1].weights) == (2 * SD_VAE, 4 * SD_VAE)
    assert found.passes[1].activations == 3 * 256 * 1024 * 1024 * 4 + 2 * 4 * 128 * 128 * 4
    # Its pipeline does so for fp16 alone.
    found = need_of(part("sdxl", "vae"), (1,), 128, dtype=torch.bfloat16)
    assert found.weights == found.passes[1].weights == 2 * SD_VAE
    assert found.passes[1].activations == 3 * 256 * 1024 * 1024 * 2 + 2 * 4 * 128 * 128 * 2


@pytest.mark.parametrize("slicing", [False, True])
def test_decoding_is_estimated_as_it_is(slicing: bool) -> None:
    real = vae()
    if slicing:
        real.enable_slicing()
    kind = Part("vae", "AutoencoderKL", lambda: Decoding(cast(AutoencoderKL, AutoencoderKL.from_config(real.config))))
    found = need_of(kind, (1, 3), 8, dtype=torch.float32, slicing=slicing)
    for count in (1, 3):
        latents = torch.zeros(count, 4, 8, 8)
        with torch.no_grad(), LiveBytes() as live:
            real.decode(cast(Any, latents), return_dict=False)
        # The latents were there before.
        assert found.passes[count].activations == live.peak + latents.nbytes
    if slicing:
        assert found.passes[3].activations < 2 * found.passes[1].activations
    else:
        assert found.passes[3].activations == 3 * found.passes[1].activations


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [stable_diffusion, stable_diffusion_xl, stable_diffusion_3, flux, pixart, dit],
    ids=lambda make: make.__name__,
)
def test_parts_weigh_what_their_pipelines_load(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make(tmp_path / "pipeline")
    parts = parts_of(str(folder))
    assert parts is not None
    pipeline = DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float16)
    networks = {name: one for name, one in pipeline.components.items() if isinstance(one, nn.Module)}
    networks = {name: one for name, one in networks.items() if name not in ("unet", "transformer")}
    assert {one.name for one in parts.counted} == networks.keys()
    assert parts.uncounted == {}
    for one in parts.counted:
        found = need_of(one, (1,), 8)
        assert found.parameters == count_parameters(networks[one.name])
        # Of T5, a part stays in fp32.
        assert found.weights == bytes_of(networks[one.name])


@pytest.mark.parametrize("name", ["text_encoder", "text_encoder_2"])
def test_reading_a_text_is_estimated_as_it_is(name: str, tmp_path: Path) -> None:
    folder = flux(tmp_path / "pipeline")
    parts = parts_of(str(folder))
    assert parts is not None
    (one,) = (one for one in parts.counted if one.name == name)
    found = need_of(one, (1, 4), 8, dtype=torch.float32)
    # Its one text is read once.
    assert found.passes[1] == found.passes[4]
    assert one.tokens == {"text_encoder": 7, "text_encoder_2": 512}[name]
    real = getattr(FluxPipeline.from_pretrained(folder), name)
    tokens = torch.zeros(1, one.tokens, dtype=torch.long)
    with torch.no_grad(), LiveBytes() as live:
        real(tokens)
    # Not traced, a mask that says nothing is left out.
    mask = 4 * one.tokens**2
    assert live.peak + tokens.nbytes <= found.passes[1].activations <= live.peak + tokens.nbytes + mask


@pytest.mark.slow
def test_flux_draws_what_its_pipeline_does(tmp_path: Path) -> None:
    kind = KINDS["flux"]
    (found,) = needs(lambda: made(kind.name, kind.config, torch.float32))
    assert found.size == FluxPipeline.from_pretrained(flux(tmp_path / "pipeline")).default_sample_size == 128


def test_together_is_all_weights_and_one_part_s_activations() -> None:
    denoiser = Need(0, 1000, {1: Memory(1000, 100, 0), 4: Memory(1000, 400, 0)})
    text = Need(0, 300, {1: Memory(300, 5, 0), 4: Memory(300, 5, 0)})
    # It waits in fp16 and runs in fp32.
    images = Need(0, 50, {1: Memory(100, 250, 0), 4: Memory(100, 1000, 0)})
    parts = [denoiser, text, images]
    assert all_on_gpu(parts) == {1: 1350 + 50 + 250, 4: 1350 + 50 + 1000}
    assert one_at_a_time(parts) == {1: 1100, 4: 1400}
    assert all_on_gpu([denoiser]) == one_at_a_time([denoiser]) == {1: 1100, 4: 1400}


@pytest.mark.slow
def test_the_command_reads_a_pipeline_without_its_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = stable_diffusion_xl(tmp_path / "pipeline")
    for file in folder.rglob("*.safetensors"):
        file.unlink()
    arguments = ["memory", str(folder), "--density", "1,0.5", "--images", "1,2", "--gpu-memory", "0.0001,4"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    parts = {one["part"]: one for one in found["parts"]}
    assert parts.keys() == {"text_encoder", "text_encoder_2", "vae"}
    assert found["not_counted"] == {}
    assert parts["vae"]["weights_running"] == 2 * parts["vae"]["weights"]
    for need in found["needs"]:
        waiting = need["weights"] + sum(one["weights"] for one in parts.values())
        for count in ("1", "2"):
            runs = [need["activations"][count]]
            runs += [one["activations"][count] + one["weights_running"] - one["weights"] for one in parts.values()]
            assert need["all_on_gpu"]["peak"][count] == waiting + max(runs)
            peaks = [one["weights_running"] + one["activations"][count] for one in parts.values()]
            assert need["one_part_at_a_time"]["peak"][count] == max(need["peak"][count], *peaks)
        assert need["all_on_gpu"]["fits"] == {"0.0001": None, "4": 2}
    whole, half = (one["all_on_gpu"]["peak"]["1"] for one in found["needs"])
    # The denoiser alone is pruned.
    assert half < whole
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    for words in ("text_encoder_2", "all on the GPU", "one at a time", "decodes in float32", "none"):
        assert words in shown
    assert "Not counted" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_command_says_what_it_does_not_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = stable_diffusion_3(tmp_path / "pipeline")
    index = json.loads((folder / "model_index.json").read_text())
    index["vae"] = ["diffusers", "AutoencoderTiny"]
    index["text_encoder_2"] = ["transformers", "UnheardOfModel"]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "text_encoder_3" / "config.json").unlink()
    (folder / "text_encoder" / "config.json").write_text(json.dumps({"hidden_size": 16, "num_attention_heads": 3}))
    assert main(["memory", str(folder), "--density", "1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Not counted: vae (AutoencoderTiny is not known)" in shown
    assert "Not counted: text_encoder_2 (UnheardOfModel is not known)" in shown
    assert "Not counted: text_encoder_3 (the configuration of its T5EncoderModel" in shown
    assert "Not counted: text_encoder (the configuration of its CLIPTextModelWithProjection" in shown
    assert "The denoiser alone." in shown


@pytest.mark.slow
def test_parts_can_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = stable_diffusion_3(tmp_path / "pipeline")
    arguments = ["memory", str(folder), "--density", "1", "--json"]
    assert main([*arguments, "--exclude", "text_encoder_3,text_encoder"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["part"] for one in found["parts"]] == ["text_encoder_2", "vae"]
    assert main([*arguments, "--exclude", "unet"]) == 2
    said = capsys.readouterr().err
    assert "there is no unet to leave out" in said
    assert "text_encoder_2" in said
    with pytest.raises(TombolaError, match="there is no vae to leave out"):
        known_parts(KNOWN_PIPELINES["dit-xl-2"]).excluding(["vae"]).excluding(["vae"])


def test_a_denoiser_by_itself_has_no_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel", **UNET}))
    assert parts_of(str(tmp_path)) is None
    assert main(["memory", str(tmp_path), "--density", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parts"] == []
    (need,) = found["needs"]
    assert need["all_on_gpu"] == need["one_part_at_a_time"]
    assert need["all_on_gpu"]["peak"] == need["peak"]
