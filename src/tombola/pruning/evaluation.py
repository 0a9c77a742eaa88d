"""One pass over a split: score and, where asked, the importance of every site, in the same forward passes."""

import contextlib
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import nn

from tombola.architectures.parameters import device_of
from tombola.foundations.atomic_files import write_bytes
from tombola.foundations.errors import TombolaError
from tombola.foundations.precision import Precision, autocast
from tombola.foundations.progress import SILENT, Progress
from tombola.pruning.importance import FirstOrder, Importance
from tombola.subnetworks.gates import Gates, attach
from tombola.subnetworks.subnetwork import Subnetwork, shrunk, whole
from tombola.tasks.base import Batch, Predictions, Task
from tombola.tickets.site_groups import SiteGroups
from tombola.tickets.ticket import Ticket


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one pass found.

    Attributes:
        score: the task's metric over the split; NaN where the split predicts nothing, as training images do.
        predictions: [examples], in the split's order.
        losses: fp32 [examples].
        importance: of every site that works, where asked for.
        seconds: wall time of the pass.
    """

    score: float
    predictions: Predictions
    losses: NDArray[np.float32]
    importance: Importance | None
    seconds: float

    def write(self, path: Path) -> None:
        """Write predictions, losses and importance to one safetensors file."""
        arrays: dict[str, NDArray[np.generic]] = {"predictions": self.predictions, "losses": self.losses}
        if self.importance is not None:
            arrays |= {f"importance.{kind}": values.numpy() for kind, values in self.importance.sites.items()}
        seconds = np.array([self.score, self.seconds])
        write_bytes(path, save({**arrays, "score_seconds": seconds}))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            TombolaError: the file is missing or damaged.
        """
        try:
            arrays = load_file(path)
            score, seconds = arrays["score_seconds"].tolist()
            kinds = [name.removeprefix("importance.") for name in arrays if name.startswith("importance.")]
            sites = {kind: torch.from_numpy(arrays[f"importance.{kind}"]) for kind in kinds}
            importance = Importance(sites) if sites else None
            return cls(score, arrays["predictions"], arrays["losses"], importance, seconds)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise TombolaError(f"{path} cannot be read ({error}); delete its folder and start again") from None


def evaluate(
    subnetwork: Subnetwork,
    task: Task,
    split: str = "dev",
    *,
    importance: bool = False,
    groups: SiteGroups | None = None,
    batch_size: int = 64,
    precision: Precision = "fp32",
    progress: Progress = SILENT,
) -> Evaluation:
    """Score a subnetwork on a split, without dropout.

    Args:
        subnetwork: from `whole`, `masked` or `shrunk`.
        task: gives data, loss and metric.
        split: which of the task's splits.
        importance: also take every working site's importance, by a backward pass to per-example gates: in the same
            pass, or in one over the split that the task has for it.
        groups: sites that go together, and have one importance then.
        batch_size: examples at a time; does not change the result but for rounding.
        precision: of the forward pass.
        progress: counts examples.

    Raises:
        TombolaError: an output is not finite, and the task does not count that as failure.
    """
    started = time.perf_counter()
    if importance and task.importance_split not in (None, split):
        options: dict[str, Any] = {"batch_size": batch_size, "precision": precision, "progress": progress}
        scored = evaluate(subnetwork, task, split, **options)
        measured = evaluate(subnetwork, task, str(task.importance_split), importance=True, groups=groups, **options)
        return replace(scored, importance=measured.importance, seconds=scored.seconds + measured.seconds)
    model = subnetwork.model
    device = device_of(model)
    training = model.training
    model.eval()
    predictions: list[NDArray[np.generic]] = []
    losses: list[NDArray[np.float32]] = []
    indices: list[NDArray[np.int64]] = []
    with contextlib.ExitStack() as stack:
        stack.callback(model.train, training)
        gates: Gates | None = None
        if importance or subnetwork.gated:
            values = subnetwork.ticket if subnetwork.gated else subnetwork.present
            gates = stack.enter_context(attach(model, subnetwork.anatomy, subnetwork.present, values))
        first_order = FirstOrder(gates, groups) if importance and gates is not None else None
        stack.enter_context(torch.set_grad_enabled(importance))
        # One context for all batches: it casts each weight once.
        stack.enter_context(autocast(device, precision))
        for batch in task.packed(split, batch_size) if gates is None else task.batches(split, batch_size):
            moved = on_device(batch, device)
            opened = gates.open(len(batch.indices), device, grad=importance) if gates is not None else []
            output = task.output(model, moved)
            if first_order is not None and opened:
                first_order.add(output.losses, opened)
            predictions.append(output.predictions.detach().cpu().numpy())
            losses.append(output.losses.detach().float().cpu().numpy())
            indices.append(batch.indices)
            progress.advance(len(batch.indices))
    order = np.argsort(np.concatenate(indices))
    joined = np.concatenate(losses)
    finite = bool(np.isfinite(joined).all())
    if not finite and not task.tolerates_nan:
        # An argmax over NaN would be an answer, and sometimes a right one.
        raise TombolaError(
            f"the model's outputs on the {split} split are not finite; train it with a lower learning rate, or score "
            "it with --precision fp32"
        )
    found = np.concatenate(predictions)[order]
    found = found.astype(np.float64 if np.issubdtype(found.dtype, np.floating) else np.int64)
    return Evaluation(
        score=task.metric.score(found, task.references(split)) if found.size else math.nan,
        predictions=found,
        losses=joined[order],
        # Of a model that is broken nothing is more important than the rest.
        importance=first_order.result() if first_order is not None and finite else None,
        seconds=time.perf_counter() - started,
    )


def with_full_model(task: Task, full: Evaluation) -> tuple[Task, Evaluation]:
    """The task as it judges what is made of a full model, and the full model's own evaluation on `dev` by that.

    Raises:
        TombolaError: the full model has nothing that could be lost.
    """
    task = task.with_full_model(full.predictions)
    return task, replace(full, score=task.metric.score(full.predictions, task.references("dev")))


def score(
    model: nn.Module,
    task: Task,
    ticket: Ticket | None = None,
    *,
    split: str = "dev",
    importance: bool = False,
    batch_size: int = 64,
    precision: Precision = "fp32",
    progress: Progress = SILENT,
) -> Evaluation:
    """Score a model, or the part of it that a ticket keeps, on a task's split.

    Args:
        model: a whole model of a known family; it is not changed.
        task: gives data, loss and metric.
        ticket: what to keep; a ticket of sites is scored on the shrunk network.
        split: which of the task's splits.
        importance: also take every surviving site's importance.
        batch_size: examples at a time.
        precision: `fp32`, or `bf16` for autocast.
        progress: counts examples.

    Raises:
        TombolaError: unknown architecture, or the ticket is for another one.
    """
    subnetwork = whole(model) if ticket is None else shrunk(model, ticket)
    return evaluate(
        subnetwork,
        task,
        split,
        importance=importance,
        batch_size=batch_size,
        precision=precision,
        progress=progress,
    )


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on `device`."""
    inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.inputs.items()}
    return Batch(batch.indices, inputs, batch.targets.to(device, non_blocking=True))
