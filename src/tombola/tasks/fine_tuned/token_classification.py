"""Token classification: a tag for each word of a sentence, as of named entities or parts of speech."""

import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerBase
from typing_extensions import override

from tombola.foundations.errors import TombolaError, one_line
from tombola.metrics.scores import NOTHING, Metric, MetricFunction, metric_name
from tombola.metrics.tag_metrics import TOKEN_ACCURACY, entity_f1, marks_entities
from tombola.tasks.base import Batch, Output, Predictions
from tombola.tasks.data.tagged_words import TaggedWords, read_rows
from tombola.tasks.fine_tuned.classes import balanced_weights, class_losses, class_order, misread_classes, names_of
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions
from tombola.tasks.fine_tuned.tokenized import TokenizedTask
from tombola.tasks.long_texts import cut

METRICS = ("token_accuracy", "entity_f1")


class TokenClassificationTask(TokenizedTask[TaggedWords]):
    """Sentences with a tag for each word, which its first token gives.

    An example is a sentence: its loss is the mean over its words (each with the weight of its tag, where
    `class_weights` are asked for), its prediction the tags of all of them, padded with
    -100, and resamples draw sentences. Words that `max_length` cuts off, that the tokenizer makes nothing of or that
    have no tag are not judged. The score is `entity_f1` of tags in IOB, with `token_accuracy` beside it, else that.

    Args:
        name: of the data.
        splits: the tagged sentences, `train`, `dev` and others that judge.
        classes: names of the tags by id.
        tokenizer: of the model, a fast one.
        options: metrics, samples, names, and how models are loaded.

    Raises:
        TombolaError: the tokenizer cannot say which word a token is of.
    """

    auto = AutoModelForTokenClassification
    reader = staticmethod(read_rows)

    def __init__(
        self,
        name: str,
        splits: Mapping[str, TaggedWords],
        classes: Sequence[str],
        tokenizer: PreTrainedTokenizerBase | str,
        options: FineTunedOptions | None = None,
    ) -> None:
        options = options or FineTunedOptions()
        self.classes = tuple(classes)
        score = "entity_f1" if marks_entities(classes) else "token_accuracy"
        super().__init__(name, splits, tokenizer, score=score, options=options)
        if not self.tokenizer.is_fast:
            raise TombolaError(
                f"{self.title} needs a fast tokenizer, which says which word a token is of; save it as tokenizer.json"
            )
        if self.metric.name == "entity_f1" and "token_accuracy" not in self.more:
            self.more = {**self.more, "token_accuracy": ("dev", self.measure("token_accuracy"))}
        longest = max(len(words) for rows in self.splits.values() for words in rows.words)
        self.width = min(longest, self.max_length)
        self._weights = None
        if options.class_weights == "balanced":
            tags = np.concatenate(self.splits["train"].tags)
            self._weights = balanced_weights(tags[tags != NOTHING], len(classes))

    @override
    def measure(self, given: str | Metric | MetricFunction) -> Metric:
        if isinstance(given, Metric) and given.kind == "answers":
            return given
        name = metric_name("metric of tags", given, METRICS)
        if name == "entity_f1" and not marks_entities(self.classes):
            raise TombolaError("entity_f1 needs tags in IOB (B-PER, I-PER, O); choose token_accuracy")
        return entity_f1(self.classes) if name == "entity_f1" else TOKEN_ACCURACY

    @override
    def facts(self) -> Mapping[str, object]:
        return {**super().facts(), "task_type": "token-classification", "classes": list(self.classes)}

    @override
    def config_options(self) -> dict[str, Any]:
        return names_of(self.classes)

    @override
    def checked(self, model: nn.Module, *, trained: bool = False) -> nn.Module:
        if trained:
            class_order(model, self.classes, self.title)
        return super().checked(model, trained=trained)

    @override
    def encode(self, split: str) -> list[dict[str, list[int]]]:
        rows, found, lost = self.splits[split], [], 0
        with one_line(f"the tokenizer cannot read {self.title}", "give a model with its own tokenizer"):
            # Tokens of many vocabularies begin with a space: words one by one would read as if there were none between.
            texts = [" ".join(words) for words in rows.words]
            parts = [cut(text, self.tokenizer, self.max_length) for text in texts]
            encoded = self.tokenizer(
                parts,
                truncation=True,
                max_length=self.max_length,
                return_offsets_mapping=True,
            )
        offsets = encoded.pop("offset_mapping")
        for row, (words, tags) in enumerate(zip(rows.words, rows.tags, strict=True)):
            # The word of each character, and of the space behind it none.
            of_words = (itertools.chain(itertools.repeat(index, len(word)), (-1,)) for index, word in enumerate(words))
            places = itertools.chain.from_iterable(of_words)
            begins = 0 if self.tokenizer.truncation_side == "right" else len(texts[row]) - len(parts[row])
            word_at = [*itertools.islice(places, begins, begins + len(parts[row]))]
            labels, seen = list[int](), {-1}
            for (begin, end), of in zip(offsets[row], encoded.sequence_ids(row), strict=True):
                # A token may begin with the space before its word.
                word = -1 if of is None or begin == end else word_at[end - 1]
                labels.append(NOTHING if word in seen else int(tags[word]))
                seen.add(word)
            example = {name: encoded[name][row] for name in encoded}
            self.begin(example, row, split)
            lost += int((tags != NOTHING).sum()) - sum(label != NOTHING for label in labels)
            found.append(example | {"labels": labels or [NOTHING]})
        if lost:
            warnings.warn(
                f"{lost} of {sum(map(len, rows.words)):,} words of the {split} split of {self.title} are not judged: "
                f"they lie behind token {self.max_length} (--max-length), or have no tokens",
                stacklevel=2,
            )
        return found

    @override
    def collate(self, split: str, indices: NDArray[np.int64]) -> tuple[Mapping[str, Tensor], Tensor]:
        examples = [self.encoded(split)[index] for index in indices]
        inputs = self.padded(examples)
        targets = torch.full(inputs["input_ids"].shape, NOTHING)
        for row, example in enumerate(examples):
            targets[row, : len(example["labels"])] = torch.tensor(example["labels"])
        return inputs, targets

    @override
    def references(self, split: str) -> Predictions:
        labels = [[tag for tag in example["labels"] if tag != NOTHING] for example in self.encoded(split)]
        return np.array([tags + [NOTHING] * (self.width - len(tags)) for tags in labels], dtype=np.int64)

    @override
    def guess(self, split: str) -> Predictions:
        tags = np.concatenate(self.splits["train"].tags)
        return np.where(self.references(split) == NOTHING, NOTHING, np.bincount(tags[tags != NOTHING]).argmax())

    @override
    def misread(self, predictions: Predictions, split: str) -> str | None:
        # Renamed tags may still mark an entity by chance, which one who always says the same cannot.
        return misread_classes(TOKEN_ACCURACY, predictions, self.references(split), self.classes, self.title)

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        logits: Tensor = model(**batch.inputs).logits.float()
        order = class_order(model, self.classes, self.title)
        if order is not None:
            logits = logits[..., order]
        judged = batch.targets != NOTHING
        losses = class_losses(logits.transpose(1, 2), batch.targets, self._weights)
        # In the order of the words, which have one such token each.
        rows, places = judged.nonzero(as_tuple=True)
        predictions = torch.full((len(judged), self.width), NOTHING, device=logits.device)
        predictions[rows, (judged.cumsum(1) - 1)[judged]] = logits.argmax(-1)[rows, places]
        return Output(losses.sum(1) / judged.sum(1).clamp_min(1), predictions)
