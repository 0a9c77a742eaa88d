"""The parts of a pipeline around its denoiser, without weights: what reads the text, and what draws the latents."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import transformers
from diffusers import AutoencoderKL
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from tombola.architectures.denoisers import PARTS
from tombola.checkpoints.denoisers import reading
from tombola.checkpoints.pipelines import index_of
from tombola.foundations.errors import TombolaError
from tombola.profiling.known_pipelines import KnownPipeline

VAES = ("AutoencoderKL",)
"""Classes of image decoders that are known."""
CLIPS = ("CLIPTextModel", "CLIPTextModelWithProjection")
T5S = ("T5EncoderModel",)
TEXT_TOKENS: Mapping[str, int] = {"Flux": 512, "StableDiffusion3": 256, "PixArtAlpha": 120, "PixArtSigma": 300}
"""Beginning of pipelines' names → tokens that their T5 reads by default; every text is padded to them. CLIP reads as
many as it has places."""
_MOST_TOKENS = 512
_NO_NETWORKS = ("tokenizer", "scheduler", "feature_extractor", "image_processor")
"""First part of the names of parts that take no memory of a GPU."""

_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    StrictDataclassError,
)
"""Errors of diffusers and transformers for configurations that are missing or make no network."""


@dataclass(frozen=True)
class Part:
    """A network of a pipeline that is not pruned.

    Attributes:
        name: in the pipeline, as `vae` or `text_encoder_2`.
        kind: its class.
        build: makes it; to be called where the default device is `meta`.
        tokens: of the text that it reads; 0 for what draws images.
        hidden_states: the pipeline asks for those of every layer.
        upcast: the pipeline runs it in fp32 where its weights are fp16.
    """

    name: str
    kind: str
    build: Callable[[], nn.Module]
    tokens: int = 0
    hidden_states: bool = False
    upcast: bool = False


@dataclass(frozen=True)
class Parts:
    """Parts around a denoiser.

    Attributes:
        counted: known parts, in the order in which the pipeline lists them.
        uncounted: name of a part → why nothing can be said of it.
    """

    counted: tuple[Part, ...] = ()
    uncounted: Mapping[str, str] = field(default_factory=dict)

    def excluding(self, names: Sequence[str]) -> "Parts":
        """The parts that are left when some are taken out of the pipeline.

        Raises:
            TombolaError: the pipeline has no such part.
        """
        has = [part.name for part in self.counted] + list(self.uncounted)
        for name in names:
            if name not in has:
                others = ", ".join(has) or "nothing"
                raise TombolaError(f"there is no {name} to leave out; beside its denoiser the pipeline has {others}")
        return Parts(
            tuple(part for part in self.counted if part.name not in names),
            {name: why for name, why in self.uncounted.items() if name not in names},
        )


class Decoding(nn.Module):
    """A VAE whose forward pass decodes latents [images, channels, height, width]."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        """Images [images, 3, height, width], larger by the VAE's factor."""
        return cast(Tensor, self.vae.decode(cast(Any, latents), return_dict=False)[0])


def known(pipeline: KnownPipeline) -> Parts:
    """The parts around a well-known denoiser."""
    of = pipeline.pipeline
    return Parts(tuple(_part(of, name, kind, _config(kind, config)) for name, (kind, config) in pipeline.parts.items()))


def of(source: str) -> Parts | None:
    """The parts around the denoiser of a pipeline, by its configurations alone; None for a denoiser by itself.

    A part of unknown class, or whose configuration cannot be read or makes no network, is one of `uncounted`.

    Args:
        source: local folder or hub id.

    Raises:
        TombolaError: the pipeline's list of parts cannot be read.
    """
    with reading(source):
        index = index_of(source)
    if index is None:
        return None
    pipeline = str(index.get("_class_name"))
    counted: list[Part] = []
    uncounted: dict[str, str] = {}
    for name, entry in index.items():
        if name in PARTS or name.startswith(("_", *_NO_NETWORKS)) or not isinstance(entry, list | tuple):
            continue
        if len(entry) != 2 or not all(isinstance(one, str) for one in entry):
            # Left out by whoever saved it, or no part but a setting.
            continue
        kind = str(entry[1])
        if kind not in (*VAES, *CLIPS, *T5S):
            uncounted[name] = f"{kind} is not known"
            continue
        try:
            part = _part(pipeline, name, kind, _config_in(source, name, kind))
            with torch.device("meta"):
                part.build()
        except _UNREADABLE as error:
            uncounted[name] = f"the configuration of its {kind}: {' '.join(str(error).split())[:100]}"
        else:
            counted.append(part)
    return Parts(tuple(counted), uncounted)


def _part(pipeline: str, name: str, kind: str, config: Any) -> Part:
    if kind in VAES:
        # Others leave the VAE in its dtype, whatever its configuration says.
        upcast = "StableDiffusionXL" in pipeline and bool(config.get("force_upcast", True))
        return Part(name, kind, lambda: Decoding(AutoencoderKL.from_config(config)), upcast=upcast)
    made = getattr(transformers, kind)
    if kind in T5S:
        tokens = next((count for family, count in TEXT_TOKENS.items() if pipeline.startswith(family)), _MOST_TOKENS)
        return Part(name, kind, lambda: made(config), tokens)
    hidden = any(family in pipeline for family in ("StableDiffusionXL", "StableDiffusion3"))
    return Part(name, kind, lambda: made(config), config.max_position_embeddings, hidden)


def _config(kind: str, config: Mapping[str, Any]) -> Any:
    return config if kind in VAES else getattr(transformers, kind).config_class(**config)


def _config_in(source: str, name: str, kind: str) -> Any:
    if kind in VAES:
        return AutoencoderKL.load_config(source, subfolder=name)
    config = getattr(transformers, kind).config_class
    # Where there is none, transformers gives its class's defaults without a word.
    if not config.get_config_dict(source, subfolder=name)[0]:
        raise OSError("there is none")
    return config.from_pretrained(source, subfolder=name)
