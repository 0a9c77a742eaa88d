"""Extractive question answering: the span of a text that answers a question, as in SQuAD."""

import functools
import itertools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerBase
from typing_extensions import override

from tombola.foundations.errors import TombolaError, check_number, one_line
from tombola.metrics.answer_metrics import answer_f1, exact_match, no_answers, whole_contexts
from tombola.metrics.scores import NOTHING, Metric, MetricFunction, metric_name
from tombola.tasks.base import Batch, Output, Predictions
from tombola.tasks.data.questions import Question, Questions, read_rows
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions
from tombola.tasks.fine_tuned.tokenized import TokenizedTask

METRICS = {"answer_f1": answer_f1, "exact_match": exact_match}
_LONGEST = 30
"""Tokens of an answer, at most, as in the scripts of transformers."""
_AT_ONCE = 256
"""Windows that pass a model together: a context of a MiB has thousands."""
_STRIDE = 128
"""Tokens that windows share, as in these scripts, whose windows have 384."""
Places = list[tuple[int, int] | None]
"""Characters of the context in which each token of a window stands; None of tokens that are not of it."""


class WindowsBatch(Batch):
    """Questions with the windows of their texts: inputs [questions, windows, tokens], or [questions, tokens]."""

    @property
    @override
    def calibration_inputs(self) -> Mapping[str, Tensor]:
        """Windows by themselves, [questions x windows, tokens], each once: the texts that the layers see."""
        there = (self.targets[:, 1::2] != NOTHING).flatten()
        return {name: tensor.flatten(0, -2)[there] for name, tensor in self.inputs.items()}


class QuestionAnsweringTask(TokenizedTask[Questions]):
    """Questions that a span of a text answers; some may have no answer in it (SQuAD 2.0).

    An example is a question with its text. One that is longer than `max_length` is read in windows of as many tokens,
    of which neighbours share `doc_stride`, each behind the question, as in the scripts of transformers. Its loss is the
    mean over windows of the mean cross entropy of the answer's first and last token, without those of padding; a
    window that does not hold all of the answer should point at its first token. Its prediction is the span of at most
    30 tokens with the highest sum of scores in any window, int64 [question, begin, end] in characters; where some
    questions have no answer, none if the first token scores higher in every window. The score is
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
    batch_type = WindowsBatch
    windowed = True
    reader = staticmethod(read_rows)
    unweighed = "answers are spans of a text"

    def __init__(
        self,
        name: str,
        splits: Mapping[str, Questions],
        tokenizer: PreTrainedTokenizerBase | str,
        options: FineTunedOptions | None = None,
    ) -> None:
        options = options or FineTunedOptions()
        self._rows: list[Question] = [row for split in splits.values() for row in split.rows]
        self._gold = [row.gold for row in self._rows]
        # The same question may be in several splits, as held-out rows are.
        self._numbers = {row: number for number, row in enumerate(self._rows)}
        self._answerless = any(row.begin is None for row in self._rows)
        super().__init__(name, splits, tokenizer, score="answer_f1", pairs=True, options=options)
        if not self.tokenizer.is_fast:
            raise TombolaError(
                f"{self.title} needs a fast tokenizer, which says where a token stands; save it as tokenizer.json"
            )
        if self.metric.name == "answer_f1" and "exact_match" not in self.more:
            self.more = {**self.more, "exact_match": ("dev", self.measure("exact_match"))}
        room = self.max_length - self.tokenizer.num_special_tokens_to_add(pair=True)
        self.doc_stride = min(_STRIDE, self.max_length // 3) if options.doc_stride is None else options.doc_stride
        check_number("doc_stride", self.doc_stride, 0, whole=True)
        if self.doc_stride >= room:
            raise TombolaError(
                f"doc_stride must be under {room}, the tokens of question and text in a window, not {self.doc_stride}"
            )
        self._offsets: dict[int, list[Places]] = {}

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

    @property
    @override
    def unfit(self) -> Mapping[str, str]:
        if all(len(example["windows"]) == 1 for example in self.encoded("dev")):
            return {}
        why = "attention patterns are of one text an example, and long contexts are several windows; raise --max-length"
        return {"attention": why}

    @override
    def encode(self, split: str) -> list[dict[str, Any]]:
        rows = self.splits[split].rows
        numbers = [self._numbers[row] for row in rows]
        windows = self._windows(split)
        self._offsets |= {number: [places for _, places in of] for number, of in zip(numbers, windows, strict=True)}
        found, lost = list[dict[str, Any]](), 0
        for row, number, of in zip(rows, numbers, windows, strict=True):
            ends = [_tokens(row, places) for _, places in of]
            lost += row.begin is not None and not any(map(any, ends))
            found.append({"windows": [inputs for inputs, _ in of], "number": number, "ends": ends})
        if lost:
            warnings.warn(
                f"the answers to {lost} of {len(rows):,} questions of the {split} split of {self.title} are whole in "
                f"no window of {self.max_length} tokens, and cannot be found; raise --max-length, or --doc-stride "
                f"({self.doc_stride})",
                stacklevel=2,
            )
        return found

    def _windows(self, split: str) -> list[list[tuple[dict[str, list[int]], Places]]]:
        """Windows of every question of a split, each with the places of its tokens in the context."""
        rows, special = self.splits[split].rows, self.tokenizer.num_special_tokens_to_add(pair=True)
        found: list[list[tuple[dict[str, list[int]], Places]]] = [[] for _ in rows]
        with one_line(f"the tokenizer cannot read {self.title}", "give a model with its own tokenizer"):
            alone = self.tokenizer([row.question for row in rows], add_special_tokens=False, verbose=False)["input_ids"]
            taken = np.array([*map(len, alone)]) + special
            if (longest := taken.max()) >= self.max_length:
                raise TombolaError(
                    f"question {taken.argmax() + 1} of the split {split} ({self.title}) has {longest} tokens without "
                    f"its text, and there are {self.max_length} for both; raise --max-length"
                )
            # Beside a long question a window has few tokens of the text, of which one at least must be new.
            strides = np.minimum(self.doc_stride, self.max_length - taken - 1)
            for stride in np.unique(strides).tolist():
                alike = np.flatnonzero(strides == stride).tolist()
                encoded = self.tokenizer(
                    [rows[index].question for index in alike],
                    [rows[index].gold.context for index in alike],
                    truncation="only_second",
                    max_length=self.max_length,
                    stride=stride,
                    return_overflowing_tokens=True,
                    return_offsets_mapping=True,
                )
                offsets, of_row = encoded.pop("offset_mapping"), encoded.pop("overflow_to_sample_mapping")
                for window, index in enumerate(of_row):
                    places = [
                        pair if of == 1 and pair[0] < pair[1] else None
                        for pair, of in zip(offsets[window], encoded.sequence_ids(window), strict=True)
                    ]
                    inputs = {name: encoded[name][window] for name in encoded}
                    self.begin(inputs, alike[index], split)
                    found[alike[index]].append((inputs, places or [None]))
        return found

    @override
    def tokens(self, example: Mapping[str, Any]) -> int:
        """Tokens of a question's longest window, behind the number of its windows."""
        windows = example["windows"]
        return (len(windows) - 1) * self.max_length + max(len(window["input_ids"]) for window in windows)

    @override
    def collate(self, split: str, indices: NDArray[np.int64]) -> tuple[Mapping[str, Tensor], Tensor]:
        examples = [self.encoded(split)[index] for index in indices]
        most = max(len(example["windows"]) for example in examples)
        # Questions with fewer windows have their first again, which has no target.
        inputs = self.padded(
            [
                window
                for example in examples
                for window in [*example["windows"], *example["windows"][:1] * (most - len(example["windows"]))]
            ]
        )
        if most > 1:
            inputs = {name: tensor.unflatten(0, (len(examples), most)) for name, tensor in inputs.items()}
        targets = torch.full((len(examples), 1 + 2 * most), NOTHING)
        for row, example in enumerate(examples):
            ends = [example["number"], *itertools.chain(*example["ends"])]
            targets[row, : len(ends)] = torch.tensor(ends)
        return inputs, targets

    @override
    def references(self, split: str) -> Predictions:
        found = []
        for row in self.splits[self._split(split)].rows:
            begin = row.begin or 0
            found.append([self._numbers[row], begin, begin + len(row.gold.answers[0] if row.gold.answers else "")])
        return np.array(found, dtype=np.int64)

    @override
    def guess(self, split: str) -> Predictions:
        train, found = self.references("train"), list[tuple[float, Predictions]]()
        for answer in (functools.partial(whole_contexts, self._gold), no_answers):
            found.append((self.metric.score(answer(train[:, 0]), train), answer(self.references(split)[:, 0])))
        return max(found, key=lambda one: one[0])[1]

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        inputs = {name: tensor.flatten(0, -2) for name, tensor in batch.inputs.items()}
        numbers, ends = batch.targets[:, 0], batch.targets[:, 1:].unflatten(1, (-1, 2))
        # Questions, windows, tokens.
        shape = (*ends.shape[:2], -1)
        begins, finishes = _scored(model, batch.inputs, len(numbers))
        padding = ~inputs["attention_mask"].bool().reshape(shape)
        there = ends[..., 0] != NOTHING
        losses = sum(
            nn.functional.cross_entropy(
                logits.masked_fill(padding, -torch.inf).transpose(1, 2), ends[..., side], reduction="none"
            )
            for side, logits in enumerate((begins, finishes))
        )
        assert isinstance(losses, Tensor)
        answers = self._spans(begins.detach(), finishes.detach(), there, numbers)
        return Output(losses.sum(1) / (2 * there.sum(1)), answers)

    def _spans(self, begins: Tensor, ends: Tensor, there: Tensor, numbers: Tensor) -> Tensor:
        """Answers int64 [batch, 3] by the scores of first and last tokens [batch, windows, tokens].

        Windows that are not `there` [batch, windows] are none.
        """
        tokens = begins.shape[2]
        places = [self._offsets[number] for number in numbers.tolist()]
        inside = torch.zeros(begins.shape, dtype=torch.bool)
        for row, windows in enumerate(places):
            for window, of in enumerate(windows[: begins.shape[1]]):
                inside[row, window, : len(of[:tokens])] = torch.tensor([place is not None for place in of[:tokens]])
        outside = ~inside.to(begins.device)
        # Of each first token, those that may be the last one.
        last = nn.functional.pad(ends.masked_fill(outside, -torch.inf), (0, _LONGEST - 1), value=-torch.inf)
        pairs = begins.masked_fill(outside, -torch.inf)[..., None] + last.unfold(2, _LONGEST, 1)
        best, which = pairs.flatten(1).max(1)
        none = best.isneginf()
        if self._answerless:
            # All windows must agree on it.
            none = none | ((begins[..., 0] + ends[..., 0]).masked_fill(~there, torch.inf).amin(1) > best)
        answers = []
        for number, windows, at, nothing in zip(numbers.tolist(), places, which.tolist(), none.tolist(), strict=True):
            first, length = divmod(at, _LONGEST)
            of, first = windows[min(first // tokens, len(windows) - 1)], first % tokens
            span = (None, None) if nothing else (of[first], of[first + length])
            answers.append([number, 0, 0] if span[0] is None or span[1] is None else [number, span[0][0], span[1][1]])
        return torch.tensor(answers)


def _scored(model: nn.Module, given: Mapping[str, Tensor], questions: int) -> tuple[Tensor, Tensor]:
    """Scores of first and of last tokens [questions, windows, tokens], a part of the windows at a time."""
    windows = {name: tensor.reshape(questions, -1, tensor.shape[-1]) for name, tensor in given.items()}
    count = windows["input_ids"].shape[1]
    each = max(1, _AT_ONCE // questions)
    parts = []
    for begin in range(0, count, each):
        part = {name: tensor[:, begin : begin + each].flatten(0, 1) for name, tensor in windows.items()}
        found = model(**part)
        parts.append([one.float().unflatten(0, (questions, -1)) for one in (found.start_logits, found.end_logits)])
    begins, finishes = zip(*parts, strict=True)
    return torch.cat(begins, 1), torch.cat(finishes, 1)


def _tokens(row: Question, places: Places) -> tuple[int, int]:
    """First and last token of a question's first answer; the first of all where a window does not hold all of it."""
    known = [place for place in places if place]
    if row.begin is None or not known:
        return 0, 0
    begin, end = row.begin, row.begin + len(row.gold.answers[0])
    inside = [index for index, place in enumerate(places) if place and place[0] < end and begin < place[1]]
    beyond = row.gold.context[begin : known[0][0]] + row.gold.context[known[-1][1] : end]
    return (inside[0], inside[-1]) if inside and not beyond.strip() else (0, 0)
