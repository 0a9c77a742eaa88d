"""Memory plan of a denoiser and smaller versions of it, before anything is downloaded, pruned or run.

A ticket's size hardly depends on which sites it keeps, so the smaller versions have the same density in the heads,
neurons and groups of channels of every layer.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tombola.architectures.denoisers import class_of_denoiser, denoiser_inputs, native_side
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import count_parameters
from tombola.foundations.errors import TombolaError, reason
from tombola.profiling.tensor_memory import Memory, estimate
from tombola.subnetworks.subnetwork import shrunk
from tombola.tickets.ticket import TICKET_KINDS, Ticket

DTYPES: Mapping[str, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Need:
    """Memory need of a denoiser.

    Attributes:
        density: share of the sites of each layer that it keeps.
        parameters: of all of it.
        size: sides of the (latent) images.
        passes: images → memory of a pass for so many; with guidance, of a batch twice as large.
    """

    density: float
    parameters: int
    size: int
    passes: Mapping[int, Memory]

    @property
    def weights(self) -> int:
        """Bytes of its weights."""
        return next(iter(self.passes.values())).weights


def evenly(model: nn.Module, density: float) -> Ticket:
    """The ticket that keeps the first sites of every layer, a share of each kind that the model has, rounded up.

    Raises:
        TombolaError: unknown architecture, or a share that is none.
    """
    _check(density)
    anatomy = dissect(model)
    sites = [
        site
        for site, rows in (
            ("heads", anatomy.attentions),
            ("neurons", anatomy.feed_forwards),
            ("channels", anatomy.residuals),
        )
        if rows
    ]
    kind = next(one for one in TICKET_KINDS if one.split("+") == sites)
    full_ticket = Ticket.full(anatomy, kind)
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
) -> tuple[Need, ...]:
    """Memory needs of a denoiser and smaller versions of it, estimated without weights or a GPU.

    Args:
        build: makes the denoiser; it is called where the default device is `meta`.
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
        smaller = _shrink(density) if density < 1 else None
        with torch.device("meta"):
            model = build()
        if smaller is not None:
            model = smaller(model)
        sides = size or native_side(model)
        twice = 2 if guidance and class_of_denoiser(model).conditional else 1
        with _fitting(type(model).__name__, size):
            passes = {
                count: estimate(
                    build,
                    lambda one, count=count, twice=twice, sides=sides: denoiser_inputs(one, count * twice, sides),  # type: ignore[misc]
                    dtype=dtype,
                    shrink=smaller,
                )
                for count in images
            }
        found.append(Need(density, count_parameters(model), sides, passes))
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


def _shrink(density: float) -> Callable[[nn.Module], nn.Module]:
    return lambda model: shrunk(model, evenly(model, density)).model
