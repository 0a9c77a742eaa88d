"""Evaluation on a split: score and, where asked, the importance of every site, in the same forward passes."""

import collections
import contextlib
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from torch import Tensor, nn

from tombola.architectures.parameters import device_of
from tombola.foundations.atomic_files import write_bytes
from tombola.foundations.errors import TombolaError, check_choice, check_number, check_type, memory_errors, reading
from tombola.foundations.plurals import plural
from tombola.foundations.precision import Precision, autocast
from tombola.foundations.progress import SILENT, Progress, shown
from tombola.foundations.shown import Shown
from tombola.pruning.importance import Importance, Pass, RankedSites, checked
from tombola.pruning.importance_methods import BY_BATCH, IMPORTANCES
from tombola.subnetworks.gates import attach
from tombola.subnetworks.subnetwork import Subnetwork, shrunk, whole
from tombola.tasks.base import Batch, Predictions, Task
from tombola.tasks.padding import with_positions
from tombola.tickets.kinds import kinds_in_words
from tombola.tickets.site_groups import SiteGroups
from tombola.tickets.ticket import Ticket


@dataclass(frozen=True, eq=False)
class Evaluation(Shown):
    """Result of one pass over a split.

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

    def __repr__(self) -> str:
        of = "" if self.importance is None else f", importance of {kinds_in_words('+'.join(self.importance.sites))}"
        return f"Evaluation(score={self.score:.4f}, {plural(len(self.losses), 'example')}, {self.seconds:.1f} s{of})"

    def scored_by(self, task: Task, split: str = "dev") -> Self:
        """The evaluation with the score that a task's metric gives its predictions of a split."""
        return replace(self, score=task.metric.score(self.predictions, task.references(split)))

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
        with reading(path, "delete its folder and start again"):
            arrays = load_file(path)
            score, seconds = arrays["score_seconds"].tolist()
            kinds = [name.removeprefix("importance.") for name in arrays if name.startswith("importance.")]
            sites = {kind: torch.from_numpy(arrays[f"importance.{kind}"]) for kind in kinds}
            importance = Importance(sites) if sites else None
            return cls(score, arrays["predictions"], arrays["losses"], importance, seconds)


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of an evaluation: split, batch size, precision, progress.

    Attributes:
        split: which of the task's splits.
        batch_size: examples at a time, at most; does not change the result but for rounding.
        precision: of the forward pass: `fp32`, or `bf16` or `fp16` for autocast.
        progress: counts examples; True for a bar on stderr.
        importance: by which sites are ranked, where asked for: a name in `tombola.pruning.importance_methods`.
    """

    split: str = "dev"
    batch_size: int = 64
    precision: Precision = "fp32"
    progress: Progress | bool = SILENT
    importance: str = field(default="per-example", kw_only=True)

    def __post_init__(self) -> None:
        check_number("the batch size of an evaluation", self.batch_size, 1, whole=True)
        check_choice("importance", self.importance, IMPORTANCES)

    @property
    def receiver(self) -> Progress:
        """Receiver of the progress; none where a bar was asked for, which whoever begins the work draws."""
        return SILENT if isinstance(self.progress, bool) else self.progress

    def showing(self, progress: Progress | bool | None) -> Self:
        """These options with another progress, unless that is None."""
        return self if progress is None else replace(self, progress=progress)


STANDARD = EvaluationOptions()
"""Options of a pass over the dev split, in fp32, 64 examples at a time, in silence."""


@memory_errors()
def evaluate(
    subnetwork: Subnetwork,
    task: Task,
    options: EvaluationOptions = STANDARD,
    *,
    importance: bool = False,
    groups: SiteGroups | None = None,
    progress: Progress | bool | None = None,
) -> Evaluation:
    """Score a subnetwork on a split, without dropout.

    Args:
        subnetwork: from `whole`, `masked` or `shrunk`.
        task: gives data, loss and metric.
        importance: also take every working site's importance, by a backward pass to per-example gates: in the same
            pass, or in one over the split that the task has for it.
        groups: sites that go together, and have one importance then.
        progress: in place of that of the options.

    Raises:
        TombolaError: an output is not finite, and the task does not count that as failure; or the importance of a site;
            or it is no subnetwork.
    """
    if not isinstance(subnetwork, Subnetwork):
        raise TombolaError("evaluate takes a subnetwork, as retrain gives it; for a model there is tombola.score")
    check_type("the task", task, Task, "TextTask.from_rows(train, dev, tokenizer)")
    options = options.showing(progress)
    if importance and task.importance_split not in (None, options.split):
        scored = evaluate(subnetwork, task, options)
        apart = replace(options, split=str(task.importance_split))
        measured = evaluate(subnetwork, task, apart, importance=True, groups=groups)
        return replace(scored, importance=measured.importance, seconds=scored.seconds + measured.seconds)
    started, model, answer = time.perf_counter(), subnetwork.model, None
    outputs: list[tuple[NDArray[np.int64], Tensor, Tensor]] = []
    with contextlib.ExitStack() as stack:
        stack.callback(model.train, model.training)
        model.eval()
        options = options.showing(stack.enter_context(shown(options.progress, options.split, task.size(options.split))))
        passes = stack.enter_context(contextlib.closing(_passes(subnetwork, task, options, outputs, ranked=importance)))
        if importance:
            sites = RankedSites(subnetwork, task, options.split, groups, passes)
            with torch.enable_grad():
                answer = IMPORTANCES[options.importance](sites)
        with torch.no_grad():
            # What no ranking has asked for.
            collections.deque(passes, maxlen=0)
    found, losses = _in_order(outputs)
    ranked = None
    # Of a model that is broken nothing is more important than the rest.
    if _finite(losses, task, options.split) and importance:
        ticket, present = subnetwork.ticket, subnetwork.present
        ranked = checked(options.importance, answer, ticket if subnetwork.gated else present, present, groups)
    return Evaluation(
        score=task.metric.score(found, task.references(options.split)) if found.size else math.nan,
        predictions=found,
        losses=losses,
        importance=ranked,
        seconds=time.perf_counter() - started,
    )


def _passes(
    subnetwork: Subnetwork,
    task: Task,
    options: EvaluationOptions,
    outputs: list[tuple[NDArray[np.int64], Tensor, Tensor]],
    *,
    ranked: bool,
) -> Generator[Pass]:
    """Pass a split through a subnetwork, and put indices, predictions and losses of every batch into `outputs`.

    Yields:
        Each batch with its gates, where there are any; they have gradients if those are on when it is asked for.
    """
    model, device, gates = subnetwork.model, device_of(subnetwork.model), None
    with contextlib.ExitStack() as stack:
        # Rankings of others may look at all that a pass computes.
        if not ranked or IMPORTANCES.is_ours(options.importance):
            stack.enter_context(task.brief_passes(model))
        if ranked or subnetwork.gated:
            values = subnetwork.ticket if subnetwork.gated else subnetwork.present
            gates = stack.enter_context(attach(model, subnetwork.anatomy, subnetwork.present, values))
        # One context for all batches: it casts each weight once.
        stack.enter_context(autocast(device, options.precision))
        batches = task.packed_batches if gates is None else task.batches
        read = batches(options.split, options.batch_size)
        if not (ranked and options.importance in BY_BATCH):
            read = (part for batch in read for part in _parts(batch, model, device, ranked=ranked))
        for batch in read:
            moved = on_device(batch, model)
            if gates is not None:
                gates.open(len(batch.indices), device, grad=torch.is_grad_enabled())
            output = task.output(model, moved)
            outputs.append((batch.indices, output.predictions.detach().cpu(), output.losses.detach().float().cpu()))
            if gates is not None:
                yield gates, output.losses
            options.receiver.advance(len(batch.indices))


def _parts(batch: Batch, model: nn.Module, device: torch.device, *, ranked: bool) -> Iterator[Batch]:
    # Examples that share rows are read together, where nothing is kept for a backward pass.
    number = batch.parts_for(model, device) if ranked or type(batch).take is Batch.take else 1
    for places in np.array_split(np.arange(len(batch.indices)), number):
        yield batch.take(places) if number > 1 else batch


def _finite(losses: NDArray[np.float32], task: Task, split: str) -> bool:
    """True if all losses of a split are finite; a TombolaError if not, and the task does not count that as failure."""
    finite = bool(np.isfinite(losses).all())
    if not finite and not task.tolerates_nan:
        # An argmax over NaN would be an answer, and sometimes a right one.
        raise TombolaError(
            f"the model's outputs on the {split} split are not finite; train it with a lower learning rate, or "
            "score it with --precision fp32"
        )
    return finite


def _in_order(outputs: list[tuple[NDArray[np.int64], Tensor, Tensor]]) -> tuple[Predictions, NDArray[np.float32]]:
    """Predictions and losses in the split's order, from the indices, predictions and losses of its batches."""
    indices, predictions, losses = zip(*outputs, strict=True)
    order = np.argsort(np.concatenate(indices))
    found = torch.cat(predictions).numpy()[order]
    wide: Predictions = found.astype(np.float64) if found.dtype.kind == "f" else found.astype(np.int64)
    return wide, torch.cat(losses).numpy()[order]


def score(
    model: nn.Module,
    task: Task,
    ticket: Ticket | None = None,
    options: EvaluationOptions = STANDARD,
    *,
    importance: bool = False,
    progress: Progress | bool | None = None,
) -> Evaluation:
    """Score a model, or the part of it that a ticket keeps, on a task's split.

    Args:
        model: a whole model of a known family; it is not changed.
        task: gives data, loss and metric.
        ticket: what to keep; a ticket of sites is scored on the shrunk network.
        importance: also take every surviving site's importance.
        progress: in place of that of the options.

    Raises:
        TombolaError: unknown architecture, or the ticket is for another one.
    """
    part = whole(model) if ticket is None else shrunk(model, ticket)
    return evaluate(part, task, options, importance=importance, progress=progress)


def on_device(batch: Batch, model: nn.Module) -> Batch:
    """The batch with its tensors on the model's device, and with positions where a task of one's own pads left."""
    device, inputs = device_of(model), with_positions(batch.inputs, model)
    inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in inputs.items()}
    return replace(batch, inputs=inputs, targets=batch.targets.to(device, non_blocking=True))
