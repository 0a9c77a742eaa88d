"""Text classification and regression: labelled texts, a tokenizer, and any encoder with a sequence head."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase
from typing_extensions import override

from tombola.checkpoints import loading
from tombola.foundations.errors import TombolaError, check_choice, one_line
from tombola.metrics.scores import Metric, metric
from tombola.metrics.statistics import interval, paired_difference
from tombola.subnetworks.recognition import recognise
from tombola.tasks.base import Batch, Output, Predictions, State, Task, sampled_rows
from tombola.tasks.data.corpus import Corpus
from tombola.tasks.long_texts import encoded
from tombola.tasks.padding import ends_with_padding, first_position, known_padding, position_table

_BUCKET = 50
"""Batches whose examples are sorted by length together: enough to waste little padding, few enough to stay random."""
_SURE = 0.999
"""Level at which a model's outputs are said to mean something else: a model at chance must not be accused."""


@dataclass(frozen=True, kw_only=True)
class TextTaskOptions:
    """Options of a task of texts.

    Attributes:
        score: name of the metric; by default `accuracy`, for regression `pearson`.
        more: further metrics: name → split; reported, never searched on.
        max_length: tokens a text is cut to.
        train_rows, dev_rows: use a seeded sample of so many rows; None for all.
        search_rows: hold so many training rows out as the split `search`; None to search on `dev`.
        search: the metric that searches go by; by default the score.
        name, title: see `Task`; by default the corpus's.
        benchmark: `glue`, where published figures of this task stand under its title.
        attention: the implementation that `load` asks for. Eager attention is the fastest on a CPU at the length of
            sentences, where the fused kernel's backward pass takes twice as long; on a GPU `sdpa` wins.
        trust_remote_code: let `load` run code that comes with a model.
    """

    score: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    search: str | None = None
    max_length: int = 128
    train_rows: int | None = None
    dev_rows: int | None = None
    search_rows: int | None = None
    name: str | None = None
    title: str | None = None
    benchmark: str | None = None
    attention: str = "eager"
    trust_remote_code: bool = False


class TextTask(Task):
    """Single texts or pairs of texts with a class or a value each.

    Args:
        corpus: the labelled splits.
        tokenizer: of the model, see `tokenizer_of`.
        options: metrics, samples, names, and how models are loaded.

    Raises:
        TombolaError: a sample leaves a class without training rows, or a split empty.
    """

    def __init__(
        self, corpus: Corpus, tokenizer: PreTrainedTokenizerBase, options: TextTaskOptions | None = None
    ) -> None:
        self._options = options = options or TextTaskOptions()
        self.available = {split: len(texts) for split, texts in corpus.splits.items()}
        rows = sampled_rows(self.available, options.train_rows, options.dev_rows, options.search_rows)
        chosen = {split: corpus.splits[split if split != "search" else "train"].select(rows[split]) for split in rows}
        corpus = Corpus(corpus.name, chosen, corpus.classes)
        self.name, self.title = options.name or corpus.name, options.title or corpus.name
        self.metric: Metric = metric(options.score or ("pearson" if corpus.regression else "accuracy"))
        self.more = {
            extra if split == "dev" else f"{extra}_{split.removeprefix('dev_')}": (split, metric(extra))
            for extra, split in options.more.items()
        }
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.max_length = min(options.max_length, tokenizer.model_max_length)
        if tokenizer.pad_token_id is None:
            # GPT-2 and its kin were trained without padding; what is padded is masked, so any token will do.
            if tokenizer.eos_token is None:
                raise TombolaError("the tokenizer has neither a padding nor an end token; give it a pad_token")
            tokenizer.pad_token = tokenizer.eos_token
        special = tokenizer.num_special_tokens_to_add(pair=corpus.splits["train"].second is not None)
        if self.max_length <= special:
            # The tokenizer would cut nothing at all.
            raise TombolaError(
                f"max_length must be over {special}, the special tokens of a text, not {self.max_length}"
            )
        for split, _ in self.more.values():
            self._split(split)
        for one in (self.metric, self.for_search().metric, *(extra for _, extra in self.more.values())):
            one.check(regression=corpus.regression, classes=len(corpus.classes or ()))
        self._encoded: dict[str, list[dict[str, list[int]]]] = {}

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
            options: fields of `TextTaskOptions`.

        Raises:
            TombolaError: a row lacks a column or has a label that training does not.
        """
        columns = text_column, text_pair_column, label_column
        corpus = Corpus.from_rows(train, dev, columns, regression=regression, name=name)
        return cls(corpus, tokenizer, TextTaskOptions(**options))

    @override
    def for_search(self) -> Task:
        if self._options.search is None:
            return self
        found = copy.copy(self)
        found.metric = metric(self._options.search)
        return found

    @override
    def facts(self) -> Mapping[str, object]:
        return {
            **super().facts(),
            "classes": None if self.corpus.classes is None else list(self.corpus.classes),
            "rows": {split: len(texts) for split, texts in self.corpus.splits.items()},
            "available": self.available,
            **({} if self._options.search is None else {"search_metric": self._options.search}),
            **({"glue": self.title} if self._options.benchmark == "glue" else {}),
        }

    @override
    def load(self, source: str, *, seed: int, state: State = "pretrained") -> nn.Module:
        check_choice("state of a model", state, get_args(State))
        path, classes = loading.locate(source), self.corpus.classes
        labels: dict[str, Any] = (
            {"num_labels": 1, "problem_type": "regression"}
            if classes is None
            else {"id2label": dict(enumerate(classes)), "label2id": {name: i for i, name in enumerate(classes)}}
        )
        trusted = {"trust_remote_code": self._options.trust_remote_code}
        options: dict[str, Any] = {"attn_implementation": self._options.attention, "dtype": torch.float32, **trusted}
        auto: Any = AutoModelForSequenceClassification
        with loading.quiet(), loading.loading(source), torch.random.fork_rng([]):
            torch.manual_seed(seed)
            if state == "init":
                config = AutoConfig.from_pretrained(path, **trusted, **labels)
                return self._checked(loading.as_saved(auto.from_config(config, **options), path, source))
            if state == "pretrained":
                return self._checked(loading.read_weights(auto, path, source, new_output=True, **labels, **options)[0])
            model, anew = loading.read_weights(auto, path, source, new_output=True, **options)
            if anew:
                raise TombolaError(
                    f"{source} was not fine-tuned: it has no {anew[0]}; fine-tune it first (tombola study does), or "
                    "give the folder of a fine-tuned model"
                )
            self._class_order(model)
            return self._checked(model, trained=True)

    def _checked(self, model: nn.Module, *, trained: bool = False) -> nn.Module:
        """The model, if it has positions for the longest text."""
        config: Any = getattr(model, "config", None)
        first, table = first_position(model), position_table(model)
        if config is not None and not first and not (trained and ends_with_padding(self.tokenizer)):
            # A decoder's classifier looks for the last token that is no padding, also where others open the model. One
            # that has learned to read the token that closes a text must not be told that it pads.
            config.get_text_config().pad_token_id = self.tokenizer.pad_token_id
        # RoBERTa's first positions, up to that of its padding, hold no text.
        positions = table.num_embeddings - first if table else getattr(config, "max_position_embeddings", None)
        if positions is not None and self.max_length > positions:
            texts = f"texts of {self.max_length} tokens"
            raise TombolaError(f"{texts} do not fit into this model's {positions} positions; lower --max-length")
        loading.check_vocabulary(self.tokenizer, model)
        recognise(model)
        return model

    @override
    def save(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, PreTrainedModel)
        with loading.quiet():
            model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

    @override
    def size(self, split: str) -> int:
        return len(self.corpus.splits[self._split(split)])

    @override
    def references(self, split: str) -> Predictions:
        return self.corpus.splits[self._split(split)].labels

    @override
    def guess(self, split: str) -> Predictions:
        labels = self.corpus.splits["train"].labels
        return np.full(self.size(split), labels.mean() if self.corpus.regression else np.bincount(labels).argmax())

    @override
    def misread(self, predictions: Predictions, split: str) -> str | None:
        references, metric, classes = self.references(split), self.metric, self.corpus.classes
        score, chance = metric.score(predictions, references), metric.chance(references)
        if classes is None:
            if chance == 0 and interval(metric, predictions, references, seed=0, level=_SURE)[1] < 0:
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
    def batches(self, split: str, batch_size: int, *, shuffle: int | None = None) -> Iterator[Batch]:
        split = self._split(split)
        encoded = self._encode(split)
        lengths = np.array([len(example["input_ids"]) for example in encoded])
        rng = np.random.default_rng(shuffle)
        buckets = [np.arange(len(encoded))]
        if shuffle is not None:
            drawn = rng.permutation(len(encoded))
            buckets = np.split(drawn, range(_BUCKET * batch_size, len(drawn), _BUCKET * batch_size))
        parts = [bucket[np.argsort(lengths[bucket], kind="stable")] for bucket in buckets]
        groups = [part[start : start + batch_size] for part in parts for start in range(0, len(part), batch_size)]
        if shuffle is not None:
            groups = [groups[index] for index in rng.permutation(len(groups))]
        targets = torch.from_numpy(self.corpus.splits[split].labels)
        if self.corpus.regression:
            targets = targets.float()
        for indices in groups:
            # The tokenizer's own side may be the left, where a text's positions depend on its neighbours.
            inputs = self.tokenizer.pad(
                [encoded[index] for index in indices], padding_side="right", return_tensors="pt"
            )
            yield Batch(indices, dict(inputs), targets[torch.from_numpy(indices)])

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        with known_padding(model, batch.inputs) as inputs:
            logits: Tensor = model(**inputs).logits.float()
        if self.corpus.regression:
            values = logits.squeeze(-1)
            return Output(nn.functional.mse_loss(values, batch.targets, reduction="none"), values)
        order = self._class_order(model)
        if order is not None:
            logits = logits[:, order]
        return Output(nn.functional.cross_entropy(logits, batch.targets, reduction="none"), logits.argmax(-1))

    def _split(self, split: str) -> str:
        if split not in self.corpus.splits:
            raise TombolaError(f"{self.title} has no split {split!r}; it has {', '.join(self.corpus.splits)}")
        return split

    def _encode(self, split: str) -> list[dict[str, list[int]]]:
        if split not in self._encoded:
            texts = self.corpus.splits[split]
            second = None if texts.second is None else list(texts.second)
            with one_line(f"the tokenizer cannot read {self.title}", "give a model with its own tokenizer"):
                rows = encoded(list(texts.first), second, self.tokenizer, self.max_length)
            for row, example in enumerate(rows):
                if not example["input_ids"]:
                    example.update({name: [1] if name == "attention_mask" else [0] for name in example})
                    example["input_ids"] = [
                        self._token_of_nothing(f"row {row + 1} of the split {split} ({self.title})")
                    ]
            self._encoded[split] = rows
        return self._encoded[split]

    def _token_of_nothing(self, where: str) -> int:
        """BOS token, or the end token, in place of a text without tokens, which no model can read."""
        tokenizer = self.tokenizer
        token = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        if token is None:
            raise TombolaError(
                f"the text of {where} has no tokens, and the tokenizer no token to begin with; mend or drop the row"
            )
        return int(token)

    def _class_order(self, model: nn.Module) -> list[int] | None:
        """Places of this task's classes in the model's order, if that is another one."""
        classes = self.corpus.classes
        names: dict[int, str] = getattr(getattr(model, "config", None), "id2label", None) or {}
        wanted = 1 if classes is None else len(classes)
        if len(names) != wanted:
            raise TombolaError(
                f"the model has {len(names)} outputs, {self.title} needs {wanted}; give one fine-tuned on it"
            )
        if classes is None or all(name == f"LABEL_{index}" for index, name in names.items()):
            return None
        places = {str(name).casefold(): index for index, name in names.items()}
        if missing := [name for name in classes if name.casefold() not in places]:
            raise TombolaError(
                f"the model lacks the label {missing[0]!r} of {self.title}; it knows {', '.join(names.values())}: "
                "rename the labels, or give a model fine-tuned on this task"
            )
        order = [places[name.casefold()] for name in classes]
        return None if order == list(range(wanted)) else order
