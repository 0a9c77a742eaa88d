"""Steps of one seed of a study: each is found done, or computes its result and publishes it whole."""

import dataclasses
import functools
import shutil
import time
from collections.abc import Iterator
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
from tombola.study.step import (
    IMPORTANCE_COST,
    SHRINKING_COST,
    TIMING_COST,
    TRAINING_COST,
    StudyStep,
    search_cost,
    search_weight,
    warn_on_failure,
)
from tombola.subnetworks.subnetwork import Subnetwork, expanded, shrunk, whole
from tombola.tickets.pruning_methods import in_words, pruning_method
from tombola.tickets.site_groups import site_groups_of
from tombola.tickets.ticket import Ticket
from tombola.training.loop import train

_LARGE = 50_000_000
"""Prunable weights from which a model is timed once only: a pass takes seconds then, which a disturbance does not."""


class SeedSteps:
    """Fine-tune, search, draw controls, score, retrain and shrink for one seed.

    Args:
        context: of that seed.
    """

    def __init__(self, context: SeedContext) -> None:
        self._context = context
        self._setting = context.setting
        self._config = context.config
        self._seed_folder = context.seed_folder

    def steps(self) -> Iterator[StudyStep]:
        """Steps in order; later ones read what earlier ones published."""
        task, seed_folder = self._setting.task, self._seed_folder
        train_cost = TRAINING_COST * self._config.recipe.epochs * task.size("train") if self._config.retrains else 0.0
        dev, searched = task.size("dev") * task.passes, task.size(self._config.searched) * task.passes
        step = functools.partial(StudyStep.of, self._context)
        yield step("majority baseline", seed_folder.folder / "majority", (), 1, self._majority)
        if task.trained:
            cost = train_cost + dev * IMPORTANCE_COST
            yield step("fine-tune the full model", seed_folder.full, (), cost, self._full, TRAINING_COST)
        else:
            yield step("score the full model", seed_folder.full, (), dev * IMPORTANCE_COST, self._full)
        for method in self._config.methods:
            name = in_words(method)
            cost = search_cost(method, searched)
            weights = pruning_method(method).kind == "weights"
            trains = self._config.iterative and (not weights or pruning_method(method).iterative)
            if trains:
                cuts = len(self._config.search.sparsities) if weights else 0
                cost += (cuts or search_cost(method, 1)) * train_cost
            yield step(
                f"search {name}",
                seed_folder.ticket(method, "good"),
                (seed_folder.full,),
                cost,
                functools.partial(self._search, method),
                TRAINING_COST if trains else search_weight(method) * task.passes,
            )
            tickets = ("good", *self._config.controls_of(method))
            for control in tickets[1:]:
                draw = functools.partial(self._control, method, control)
                found = (seed_folder.ticket(method, "good"),)
                yield step(f"draw {control} {name}", seed_folder.ticket(method, control), found, 1, draw)
            for ticket in tickets:
                pruned = functools.partial(self._pruned, method, ticket)
                drawn = seed_folder.ticket(method, ticket)
                yield step(f"score {ticket} {name}", drawn / "pruned", (drawn,), dev, pruned, task.passes)
            for ticket in tickets if self._config.retrains else ():
                again = functools.partial(self._retrained, method, ticket)
                drawn = seed_folder.ticket(method, ticket)
                # A shrunk network trains in about two thirds of the time.
                cost = (1.0 if weights else 0.65) * (train_cost + dev)
                if trains and ticket == "good":
                    # Its search has trained it.
                    cost = 1.0
                yield step(
                    f"retrain {ticket} {name}",
                    drawn / "retrained",
                    (drawn,),
                    cost,
                    again,
                    cost / (self._config.recipe.epochs * task.size("train")),
                )
            if "good" in SAVED[self._setting.save]:
                home = seed_folder.ticket(method, "good")
                smaller = functools.partial(self._shrunk, method)
                small = home / "shrunk"
                model = home / "retrained" if self._config.retrains else home
                yield step(f"shrink good {name}", small, (model,), SHRINKING_COST, smaller)
                if not weights:
                    measure = functools.partial(self._measured, method)
                    yield step(f"time good {name}", home / COST, (small,), TIMING_COST, measure, alone=True)

    def _majority(self, _: Progress) -> None:
        task, started = self._setting.task, time.perf_counter()
        predictions = {split: task.baseline(split) for split in ("dev", *(split for split, _ in task.more.values()))}
        with publish(self._seed_folder.folder / "majority") as draft:
            self._context.write_row(draft, predictions, NOTHING, "none", "majority", "none", started)
            self._context.write_image_grid(draft, None)

    def _full(self, progress: Progress) -> None:
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

    def _search(self, method: str, progress: Progress) -> None:
        setting, config = self._setting, self._config
        # A killed search may have left a model that goes with no ticket.
        shutil.rmtree(self._seed_folder.updated(method), ignore_errors=True)
        on_dev = config.search_split == "dev"

        def again(ticket: Ticket) -> Subnetwork:
            return self._context.trained(ticket, progress)

        found = search_ticket(
            self._context.model(),
            self._context.task,
            method,
            options=config.search_options,
            evaluation=self._context.evaluation(config.searched, progress),
            full=Evaluation.read(self._seed_folder.full / (EVALUATION if on_dev else SEARCH_EVALUATION)),
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
            self._publish_retrained(method, "good", found.trained, started, progress, known)

    def _control(self, method: str, name: str, _: Progress) -> None:
        found = Search.load(self._seed_folder.folder / method)
        groups = site_groups_of(self._setting.anatomy, method)
        if name == "bad":
            ticket = controls.bad(found, self._context.model())
        elif name == "random":
            ticket = controls.random(found.good, self._seed_folder.seed, groups, self._setting.anatomy)
        else:
            ticket = controls.random_layerwise(found.good, self._seed_folder.seed, groups)
        self._context.with_provenance(ticket, name, method).save(self._seed_folder.ticket(method, name))

    def _pruned(self, method: str, name: str, progress: Progress) -> None:
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

    def _retrained(self, method: str, name: str, progress: Progress) -> None:
        started = time.perf_counter()
        folder = self._seed_folder.ticket(method, name)
        if (folder / "retrained").is_dir():
            # A search that trains between its cuts leaves it.
            return
        ticket = Ticket.load(folder)
        # Nothing is rewound where nothing was fine-tuned: what pruning made of the weights is what recovers.
        initial_model = self._context.updated(method) if name == "good" and not self._setting.task.trained else None
        self._publish_retrained(method, name, self._context.trained(ticket, progress, initial_model), started, progress)

    def _publish_retrained(
        self,
        method: str,
        name: str,
        subnetwork: Subnetwork,
        started: float,
        progress: Progress,
        known: Evaluation | None = None,
    ) -> None:
        with publish(self._seed_folder.ticket(method, name) / "retrained") as draft:
            self._context.write_score(draft, subnetwork, name, "retrained", started, progress, known)
            if name in SAVED[self._setting.save]:
                self._setting.task.save(expanded(subnetwork), draft)
            if "text-generation" in self._config.analyses:
                # Now that it is here: of most tickets no model is saved.
                with warn_on_failure(f"what the retrained {name} ticket writes was left out"):
                    self._context.generate_texts(subnetwork.model).write(draft / TEXT_GENERATION)

    def _shrunk(self, method: str, _: Progress) -> None:
        """The good ticket, retrained, as a model that really is smaller."""
        good = self._seed_folder.ticket(method, "good")
        with warn_on_failure("the good ticket was not written as a smaller model"):
            save_shrunk(
                self._context.good_model(method), Ticket.load(good), good / "shrunk", tokenizer=self._tokenizer(good)
            )

    def _tokenizer(self, good: Path) -> str:
        return str(good / "retrained") if self._config.retrains else self._config.model

    def _measured(self, method: str, _: Progress) -> None:
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
