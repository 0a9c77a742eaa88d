"""Tasks as the rest of Tombola sees them: data in batches, a loss per example, and a score."""

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import Metric
from tombola.subnetworks.subnetwork import Subnetwork, shrunk, whole
from tombola.tickets.ticket import Ticket

State = Literal["pretrained", "init", "trained"]
"""State in which a model is loaded."""

Predictions = NDArray[np.int64] | NDArray[np.float64]
"""[examples]: class ids (int64) or values (float64); [examples, features] of images that a model drew, or int64
[examples, answers] where an example has several, padded with `tombola.metrics.scores.NOTHING`."""


TOKENS_AT_ONCE, VALUES_AT_ONCE = 1024, 2**23
"""Tokens, padding included, that pass a model at once on a CPU, where more are no faster; and values of the hidden
states of all its layers, of which a larger model has more for each token: a backward pass keeps about twenty times as
many."""


@dataclass(frozen=True)
class Batch:
    """A few examples, ready for the model, on the CPU.

    Attributes:
        indices: int64 [batch], the examples' positions in their split.
        inputs: keyword arguments of the model's forward pass.
        targets: what the loss compares with.
    """

    indices: NDArray[np.int64]
    inputs: Mapping[str, Tensor]
    targets: Tensor

    def take(self, places: NDArray[np.int64]) -> Self:
        """The batch of the examples at these places [examples]; inputs and targets have theirs in the first dimension.

        One whose inputs are laid out otherwise has its own.
        """
        chosen = torch.from_numpy(places)
        inputs = {name: tensor[chosen] for name, tensor in self.inputs.items()}
        return replace(self, indices=self.indices[places], inputs=inputs, targets=self.targets[chosen])

    @property
    def tokens(self) -> int:
        """Tokens, padding included; none of images, which a normalisation may see as a whole."""
        return sum(tensor.numel() for name, tensor in self.inputs.items() if name.endswith("input_ids"))

    def parts_for(self, model: nn.Module, device: torch.device) -> int:
        """Number of parts by which the activations of each are few enough on a device, see `TOKENS_AT_ONCE`."""
        examples, config = len(self.indices), getattr(model, "config", None)
        takes = type(self).take is not Batch.take or all(len(tensor) == examples for tensor in self.inputs.values())
        if device.type != "cpu" or not takes:
            return 1
        sizes = [getattr(config, name, None) for name in ("hidden_size", "num_hidden_layers")]
        values = math.prod(size if isinstance(size, int) and size > 0 else 1 for size in sizes)
        most = min(TOKENS_AT_ONCE, max(128, VALUES_AT_ONCE // values))
        return max(1, min(-(-self.tokens // most), examples))

    @property
    def calibration_inputs(self) -> Mapping[str, Tensor]:
        """Inputs of a pass that only takes the sizes of activations; a TombolaError where they are no plain text."""
        return self.inputs


@dataclass(frozen=True)
class Output:
    """Output of a model for a batch: `losses` fp32 [batch], with their graph, and `predictions` [batch, ...]."""

    losses: Tensor
    predictions: Tensor


class Task(ABC):
    """Task, the interface of a regime: search, controls, training and report ask it, never a model family.

    Attributes:
        name, title: short name, used for folders; and the name that people know it by.
        metric: what the score is.
        more: further metrics that are reported, never searched on: column name → (split, metric).
        importance_split: the split by whose loss the importance of sites is measured; None for the one that is scored.
        normalise_layers: whether a search divides the importance of heads by their layer's norm, unless it is told. It
            serves the encoders that Michel et al. pruned, and hurts a deep decoder.
        trained: whether the full model is fine-tuned on the task; otherwise it is judged as it comes, zero-shot.
        passes: forward passes of the model that an example takes when it is scored; training takes one.
        tolerates_nan: whether an output that is not finite counts as failure; otherwise it ends the evaluation.
    """

    name: str
    title: str
    metric: Metric
    more: Mapping[str, tuple[str, Metric]]
    importance_split: str | None = None
    normalise_layers: bool = True
    trained: bool = True
    passes: float = 1.0
    tolerates_nan: bool = False

    @property
    def unfit(self) -> Mapping[str, str]:
        """Analyses that cannot be asked of it → why, as a sentence; a study leaves them out and says so."""
        return MappingProxyType({})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.title})"

    @abstractmethod
    def load(self, source: str, *, seed: int, state: State = "pretrained") -> nn.Module:
        """A model for this task, on the CPU: the same weights whenever the seed is the same.

        Args:
            source: asset, local folder or hub id.
            seed: of whatever is initialised at random.
            state: `pretrained`: with a new output layer, unless the source has one of this shape; `init`: the whole
                network at random; `trained`: as it was saved after training on this task.

        Raises:
            TombolaError: the source cannot be found, or does not fit the task.
        """

    def load_subnetwork(self, source: str, ticket: Ticket | None = None) -> Subnetwork:
        """A model that was trained on this task, whole or shrunk under its ticket, on the CPU; raises as `load`."""
        model = self.load(source, seed=0, state="trained")
        return whole(model) if ticket is None else shrunk(model, ticket)

    @abstractmethod
    def save(self, model: nn.Module, folder: Path) -> None:
        """Write model and preprocessing into an existing folder, in the layout that `load` reads."""

    def saved(self, folder: Path) -> bool:
        """True if `save` wrote a model into a folder."""
        return (folder / "config.json").is_file()

    @abstractmethod
    def size(self, split: str) -> int:
        """Number of examples of a split."""

    @abstractmethod
    def references(self, split: str) -> Predictions:
        """The right answers of a split, in order."""

    @abstractmethod
    def batches(self, split: str, batch_size: int, *, shuffle: int | None = None) -> Iterator[Batch]:
        """The split in batches of examples of similar length.

        Args:
            split: `train`, `search` or `dev`, or a split that `more` or `importance_split` names.
            batch_size: examples in a batch; the last may be smaller.
            shuffle: seed of a random order (of batches, and of examples among those of similar length);
                None for a fixed order.
        """

    def packed_batches(self, split: str, batch_size: int) -> Iterator[Batch]:
        """The split for a pass without gates, whose rows need not belong to one example each: by default `batches`."""
        return self.batches(split, batch_size)

    @abstractmethod
    def output(self, model: nn.Module, batch: Batch) -> Output:
        """Run the model on a batch that is on the model's device."""

    def brief_passes(self, model: nn.Module) -> contextlib.AbstractContextManager[object]:
        """Context of passes of which only losses and predictions are wanted: what has no part in them may be left out.

        Nothing is, by default.
        """
        return contextlib.nullcontext()

    @abstractmethod
    def guess(self, split: str) -> Predictions:
        """Predictions of one who never looks at the input: the most common training class, or the mean."""

    def misread(self, predictions: Predictions, split: str) -> str | None:
        """Reason to believe that a full model's predictions [examples] mean something else than the labels.

        One line that says what to do; None where there is none.
        """
        return None

    def calibration_text(self, samples: int, sequence_length: int, seed: int) -> Sequence[Batch | Tensor]:
        """Calibration inputs, read while the sizes of activations are taken: by default examples of the training split.

        There are so many `samples`, drawn with a seed, each of so many tokens where the task's text is one long one.
        """
        found: list[Batch] = []
        for batch in self.batches("train", min(samples, 16), shuffle=seed):
            found.append(batch)
            if sum(len(one.indices) for one in found) >= samples:
                break
        return found

    def text_facts(self, split: str) -> Mapping[str, object]:
        """JSON values on what is read where a split is: for the provenance of what was found on it."""
        return {"text": f"{split} split of {self.name}"}

    def for_search(self) -> "Task":
        """Task whose metric a search goes by: itself by default."""
        return self

    def with_full_model(self, full: Predictions) -> "Task":
        """Task relative to a full model that predicts this [examples] on `dev`.

        Itself by default. A task of several abilities counts those that the full model has; a TombolaError for none.
        """
        return self

    def shared_state(self) -> Mapping[str, Any]:
        """JSON values that this task found out with the model, for another process: nothing by default."""
        return {}

    def load_shared_state(self, state: Mapping[str, Any]) -> None:
        """Take over what the same task of another process found out, instead of asking the model again."""
        return

    def facts(self) -> Mapping[str, object]:
        """JSON values that describe the task in the report."""
        return {
            "name": self.name,
            "title": self.title,
            "metric": self.metric.name,
            "higher_is_better": self.metric.higher_is_better,
        }


def windows(tokens: Tensor, samples: int, sequence_length: int, *, seed: int = 0) -> list[Tensor]:
    """Stretches [1, sequence_length] of a text, int64 [tokens], drawn at random; a TombolaError if it is shorter."""
    if tokens.ndim != 1 or samples < 1 or sequence_length < 1 or len(tokens) < sequence_length:
        raise TombolaError(
            f"{samples} sequences of {sequence_length:,} tokens cannot be drawn from a calibration text of "
            f"{tokens.numel():,}; give a longer text or shorter sequences"
        )
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(tokens) - sequence_length + 1, (samples,), generator=generator).tolist()
    return [tokens[start : start + sequence_length][None] for start in starts]


def sampled_rows(
    sizes: Mapping[str, int], train_rows: int | None, dev_rows: int | None, search_rows: int | None
) -> dict[str, NDArray[np.int64]]:
    """Seeded sample of the rows of each split, in order, and of training rows that are held out as the split `search`.

    Args:
        sizes: rows of `train`, `dev`, and of further splits that judge.
        train_rows, dev_rows, search_rows: of each, at most; None for all, and for no split `search`.

    Raises:
        TombolaError: nothing would be left to train on.
    """
    drawn = {split: np.random.default_rng(0).permutation(size) for split, size in sizes.items()}
    held, size = {}, sizes["train"]
    if search_rows is not None:
        if not 0 < search_rows < size:
            raise TombolaError(f"cannot hold {search_rows} of {size} training rows out for the search; ask for fewer")
        held["search"], drawn["train"] = np.split(drawn["train"], [search_rows])
    found = {split: rows[: train_rows if split == "train" else dev_rows] for split, rows in drawn.items()}
    return {split: np.sort(rows) for split, rows in (found | held).items()}
