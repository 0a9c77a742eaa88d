"""Memory need of a whole pipeline on a GPU: its denoiser, and the parts around it that are not pruned.

The parts run one after the other, so that their activations are never there together; their weights are, unless each
waits in the machine's own memory for its turn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import nn

from tombola.architectures.parameters import count_parameters
from tombola.profiling.pipeline_components import Decoding, Part
from tombola.profiling.tensor_memory import Memory, bytes_of, estimate


class Runs(Protocol):
    """Network whose memory need is known: a `memory_plan.Need` or a `PartNeed`."""

    @property
    def weights(self) -> int:
        """Bytes of its weights while it waits."""

    @property
    def passes(self) -> Mapping[int, Memory]:
        """Images → memory of its run."""


@dataclass(frozen=True)
class PartNeed:
    """Memory need of a part around the denoiser.

    Attributes:
        part: which it is.
        parameters: of all of it.
        weights: bytes of its weights while it waits.
        passes: images → memory of its run: of one text, however many images are drawn from it, or of decoding them
            all. Its weights are more than `weights` where the pipeline runs it in fp32.
    """

    part: Part
    parameters: int
    weights: int
    passes: Mapping[int, Memory]


def need_of(
    part: Part, images: Sequence[int], size: int, *, dtype: torch.dtype = torch.float16, slicing: bool = False
) -> PartNeed:
    """Memory need of a part, estimated without weights or a GPU.

    Its weights are of the dtype asked for, but for layers that transformers leaves in fp32 where fp16 is asked for (the
    outer projections of T5's feed-forward layers). A text is as long as the pipeline pads it to.

    Args:
        part: text encoder or image decoder.
        images: how many are drawn at once.
        size: sides of their latents.
        dtype: of weights and activations.
        slicing: the VAE decodes one image after the other (`enable_vae_slicing`).
    """
    with torch.device("meta"):
        model = part.build()
    parameters = count_parameters(model)
    if isinstance(model, Decoding):
        running = torch.float32 if part.upcast and dtype == torch.float16 else dtype
        passes = {count: _decoding(part, count, size, running, slicing) for count in images}
        # Not the class's own way, which warns.
        nn.Module.to(model, dtype)
        return PartNeed(part, parameters, bytes_of(model), passes)
    given: dict[str, Any] = {"output_hidden_states": True} if part.hidden_states else {}
    kept = getattr(model, "_keep_in_fp32_modules", None) if dtype == torch.float16 else None
    reads = estimate(
        part.build,
        lambda _: {"input_ids": torch.zeros(1, part.tokens, dtype=torch.long), **given},
        dtype=dtype,
        keep_fp32=kept or (),
    )
    return PartNeed(part, parameters, reads.weights, dict.fromkeys(images, reads))


def all_on_gpu(parts: Sequence[Runs]) -> dict[int, int]:
    """Images → the most bytes at one time where the weights of all parts stay on the GPU."""
    waiting = sum(part.weights for part in parts)
    return {count: waiting + max(part.passes[count].peak - part.weights for part in parts) for count in parts[0].passes}


def one_at_a_time(parts: Sequence[Runs]) -> dict[int, int]:
    """Images → the most bytes at one time where only the part that runs is on the GPU (`enable_model_cpu_offload`).

    What a part leaves for the next, as the features of a text, counts as the next one's input.
    """
    return {count: max(part.passes[count].peak for part in parts) for count in parts[0].passes}


def _decoding(part: Part, count: int, size: int, dtype: torch.dtype, slicing: bool) -> Memory:
    def build() -> nn.Module:
        model = cast(Decoding, part.build())
        if slicing:
            model.vae.enable_slicing()
        return model

    def latents(model: nn.Module) -> dict[str, Any]:
        channels = cast(Any, model).vae.config.latent_channels
        return {"latents": torch.zeros(count, channels, size, size, dtype=dtype)}

    return estimate(build, latents, dtype=dtype)
