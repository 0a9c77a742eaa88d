"""What one step of the command line needs: a task, a model, and where they run."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

from tombola.anatomy import dissect
from tombola.cell import SEARCH_PASSES, TRAINING_COST
from tombola.config import StudyConfig
from tombola.precision import Precision, resolve_device, resolve_precision
from tombola.progress import Bars
from tombola.tasks.base import Task
from tombola.tasks.catalog import open_task
from tombola.ticket import Pruning


@dataclass(frozen=True)
class Pipeline:
    """An opened task and the settings around it."""

    config: StudyConfig
    task: Task
    device: torch.device
    precision: Precision

    @classmethod
    def open(cls, settings: Mapping[str, Any], preset: str | None, device: str) -> Self:
        """Open the task that the settings name.

        Raises:
            TombolaError: a setting, the device, the data or the tokenizer is at fault.
        """
        config = StudyConfig.of(preset or "quick", **settings)
        found = resolve_device(device)
        return cls(config, open_task(config), found, resolve_precision(config.precision, found))

    def trained(self) -> nn.Module:
        """The fine-tuned model, checked to be of a known architecture."""
        model = self.task.load(self.config.model, seed=0, state="trained").to(self.device)
        dissect(model)
        return model

    def training_cost(self) -> float:
        """Expected cost of one training, in forward passes of one example."""
        return TRAINING_COST * self.config.epochs * self.task.size("train") + self.task.size("dev")

    def search_cost(self, pruning: Pruning) -> float:
        """Expected cost of one search, in forward passes of one example."""
        return SEARCH_PASSES[pruning] * self.task.size("search")

    @contextlib.contextmanager
    def bars(self, what: str, cost: float, weight: float = 1.0) -> Iterator[Bars]:
        """Progress bars of a job of one step, whose examples cost `weight` each."""
        with Bars("tombola", cost) as bars, bars.step(what, cost=cost, weight=weight):
            yield bars
