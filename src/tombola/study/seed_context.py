"""Context of a seed's steps: the task, the seed's models, and how they are trained, scored and recorded."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from torch import nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.parameters import count_parameters
from tombola.foundations.atomic_files import write_bytes, write_json
from tombola.foundations.errors import TombolaError
from tombola.foundations.launcher import shards_models
from tombola.foundations.progress import Progress
from tombola.metrics import statistics
from tombola.pruning.evaluation import Evaluation, evaluate
from tombola.study.folder_layout import EVALUATION, IMAGE_GRID, SCORE, SeedFolder
from tombola.study.results import Row, read_row
from tombola.study.session import Session
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tasks.base import Predictions, Task
from tombola.tasks.capabilities import GeneratedTexts, GeneratesImages, GeneratesTexts, GenerationSettings
from tombola.tickets.ticket import Ticket
from tombola.training.kept_training import TrainingFolder
from tombola.training.loop import retrain


@dataclass(frozen=True)
class Setting(Session):
    """Session that all seeds of a study share.

    Attributes:
        anatomy: of the whole model.
        save: which retrained models are written: `none`, `good` or `all`.
        study: its name, for provenance; the settings may change later.
    """

    anatomy: Anatomy
    save: str = "none"
    study: str = ""


class SeedContext:
    """Context in which one seed's models are opened, trained, scored and recorded."""

    def __init__(self, setting: Setting, seed_folder: SeedFolder) -> None:
        self.setting = setting
        self.config = setting.config
        self.seed_folder = seed_folder
        # Kept for the steps of this seed, so that it is not read again.
        self.full_model: nn.Module | None = None
        self._task: Task | None = None

    @property
    def task(self) -> Task:
        """The task, as it judges what is made of this seed's full model, once there is one."""
        path = self.seed_folder.full / EVALUATION
        if self._task is None and path.is_file():
            self._task = self.setting.task.with_full_model(Evaluation.read(path).predictions)
        return self._task or self.setting.task

    def release(self) -> None:
        """Let what is kept for the next steps leave the memory."""
        self.full_model = self._task = None

    def load(self, source: Path | str) -> nn.Module:
        """A trained model of this seed, on the study's device."""
        model = self.setting.task.load(str(source), seed=self.seed_folder.seed, state="trained")
        return model.to(self.setting.device)

    def good_model(self, method: str) -> nn.Module:
        """The good ticket's model, in the original's shapes: retrained, where tickets are and the study saved it."""
        if self.config.retrains:
            return self.load(self.seed_folder.ticket(method, "good") / "retrained")
        return self.updated(method) or self.model()

    def updated(self, method: str) -> nn.Module | None:
        """The good ticket's model, where its method changed the weights that survive."""
        folder = self.seed_folder.updated(method)
        return self.load(folder) if folder.is_dir() else None

    def trained(
        self, ticket: Ticket, progress: Progress, keep: TrainingFolder, initial_model: nn.Module | None = None
    ) -> Subnetwork:
        """The ticket, rewound (or as it is in `initial_model`) and trained with the study's recipe and this seed."""
        setting, config, seed = self.setting, self.config, self.seed_folder.seed
        model = initial_model or config.rewinding.load(
            setting.task, config.model, seed=seed, full=self.seed_folder.full
        )
        # Where the launcher spreads models, none has to hold all of it on its GPU, with its gradients and moments.
        part = retrain(
            model.to("cpu" if shards_models() else setting.device),
            ticket,
            setting.task,
            config.recipe,
            seed=seed,
            first_step=config.rewinding.step,
            low_rank=config.low_rank,
            precision=setting.precision,
            keep=keep,
            progress=progress,
        )
        part.model.to(setting.device)
        return part

    def model(self) -> nn.Module:
        """The fine-tuned full model."""
        if self.full_model is None and not self.setting.task.trained:
            # Judged as it comes: there is no other copy of it.
            model = self.setting.task.load(self.config.model, seed=self.seed_folder.seed)
            self.full_model = model.to(self.setting.device)
        elif self.full_model is None:
            full = self.seed_folder.full
            try:
                self.full_model = self.load(full)
            except (TombolaError, SafetensorError) as error:
                why = str(error.__cause__ or error).splitlines()[0]
                raise TombolaError(f"{full} is damaged ({why}); delete it and start again") from error
        return self.full_model

    def evaluate(
        self, subnetwork: Subnetwork, split: str, progress: Progress, *, importance: bool = False
    ) -> Evaluation:
        """Evaluate a subnetwork on a split, in the study's precision."""
        options = self.setting.evaluation(progress, split, importance=importance)
        return evaluate(subnetwork, self.task, options, importance=importance)

    def generate_texts(self, model: nn.Module) -> GeneratedTexts:
        """Generate texts with a model; the full one gives their perplexity."""
        task = self.task
        if not isinstance(task, GeneratesTexts):
            raise TombolaError(f"models of {task.title} write no texts; leave the analysis text-generation out")
        return task.generate_texts(model, self.model(), GenerationSettings(seed=self.seed_folder.seed))

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
        task = self.task
        # The full model's pass is also the first iteration of both searches.
        shared = name == "full" and self.config.search_split == "dev"
        evaluation = known or self.evaluate(subnetwork, "dev", progress, importance=shared)
        if name == "full":
            # Only now is it known what there is to lose.
            task = self._task = task.with_full_model(evaluation.predictions)
            evaluation = evaluation.scored_by(task)
        evaluation.write(draft / EVALUATION)
        predictions = {"dev": evaluation.predictions}
        for split in {split for split, _ in task.more.values()} - {"dev"}:
            predictions[split] = self.evaluate(subnetwork, split, progress).predictions
        loss = float(evaluation.losses.mean(dtype=np.float64))
        self.write_row(draft, predictions, subnetwork, name, stage, started, loss)
        progress.measured(0, {"dev score": evaluation.score})

    def write_row(
        self,
        draft: Path,
        predictions: Mapping[str, Predictions],
        subnetwork: Subnetwork | None,
        name: str,
        stage: str,
        started: float,
        loss: float | None = None,
    ) -> None:
        """Score predictions of `dev` and of the splits that further metrics name, and write the row into a draft.

        Beside it, what models draw, if they do. Guessing has no `subnetwork`; `loss` is the mean over `dev`.
        """
        # Who guesses is judged alike, whether there is a full model yet or not.
        task, config, seed = (
            (self.setting.task if subnetwork is None else self.task),
            self.config,
            self.seed_folder.seed,
        )
        model = None if subnetwork is None else subnetwork.model
        if isinstance(task, GeneratesImages) and (grid := task.image_grid(model)) is not None:
            write_bytes(draft / IMAGE_GRID, grid)
        seconds = time.perf_counter() - started
        references, resamples = task.references("dev"), config.bootstrap_resamples
        low, high = statistics.interval(task.metric, predictions["dev"], references, seed=seed, resamples=resamples)
        row = Row(
            model=config.model,
            task=config.task_name,
            seed=seed,
            method="none" if subnetwork is None or name == "full" else subnetwork.ticket.method,
            ticket=name,
            stage=stage,
            metric=task.metric.name,
            score=task.metric.score(predictions["dev"], references),
            score_low=low,
            score_high=high,
            n=len(references),
            **_size(subnetwork),
            # JSON has no number for a model that is broken.
            loss=loss if loss is not None and math.isfinite(loss) else None,
            seconds=round(seconds, 3),
            more={
                what: metric.score(predictions[split], task.references(split))
                for what, (split, metric) in task.more.items()
            },
        )
        write_json(draft / SCORE, asdict(row))

    def write_interval(self, place: Path) -> None:
        """Write the row of a scored model with the interval that the study's resamples give."""
        task, seed, found = self.task, self.seed_folder.seed, Evaluation.read(place / EVALUATION).predictions
        references, resamples = task.references("dev"), self.config.bootstrap_resamples
        low, high = statistics.interval(task.metric, found, references, seed=seed, resamples=resamples)
        write_json(place / SCORE, read_row(place) | {"score_low": low, "score_high": high})


def _size(subnetwork: Subnetwork | None) -> dict[str, Any]:
    """Size of a scored model, as its row has it; guessing without a model has none."""
    if subnetwork is None:
        return dict.fromkeys(("heads", "mlps", "neurons", "channels", "weights", "parameters", "bytes"), 0) | {
            "sparsity": 1.0
        }
    ticket, anatomy, parameters = subnetwork.ticket, subnetwork.anatomy, list(subnetwork.model.parameters())
    survivors = ticket.survivors(anatomy)
    zeros = anatomy.weights - survivors["weights"] if ticket.kind == "weights" else 0
    return {
        **survivors,
        "sparsity": ticket.sparsity(anatomy),
        "parameters": count_parameters(subnetwork.model) - zeros,
        "bytes": sum(parameter.numel() * parameter.element_size() for parameter in parameters),
    }
