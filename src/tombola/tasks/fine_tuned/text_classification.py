"""Text classification and regression: labelled texts, a tokenizer, and any encoder with a sequence head."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase
from typing_extensions import override

from tombola.foundations.errors import TombolaError, check_choice, one_line
from tombola.metrics.scores import Metric, MetricFunction, metric
from tombola.metrics.statistics import interval, paired_difference
from tombola.tasks.base import Batch, Output, Predictions
from tombola.tasks.data.corpus import Corpus, Texts
from tombola.tasks.fine_tuned.class_order import class_order
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions, names_of, outputs_of
from tombola.tasks.fine_tuned.tokenized import TokenizedTask
from tombola.tasks.long_texts import encoded
from tombola.tasks.padding import ends_with_padding, first_position, known_padding

_SURE = 0.999
"""Level at which a model's outputs are said to mean something else: a model at chance must not be accused."""


class TextTask(TokenizedTask[Texts]):
    """Single texts or pairs of texts with a class or a value each.

    Args:
        corpus: the labelled splits.
        tokenizer: of the model, see `tokenizer_of`.
        options: metrics, samples, names, and how models are loaded.

    Raises:
        TombolaError: a sample leaves a class without training rows, or a split empty.
    """

    auto = AutoModelForSequenceClassification
    weighs_classes = True

    def __init__(
        self, corpus: Corpus, tokenizer: PreTrainedTokenizerBase, options: FineTunedOptions | None = None
    ) -> None:
        options = options or FineTunedOptions()
        check_choice("class_weights", options.class_weights, ("none", "balanced"))
        if corpus.regression and options.class_weights != "none":
            raise TombolaError("class_weights are of classes, and the labels are values; leave them out")
        self._regression = corpus.regression
        score = "pearson" if corpus.regression else "accuracy"
        pairs = corpus.splits["train"].second is not None
        super().__init__(corpus.name, corpus.splits, tokenizer, score=score, pairs=pairs, options=options)
        self.corpus = corpus = Corpus(corpus.name, self.splits, corpus.classes)
        for one in (self.metric, self.for_search().metric, *(extra for _, extra in self.more.values())):
            one.check(regression=corpus.regression, classes=len(corpus.classes or ()))
            if (one.kind == "ranking") != (self.metric.kind == "ranking"):
                raise TombolaError(
                    f"{self.metric.name} and {one.name} cannot score one model: one goes by probabilities, the other "
                    "by classes; give metrics of one kind"
                )
        self._weights = None
        if options.class_weights == "balanced":
            counts = np.bincount(corpus.splits["train"].labels, minlength=len(corpus.classes or ()))
            self._weights = torch.from_numpy(counts.sum() / (np.count_nonzero(counts) * counts.clip(min=1))).float()

    @classmethod
    def from_rows(
        cls,
        train: Iterable[Mapping[str, object]],
        dev: Iterable[Mapping[str, object]],
        tokenizer: PreTrainedTokenizerBase,
        *,
        text_column: str = "text",
        text_pair_column: str | None = None,
        label_column: str = "label",
        regression: bool = False,
        name: str = "your-data",
        **options: Any,
    ) -> Self:
        """A task from rows in memory: two `datasets.Dataset` or `pandas.DataFrame`, or lists of dictionaries.

        Args:
            train, dev: the rows; label names are read from `train`.
            text_column, text_pair_column, label_column: names of the columns.
            regression: the label is a number to be met, not a class.
            options: fields of `FineTunedOptions`.

        Raises:
            TombolaError: a row lacks a column or has a label that training does not.
        """
        columns = text_column, text_pair_column, label_column
        corpus = Corpus.from_rows(train, dev, columns, regression=regression, name=name)
        return cls(corpus, tokenizer, FineTunedOptions(**options))

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
            class_order(outputs_of(model), self.corpus.classes, self.title)
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
        mean = self.corpus.regression or self.metric.kind == "ranking"
        return np.full(self.size(split), labels.mean() if mean else np.bincount(labels).argmax())

    @override
    def misread(self, predictions: Predictions, split: str) -> str | None:
        references, metric, classes = self.references(split), self.metric, self.corpus.classes
        score, chance = metric.score(predictions, references), metric.chance(references)
        if classes is None or metric.kind == "ranking":
            # Correlations and rankings have a worse side of chance; an error only grows.
            signed = chance == 0 or metric.kind == "ranking"
            if signed and interval(metric, predictions, references, seed=0, level=_SURE)[1] < chance:
                return (
                    f"the model's values run against those of {self.title} ({metric.name} {score:.3f}), as if it was "
                    "trained on the opposite; turn the labels round, or give a model fine-tuned on this task"
                )
            return None
        if score > chance:
            return None
        counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
        np.add.at(counts, (predictions.astype(np.int64), references.astype(np.int64)), 1)
        _, best = linear_sum_assignment(counts, maximize=True)
        renamed = best[predictions.astype(np.int64)]
        low, _ = interval(metric, renamed, references, seed=0, level=_SURE)
        _, _, high = paired_difference(metric, predictions, renamed, references, seed=0, level=_SURE)
        # Clearly worse than with its outputs renamed, which are better than guessing, while its own are not.
        if low <= chance or high >= 0:
            return None
        names = ", ".join(f"{index}: {classes[label]}" for index, label in enumerate(best))
        return (
            f"the model scores {score:.3f} on {self.title}, below guessing ({chance:.3f}), and "
            f"{metric.score(renamed, references):.3f} with its outputs in another order: name them in id2label of its "
            f"config.json ({names}), or give a model fine-tuned on this task"
        )

    @override
    def collate(self, split: str, indices: NDArray[np.int64]) -> tuple[Mapping[str, Tensor], Tensor]:
        encoded, targets = self.encoded(split), torch.from_numpy(self.corpus.splits[split].labels[indices])
        return self.padded(
            [encoded[index] for index in indices]
        ), targets.float() if self.corpus.regression else targets

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        with known_padding(model, batch.inputs) as inputs:
            logits: Tensor = model(**inputs).logits.float()
        if self.corpus.regression:
            values = logits.squeeze(-1)
            return Output(nn.functional.mse_loss(values, batch.targets, reduction="none"), values)
        order = class_order(outputs_of(model), self.corpus.classes, self.title)
        if order is not None:
            logits = logits[:, order]
        losses = nn.functional.cross_entropy(logits, batch.targets, reduction="none")
        if self._weights is not None:
            losses = losses * self._weights.to(losses.device)[batch.targets]
        ranking = self.metric.kind == "ranking"
        return Output(losses, logits.softmax(-1)[:, 1].double() if ranking else logits.argmax(-1))

    @override
    def encode(self, split: str) -> list[dict[str, list[int]]]:
        texts = self.corpus.splits[split]
        second = None if texts.second is None else list(texts.second)
        with one_line(f"the tokenizer cannot read {self.title}", "give a model with its own tokenizer"):
            rows = encoded(list(texts.first), second, self.tokenizer, self.max_length)
        for row, example in enumerate(rows):
            if not example["input_ids"]:
                example.update({name: [1] if name == "attention_mask" else [0] for name in example})
                example["input_ids"] = [self._token_of_nothing(f"row {row + 1} of the split {split} ({self.title})")]
        return rows

    def _token_of_nothing(self, where: str) -> int:
        """BOS token, or the end token, in place of a text without tokens, which no model can read."""
        tokenizer = self.tokenizer
        token = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        if token is None:
            raise TombolaError(
                f"the text of {where} has no tokens, and the tokenizer no token to begin with; mend or drop the row"
            )
        return int(token)
