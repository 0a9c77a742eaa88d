"""Tasks whose full model transformers fine-tunes, in the class that it has for them: loading, rows, and batches.

Each task type is one subclass; what a row is, what the loss compares, and what is predicted are its own.
"""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel
from typing_extensions import override

from tombola.checkpoints import loading
from tombola.foundations.errors import TombolaError, check_choice
from tombola.metrics.scores import Metric, MetricFunction, metric
from tombola.subnetworks.recognition import recognise
from tombola.tasks.base import Batch, State, Task, sampled_rows
from tombola.tasks.data.columns import Column
from tombola.tasks.data.splits import S, with_dev

_BUCKET = 50
"""Batches whose examples are sorted by length together: enough to waste little padding, few enough to stay random."""


class Preprocessor(Protocol):
    """Tokenizer or image processor, which is saved beside the model."""

    def save_pretrained(self, save_directory: Any) -> object:
        """Write it into a folder."""


@dataclass(frozen=True, kw_only=True)
class FineTunedOptions:
    """Options of a task of texts.

    Attributes:
        score: the metric: its name, a `Metric`, or a function of references and predictions, as scikit-learn's are; by
            default `accuracy`, for regression `pearson`.
        more: further metrics: name → split; reported, never searched on.
        class_weights: `balanced` for a loss in which every class weighs as much, however few rows it has; `none`.
        max_length: tokens a text is cut to; of a long context, of each window.
        doc_stride: tokens that neighbouring windows of a long context share, of question answering; by default 128, at
            most a third of `max_length`.
        train_rows, dev_rows: use a seeded sample of so many rows; None for all.
        search_rows: hold so many training rows out as the split `search`; None to search on `dev`.
        search: the metric that searches go by; by default the score.
        name, title: see `Task`; by default the corpus's.
        benchmark: `glue`, where published figures of this task stand under its title.
        attention: the implementation that `load` asks for. Eager attention is the fastest on a CPU at the length of
            sentences, where the fused kernel's backward pass takes twice as long; on a GPU `sdpa` wins.
        trust_remote_code: let `load` run code that comes with a model.
    """

    score: str | Metric | MetricFunction | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    search: str | Metric | MetricFunction | None = None
    class_weights: Literal["none", "balanced"] = "none"
    max_length: int = 128
    doc_stride: int | None = None
    train_rows: int | None = None
    dev_rows: int | None = None
    search_rows: int | None = None
    name: str | None = None
    title: str | None = None
    benchmark: str | None = None
    attention: str = "eager"
    trust_remote_code: bool = False


class FineTunedTask(Task, Generic[S]):
    """Task of labelled rows, on which the full model is fine-tuned.

    Args:
        name: of the data.
        splits: `train`, `dev`, and further ones that judge.
        preprocessor: of the model.
        score: name of the metric where the options name none.
        options: metrics, samples, names, and how models are loaded.

    Attributes:
        auto: the Auto class of transformers that loads the model.
        batch_type: of its batches.
        unweighed: why its loss has no class weights, as a clause; empty where it has.
        windowed: whether long texts are read in windows.
        reader: reads its splits from rows, by the columns of what is read and of what is to be predicted: splits, and
            the names of the classes by id, or None.
        preprocessor_of: reads the tokenizer, or what else prepares the inputs, of a model.
        splits: the rows that are used, with the held-out ones as `search`.
        available: rows that there are of each split.
    """

    auto: Any
    batch_type: type[Batch] = Batch
    unweighed: str = ""
    windowed: bool = False
    reader: ClassVar[Callable[..., tuple[Mapping[str, Any], tuple[str, ...] | None]]]
    preprocessor_of: ClassVar[Callable[..., Any]] = staticmethod(loading.tokenizer_of)

    def __init__(
        self,
        name: str,
        splits: Mapping[str, S],
        preprocessor: Preprocessor,
        *,
        score: str,
        options: FineTunedOptions,
    ) -> None:
        check_choice("class_weights", options.class_weights, ("none", "balanced"))
        if options.class_weights != "none" and self.unweighed:
            raise TombolaError(f"class_weights are of classes, and {self.unweighed}; leave them out")
        if options.doc_stride is not None and not self.windowed:
            raise TombolaError("doc_stride is of the windows of question-answering; leave it out")
        self._options = options
        self.available = {split: len(rows) for split, rows in splits.items()}
        rows = sampled_rows(self.available, options.train_rows, options.dev_rows, options.search_rows)
        self.splits: Mapping[str, S] = {
            split: splits[split if split != "search" else "train"].select(rows[split]) for split in rows
        }
        self.name, self.title = options.name or name, options.title or name
        self._preprocessor = preprocessor
        self.metric: Metric = self.measure(options.score or score)
        self.more = {
            extra if split == "dev" else f"{extra}_{split.removeprefix('dev_')}": (split, self.measure(extra))
            for extra, split in options.more.items()
        }
        for split, _ in self.more.values():
            self._split(split)
        self._encoded: dict[str, Sequence[Mapping[str, Any]]] = {}

    @classmethod
    def read(
        cls, rows: Mapping[str, Any], text: Column, label: Column, *, name: str, share: float | None = None
    ) -> tuple[Mapping[str, S], tuple[tuple[str, ...], ...]]:
        """Splits of rows, and the names of the classes where there are any, for the constructor.

        Args:
            rows: of `train`, and of `dev`, or else a `share` of those of training judges: each a `datasets.Dataset`, a
                `pandas.DataFrame`, or dictionaries.
            text, label: columns of what is read and of what is to be predicted.
            name: of the data.

        Raises:
            TombolaError: a column is missing, or a row is not of this type.
        """
        splits, classes = cls.reader(rows, text, label, name=name)
        return with_dev(splits, share, name), () if classes is None else (classes,)

    def measure(self, given: str | Metric | MetricFunction) -> Metric:
        """The metric of a name or function, for this task's rows; a TombolaError where there is none."""
        return metric(given)

    @property
    def metrics(self) -> Sequence[Metric]:
        """Metrics of its predictions: that of the score, that of searches, and further ones."""
        return [self.metric, self.for_search().metric, *(extra for _, extra in self.more.values())]

    @abstractmethod
    def config_options(self) -> dict[str, Any]:
        """Options of the configuration of a model with a new output layer for this task."""

    def checked(self, model: nn.Module, *, trained: bool = False) -> nn.Module:
        """The model, if it can take the rows, and knows their labels where it was `trained`; a TombolaError else."""
        recognise(model)
        return model

    @abstractmethod
    def encode(self, split: str) -> Sequence[Mapping[str, Any]]:
        """Rows of a split as the preprocessor makes them, in order; asked for once."""

    @abstractmethod
    def lengths(self, split: str) -> NDArray[np.int64]:
        """Lengths of the encoded rows of a split [rows]: those of similar length are in a batch together."""

    @abstractmethod
    def collate(self, split: str, indices: NDArray[np.int64]) -> tuple[Mapping[str, Tensor], Tensor]:
        """Inputs and targets of the rows at `indices` of a split, padded to the longest."""

    @override
    def for_search(self) -> Task:
        if self._options.search is None:
            return self
        found = copy.copy(self)
        found.metric = self.measure(self._options.search)
        return found

    @override
    def facts(self) -> Mapping[str, object]:
        return {
            **super().facts(),
            "rows": {split: len(rows) for split, rows in self.splits.items()},
            "available": self.available,
            **({} if self._options.search is None else {"search_metric": self.for_search().metric.name}),
            **({"glue": self.title} if self._options.benchmark == "glue" else {}),
        }

    @override
    def load(self, source: str, *, seed: int, state: State = "pretrained") -> nn.Module:
        check_choice("state of a model", state, get_args(State))
        path, labels = loading.locate(source), self.config_options()
        trusted = {"trust_remote_code": self._options.trust_remote_code}
        options: dict[str, Any] = {"attn_implementation": self._options.attention, "dtype": torch.float32, **trusted}
        with loading.quiet(), loading.loading(source), torch.random.fork_rng([]):
            torch.manual_seed(seed)
            if state == "init":
                config = AutoConfig.from_pretrained(path, **trusted, **labels)
                return self.checked(loading.as_saved(self.auto.from_config(config, **options), path, source))
            if state == "pretrained":
                read = loading.read_weights(self.auto, path, source, new_output=True, **labels, **options)
                return self.checked(read[0])
            model, anew = loading.read_weights(self.auto, path, source, new_output=True, **options)
            if anew:
                raise TombolaError(
                    f"{source} was not fine-tuned: it has no {anew[0]}; fine-tune it first (tombola study does), or "
                    "give the folder of a fine-tuned model"
                )
            return self.checked(model, trained=True)

    @override
    def save(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, PreTrainedModel)
        with loading.quiet():
            model.save_pretrained(folder)
            self._preprocessor.save_pretrained(folder)

    @override
    def size(self, split: str) -> int:
        return len(self.splits[self._split(split)])

    @override
    def batches(self, split: str, batch_size: int, *, shuffle: int | None = None) -> Iterator[Batch]:
        lengths = self.lengths(split)
        rng = np.random.default_rng(shuffle)
        buckets = [np.arange(len(lengths))]
        if shuffle is not None:
            drawn = rng.permutation(len(lengths))
            buckets = np.split(drawn, range(_BUCKET * batch_size, len(drawn), _BUCKET * batch_size))
        parts = [bucket[np.argsort(lengths[bucket], kind="stable")] for bucket in buckets]
        groups = [part[start : start + batch_size] for part in parts for start in range(0, len(part), batch_size)]
        if shuffle is not None:
            groups = [groups[index] for index in rng.permutation(len(groups))]
        for indices in groups:
            yield self.batch_type(indices, *self.collate(split, indices))

    def encoded(self, split: str) -> Sequence[Mapping[str, Any]]:
        """Rows of a split as the preprocessor makes them, in order."""
        if self._split(split) not in self._encoded:
            self._encoded[split] = self.encode(split)
        return self._encoded[split]

    def _split(self, split: str) -> str:
        if split not in self.splits:
            raise TombolaError(f"{self.title} has no split {split!r}; it has {', '.join(self.splits)}")
        return split
