"""Session: an opened task, the settings around it, and the device where models run."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import nn

from tombola.foundations.precision import Precision, resolve_precision
from tombola.foundations.progress import Progress, ProgressBars, ProgressLine
from tombola.metrics import statistics
from tombola.profiling import denoiser_memory
from tombola.profiling.denoiser_memory import Work
from tombola.pruning.evaluation import Evaluation, EvaluationOptions
from tombola.study.config import StudyConfig
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tasks.base import Task
from tombola.tasks.capabilities import GeneratesImages
from tombola.tickets.ticket import Ticket


@dataclass(frozen=True)
class Session:
    """An opened task, the settings around it, resolved for this machine, and the device where models run.

    Attributes:
        opened: gives the task whenever it is asked for, so that nobody holds one that was closed.
    """

    config: StudyConfig
    opened: Callable[[], Task]
    device: torch.device

    @classmethod
    def open(cls, config: StudyConfig) -> Self:
        """Open the task that a configuration names.

        Raises:
            TombolaError: the device, the data or the tokenizer is at fault.
        """
        config, device = config.resolved()
        task = config.open_task()
        return cls(config, lambda: task, device)

    @property
    def task(self) -> Task:
        """The task."""
        return self.opened()

    @property
    def precision(self) -> Precision:
        """Precision of forward passes."""
        return resolve_precision(self.config.precision, self.device)

    def load_subnetwork(self, ticket: Ticket | None = None) -> Subnetwork:
        """The model to be scored: fine-tuned, whole or under a ticket, or a denoiser that was shrunk already.

        Raises:
            TombolaError: the ticket is for another model, or for one that has one already.
        """
        found = self.task.load_subnetwork(self.config.model, ticket)
        found.model.to(self.device)
        self.check_memory(found.model, "sampling")
        return found

    def check_memory(self, model: nn.Module, *works: Work) -> None:
        """Warn where the passes of a model that draws images may not fit into memory.

        Raises:
            TombolaError: they cannot fit.
        """
        if isinstance(self.task, GeneratesImages):
            training, evaluation = self.config.recipe.batch_size, self.config.eval_batch_size
            size = max(self.task.seen[1:])
            denoiser_memory.check(model, works, training=training, evaluation=evaluation, size=size)

    def evaluation(self, progress: Progress, split: str = "dev", *, importance: bool = False) -> EvaluationOptions:
        """Options of a pass over a split; with `importance`, of one that ranks sites too."""
        config = self.config
        found = EvaluationOptions(split, config.eval_batch_size, self.precision, progress)
        return replace(found, importance=config.search.importance) if importance else found

    def score_entry(self, found: Evaluation, seed: int, task: Task | None = None) -> dict[str, Any]:
        """The score of an evaluation on dev with its interval, as JSON values; `task` is relative to a full model.

        Examples are drawn again with the seed of the model's row, for the same interval as there. Outputs that mean
        something else than the labels are warned of.
        """
        task = task or self.task
        metric, references = task.metric, task.references("dev")
        resamples = self.config.bootstrap_resamples
        low, high = statistics.interval(metric, found.predictions, references, seed=seed, resamples=resamples)
        if (why := task.misread(found.predictions, "dev")) is not None:
            warnings.warn(why, stacklevel=2)
        return {
            "metric": metric.name,
            "higher_is_better": metric.higher_is_better,
            "score": found.score,
            "score_low": low,
            "score_high": high,
            "chance": metric.chance(references),
            "n": len(references),
            "precision": self.precision,
        }

    @contextlib.contextmanager
    def bars(self, what: str, cost: float, weight: float = 1.0) -> Iterator[Progress]:
        """Progress bars of a job of one step, whose examples cost `weight` each."""
        with ProgressBars("tombola", cost) as bars:
            line = ProgressLine(bars)
            with line.step(what, cost=cost, weight=weight):
                yield line
