"""A small study of a denoiser of digits, as it was left by its search."""

import functools
from pathlib import Path

import torch
from diffusers import UNet2DModel

from builders import shared_folder
from builders.small_study import run_once
from builders.unets import UNET
from tombola.study.config import StudyConfig
from tombola.study.study import Study


@functools.cache
def model() -> Path:
    """The shared folder of a tiny U-net that was never trained."""

    def make(folder: Path) -> None:
        torch.manual_seed(0)
        UNet2DModel(**UNET).save_pretrained(folder)

    return shared_folder.once("tiny-unet", make)


@functools.cache
def finished() -> Study:
    """A finished study of it, seed 0, of few images, with its report."""
    config = StudyConfig.of(
        "quick",
        model=str(model()),
        task="digits",
        methods=("heads+channels", "weights"),
        iterative=False,
        rewind="final",
        train_rows=96,
        dev_rows=40,
        epochs=2,
        heads_step=0.3,
        neurons_step=0.3,
        threshold=0.5,
        curve_until=0.4,
        bootstrap_resamples=50,
        at_chance="continue",
        analyses=(),
        device="cpu",
    )
    return run_once(Study(config, out=shared_folder.home() / "digits", seeds=(0,)))
