"""Memory of a denoiser before anything is downloaded, pruned or run: a plan of smaller versions, a check of its passes.

A ticket's size hardly depends on which sites it keeps, so the smaller versions have the same density in the heads,
neurons and groups of channels of every layer.
"""

import contextlib
import functools
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import psutil
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tombola.architectures.denoisers import class_of_denoiser, denoiser_inputs, image_side
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import count_parameters, device_of, dtype_of
from tombola.foundations import resources
from tombola.foundations.errors import TombolaError, reason
from tombola.profiling.tensor_memory import LiveBytes, Need, blank_copy, bytes_of, estimate
from tombola.subnetworks.subnetwork import shrunk
from tombola.tickets.kinds import BLOCK, TICKET_KINDS
from tombola.tickets.ticket import Ticket


@dataclass(frozen=True)
class DenoiserNeed(Need):
    """Memory need of a denoiser; with guidance, a pass is of a batch twice as large.

    Attributes:
        density: share of the sites of each layer that it keeps.
        size: sides of the (latent) images.
        without_sites: blocks that are never pruned, and why, see `Anatomy.without_sites`.
    """

    density: float
    size: int
    without_sites: Mapping[str, str] = field(default_factory=dict)


def evenly(model: nn.Module, density: float) -> Ticket:
    """The ticket that keeps the first sites of every layer, a share of each kind that the model has, rounded up.

    Raises:
        TombolaError: unknown architecture, or a share that is none.
    """
    _check(density)
    anatomy = dissect(model)
    sites = [site for site in ("heads", "neurons", "channels") if any(anatomy.sizes(site))]
    kind = next(one for one in TICKET_KINDS if one.split("+") == sites)
    # A model that was shrunk may have MLPs of odd sizes.
    block = math.gcd(BLOCK, anatomy.neurons) if "neurons" in sites and anatomy.removal else BLOCK
    full_ticket = Ticket.full(anatomy, kind, block)
    masks: dict[str, Tensor] = {}
    for site in full_ticket.masks:
        exists = full_ticket.exists(site)
        place = exists.cumsum(1)
        masks[site] = exists & (place <= (density * exists.sum(1, keepdim=True)).ceil())
    return replace(full_ticket, masks=masks).with_provenance(ticket="even", density=density)


def needs(
    build: Callable[[], nn.Module],
    densities: Sequence[float] = (1.0,),
    *,
    images: Sequence[int] = (1,),
    size: int | None = None,
    dtype: torch.dtype = torch.float16,
    guidance: bool = True,
) -> tuple[DenoiserNeed, ...]:
    """Memory needs of a denoiser and smaller versions of it, estimated without weights or a GPU.

    Args:
        build: makes the denoiser; called where the default device is `meta`.
        densities: shares of the sites that are kept.
        images: how many at once.
        size: sides of the (latent) images; by default the configuration's, and of Flux, which says none, the 128 that
            its pipeline draws.
        dtype: of weights and activations.
        guidance: a denoiser that draws from a text or class looks at every image twice.

    Raises:
        TombolaError: unknown architecture, a share that is none, or no image.
    """
    if any(count < 1 for count in images) or (size is not None and size < 1):
        raise TombolaError(f"images and their size must be 1 or more, not {', '.join(map(str, images))} of {size}")
    for density in densities:
        _check(density)
    found = []
    for density in densities:
        with torch.device("meta"):
            model = build()
        blocks: dict[str, str] = {}
        with contextlib.suppress(TombolaError):
            blocks = {one.name: one.reason for one in dissect(model).without_sites}
        if density < 1:
            model = shrunk(model, evenly(model, density)).model
        sides = size or class_of_denoiser(model).side or image_side(model)
        twice = 2 if guidance and class_of_denoiser(model).conditional else 1
        with _fitting(type(model).__name__, size):
            passes = {
                count: estimate(model, functools.partial(denoiser_inputs, batch=count * twice, size=sides), dtype=dtype)
                for count in images
            }
        weights = next(iter(passes.values())).weights
        found.append(DenoiserNeed(count_parameters(model), weights, passes, density, sides, blocks))
    return tuple(found)


@contextlib.contextmanager
def _fitting(name: str, size: int | None) -> Iterator[None]:
    """Turn what a denoiser raises for images that it cannot draw into one line, without the log of the shapes."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if size is None:
            raise
        raise TombolaError(
            f"a {name} does not draw {size} x {size} ({reason(error, 150)}); give another --size"
        ) from error
    finally:
        log.setLevel(level)


def _check(density: float) -> None:
    if not 0 < density <= 1:
        raise TombolaError(f"the density must lie above 0 and at most at 1, not {density:g}")


Work = Literal["sampling", "importance", "training"]
"""Purpose of passes: the images alone; gradients of gates; gradients of weights, and AdamW's two values of each."""
_LEVELS = 4
"""Timesteps of a held-out image, whose graphs live together until the gates have their gradients."""


def pass_memory(
    model: nn.Module, batch: int, work: Work = "sampling", *, levels: int = 1, size: int | None = None
) -> int:
    """Bytes that passes of a batch take beyond the weights of a denoiser, estimated without any being allocated.

    Args:
        model, batch: the denoiser, which is not changed, and images at a time.
        work: what the passes are for.
        levels: passes whose graphs live at one time, where there are gradients.
        size: of the images in pixels; by default the configuration's.

    Raises:
        TombolaError: what its class takes is not known.
    """
    blank = blank_copy(model).train(work == "training")
    gradients = work != "sampling"
    with torch.set_grad_enabled(gradients), FakeTensorMode(allow_non_fake_inputs=True):
        blank = blank.to_empty(device="cpu")
        blank.requires_grad_(work == "training")
        inputs: dict[str, Any] = denoiser_inputs(blank, batch, size)
        if gradients:
            next(iter(inputs.values())).requires_grad_()
        with LiveBytes() as live:
            outputs: list[Tensor] = [blank(**inputs, return_dict=False)[0] for _ in range(levels if gradients else 1)]
            if gradients:
                torch.stack([output.square().sum() for output in outputs]).sum().backward()
            peak = live.peak
        del outputs
    return int(peak) + (2 * bytes_of(model) if work == "training" else 0)


def check(
    model: nn.Module, works: Sequence[Work], *, training: int = 1, evaluation: int = 1, size: int | None = None
) -> None:
    """Warn where the heaviest of some passes of a denoiser may not fit into memory, in which its weights are already.

    Args:
        model: the denoiser, on its device.
        works: all that is done with it.
        training, evaluation: images at a time where weights are trained, and in all other passes.
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
    device = device_of(model)
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
