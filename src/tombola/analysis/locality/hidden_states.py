"""Hidden states of a model layer by layer: the mean over the tokens of each input."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tombola.analysis.forward_passes import SampleOptions, forward_passes, sampled
from tombola.architectures.parameters import device_of
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tasks.base import Task


@dataclass(frozen=True, eq=False)
class HiddenStates:
    """Hidden states of some examples of a split.

    Attributes:
        indices: int64 [examples], positions in the split, rising.
        layers: float32 [layers + 1, examples, width]: the first layer's input, then the output of every layer (of every
            use, where a layer is used several times), mean over the tokens that are no padding.
    """

    indices: NDArray[np.int64]
    layers: NDArray[np.float32]


def hidden_states(subnetwork: Subnetwork, task: Task, options: SampleOptions) -> HiddenStates:
    """Run a subnetwork, without dropout, and keep the mean hidden state of every layer, in 32 bits.

    Raises:
        TombolaError: the model has several stacks of layers, or a state is not finite.
    """
    anatomy = subnetwork.anatomy
    if len({row.stack for row in anatomy.attentions}) > 1:
        raise TombolaError(
            f"this {anatomy.model_type} has an encoder and a decoder, whose layers are not one sequence; look at the "
            "hidden states of its encoder alone"
        )
    names = list(dict.fromkeys(row.name for row in anatomy.feed_forwards))
    states: list[Tensor] = []
    kept: list[Tensor] = []
    indices: list[NDArray[np.int64]] = []
    mask: Tensor | None = None

    def keep(hidden: Tensor, entering: bool) -> None:
        # A layer that is used several times is entered several times.
        if not (entering and states):
            states.append(_mean(hidden.float(), mask))

    model, batches = subnetwork.model, sampled(task, options)
    device = device_of(model)
    parts = (part for batch in batches for part in batch.in_parts(batch.parts_for(model, device)))
    with _layer_hooks(model, names, keep):
        for batch, forward in forward_passes(subnetwork, parts, task.output, options):
            mask = batch.inputs.get("attention_mask")
            forward()
            kept.append(torch.stack(states).cpu())
            indices.append(batch.indices)
            states.clear()
    joined = np.concatenate(indices)
    order = np.argsort(joined)
    layers = torch.cat(kept, 1).numpy()[:, order]
    if not np.isfinite(layers).all():
        raise TombolaError(f"hidden states on the {options.split} split are not finite; use --precision fp32")
    return HiddenStates(joined[order], layers)


@contextlib.contextmanager
def _layer_hooks(model: nn.Module, names: list[str], keep: Callable[[Tensor, bool], None]) -> Iterator[None]:
    """Give `keep` the first layer's input (True) and the output of every layer (False) while the block runs."""

    def enter(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        keep(_tensor(args[0] if args else kwargs["hidden_states"]), True)

    def leave(_: nn.Module, __: object, output: object) -> None:
        keep(_tensor(output), False)

    layers = [model.get_submodule(name) for name in names]
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.register_forward_hook(leave).remove)
        stack.callback(layers[0].register_forward_pre_hook(enter, with_kwargs=True).remove)
        yield


def _tensor(hidden: object) -> Tensor:
    """A hidden state; some layers return more beside it."""
    first = hidden[0] if isinstance(hidden, tuple) else hidden
    assert isinstance(first, Tensor)
    return first


def _mean(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """[batch, tokens, width] to [batch, width]: the mean over tokens that are no padding."""
    if mask is None or mask.shape != hidden.shape[:2]:
        return hidden.flatten(1, -2).mean(1)
    weights = mask.to(hidden.dtype)[..., None]
    return (hidden * weights).sum(1) / weights.sum(1)
