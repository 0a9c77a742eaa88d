"""Pipeline bench: any diffusers pipeline in a folder, whole or shrunk, that draws from a text, a class or nothing."""

import inspect
import io
import threading
import time
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import nn

from tombola.app.image_bench import Drawn, passes
from tombola.app.network_bench import Progress
from tombola.architectures.denoisers import PARTS
from tombola.checkpoints.checkpoint import load_pipeline
from tombola.foundations.errors import TombolaError, memory_errors, one_line
from tombola.foundations.precision import resolve_device
from tombola.profiling.tensor_memory import bytes_of

MOST_STEPS = 1000
LAST_SEED = 2**32 - 1


class PipelineBench:
    """Pipeline of diffusers that draws one image at a time; visitors share it and wait for one another.

    Attributes:
        title: its class.
        takes: what it draws from: `prompt`, `class_labels`, or nothing, `""`.
        classes: number of its classes; None where it takes none, or does not say.
        steps: that it takes where nobody says.
    """

    def __init__(self, pipeline: Any, folder: Path) -> None:
        self._pipeline, self._lock = pipeline, threading.Lock()
        self.folder, self.title = folder, type(pipeline).__name__
        given = inspect.signature(type(pipeline).__call__).parameters
        self.takes: Literal["prompt", "class_labels", ""] = (
            "prompt" if "prompt" in given else "class_labels" if "class_labels" in given else ""
        )
        needs = [name for name, one in given.items() if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
        if more := {*needs} - {"self", "prompt", "class_labels"}:
            raise TombolaError(f"a {self.title} draws from {sorted(more)[0]}, which cannot be given here")
        denoiser = next((getattr(pipeline, part) for part in PARTS if getattr(pipeline, part, None) is not None), None)
        if denoiser is None or "num_inference_steps" not in given:
            raise TombolaError(f"a {self.title} has no denoiser that draws step by step; give another pipeline")
        self._denoiser: nn.Module = denoiser
        self.classes: int | None = getattr(denoiser.config, "num_embeds_ada_norm", None) if self.takes else None
        self.steps = int(given["num_inference_steps"].default)

    @classmethod
    @memory_errors()
    def open(cls, folder: Path) -> Self:
        """Open a pipeline's folder, on the GPU where there is one.

        Raises:
            TombolaError: there is none, it cannot be read, or it draws from what cannot be given here.
        """
        pipeline: Any = load_pipeline(folder)
        pipeline.set_progress_bar_config(disable=True)
        bench = cls(pipeline, folder)
        if (device := resolve_device("auto")).type != "cpu":
            pipeline.to(device)
        return bench

    def draw(self, given: str = "", *, steps: int, seed: int = 0, progress: Progress | None = None) -> Drawn:
        """An image, the one that the pipeline itself draws with a generator of this seed on the CPU.

        Args:
            given: the prompt, or the number of the class.
            steps: of the sampler.
            seed: of the noise.
            progress: told of every step.

        Raises:
            TombolaError: nothing to draw from, a number that cannot be, or the pipeline refuses.
        """
        if not 1 <= steps <= MOST_STEPS or not 0 <= seed <= LAST_SEED:
            raise TombolaError(f"steps are from 1 to {MOST_STEPS:,}, and a seed is from 0 to {LAST_SEED:,}")
        options = self._options(given)
        generator = torch.Generator("cpu").manual_seed(seed)
        with self._lock, one_line(f"the {self.title} cannot draw this", "try other steps, or another text"):
            started = time.perf_counter()
            with passes(self._denoiser, steps, progress), torch.no_grad():
                options |= {"num_inference_steps": steps, "generator": generator, "output_type": "pil"}
                (image,) = self._pipeline(**options).images
            seconds = time.perf_counter() - started
        file = io.BytesIO()
        image.save(file, "PNG")
        parts = [part for part in self._pipeline.components.values() if isinstance(part, nn.Module)]
        return Drawn(file.getvalue(), seconds, sum(map(bytes_of, parts)))

    def _options(self, given: str) -> dict[str, Any]:
        if self.takes == "prompt":
            if not given.strip():
                raise TombolaError("type what is to be drawn")
            return {"prompt": given}
        if self.takes == "class_labels":
            text = given.strip()
            if not (text.isascii() and text.isdecimal()) or (self.classes is not None and int(text) >= self.classes):
                last = "" if self.classes is None else f" to {self.classes - 1}"
                raise TombolaError(f"type the number of a class, from 0{last}")
            # diffusers guides by the class 1000 as that of none, whatever the model's is.
            unguided = {} if self.classes in (None, 1000) else {"guidance_scale": 1.0}
            return {"class_labels": [int(text)], **unguided}
        return {}
