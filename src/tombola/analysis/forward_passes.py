"""Forward passes of an analysis: a random part of a split, batch by batch, without dropout and gradients."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tombola.architectures.parameters import device_of, evaluating
from tombola.foundations.errors import TombolaError
from tombola.foundations.precision import autocast
from tombola.pruning.evaluation import EvaluationOptions, on_device
from tombola.subnetworks.gates import ticket_gates
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tasks.base import Batch, Task


@dataclass(frozen=True)
class SampleOptions(EvaluationOptions):
    """Options of the passes over a random part of a split.

    Attributes:
        sample: use so many examples at random (all of fewer); None for all.
        seed: of the sample: the same examples for every model.
    """

    sample: int | None = None
    seed: int = 0


@contextlib.contextmanager
def eager(model: torch.nn.Module) -> Iterator[None]:
    """Switch a model to eager attention while the block runs: it alone has maps, and a gradient with a gradient."""
    if not isinstance(model, PreTrainedModel) or model.config._attn_implementation == "eager":
        yield
        return
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def forward_passes(
    subnetwork: Subnetwork,
    batches: Iterable[Batch],
    run: Callable[[torch.nn.Module, Batch], object],
    options: EvaluationOptions,
) -> Iterator[tuple[Batch, Callable[[], object]]]:
    """Batches on the model's device, each with what runs the model on it, under the subnetwork's ticket."""
    model, device = subnetwork.model, device_of(subnetwork.model)
    with evaluating(model), ticket_gates(subnetwork) as open_gates:
        for batch in batches:
            moved = on_device(batch, model)

            def forward(moved: Batch = moved) -> object:
                open_gates(len(moved.indices))
                with autocast(device, options.precision):
                    return run(model, moved)

            yield moved, forward
            options.receiver.advance(len(batch.indices))


def sampled(task: Task, options: SampleOptions) -> Iterator[Batch]:
    """Batches of a random part of a split; batches are sorted by length, so their first would not be random.

    Raises:
        TombolaError: the sample is empty.
    """
    size, sample, batch_size = task.size(options.split), options.sample, options.batch_size
    if sample is not None and sample < 1:
        raise TombolaError(f"a sample of {sample} inputs says nothing; ask for one or more")
    if sample is None or sample >= size:
        yield from task.batches(options.split, batch_size)
        return
    drawn = np.zeros(size, dtype=bool)
    drawn[np.random.default_rng(options.seed).permutation(size)[:sample]] = True
    # Larger, so that about as many are left.
    for batch in task.batches(options.split, batch_size * size // sample):
        kept = drawn[batch.indices]
        if kept.any():
            index = torch.from_numpy(kept.nonzero()[0])
            for part in index.split(batch_size):
                inputs = {name: tensor[part] for name, tensor in batch.inputs.items()}
                indices, targets = batch.indices[part.numpy()], batch.targets[part]
                yield _trimmed(replace(batch, indices=indices, inputs=inputs, targets=targets))


def _trimmed(batch: Batch) -> Batch:
    """The batch without the columns that are padding in every row: it was padded to its longest."""
    mask = batch.inputs.get("attention_mask")
    if mask is None:
        return batch
    used, decodes = mask.bool().flatten(0, -2).any(0), "decoder_input_ids" in batch.inputs

    def trim(tensor: Tensor, *, decoded: bool) -> Tensor:
        # A decoder's tokens are others, however many.
        return tensor[..., used] if tensor.shape == mask.shape and not decoded else tensor

    inputs = {name: trim(one, decoded=name.startswith("decoder_")) for name, one in batch.inputs.items()}
    return replace(batch, inputs=inputs, targets=trim(batch.targets, decoded=decodes))
