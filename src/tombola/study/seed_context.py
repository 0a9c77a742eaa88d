"""Context of a seed's steps: the task, the seed's models, and how they are trained, scored and recorded."""

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.parameters import count_parameters
from tombola.foundations.atomic_files import write_bytes, write_json
from tombola.foundations.errors import TombolaError
from tombola.foundations.precision import Precision
from tombola.foundations.progress import Progress
from tombola.metrics import statistics
from tombola.pruning.evaluation import Evaluation, EvaluationOptions, evaluate
from tombola.study.config import StudyConfig
from tombola.study.folder_layout import EVALUATION, IMAGE_GRID, SeedFolder
from tombola.study.results import Row, Size
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tasks.base import Predictions, Task
from tombola.tasks.capabilities import GeneratedTexts, GeneratesImages, GeneratesTexts, GenerationSettings
from tombola.tickets.ticket import Ticket
from tombola.training.loop import retrain


@dataclass(frozen=True)
class Setting:
    """Setting that all seeds of a study share.

    Attributes:
        config: what is studied, with its precision resolved.
        task: the task.
        anatomy: of the whole model.
        device: where models run.
        precision: of forward passes.
        save: which retrained models are written: `none`, `good` or `all`.
        study: name of the study, for provenance.
        seeds: number of seeds that run together.
    """

    config: StudyConfig
    task: Task
    anatomy: Anatomy
    device: torch.device
    precision: Precision
    save: str
    study: str
    seeds: int


class SeedContext:
    """Context in which one seed's models are opened, trained, scored and recorded.

    Args:
        setting: what all seeds share.
        seed_folder: the seed's folder.
    """

    def __init__(self, setting: Setting, seed_folder: SeedFolder) -> None:
        self.setting = setting
        self.config = setting.config
        self.seed_folder = seed_folder
        self._cached: nn.Module | None = None
        self._task: Task | None = None

    @property
    def task(self) -> Task:
        """The task, as it judges what is made of this seed's full model, once there is one."""
        if self._task is None and (self.seed_folder.full / EVALUATION).is_file():
            self._task = self.setting.task.with_full_model(
                Evaluation.read(self.seed_folder.full / EVALUATION).predictions
            )
        return self._task or self.setting.task

    def good_model(self, method: str) -> nn.Module:
        """The good ticket's model, in the original's shapes: retrained, where tickets are and the study saved it."""
        good = self.seed_folder.ticket(method, "good")
        if not self.config.retrains:
            return self.updated(method) or self.model()
        folder = good / "retrained"
        return self.setting.task.load(str(folder), seed=self.seed_folder.seed, state="trained")

    def updated(self, method: str) -> nn.Module | None:
        """The good ticket's model, where its method changed the weights that survive."""
        folder = self.seed_folder.updated(method)
        if not folder.is_dir():
            return None
        model = self.setting.task.load(str(folder), seed=self.seed_folder.seed, state="trained")
        return model.to(self.setting.device)

    def trained(self, ticket: Ticket, progress: Progress, initial_model: nn.Module | None = None) -> Subnetwork:
        """The ticket, rewound (or as it is in `initial_model`) and trained with the study's recipe and this seed."""
        setting, config = self.setting, self.config
        model = initial_model or config.rewinding.load(
            setting.task, config.model, seed=self.seed_folder.seed, full=self.seed_folder.full
        )
        return retrain(
            model.to(setting.device),
            ticket,
            setting.task,
            config.recipe,
            seed=self.seed_folder.seed,
            first_step=config.rewinding.step,
            low_rank=config.low_rank,
            precision=setting.precision,
            progress=progress,
        )

    def model(self) -> nn.Module:
        """The fine-tuned full model; kept for the steps of this seed."""
        if self._cached is None:
            if not self.setting.task.trained:
                # Judged as it comes: there is no other copy of it.
                model = self.setting.task.load(self.config.model, seed=self.seed_folder.seed)
                self._cached = model.to(self.setting.device)
                return self._cached
            full = self.seed_folder.full
            try:
                model = self.setting.task.load(str(full), seed=self.seed_folder.seed, state="trained")
            except (TombolaError, SafetensorError) as error:
                reason = str(error.__cause__ or error).splitlines()[0]
                raise TombolaError(f"{full} is damaged ({reason}); delete it and start again") from error
            self._cached = model.to(self.setting.device)
        return self._cached

    def cache(self, model: nn.Module) -> None:
        """Cache the fine-tuned full model, so that it is not read again."""
        self._cached = model

    def release(self) -> None:
        """Release the cached full model: another seed's takes its place in memory."""
        self._cached = None

    def evaluate(
        self, subnetwork: Subnetwork, split: str, progress: Progress, *, importance: bool = False
    ) -> Evaluation:
        """Evaluate a subnetwork on a split, in the study's precision."""
        return evaluate(subnetwork, self.task, self.evaluation(split, progress), importance=importance)

    def evaluation(self, split: str, progress: Progress) -> EvaluationOptions:
        """Options of the study's passes over a split."""
        return EvaluationOptions(split, self.config.eval_batch_size, self.setting.precision, progress)

    @property
    def generation_settings(self) -> GenerationSettings:
        """Settings with which this seed's models generate text."""
        return GenerationSettings(seed=self.seed_folder.seed)

    def generate_texts(self, model: nn.Module) -> GeneratedTexts:
        """Generate texts with a model; the full one gives their perplexity."""
        task = self.task
        if not isinstance(task, GeneratesTexts):
            raise TombolaError(f"models of {task.title} do not write; only causal language models do")
        return task.generate_texts(model, self.model(), self.generation_settings)

    def with_provenance(self, ticket: Ticket, name: str, method: str) -> Ticket:
        """The ticket with where it comes from: method, task, model, seed and study."""
        return ticket.with_provenance(
            ticket=name,
            method=method,
            task=self.config.task_name,
            model=self.config.model,
            seed=self.seed_folder.seed,
            study=self.setting.study,
        )

    def write_score(
        self,
        draft: Path,
        subnetwork: Subnetwork,
        name: str,
        stage: str,
        started: float,
        progress: Progress,
        known: Evaluation | None = None,
    ) -> None:
        """Evaluate on the splits that judge, and write the row and what is behind it; `known` is on dev."""
        setting, ticket = self.setting, subnetwork.ticket
        task = self.task
        # The full model's pass is also the first iteration of both searches.
        shared = name == "full" and self.config.search_split == "dev"
        evaluation = known or self.evaluate(subnetwork, "dev", progress, importance=shared)
        if name == "full":
            # Only now is it known what there is to lose.
            task = self._task = task.with_full_model(evaluation.predictions)
            evaluation = replace(evaluation, score=task.metric.score(evaluation.predictions, task.references("dev")))
        evaluation.write(draft / EVALUATION)
        predictions = {"dev": evaluation.predictions}
        for split in {split for split, _ in task.more.values()} - {"dev"}:
            predictions[split] = self.evaluate(subnetwork, split, progress).predictions
        survivors = ticket.survivors(setting.anatomy)
        zeros = setting.anatomy.weights - survivors["weights"] if ticket.kind == "weights" else 0
        size = Size(
            **survivors,
            sparsity=ticket.sparsity(setting.anatomy),
            parameters=count_parameters(subnetwork.model) - zeros,
            bytes=sum(parameter.numel() * parameter.element_size() for parameter in subnetwork.model.parameters()),
        )
        method = "none" if name == "full" else ticket.method
        loss = float(evaluation.losses.mean(dtype=np.float64))
        self.write_image_grid(draft, subnetwork.model)
        self.write_row(draft, predictions, size, method, name, stage, started, loss)

    def write_image_grid(self, draft: Path, model: nn.Module | None) -> None:
        """Write what a model draws into a draft, where models of the task draw; None for what it is compared with."""
        task = self.task
        if isinstance(task, GeneratesImages) and (grid := task.image_grid(model)) is not None:
            write_bytes(draft / IMAGE_GRID, grid)

    def write_row(
        self,
        draft: Path,
        predictions: Mapping[str, Predictions],
        size: Size,
        method: str,
        name: str,
        stage: str,
        started: float,
        loss: float | None = None,
    ) -> None:
        """Score predictions, with intervals, and write the row as `score.json` into a draft.

        Args:
            predictions: of `dev` and of every split that the task's further metrics name.
            loss: mean over `dev`.
        """
        seconds = time.perf_counter() - started
        task, config, seed = self.task, self.config, self.seed_folder.seed
        references, resamples = task.references("dev"), config.bootstrap_resamples
        low, high = statistics.interval(task.metric, predictions["dev"], references, seed=seed, resamples=resamples)
        row = Row(
            model=config.model,
            task=config.task_name,
            seed=seed,
            method=method,
            ticket=name,
            stage=stage,
            metric=task.metric.name,
            score=task.metric.score(predictions["dev"], references),
            score_low=low,
            score_high=high,
            n=len(references),
            **dataclasses.asdict(size),
            # JSON has no number for a model that is broken.
            loss=loss if loss is not None and math.isfinite(loss) else None,
            seconds=round(seconds, 3),
            more={
                what: metric.score(predictions[split], task.references(split))
                for what, (split, metric) in task.more.items()
            },
        )
        write_json(draft / "score.json", dataclasses.asdict(row))
