"""Memory check of a denoiser's passes before they begin, rather than a failure hours later."""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import psutil
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tombola.architectures.denoisers import denoiser_inputs
from tombola.architectures.parameters import dtype_of
from tombola.foundations import resources
from tombola.foundations.errors import TombolaError
from tombola.profiling.tensor_memory import LiveBytes, bytes_of
from tombola.subnetworks.subnetwork import structural_copy

Work = Literal["sampling", "importance", "training"]
"""Purpose of passes: the images alone; gradients of gates; gradients of weights, and AdamW's two values of each."""
_LEVELS = 4
"""Timesteps of a held-out image, whose graphs live together until the gates have their gradients."""


def pass_memory(
    model: nn.Module, batch: int, work: Work = "sampling", *, levels: int = 1, size: int | None = None
) -> int:
    """Bytes that passes of a batch take beyond the model's weights, estimated without any being allocated.

    Args:
        model: a denoiser, of any device; it is not changed.
        batch: images at a time.
        work: what the passes are for.
        levels: passes whose graphs live at one time, where there are gradients.
        size: of the images in pixels; by default the configuration's.

    Raises:
        TombolaError: what its class takes is not known.
    """
    blank = structural_copy(model)
    # New parameters without memory in the copy's modules; the model keeps its own.
    blank = nn.Module.to(blank, "meta").train(work == "training")
    gradients = work != "sampling"
    with torch.set_grad_enabled(gradients), FakeTensorMode(allow_non_fake_inputs=True):
        blank = blank.to_empty(device="cpu")
        blank.requires_grad_(work == "training")
        inputs: dict[str, Any] = denoiser_inputs(blank, batch, size)
        if gradients:
            first = next(iter(inputs))
            inputs[first].requires_grad_()
        with LiveBytes() as live:
            outputs: list[Tensor] = [blank(**inputs, return_dict=False)[0] for _ in range(levels if gradients else 1)]
            if gradients:
                torch.stack([output.square().sum() for output in outputs]).sum().backward()
            peak = live.peak
        del outputs
    return int(peak) + (2 * bytes_of(model) if work == "training" else 0)


def check(
    model: nn.Module,
    works: Sequence[Work],
    device: torch.device,
    *,
    training: int = 1,
    evaluation: int = 1,
    size: int | None = None,
) -> None:
    """Warn where the heaviest passes of a denoiser may not fit into memory, in which its weights are already.

    Args:
        model: the denoiser, on its device.
        works: all that is done with it.
        device: where it passes.
        training: images at a time where weights are trained.
        evaluation: images at a time where the model is judged, or the importance of its sites is taken.
        size: as in `pass_memory`.

    Raises:
        TombolaError: they cannot fit.
    """
    batches = {work: training if work == "training" else evaluation for work in works}
    needs = {
        work: pass_memory(model, batch, work, levels=_LEVELS if work == "importance" else 1, size=size)
        for work, batch in batches.items()
    }
    heaviest = max(needs, key=needs.__getitem__)
    need, (free, most) = needs[heaviest], free_and_total_memory(device)
    what = (
        f"{heaviest} with {batches[heaviest]} images at a time takes about {_gb(need)} beyond the "
        f"{_gb(bytes_of(model))} of weights ({dtype_of(model)})".replace("torch.", "")
    )
    mend = "lower --batch-size" if heaviest == "training" else "lower --eval-batch-size"
    if need > most:
        raise TombolaError(f"{what}, and {device.type} has {_gb(most)}; {mend}, or take a larger machine")
    if need > free:
        warnings.warn(f"{what}, and {_gb(free)} of {device.type}'s memory are free; {mend} if it fails", stacklevel=2)


def free_and_total_memory(device: torch.device) -> tuple[int, int]:
    """Bytes that are free on a device, and the most that could be: other processes may give some back on a CPU."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What PyTorch keeps in reserve is ours.
        own = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + own, free + own
    return min(int(psutil.virtual_memory().available), resources.memory()), resources.memory()


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
