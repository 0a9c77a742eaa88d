"""Run of one seed: fine-tune, search, draw controls, score, retrain, shrink; each result is published whole."""

import dataclasses
import shutil
import time
from pathlib import Path

from torch import nn

from tombola.checkpoints.checkpoint import save_shrunk
from tombola.foundations.atomic_files import publish
from tombola.foundations.progress import Progress
from tombola.profiling.model_cost import compare
from tombola.pruning import controls
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.search.loop import search_ticket
from tombola.pruning.search.records import GOOD, Search
from tombola.study.folder_layout import COST, EVALUATION, SAVED, SEARCH_EVALUATION, TEXT_GENERATION
from tombola.study.results import NOTHING
from tombola.study.seed_context import SeedContext
from tombola.study.step import warn_on_failure
from tombola.subnetworks.subnetwork import Subnetwork, expanded, shrunk, whole
from tombola.tickets.site_groups import site_groups_of
from tombola.tickets.ticket import Ticket
from tombola.training.loop import train

_LARGE = 50_000_000
"""Prunable weights from which a model is timed once only: a pass takes seconds then, which a disturbance does not."""


class SeedRun:
    """Run of one seed: every method computes a result from what others published, and publishes it.

    Args:
        context: of that seed.
    """

    def __init__(self, context: SeedContext) -> None:
        self._context = context
        self._setting = context.setting
        self._config = context.config
        self._seed_folder = context.seed_folder

    def majority(self, _: Progress) -> None:
        """Score guessing without a model."""
        task, started = self._setting.task, time.perf_counter()
        predictions = {split: task.baseline(split) for split in ("dev", *(split for split, _ in task.more.values()))}
        with publish(self._seed_folder.folder / "majority") as draft:
            self._context.write_row(draft, predictions, NOTHING, "none", "majority", "none", started)
            self._context.write_image_grid(draft, None)

    def full(self, progress: Progress) -> None:
        """Fine-tune the full model, unless it is judged as it comes, and score it."""
        setting, config, started = self._setting, self._config, time.perf_counter()
        if not setting.task.trained:
            with publish(self._seed_folder.full) as draft:
                self._score_full(draft, self._context.model(), started, progress)
            return
        rewinding = config.rewinding
        # The classical lottery ticket starts, and its reference trains, from the random initialisation.
        model = setting.task.load(config.model, seed=self._seed_folder.seed, state=rewinding.initial_state).to(
            setting.device
        )
        with publish(self._seed_folder.full) as draft:
            at_step = (rewinding.step, lambda m: rewinding.save_step(m, draft)) if rewinding.to == "step" else None
            train(
                model,
                setting.task,
                config.recipe,
                seed=self._seed_folder.seed,
                at_step=at_step,
                precision=setting.precision,
                progress=progress,
            )
            self._score_full(draft, model, started, progress)
            setting.task.save(model, draft)
        self._context.cache(model)

    def _score_full(self, draft: Path, model: nn.Module, started: float, progress: Progress) -> None:
        self._context.write_score(draft, whole(model), "full", "none", started, progress)
        if self._config.search_split == "train":
            evaluation = self._context.evaluate(whole(model), "search", progress, importance=True)
            evaluation.write(draft / SEARCH_EVALUATION)

    def search(self, method: str, progress: Progress) -> None:
        """Search for the good ticket of a method."""
        setting, config = self._setting, self._config
        # A killed search may have left a model that goes with no ticket.
        shutil.rmtree(self._seed_folder.updated(method), ignore_errors=True)
        on_dev = config.search_split == "dev"
        full = self._seed_folder.full / (EVALUATION if on_dev else SEARCH_EVALUATION)

        def again(ticket: Ticket) -> Subnetwork:
            return self._context.trained(ticket, progress)

        found = search_ticket(
            self._context.model(),
            self._context.task,
            method,
            options=config.search_options,
            evaluation=self._context.evaluation(config.searched, progress),
            full=Evaluation.read(full) if full.is_file() else None,
            retrain=again if config.iterative else None,
            seed=self._seed_folder.seed,
        )
        found = dataclasses.replace(found, good=self._context.with_provenance(found.good, "good", method))
        if found.model is not None:
            with publish(self._seed_folder.updated(method)) as draft:
                setting.task.save(found.model, draft)
        found.save(self._seed_folder.folder / method)
        if found.trained is not None:
            # The same weights that retraining would come to. A run that is killed just here retrains.
            started = time.perf_counter() - found.last.seconds
            known = dataclasses.replace(found.evaluation, importance=None) if found.evaluation and on_dev else None
            self.publish_retrained(method, "good", found.trained, started, progress, known)

    def control(self, method: str, name: str, _: Progress) -> None:
        """Draw a control of the good ticket's size."""
        found = Search.load(self._seed_folder.folder / method)
        groups = site_groups_of(self._setting.anatomy, method)
        if name == "bad":
            ticket = controls.bad(found, self._context.model())
        elif name == "random":
            ticket = controls.random(found.good, self._seed_folder.seed, groups, self._setting.anatomy)
        else:
            ticket = controls.random_layerwise(found.good, self._seed_folder.seed, groups)
        self._context.with_provenance(ticket, name, method).save(self._seed_folder.ticket(method, name))

    def pruned(self, method: str, name: str, progress: Progress) -> None:
        """Score a ticket as it is cut out of the full model."""
        started = time.perf_counter()
        folder = self._seed_folder.ticket(method, name)
        ticket = Ticket.load(folder)
        with publish(folder / "pruned") as draft:
            model = (self._context.updated(method) if name == "good" else None) or self._context.model()
            known = self._seen(method, ticket) if name == "good" else None
            self._context.write_score(draft, shrunk(model, ticket), name, "pruned", started, progress, known)

    def _seen(self, method: str, good: Ticket) -> Evaluation | None:
        """The evaluation of the good ticket that its search made already, if that is of the pruned model on dev."""
        path = self._seed_folder.folder / method / GOOD
        same = good.provenance.get("split") == "dev" and good.provenance.get("stage") == "pruned"
        return dataclasses.replace(Evaluation.read(path), importance=None) if same and path.is_file() else None

    def retrained(self, method: str, name: str, progress: Progress) -> None:
        """Train a ticket again, unless its search did, and score it."""
        started = time.perf_counter()
        folder = self._seed_folder.ticket(method, name)
        if (folder / "retrained").is_dir():
            # A search that trains between its cuts leaves it.
            return
        ticket = Ticket.load(folder)
        # Nothing is rewound where nothing was fine-tuned: what pruning made of the weights is what recovers.
        initial_model = self._context.updated(method) if name == "good" and not self._setting.task.trained else None
        self.publish_retrained(method, name, self._context.trained(ticket, progress, initial_model), started, progress)

    def publish_retrained(
        self,
        method: str,
        name: str,
        subnetwork: Subnetwork,
        started: float,
        progress: Progress,
        known: Evaluation | None = None,
    ) -> None:
        """Score a ticket that was trained again; `known` is its evaluation on dev."""
        with publish(self._seed_folder.ticket(method, name) / "retrained") as draft:
            self._context.write_score(draft, subnetwork, name, "retrained", started, progress, known)
            if name in SAVED[self._setting.save]:
                self._setting.task.save(expanded(subnetwork), draft)
            if "text-generation" in self._config.analyses:
                # Now that it is here: of most tickets no model is saved.
                with warn_on_failure(f"what the retrained {name} ticket writes was left out"):
                    self._context.generate_texts(subnetwork.model).write(draft / TEXT_GENERATION)

    def shrunk(self, method: str, _: Progress) -> None:
        """Write the good ticket, retrained, as a model that really is smaller."""
        good = self._seed_folder.ticket(method, "good")
        with warn_on_failure("the good ticket was not written as a smaller model"):
            save_shrunk(
                self._context.good_model(method), Ticket.load(good), good / "shrunk", tokenizer=self._tokenizer(good)
            )

    def _tokenizer(self, good: Path) -> str:
        return str(good / "retrained") if self._config.retrains else self._config.model

    def measured(self, method: str, _: Progress) -> None:
        """Time the good ticket's model dense, masked and shrunk."""
        good = self._seed_folder.ticket(method, "good")
        with warn_on_failure("the smaller model was not timed"):
            model = self._context.good_model(method).to(self._setting.device)
            small = self._setting.anatomy.weights < _LARGE
            costs = compare(
                model,
                Ticket.load(good),
                folder=good / "shrunk",
                length=self._config.max_length,
                repeats=3 if small else 1,
                activations=small,
            )
            costs.write(good / COST)
