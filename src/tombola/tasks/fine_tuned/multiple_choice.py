"""Multiple choice: which of a few answers is right, as in SWAG."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForMultipleChoice, PreTrainedTokenizerBase
from typing_extensions import override

from tombola.foundations.errors import TombolaError, one_line
from tombola.tasks.base import Batch, Output, Predictions
from tombola.tasks.data.choices import Choices, read_rows
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions
from tombola.tasks.fine_tuned.tokenized import TokenizedTask
from tombola.tasks.long_texts import encoded
from tombola.tasks.padding import padded_right

_TEXTS = "its examples are several texts each"


class ChoicesBatch(Batch):
    """Questions with their answers: inputs [questions, answers, tokens]."""

    @property
    @override
    def calibration_inputs(self) -> Mapping[str, Tensor]:
        """Each question with each of its answers, [questions x answers, tokens]: the texts that the layers see."""
        return {name: tensor.flatten(0, 1) for name, tensor in self.inputs.items()}


class MultipleChoiceTask(TokenizedTask[Choices]):
    """Questions of which the model scores each answer; the one with the highest score is its prediction.

    An example is a question: its loss is the cross entropy over its answers. The places of answers are no classes:
    there are no weights of them in the loss, no ranking by them, and no model has them in another order.

    Args:
        name: of the data.
        splits: the questions, `train`, `dev` and others that judge; all have as many answers.
        tokenizer: of the model.
        options: metrics, samples, names, and how models are loaded.
    """

    auto = AutoModelForMultipleChoice
    reader = staticmethod(read_rows)
    unweighed = "the places of right answers are none"
    batch_type = ChoicesBatch
    unfit = MappingProxyType(
        {
            "attention": f"attention patterns are of one text an example, and {_TEXTS}",
            "representations": f"representations are probed for a label of one text, and {_TEXTS}",
        }
    )

    def __init__(
        self,
        name: str,
        splits: Mapping[str, Choices],
        tokenizer: PreTrainedTokenizerBase | str,
        options: FineTunedOptions | None = None,
    ) -> None:
        super().__init__(name, splits, tokenizer, score="accuracy", pairs=True, options=options or FineTunedOptions())
        self.answers = len(self.splits["train"].seconds[0])
        for one in self.metrics:
            one.check(regression=False, classes=self.answers)
            if one.kind != "classes":
                raise TombolaError(f"{one.name} is of a class, and {self.unweighed}; choose accuracy")

    @override
    def facts(self) -> Mapping[str, object]:
        return {**super().facts(), "task_type": "multiple-choice", "answers": self.answers}

    @override
    def config_options(self) -> dict[str, Any]:
        return {}

    @override
    def encode(self, split: str) -> list[dict[str, Any]]:
        rows, k = self.splits[split], self.answers
        first = [text for text in rows.first for _ in range(k)]
        second = [answer for answers in rows.seconds for answer in answers]
        with one_line(f"the tokenizer cannot read {self.title}", "give a model with its own tokenizer"):
            texts = encoded(first, second, self.tokenizer, self.max_length)
        for number, text in enumerate(texts):
            self.begin(text, number // k, split)
        return [{"answers": texts[start : start + k]} for start in range(0, len(texts), k)]

    @override
    def tokens(self, example: Mapping[str, Any]) -> int:
        return max(len(answer["input_ids"]) for answer in example["answers"])

    @override
    def collate(self, split: str, indices: NDArray[np.int64]) -> tuple[Mapping[str, Tensor], Tensor]:
        flat = self.padded([answer for index in indices for answer in self.encoded(split)[index]["answers"]])
        inputs = {name: tensor.unflatten(0, (len(indices), self.answers)) for name, tensor in flat.items()}
        return inputs, torch.from_numpy(self.splits[split].labels[indices])

    @override
    def references(self, split: str) -> Predictions:
        return self.splits[self._split(split)].labels

    @override
    def guess(self, split: str) -> Predictions:
        return np.full(self.size(split), np.bincount(self.splits["train"].labels).argmax())

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        logits: Tensor = model(**padded_right(batch.inputs)).logits.float()
        return Output(nn.functional.cross_entropy(logits, batch.targets, reduction="none"), logits.argmax(-1))
