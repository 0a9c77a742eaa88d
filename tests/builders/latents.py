"""What tests of denoisers of latents share: images, whole pipelines of every kind, and what holds for each of them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import nn

from builders.pipelines import (
    dit,
    flux,
    pixart,
    pixart_sigma,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
)
from tombola.architectures.dissect import dissect
from tombola.pruning.importance import FirstOrder, gate_gradients
from tombola.subnetworks.gates import attach
from tombola.subnetworks.subnetwork import shrunk
from tombola.tasks.images.image_folder import image_folder
from tombola.tasks.images.task import ImageTask
from tombola.tickets.ticket import Ticket

MAKE: Mapping[str, Callable[..., Path]] = {
    "unet": stable_diffusion,
    "dit": dit,
    "xl": stable_diffusion_xl,
    "pixart": pixart,
    "sigma": pixart_sigma,
    "sd3": stable_diffusion_3,
    "flux": flux,
}
CPU = torch.device("cpu")


def coloured(folder: Path) -> Path:
    """Images of 16 x 16 pixels in a new folder, noise and stripes of colours by turns."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(44):
        values = rng.integers(0, 256, (1, 16, 3)).repeat(16, 0) if number % 2 else rng.integers(0, 256, (16, 16, 3))
        Image.fromarray(values.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def opened(folder: Path, pipeline: Path, **options: Any) -> tuple[ImageTask, nn.Module]:
    """The task of a folder and a pipeline, and the pipeline's denoiser."""
    one = image_folder(folder, str(pipeline), steps=3, **options)
    return one, one.load(str(pipeline), seed=0, state="trained").eval()


def parts_of(pipeline: Path) -> Any:
    """The pipeline as diffusers has it."""
    found = DiffusionPipeline.from_pretrained(pipeline)
    found.set_progress_bar_config(disable=True)
    return found


def check_gates(one: ImageTask, model: nn.Module, kind: str) -> None:
    """Importance of every site is a number, and a gate that is zero does what deletion does."""
    anatomy = dissect(model)
    everything = Ticket.full(anatomy, cast(Any, kind))
    batch = next(one.batches("train", 6, shuffle=1))
    with attach(model, anatomy, everything) as gates:
        gates.open(6, CPU, grad=True)
        first_order = FirstOrder()
        first_order.add(gate_gradients(gates, one.output(model, batch).losses))
    for values in first_order.result().values():
        assert values.isfinite().all()
        assert float(values.max()) > 0
    ticket = everything.without({name: [[0, 0], [1, 1]] for name in everything.masks})
    with attach(model, anatomy, everything, ticket) as gates, torch.no_grad():
        gates.open(6, CPU, grad=False)
        gated = one.output(model, batch).losses
    with torch.no_grad():
        cut = one.output(shrunk(model, ticket).model, batch).losses
        full = one.output(model, batch).losses
    torch.testing.assert_close(gated, cut, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(full, cut, rtol=1e-4)
