"""Whether passes fit into memory: the estimate against PyTorch's own allocator, and what is said where they do not."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from PIL import Image
from torch import nn

from builders.denoisers import KINDS
from builders.unets import unet
from tombola.architectures.denoisers import denoiser_inputs
from tombola.cli import main
from tombola.foundations import resources
from tombola.foundations.errors import TombolaError
from tombola.profiling import denoiser_memory
from tombola.profiling.tensor_memory import bytes_of, measure
from tombola.study.config import StudyConfig
from tombola.study.step import StudyStep
from tombola.study.study import Study

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
WIDE: dict[str, Any] = {
    "block_out_channels": (32, 64),
    "sample_size": 16,
    "norm_num_groups": 8,
    "attention_head_dim": 8,
}


def passed(model: nn.Module, batch: int, levels: int, *, weights: bool) -> int:
    """Bytes at the peak of real passes, forwards and back."""
    given = denoiser_inputs(model, batch)
    model.requires_grad_(weights)
    given["sample"].requires_grad_()

    def run() -> None:
        losses = [model(**given, return_dict=False)[0].square().sum() for _ in range(levels)]
        torch.stack(losses).sum().backward()

    run()
    model.zero_grad()
    found = measure(run, CPU)
    model.zero_grad()
    model.requires_grad_(True)
    return found


def test_estimates_are_near_what_passes_take() -> None:
    model = unet(torch.float32, **WIDE)
    before = {name: (tensor.data_ptr(), tensor.requires_grad) for name, tensor in model.named_parameters()}
    given = denoiser_inputs(model, 16)
    with torch.no_grad():
        forward = measure(lambda: model(**given), CPU)
    assert denoiser_memory.pass_memory(model, 16) == pytest.approx(forward, rel=0.15)
    importance = passed(model, 16, 2, weights=False)
    assert denoiser_memory.pass_memory(model, 16, "importance", levels=2) == pytest.approx(importance, rel=0.25)
    training = passed(model.train(), 16, 1, weights=True) + 2 * bytes_of(model)
    assert denoiser_memory.pass_memory(model, 16, "training") == pytest.approx(training, rel=0.25)
    assert denoiser_memory.pass_memory(model, 32) == pytest.approx(2 * denoiser_memory.pass_memory(model, 16), rel=0.1)
    assert denoiser_memory.pass_memory(model, 16, size=8) < denoiser_memory.pass_memory(model, 16) / 3
    assert {name: (one.data_ptr(), one.requires_grad) for name, one in model.named_parameters()} == before


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=() if number % 3 == 0 else pytest.mark.exhaustive) for number, one in enumerate(KINDS)],
)
def test_every_class_can_be_estimated(name: str) -> None:
    kind = KINDS[name]
    model = kind.make(torch.float32)
    sampling, importance = (
        denoiser_memory.pass_memory(model, 2, work, size=kind.size) for work in ("sampling", "importance")
    )
    assert 0 < sampling < importance < denoiser_memory.pass_memory(model, 2, "training", size=kind.size)


def test_what_does_not_fit_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model = unet(torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        denoiser_memory.check(model, ["sampling"], evaluation=4)
    monkeypatch.setattr(denoiser_memory, "free_and_total_memory", lambda _: (1000, 10**12))
    with pytest.warns(UserWarning, match=r"sampling with 4 images at a time takes about .* lower --eval-batch-size"):
        denoiser_memory.check(model, ["sampling"], evaluation=4)
    monkeypatch.setattr(denoiser_memory, "free_and_total_memory", lambda _: (1000, 1000))
    with pytest.raises(TombolaError, match="lower --batch-size, or take a larger machine") as refused:
        denoiser_memory.check(model, ["training"], training=4)
    assert "\n" not in str(refused.value)


def test_the_machine_says_what_is_free() -> None:
    free, most = denoiser_memory.free_and_total_memory(CPU)
    assert 0 < free <= most == resources.memory()


def test_a_command_refuses_what_cannot_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    DDPMPipeline(unet(torch.float32), DDPMScheduler(num_train_timesteps=50)).save_pretrained(tmp_path / "pipeline")
    (tmp_path / "mine").mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / "mine" / f"{number}.png")
    command = ["--model", str(tmp_path / "pipeline"), "--task", "images", "--data", str(tmp_path / "mine")]
    monkeypatch.setattr(denoiser_memory, "free_and_total_memory", lambda _: (1000, 1000))
    for words in (["score"], ["prune", "--out", str(tmp_path / "out")]):
        assert main([*words, *command]) == 2
        said = capsys.readouterr().err
        assert "images at a time takes about" in said
        assert not (tmp_path / "out").exists()


@pytest.mark.exhaustive
def test_a_study_asks_once_for_its_heaviest_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class StartedError(Exception):
        """The checks are over, and the first step is about to run."""

    def start(*_: object) -> None:
        raise StartedError

    monkeypatch.setattr("tombola.study.studies_run.run_here", start)
    reads: list[torch.device] = []

    def plenty(device: torch.device) -> tuple[int, int]:
        reads.append(device)
        return 10**12, 10**12

    def study(name: str, **settings: Any) -> Study:
        config = StudyConfig.of("quick", task="digits", **settings)
        return Study(config, out=tmp_path / name, seeds=(0, 1), workers=1)

    monkeypatch.setattr(denoiser_memory, "free_and_total_memory", plenty)
    with pytest.raises(StartedError):
        study("fits").run()
    assert reads == [CPU]
    monkeypatch.setattr(denoiser_memory, "free_and_total_memory", lambda _: (10**6, 10**6))
    for settings, words in (
        ({"batch_size": 64, "eval_batch_size": 8}, "training with 64 images .* lower --batch-size, or take"),
        ({"batch_size": 8, "eval_batch_size": 64}, "importance with 64 images .* lower --eval-batch-size, or take"),
    ):
        with pytest.raises(TombolaError, match=words) as refused:
            study("none", **settings).run()
        assert "\n" not in str(refused.value)
        assert not (tmp_path / "none").exists()
    # Of what is done nothing needs memory.
    monkeypatch.setattr(StudyStep, "done", lambda _: True)
    with pytest.raises(StartedError):
        study("none").run()
