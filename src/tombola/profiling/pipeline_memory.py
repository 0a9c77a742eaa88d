"""Memory need of a whole pipeline on a GPU: its denoiser, and the parts around it that are not pruned.

The parts run one after the other, so that their activations are never there together; their weights are, unless each
waits in the machine's own memory for its turn.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from diffusers import AutoencoderKL
from torch import Tensor, nn

from tombola.architectures.denoisers import PARTS
from tombola.architectures.parameters import count_parameters
from tombola.checkpoints import denoisers
from tombola.checkpoints.denoisers import index_of, reading
from tombola.checkpoints.refusals import refuse_other_shapes
from tombola.checkpoints.shrunk_folder import blank_shrunk
from tombola.checkpoints.sources import MARK
from tombola.foundations.errors import TombolaError, one_line
from tombola.profiling.denoiser_memory import DenoiserNeed, needs
from tombola.profiling.known_pipelines import KNOWN_PIPELINES, KnownPipeline
from tombola.profiling.tensor_memory import Need, bytes_of, estimate

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


def known_parts(pipeline: KnownPipeline) -> Parts:
    """The parts around a well-known denoiser."""
    parts = pipeline.parts.items()
    return Parts(tuple(_part(pipeline.pipeline, name, kind, _config(kind, config)) for name, (kind, config) in parts))


def parts_of(source: str) -> Parts | None:
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
            with one_line(f"the configuration of its {kind}", "write the pipeline again"), torch.device("meta"):
                part, folder = _part(pipeline, name, kind, _config_in(source, name, kind)), Path(source) / name
                if (folder / MARK).is_file():
                    part = replace(part, build=functools.partial(blank_shrunk, folder))
                made = part.build()
                refuse_other_shapes(name, made.vae if isinstance(made, Decoding) else made, folder)
        except TombolaError as error:
            uncounted[name] = str(error)
        else:
            counted.append(part)
    return Parts(tuple(counted), uncounted)


def denoiser_builder(source: str) -> tuple[Callable[[], nn.Module], bool]:
    """Function that makes the denoiser of a folder or hub id without its weights, and whether it was shrunk.

    It has the shapes of the files: those of a model that was shrunk, and saved again since, too.

    Raises:
        TombolaError: there is none, it cannot be read, or its files are of other shapes than its configuration.
    """
    folder = denoisers.denoiser_folder(source)
    if (folder / MARK).is_file():
        return functools.partial(blank_shrunk, folder), True

    def build() -> nn.Module:
        model = denoisers.load(source, weights=False)
        refuse_other_shapes(source, model, folder)
        return model

    return build, False


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


@dataclass(frozen=True)
class PartNeed(Need):
    """Memory need of a part around the denoiser: of one text, whatever is drawn from it, or of decoding all images."""

    part: Part


def need_of(
    part: Part, images: Sequence[int], size: int, *, dtype: torch.dtype = torch.float16, slicing: bool = False
) -> PartNeed:
    """Memory need of a part where so many images, of latents of a size, are drawn: estimated without weights or a GPU.

    Its weights are of the dtype asked for, but for layers that transformers leaves in fp32 where fp16 is asked for (the
    outer projections of T5's feed-forward layers). A text is as long as the pipeline pads it to. With `slicing`, the
    VAE decodes one image after the other (`enable_vae_slicing`).
    """
    with torch.device("meta"):
        model = part.build()
    parameters = count_parameters(model)
    if isinstance(model, Decoding):
        if slicing:
            model.vae.enable_slicing()
        running = torch.float32 if part.upcast and dtype == torch.float16 else dtype
        channels = cast(Any, model.vae).config.latent_channels
        passes = {
            count: estimate(model, functools.partial(_latents, count, channels, size, running), dtype=running)
            for count in images
        }
        return PartNeed(parameters, bytes_of(nn.Module.to(model, dtype)), passes, part)
    given: dict[str, Any] = {"output_hidden_states": True} if part.hidden_states else {}
    kept = getattr(model, "_keep_in_fp32_modules", None) if dtype == torch.float16 else None
    reads = estimate(
        model,
        lambda _: {"input_ids": torch.zeros(1, part.tokens, dtype=torch.long), **given},
        dtype=dtype,
        keep_fp32=kept or (),
    )
    return PartNeed(parameters, reads.weights, dict.fromkeys(images, reads), part)


def reckon(
    model: str,
    densities: Sequence[float] | None = None,
    *,
    images: Sequence[int] = (1,),
    size: int | None = None,
    dtype: torch.dtype = torch.float16,
    guidance: bool = True,
    exclude: Sequence[str] = (),
    slicing: bool = False,
) -> tuple[tuple[DenoiserNeed, ...], tuple[PartNeed, ...], Parts | None]:
    """Memory needs of a pipeline and smaller tickets of its denoiser; of the parts around it; and those parts.

    Args:
        model: one of the known pipelines, a folder or a hub id.
        densities: as in `needs`; by default all, three quarters and half, of one that was shrunk already all.
        images, size, dtype, guidance: as in `needs`.
        exclude: parts that it is loaded without.
        slicing: as in `need_of`.

    Raises:
        TombolaError: it is no pipeline or denoiser that is known, or does not fit what is asked.
    """
    known = KNOWN_PIPELINES.get(model)
    # None for a denoiser by itself.
    parts = known_parts(known) if known else parts_of(model)
    if exclude:
        parts = (parts or Parts()).excluding(exclude)
    build, smaller = (known.denoiser.make, False) if known else denoiser_builder(model)
    # One that was shrunk is what it is, unless it is asked how much smaller it could be.
    densities = densities or ((1.0,) if smaller else (1.0, 0.75, 0.5))
    found = needs(build, densities, images=images, size=size, dtype=dtype, guidance=guidance)
    counted = parts.counted if parts else ()
    around = tuple(need_of(part, images, found[0].size, dtype=dtype, slicing=slicing) for part in counted)
    return found, around, parts


def all_on_gpu(parts: Sequence[Need]) -> dict[int, int]:
    """Images → the most bytes at one time where the weights of all parts stay on the GPU."""
    waiting = sum(part.weights for part in parts)
    return {count: waiting + max(part.passes[count].peak - part.weights for part in parts) for count in parts[0].passes}


def one_at_a_time(parts: Sequence[Need]) -> dict[int, int]:
    """Images → the most bytes at one time where only the part that runs is on the GPU (`enable_model_cpu_offload`).

    What a part leaves for the next, as the features of a text, counts as the next one's input.
    """
    return {count: max(part.passes[count].peak for part in parts) for count in parts[0].passes}


def _latents(count: int, channels: int, size: int, dtype: torch.dtype, _: nn.Module) -> dict[str, Any]:
    return {"latents": torch.zeros(count, channels, size, size, dtype=dtype)}
