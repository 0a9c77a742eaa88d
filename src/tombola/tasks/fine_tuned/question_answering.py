"""Extractive question answering: the span of a text that answers a question, as in SQuAD."""

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerBase
from typing_extensions import override

from tombola.foundations.errors import TombolaError, one_line
from tombola.metrics.answer_metrics import answer_f1, exact_match, no_answers, whole_contexts
from tombola.metrics.scores import NOTHING, Metric, MetricFunction, metric_name
from tombola.tasks.base import Batch, Output, Predictions
from tombola.tasks.data.questions import Question, Questions, read_rows
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions
from tombola.tasks.fine_tuned.tokenized import TokenizedTask

METRICS = {"answer_f1": answer_f1, "exact_match": exact_match}
_LONGEST = 30
"""Tokens of an answer, at most, as in the scripts of transformers."""


class QuestionAnsweringTask(TokenizedTask[Questions]):
    """Questions that a span of a text answers; some may have no answer in it (SQuAD 2.0).

    An example is a question with its text, of which `max_length` cuts the end off. Its loss is the mean of the cross
    entropies of the answer's first and last token, without those of padding; an answer that was cut off has none, and
    cannot be found. Its prediction is the span of at most 30 tokens with the highest sum of scores, int64 [question,
    begin, end] in characters; where some questions have no answer, none if the first token scores higher. The score is
    `answer_f1`, with `exact_match` beside it, as SQuAD's script computes them; guessing is the
    whole text, or nothing.

    Args:
        name: of the data.
        splits: the questions, `train`, `dev` and others that judge.
        tokenizer: of the model, a fast one.
        options: metrics, samples, names, and how models are loaded.

    Raises:
        TombolaError: the tokenizer cannot say where a token stands.
    """

    auto = AutoModelForQuestionAnswering
    reader = staticmethod(read_rows)
    unweighed = "answers are spans of a text"

    def __init__(
        self,
        name: str,
        splits: Mapping[str, Questions],
        tokenizer: PreTrainedTokenizerBase,
        options: FineTunedOptions | None = None,
    ) -> None:
        options = options or FineTunedOptions()
        self._rows: list[Question] = [row for split in splits.values() for row in split.rows]
        self._gold = [row.gold for row in self._rows]
        # The same question may be in several splits, as held-out rows are.
        self._numbers = {id(row): number for number, row in enumerate(self._rows)}
        self._answerless = any(row.begin is None for row in self._rows)
        super().__init__(name, splits, tokenizer, score="answer_f1", pairs=True, options=options)
        if not tokenizer.is_fast:
            raise TombolaError(
                f"{self.title} needs a fast tokenizer, which says where a token stands; save it as tokenizer.json"
            )
        if self.metric.name == "answer_f1" and "exact_match" not in self.more:
            self.more = {**self.more, "exact_match": ("dev", self.measure("exact_match"))}
        self._offsets: dict[int, list[tuple[int, int] | None]] = {}

    @override
    def measure(self, given: str | Metric | MetricFunction) -> Metric:
        return METRICS[metric_name("metric of answers", given, METRICS)](self._gold)

    @override
    def facts(self) -> Mapping[str, object]:
        return {
            **super().facts(),
            "task_type": "question-answering",
            "guessing": "the whole text, or nothing, as the answer to every question",
        }

    @override
    def config_options(self) -> dict[str, Any]:
        return {"num_labels": 2}

    @override
    def encode(self, split: str) -> list[dict[str, Any]]:
        rows, found, lost = self.splits[split].rows, list[dict[str, Any]](), 0
        special = self.tokenizer.num_special_tokens_to_add(pair=True)
        with one_line(f"the tokenizer cannot read {self.title}", "give a model with its own tokenizer"):
            alone = self.tokenizer([row.question for row in rows], add_special_tokens=False, verbose=False)["input_ids"]
            if (longest := max(map(len, alone)) + special) >= self.max_length:
                index = [len(one) for one in alone].index(longest - special)
                raise TombolaError(
                    f"question {index + 1} of the split {split} ({self.title}) has {longest} tokens without its text, "
                    f"and there are {self.max_length} for both; raise --max-length"
                )
            encoded = self.tokenizer(
                [row.question for row in rows],
                [row.gold.context for row in rows],
                truncation="only_second",
                max_length=self.max_length,
                return_offsets_mapping=True,
            )
        offsets = encoded.pop("offset_mapping")
        for index, row in enumerate(rows):
            places = [
                pair if of == 1 and pair[0] < pair[1] else None
                for pair, of in zip(offsets[index], encoded.sequence_ids(index), strict=True)
            ]
            number = self._numbers[id(row)]
            self._offsets[number] = places
            ends = _tokens(row, places)
            lost += ends == (NOTHING, NOTHING)
            found.append({name: encoded[name][index] for name in encoded} | {"target": [number, *ends]})
        if lost:
            warnings.warn(
                f"the answers to {lost} of {len(rows):,} questions of the {split} split of {self.title} lie behind "
                f"token {self.max_length}, where texts are cut, and cannot be found; raise --max-length",
                stacklevel=2,
            )
        return found

    @override
    def collate(self, split: str, indices: NDArray[np.int64]) -> tuple[Mapping[str, Tensor], Tensor]:
        examples = [self.encoded(split)[index] for index in indices]
        return self.padded(examples), torch.tensor([example["target"] for example in examples])

    @override
    def references(self, split: str) -> Predictions:
        found = []
        for row in self.splits[self._split(split)].rows:
            begin = row.begin or 0
            found.append([self._numbers[id(row)], begin, begin + len(row.gold.answers[0] if row.gold.answers else "")])
        return np.array(found, dtype=np.int64)

    @override
    def guess(self, split: str) -> Predictions:
        train, found = self.references("train"), list[tuple[float, Predictions]]()
        for answer in (functools.partial(whole_contexts, self._gold), no_answers):
            found.append((self.metric.score(answer(train[:, 0]), train), answer(self.references(split)[:, 0])))
        return max(found, key=lambda one: one[0])[1]

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        found = model(**batch.inputs)
        begins, ends = found.start_logits.float(), found.end_logits.float()
        padding = ~batch.inputs["attention_mask"].bool()
        numbers, *targets = batch.targets.unbind(1)
        losses = sum(
            nn.functional.cross_entropy(logits.masked_fill(padding, -torch.inf), target, reduction="none") / 2
            for logits, target in zip((begins, ends), targets, strict=True)
        )
        assert isinstance(losses, Tensor)
        return Output(losses, self._spans(begins.detach(), ends.detach(), numbers))

    def _spans(self, begins: Tensor, ends: Tensor, numbers: Tensor) -> Tensor:
        """Answers int64 [batch, 3] by the scores of their first and last tokens [batch, tokens]."""
        tokens = begins.shape[1]
        places = [self._offsets[number][:tokens] for number in numbers.tolist()]
        inside = torch.zeros(begins.shape, dtype=torch.bool)
        for row, of in enumerate(places):
            inside[row, : len(of)] = torch.tensor([place is not None for place in of])
        outside = ~inside.to(begins.device)
        pairs = begins.masked_fill(outside, -torch.inf)[:, :, None] + ends.masked_fill(outside, -torch.inf)[:, None]
        width = torch.ones(tokens, tokens, dtype=torch.bool, device=begins.device)
        pairs = pairs.masked_fill(~(width.triu() & width.tril(_LONGEST - 1)), -torch.inf)
        best, which = pairs.flatten(1).max(1)
        none = best.isneginf()
        if self._answerless:
            none = none | (begins[:, 0] + ends[:, 0] > best)
        answers = []
        for number, of, at, nothing in zip(numbers.tolist(), places, which.tolist(), none.tolist(), strict=True):
            first, last = (None, None) if nothing else (of[at // tokens], of[at % tokens])
            answers.append([number, 0, 0] if first is None or last is None else [number, first[0], last[1]])
        return torch.tensor(answers)


def _tokens(row: Question, places: list[tuple[int, int] | None]) -> tuple[int, int]:
    """First and last token of a question's first answer; the first of all for none, `NOTHING` for one that was cut."""
    if row.begin is None:
        return 0, 0
    begin, end = row.begin, row.begin + len(row.gold.answers[0])
    inside = [index for index, place in enumerate(places) if place and place[0] < end and begin < place[1]]
    last = max((place[1] for place in places if place), default=0)
    whole = bool(inside) and not row.gold.context[last:end].strip()
    return (inside[0], inside[-1]) if whole else (NOTHING, NOTHING)
