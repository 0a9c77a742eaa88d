"""A regime that Tombola does not bring: a small network that learns to add numbers."""

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification
from typing_extensions import override

from tombola.foundations.errors import TombolaError
from tombola.foundations.settings import NotNegative, described, settings
from tombola.metrics.scores import metric
from tombola.tasks.base import Batch, Output, Predictions, State, Task
from tombola.tasks.regime import Regime, RegimeSettings, TaskOptions

TERMS, HIDDEN = 4, 16
_setting = described("numbers")


class SumTask(Task):
    """Numbers in, their sum out, judged by Pearson's correlation."""

    def __init__(self, train_rows: int, dev_rows: int, noise: float) -> None:
        self.name, self.title, self.metric, self.more = "sums", "Sums of numbers", metric("pearson"), {}
        draw = np.random.default_rng(0)
        self._rows: dict[str, tuple[NDArray[np.float32], NDArray[np.float64]]] = {}
        for split, count in (("train", train_rows), ("dev", dev_rows)):
            numbers = draw.normal(size=(count, TERMS)).astype(np.float32)
            sums = numbers.sum(1, dtype=np.float64) + noise * draw.normal(size=count)
            self._rows[split] = (numbers, sums)

    @override
    def load(self, source: str, *, seed: int, state: State = "pretrained") -> nn.Module:
        if state == "trained":
            found = BertForSequenceClassification.from_pretrained(source)
            assert isinstance(found, nn.Module)
            return found
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            config = BertConfig(
                vocab_size=8,
                hidden_size=HIDDEN,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=32,
                max_position_embeddings=8,
                initializer_range=0.2,
            )
            config.num_labels = 1
            return BertForSequenceClassification(config)

    @override
    def save(self, model: nn.Module, folder: Path) -> None:
        assert isinstance(model, BertForSequenceClassification)
        model.save_pretrained(folder)

    @override
    def size(self, split: str) -> int:
        return len(self._rows[split][1])

    @override
    def references(self, split: str) -> Predictions:
        return self._rows[split][1]

    @override
    def batches(self, split: str, batch_size: int, *, shuffle: int | None = None) -> Iterator[Batch]:
        numbers, sums = self._rows[split]
        order = np.arange(len(sums)) if shuffle is None else np.random.default_rng(shuffle).permutation(len(sums))
        for first in range(0, len(order), batch_size):
            some = order[first : first + batch_size]
            targets = torch.tensor(sums[some], dtype=torch.float32)
            yield Batch(some, {"numbers": torch.tensor(numbers[some])}, targets)

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        # Every number stands in the direction that the model's width begins with.
        embeds = nn.functional.pad(batch.inputs["numbers"][:, :, None], (0, HIDDEN - 1))
        found: Tensor = model(inputs_embeds=embeds).logits[:, 0].float()
        return Output((found - batch.targets).square(), found)

    @override
    def guess(self, split: str) -> Predictions:
        return np.full(self.size(split), self._rows["train"][1].mean())


@settings
class SumSettings(RegimeSettings):
    """Noise on the sums."""

    noise: Annotated[NotNegative, _setting("standard deviation of what is added to every sum")] = 0.1


class SumRegime(Regime):
    """Small networks that add numbers."""

    name = "numbers"
    subject = "networks that add numbers"
    judges = "sums"
    presets = MappingProxyType(
        {
            "sums": {
                "quick": {
                    **{"model": "adder", "train_rows": 256, "dev_rows": 128, "epochs": 6, "learning_rate": 1e-2},
                    **{"batch_size": 16, "analyses": ("survivors",), "precision": "fp32", "bootstrap_resamples": 100},
                    **{"heads_step": 0.25, "weights_step": 0.3},
                },
                "paper": {"model": "adder"},
            }
        }
    )
    settings = SumSettings
    group = "numbers"
    unfit = MappingProxyType({"attention": "attention patterns are of texts"})

    @override
    def check(self, options: TaskOptions, own: SumSettings) -> None:
        if own.noise > 1:
            raise TombolaError(f"noise must be at most 1, as more drowns the sums, not {own.noise}")

    @override
    def open(self, options: TaskOptions, own: SumSettings, name: str) -> Task:
        return SumTask(options.train_rows or 1024, options.dev_rows or 256, own.noise)


REGIME = SumRegime()


def settings_of(**more: Any) -> dict[str, Any]:
    """Settings of a small study of sums."""
    return {"task": "sums", "device": "cpu", **more}
