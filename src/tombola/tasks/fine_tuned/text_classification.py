"""Text classification and regression: labelled texts, a tokenizer, and any encoder with a sequence head."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase
from typing_extensions import override

from tombola.architectures.parameters import device_of
from tombola.foundations.errors import TombolaError, one_line
from tombola.metrics.scores import Metric, MetricFunction, metric
from tombola.subnetworks.unread_tokens import first_token_alone
from tombola.tasks.base import Batch, Output, Predictions
from tombola.tasks.data.columns import Column, column_names
from tombola.tasks.data.corpus import Corpus, Texts, given_splits, records
from tombola.tasks.data.own_data import choose
from tombola.tasks.fine_tuned.classes import (
    balanced_weights,
    check_of_one_kind,
    class_order,
    class_output,
    guess_of_classes,
    misread_classes,
    misread_values,
    names_of,
)
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions
from tombola.tasks.fine_tuned.tokenized import TokenizedTask
from tombola.tasks.long_texts import encoded
from tombola.tasks.padding import ends_with_padding, first_position, known_padding, padded_right


class TextTask(TokenizedTask[Texts]):
    """Single texts or pairs of texts with a class or a value each.

    Args:
        corpus: the labelled splits.
        tokenizer: of the model, or the name of that, see `tokenizer_of`.
        options: metrics, samples, names, and how models are loaded.

    Raises:
        TombolaError: a sample leaves a class without training rows, or a split empty.
    """

    auto = AutoModelForSequenceClassification

    def __init__(
        self, corpus: Corpus, tokenizer: PreTrainedTokenizerBase | Path | str, options: FineTunedOptions | None = None
    ) -> None:
        options = options or FineTunedOptions()
        self._regression = corpus.regression
        self.unweighed = "the labels are values" if corpus.regression else ""
        score = "pearson" if corpus.regression else "accuracy"
        pairs = corpus.splits["train"].second is not None
        super().__init__(corpus.name, corpus.splits, tokenizer, score=score, pairs=pairs, options=options)
        self.corpus = corpus = Corpus(corpus.name, self.splits, corpus.classes)
        for one in self.metrics:
            one.check(regression=corpus.regression, classes=len(corpus.classes or ()))
        check_of_one_kind(self.metrics)
        balanced = options.class_weights == "balanced"
        self._weights = balanced_weights(corpus.splits["train"].labels, len(corpus.classes or ())) if balanced else None

    @classmethod
    def from_rows(
        cls,
        train: Iterable[Mapping[str, object]],
        dev: Iterable[Mapping[str, object]] | None,
        tokenizer: PreTrainedTokenizerBase | Path | str,
        *,
        text_column: str | None = None,
        label_column: str | None = None,
        name: str = "your-data",
        text_pair_column: str | None = None,
        regression: bool = False,
        **options: Any,
    ) -> Self:
        """A task from rows in memory: two `datasets.Dataset` or `pandas.DataFrame`, or lists of dictionaries.

        Args:
            train, dev: the rows; label names are read from `train`. With None for `dev`, `train` may be a `DatasetDict`
                with rows that judge; else a fifth of its rows judge, drawn with seed 0.
            text_column, text_pair_column, label_column: names of the columns; by default the usual ones, also of pairs,
                as on the command line.
            regression: the label is a number to be met, not a class.
            options: fields of `FineTunedOptions`.

        Raises:
            TombolaError: a row lacks a column or has a label that training does not.
        """
        given = given_splits(train, dev)
        train = records(given["train"])
        columns = choose(
            column_names(train),
            Column(text_column, "text_column="),
            Column(text_pair_column, "text_pair_column="),
            Column(label_column, "label_column="),
            name,
        )
        corpus = Corpus.from_rows(train, given.get("dev"), columns, regression=regression, name=name)
        return cls(corpus, tokenizer, FineTunedOptions(**options))

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes; None where texts have values."""
        return self.corpus.classes

    @property
    def parts(self) -> int:
        """Texts of an example: 2 of pairs, else 1."""
        return 1 if self.corpus.splits["train"].second is None else 2

    def texts(self, split: str) -> Sequence[tuple[str, ...]]:
        """Text, or pair of texts, of every row of a split."""
        return tuple(self.corpus.splits[self._split(split)].texts())

    def batch_of(self, texts: Sequence[tuple[str, ...]]) -> Batch:
        """Batch of texts of one's own, or pairs of them; they have no targets, for which zeros stand."""
        first, *second = (list(part) for part in zip(*texts, strict=True))
        rows = self._read_texts(first, second[0] if second else None, "typed")
        return Batch(np.arange(len(rows)), self.padded(rows), torch.zeros(len(rows), dtype=torch.int64))

    def answers(self, model: nn.Module, batch: Batch) -> Tensor:
        """Probabilities fp32 [batch, classes] in the order of `classes`, or values [batch, 1]."""
        logits = self._logits(model, batch)
        return logits if self.corpus.regression else logits.softmax(-1)

    @override
    def facts(self) -> Mapping[str, object]:
        classes = self.corpus.classes
        return {**super().facts(), "classes": None if classes is None else list(classes)}

    @override
    def measure(self, given: str | Metric | MetricFunction) -> Metric:
        return metric(given, "values" if self._regression else "classes")

    @override
    def config_options(self) -> dict[str, Any]:
        classes = self.corpus.classes
        return {"num_labels": 1, "problem_type": "regression"} if classes is None else names_of(classes)

    @override
    def checked(self, model: nn.Module, *, trained: bool = False) -> nn.Module:
        if trained:
            class_order(model, self.corpus.classes, self.title)
        config: Any = getattr(model, "config", None)
        if config is not None and not first_position(model) and not (trained and ends_with_padding(self.tokenizer)):
            # A decoder's classifier looks for the last token that is no padding, also where others open the model. One
            # that has learned to read the token that closes a text must not be told that it pads.
            config.get_text_config().pad_token_id = self.tokenizer.pad_token_id
        return super().checked(model, trained=trained)

    @override
    def references(self, split: str) -> Predictions:
        return self.corpus.splits[self._split(split)].labels

    @override
    def guess(self, split: str) -> Predictions:
        labels = self.corpus.splits["train"].labels
        if self.corpus.regression:
            return np.full(self.size(split), labels.mean())
        return guess_of_classes(labels, self.metric, self.size(split))

    @override
    def misread(self, predictions: Predictions, split: str) -> str | None:
        references, classes = self.references(split), self.corpus.classes
        if classes is None or self.metric.kind == "ranking":
            return misread_values(self.metric, predictions, references, self.title)
        return misread_classes(self.metric, predictions, references, classes, self.title)

    @override
    def collate(self, split: str, indices: NDArray[np.int64]) -> tuple[Mapping[str, Tensor], Tensor]:
        encoded, targets = self.encoded(split), torch.from_numpy(self.corpus.splits[split].labels[indices])
        return self.padded(
            [encoded[index] for index in indices]
        ), targets.float() if self.corpus.regression else targets

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        logits = self._logits(model, batch)
        if self.corpus.regression:
            values = logits.squeeze(-1)
            return Output(nn.functional.mse_loss(values, batch.targets, reduction="none"), values)
        return class_output(logits, batch.targets, self._weights, self.metric)

    def _logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Outputs fp32 [batch, classes] in the task's order of the classes, or values [batch, 1]."""
        # Who pads left puts padding where an encoder looks for a text's first token.
        with known_padding(model, padded_right(batch.inputs)) as inputs:
            self._check_ends(model, inputs, batch.indices)
            logits: Tensor = model(**inputs).logits.float()
        order = None if self.corpus.regression else class_order(model, self.corpus.classes, self.title)
        return logits if order is None else logits[:, order]

    @override
    def brief_passes(self, model: nn.Module) -> contextlib.AbstractContextManager[object]:
        first = np.arange(min(4, self.size("train")))
        inputs, targets = self.collate("train", first)
        few = Batch(first, {name: tensor.to(device_of(model)) for name, tensor in inputs.items()}, targets)
        return first_token_alone(model, lambda: self._logits(model, few))

    @override
    def encode(self, split: str) -> list[dict[str, list[int]]]:
        texts = self.corpus.splits[split]
        second = None if texts.second is None else list(texts.second)
        return self._read_texts(list(texts.first), second, split)

    def _read_texts(self, first: list[str], second: list[str] | None, split: str) -> list[dict[str, list[int]]]:
        with one_line(f"the tokenizer cannot read {self.title}", "give a model with its own tokenizer"):
            rows = encoded(first, second, self.tokenizer, self.max_length)
        for row, example in enumerate(rows):
            self.begin(example, row, split)
        return rows

    def _check_ends(self, model: nn.Module, inputs: Mapping[str, Tensor], rows: NDArray[np.int64]) -> None:
        """Refuse texts that a T5 cannot read, whose classifier looks for the last of as many end tokens in each."""
        config: Any = getattr(model, "config", None)
        if not getattr(config, "is_encoder_decoder", False):
            return
        end = config.eos_token_id
        if not isinstance(end, int):
            raise TombolaError(
                f"the configuration of {type(model).__name__} has eos_token_id {end}, and its classifier looks for one "
                "token at the end of a text; give its number"
            )
        a_text = ("a",) if self.corpus.splits["train"].second is None else ("a", "b")
        wanted = max(1, self.tokenizer(*a_text)["input_ids"].count(end))
        found = (inputs["input_ids"] == end).sum(1).tolist()
        for row, count in zip(rows.tolist(), found, strict=True):
            if count != wanted:
                raise TombolaError(
                    f"{self.title}: the text of row {row + 1} of its split has {count} end tokens (id {end}), and "
                    f"{type(model).__name__} reads the last of {wanted} in each; give the tokenizer of the model, "
                    "which ends texts so, and drop rows that hold its name"
                )
