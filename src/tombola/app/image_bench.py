"""Image bench: images of a study's denoiser and of its tickets from the same noise, with what each took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from tombola.app.network_bench import NetworkBench, Progress
from tombola.foundations.errors import TombolaError, memory_errors
from tombola.profiling.denoiser_memory import pass_memory
from tombola.profiling.tensor_memory import bytes_of
from tombola.tasks.capabilities import GeneratesImages

MOST_IMAGES = 40
LAST_SEED = 2**24
"""Beyond it, the numbers of a sample could be those of another split."""


@dataclass(frozen=True)
class Drawn:
    """Image, or sheet of images.

    Attributes:
        png: the file.
        seconds: that it took.
        weights: bytes of the network's parameters and buffers.
        activations: the most bytes of everything else while it was drawn, estimated; None where nothing can be said.
    """

    png: bytes
    seconds: float
    weights: int
    activations: int | None = None


class ImageBench(NetworkBench):
    """Full denoiser of one seed of a study, and what its tickets leave of it."""

    capability, does = GeneratesImages, "draw images"

    @property
    def images(self) -> GeneratesImages:
        """The task, as one whose models draw."""
        assert isinstance(self.task, GeneratesImages)
        return self.task

    def draw(self, method: str, name: str, *, seed: int = 0, count: int = 8, progress: Progress | None = None) -> Drawn:
        """Images of a network, from noise that is the same for every network of the study.

        Args:
            method, name: of the network, see `choices` and `states`.
            seed: number of the first image; seed 0 is the first that the study scored.
            count: images, drawn together.
            progress: told of every pass.

        Raises:
            TombolaError: a number that cannot be, or images that are neither grey nor coloured.
        """
        if not 0 <= seed <= LAST_SEED or not 1 <= count <= MOST_IMAGES:
            raise TombolaError(f"a seed is from 0 to {LAST_SEED:,}, and 1 to {MOST_IMAGES} images are drawn at once")
        with self._lock, memory_errors("drawing"):
            model = self.network(method, name)
            started = time.perf_counter()
            with passes(model, self.images.steps, progress):
                png = self.images.image_grid(model, first=seed, count=count)
            seconds = time.perf_counter() - started
            if png is None:
                raise TombolaError(f"the images of {self.task.title} are neither grey nor coloured: nothing to show")
            activations = pass_memory(model, count, size=max(self.images.seen[1:]))
        return Drawn(png, seconds, bytes_of(model), activations)


@contextmanager
def passes(model: nn.Module, of: int, progress: Progress | None) -> Iterator[None]:
    """Tell of every pass of a model that is done within."""
    done = 0

    def told(*_: object) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(min(done, of), of)

    handle = model.register_forward_hook(told)
    try:
        yield
    finally:
        handle.remove()
