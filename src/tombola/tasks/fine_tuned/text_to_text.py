"""Sequence to sequence: the text that an encoder and a decoder, as T5's, write for a text."""

import functools
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, GenerationConfig, PreTrainedTokenizerBase
from typing_extensions import override

from tombola.foundations.errors import TombolaError, one_line
from tombola.metrics.rouge import ROUGE, rouge
from tombola.metrics.scores import NOTHING, Metric, MetricFunction, metric_name
from tombola.metrics.tag_metrics import EXACT_MATCH, TOKEN_ACCURACY
from tombola.tasks.base import Batch, Output, Predictions
from tombola.tasks.data.text_pairs import TextPairs, read_rows
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions
from tombola.tasks.fine_tuned.tokenized import TokenizedTask
from tombola.tasks.long_texts import cut, encoded

METRICS = (TOKEN_ACCURACY.name, EXACT_MATCH.name, *ROUGE)
_GENERATED = 10.0
"""Passes that an example takes which is written token by token: what the bars reckon with."""
_STACKS = "of one stack of layers, and the models of this task have an encoder and a decoder"


class TextToTextTask(TokenizedTask[TextPairs]):
    """Texts with a target each, judged by teacher forcing, in one pass, or where ROUGE is asked for by what is written.

    An example is a pair of texts, each cut to `max_length` tokens. Its loss is the mean cross entropy of the target's
    tokens, its prediction the token that the model would write after each true beginning of the target, int64, padded
    with -100. `exact_match` is then the share of targets that greedy generation writes token by token: it goes wrong
    where, and only where, one of these does. The score is `token_accuracy`, the share of right tokens, with it beside.

    Where a metric is `rouge1`, `rouge2` or `rougeL`, the prediction is what greedy generation writes, at most
    `max_length` tokens, which takes several times as long; the loss, and all that is trained and ranked by it, stays.

    Args:
        name: of the data.
        splits: the pairs, `train`, `dev` and others that judge. A prefix, as T5 has for its tasks, is part of the text.
        tokenizer: of the model.
        options: metrics, samples, names, and how models are loaded.
    """

    auto = AutoModelForSeq2SeqLM
    reader = staticmethod(read_rows)
    unweighed = "texts that are written are none"
    unfit = MappingProxyType(
        {"attention": f"attention patterns are {_STACKS}", "representations": f"representations are {_STACKS}"}
    )

    def __init__(
        self,
        name: str,
        splits: Mapping[str, TextPairs],
        tokenizer: PreTrainedTokenizerBase | str,
        options: FineTunedOptions | None = None,
    ) -> None:
        super().__init__(name, splits, tokenizer, score="token_accuracy", options=options or FineTunedOptions())
        if self.metric.name != "exact_match" and "exact_match" not in self.more:
            self.more = {**self.more, "exact_match": ("dev", EXACT_MATCH)}
        self.generates = any(one.name in ROUGE for one in self.metrics)
        if self.generates:
            self.passes = _GENERATED
            if any(one.name == "token_accuracy" for one in self.metrics):
                raise TombolaError(
                    "token_accuracy is of tokens after true beginnings, and ROUGE of whole texts: no one prediction "
                    "serves both; leave one of them out"
                )

    @override
    def measure(self, given: str | Metric | MetricFunction) -> Metric:
        name = metric_name("metric of texts that are written", given, METRICS)
        if name in ROUGE:
            return rouge(name, functools.partial(_text, self._preprocessor))
        return EXACT_MATCH if name == "exact_match" else TOKEN_ACCURACY

    @override
    def facts(self) -> Mapping[str, object]:
        return {**super().facts(), "task_type": "text2text-generation"}

    @override
    def config_options(self) -> dict[str, Any]:
        return {}

    @override
    def encode(self, split: str) -> list[dict[str, Any]]:
        rows = self.splits[split]
        with one_line(f"the tokenizer cannot read {self.title}", "give a model with its own tokenizer"):
            sources = encoded(list(rows.sources), None, self.tokenizer, self.max_length)
            # One token more than is kept tells that there are more.
            heads = [cut(text, self.tokenizer, self.max_length + 1) for text in rows.targets]
            options = {"truncation": True, "max_length": self.max_length}
            targets = self.tokenizer(text_target=heads, **options)["input_ids"]
            whole = self.tokenizer(text_target=heads, verbose=False)["input_ids"]
        for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
            self.begin(source, row, split)
            if not target:
                raise TombolaError(
                    f"the target of row {row + 1} of the split {split} ({self.title}) has no tokens; mend or drop it"
                )
        if parts := sum(len(one) > len(other) for one, other in zip(whole, targets, strict=True)):
            warnings.warn(
                f"{parts} of {len(rows):,} targets of the {split} split of {self.title} are cut to {self.max_length} "
                "tokens; raise --max-length",
                stacklevel=2,
            )
        return [{**source, "labels": labels} for source, labels in zip(sources, targets, strict=True)]

    @override
    def collate(self, split: str, indices: NDArray[np.int64]) -> tuple[Mapping[str, Tensor], Tensor]:
        examples = [self.encoded(split)[index] for index in indices]
        longest = max(len(one["labels"]) for one in examples)
        targets = torch.tensor([one["labels"] + [NOTHING] * (longest - len(one["labels"])) for one in examples])
        given = {
            "decoder_input_ids": self._shifted(targets, int(self.tokenizer.pad_token_id)),
            "decoder_attention_mask": (targets != NOTHING).long(),
        }
        return {**self.padded(examples), **given}, targets

    def _shifted(self, targets: Tensor, start: int) -> Tensor:
        """Input of a decoder, which begins with a token of its own, for targets [batch, tokens]."""
        ids = targets.where(targets != NOTHING, int(self.tokenizer.pad_token_id))
        return torch.cat((torch.full_like(ids[:, :1], start), ids[:, :-1]), 1)

    @functools.cached_property
    def width(self) -> int:
        """Tokens of the longest target, or that may be generated."""
        if self.generates:
            return self.max_length
        return max(len(one["labels"]) for split in self.splits for one in self.encoded(split))

    @override
    def references(self, split: str) -> Predictions:
        labels = [list(example["labels"]) for example in self.encoded(split)]
        return np.array([one + [NOTHING] * (self.width - len(one)) for one in labels], dtype=np.int64)

    @override
    def guess(self, split: str) -> Predictions:
        if self.generates:
            texts, number = np.unique(self.references("train"), axis=0, return_counts=True)
            return np.tile(texts[number.argmax()], (self.size(split), 1))
        tokens = np.concatenate([example["labels"] for example in self.encoded("train")])
        return np.where(self.references(split) == NOTHING, NOTHING, np.bincount(tokens).argmax())

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        config: Any = model.config
        begun = self._shifted(batch.targets, int(config.decoder_start_token_id))
        logits: Tensor = model(**{**batch.inputs, "decoder_input_ids": begun}, use_cache=False).logits.float()
        there = batch.targets != NOTHING
        losses = nn.functional.cross_entropy(logits.transpose(1, 2), batch.targets, reduction="none")
        # What is written while a model is trained is asked for by nobody.
        written = self.generates and not model.training
        found = self._written(model, batch) if written else logits.argmax(-1).where(there, NOTHING)
        padded = nn.functional.pad(found, (0, self.width - found.shape[1]), value=NOTHING)
        return Output(losses.sum(1) / there.sum(1), padded)

    def _written(self, model: nn.Module, batch: Batch) -> Tensor:
        """Tokens that the model writes for a batch, up to and with the end token, greedily, [batch, tokens]."""
        generate: Any = getattr(model, "generate")  # noqa: B009  # of any model that transformers has for texts
        config: Any = model.config
        own = self.tokenizer.eos_token_id
        end = int(config.eos_token_id if own is None else own)
        # Whatever else the model's own configuration asks for, as beams and penalties, would hide how it writes.
        plain = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=self.width,
            eos_token_id=end,
            pad_token_id=int(self.tokenizer.pad_token_id),
            decoder_start_token_id=int(config.decoder_start_token_id),
        )
        inputs = {name: tensor for name, tensor in batch.inputs.items() if not name.startswith("decoder_")}
        found: Tensor = generate(**inputs, generation_config=plain)[:, 1:]
        ends = found == end
        return found.where(ends.cumsum(1) - ends.long() == 0, NOTHING)


def _text(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True))
