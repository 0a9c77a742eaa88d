"""Hidden states of each input, layer by layer: the mean over its tokens."""

import contextlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tombola.analysis.sample_batches import sampled
from tombola.architectures.parameters import device_of
from tombola.foundations.errors import TombolaError
from tombola.foundations.precision import Precision, autocast
from tombola.foundations.progress import SILENT, Progress
from tombola.pruning.evaluation import on_device
from tombola.subnetworks.gates import ticket_gates
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


def hidden_states(
    subnetwork: Subnetwork,
    task: Task,
    split: str,
    *,
    sample: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    precision: Precision = "fp32",
    progress: Progress = SILENT,
) -> HiddenStates:
    """Run a subnetwork, without dropout, and keep the mean hidden state of every layer.

    Args:
        subnetwork: from `whole`, `masked` or `shrunk`; of one stack of layers.
        task: gives data.
        split: which of its splits.
        sample: use so many examples at random (all of fewer); None for all.
        seed: of the sample: the same examples for every model.
        batch_size, precision: of the passes; states are kept in 32 bits.
        progress: counts examples.

    Raises:
        TombolaError: the model has several stacks of layers, or a state is not finite.
    """
    anatomy, model = subnetwork.anatomy, subnetwork.model
    if len({row.stack for row in anatomy.attentions}) > 1:
        raise TombolaError(
            f"this {anatomy.model_type} has an encoder and a decoder, whose layers are not one sequence; look at the "
            "hidden states of its encoder alone"
        )
    names = list(dict.fromkeys(row.name for row in anatomy.feed_forwards))
    device = device_of(model)
    states: list[Tensor] = []
    kept: list[Tensor] = []
    indices: list[NDArray[np.int64]] = []
    mask: Tensor | None = None

    def keep(hidden: object) -> None:
        first = hidden[0] if isinstance(hidden, tuple) else hidden
        assert isinstance(first, Tensor)
        states.append(_mean(first.float(), mask))

    with contextlib.ExitStack() as stack:
        stack.callback(model.train, model.training)
        model.eval()
        stack.enter_context(torch.no_grad())
        open_gates = stack.enter_context(ticket_gates(subnetwork))

        def enter(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            if not states:
                keep(args[0] if args else kwargs["hidden_states"])

        for name in names:
            layer = model.get_submodule(name)
            if name == names[0]:
                stack.callback(layer.register_forward_pre_hook(enter, with_kwargs=True).remove)
            stack.callback(layer.register_forward_hook(lambda _, __, output: keep(output)).remove)
        for batch in sampled(task, split, sample, seed, batch_size):
            moved = on_device(batch, device)
            mask = moved.inputs.get("attention_mask")
            open_gates(len(batch.indices))
            with autocast(device, precision):
                task.output(model, moved)
            kept.append(torch.stack(states).cpu())
            indices.append(batch.indices)
            states.clear()
            progress.advance(len(batch.indices))
    joined = np.concatenate(indices)
    order = np.argsort(joined)
    layers = torch.cat(kept, 1).numpy()[:, order]
    if not np.isfinite(layers).all():
        raise TombolaError(f"hidden states on the {split} split are not finite; use --precision fp32")
    return HiddenStates(joined[order], layers)


def _mean(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """[batch, tokens, width] to [batch, width]: the mean over tokens that are no padding."""
    if mask is None or mask.shape != hidden.shape[:2]:
        return hidden.flatten(1, -2).mean(1)
    weights = mask.to(hidden.dtype)[..., None]
    return (hidden * weights).sum(1) / weights.sum(1)
