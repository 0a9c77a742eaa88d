"""Random part of a split, in batches."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from tombola.foundations.errors import TombolaError
from tombola.tasks.base import Batch, Task


def sampled(task: Task, split: str, sample: int | None, seed: int, batch_size: int) -> Iterator[Batch]:
    """The batches of a random part of a split; batches are sorted by length, so their first would not be random."""
    size = task.size(split)
    if sample is not None and sample < 1:
        raise TombolaError(f"a sample of {sample} inputs says nothing; ask for one or more")
    if sample is None or sample >= size:
        yield from task.batches(split, batch_size)
        return
    drawn = np.zeros(size, dtype=bool)
    drawn[np.random.default_rng(seed).permutation(size)[:sample]] = True
    # Larger, so that about as many are left.
    for batch in task.batches(split, batch_size * size // sample):
        kept = drawn[batch.indices]
        if kept.any():
            index = torch.from_numpy(kept.nonzero()[0])
            inputs = {name: tensor[index] for name, tensor in batch.inputs.items()}
            for start in range(0, len(index), batch_size):
                part = slice(start, start + batch_size)
                yield Batch(
                    batch.indices[kept][part],
                    _trimmed({name: tensor[part] for name, tensor in inputs.items()}),
                    batch.targets[index][part],
                )


def _trimmed(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the columns that are padding in every row: the batch that they come from was padded to its longest."""
    mask = inputs.get("attention_mask")
    if mask is None:
        return dict(inputs)
    used = mask.bool().any(0)
    return {name: tensor[:, used] if tensor.shape == mask.shape else tensor for name, tensor in inputs.items()}
