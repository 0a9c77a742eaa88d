"""The steps of one seed of a study: each is found done, or computes its result and publishes it whole."""

import dataclasses
import functools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from tombola.checkpoints.checkpoint import save_shrunk
from tombola.foundations.atomic_files import publish, write_bytes, write_json
from tombola.foundations.progress import Progress
from tombola.profiling.model_cost import compare
from tombola.pruning import controls
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.search import GOOD, Search, search_ticket
from tombola.study.folder_layout import COST, EVALUATION, PICTURE, SAVED, SEARCH_EVALUATION, WRITING
from tombola.study.results import NOTHING
from tombola.study.seed_context import Workbench
from tombola.study.step import (
    IMPORTANCE_COST,
    SHRINKING_COST,
    TIMING_COST,
    TRAINING_COST,
    Step,
    search_cost,
    search_weight,
    spared,
)
from tombola.subnetworks.subnetwork import Subnetwork, expanded, shrunk, whole
from tombola.tickets.pruning_methods import in_words, way
from tombola.tickets.site_groups import members_of
from tombola.tickets.ticket import Ticket
from tombola.training.loop import train

_LARGE = 50_000_000
"""Prunable weights from which a model is timed once only: a pass takes seconds then, which a disturbance does not."""


class SeedSteps:
    """Fine-tune, search, draw controls, score, retrain and shrink for one seed.

    Args:
        bench: of that seed.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._setting = bench.setting
        self._config = bench.config
        self._cell = bench.cell

    def steps(self) -> Iterator[Step]:
        """All steps in order; later ones read what earlier ones published."""
        task, cell = self._setting.task, self._cell
        train_cost = TRAINING_COST * self._config.epochs * task.size("train") if self._config.retrains else 0.0
        dev, searched = task.size("dev") * task.passes, task.size(self._config.searched) * task.passes
        step = functools.partial(Step.of, self._bench)
        yield step("majority baseline", cell.folder / "majority", (), 1, self._majority)
        if task.trained:
            cost = train_cost + dev * IMPORTANCE_COST
            yield step("fine-tune the full model", cell.full, (), cost, self._full, TRAINING_COST)
        else:
            yield step("score the full model", cell.full, (), dev * IMPORTANCE_COST, self._full)
        for pruning in self._config.prunings:
            name = in_words(pruning)
            cost = search_cost(pruning, searched)
            weights = way(pruning).pruning == "weights"
            trains = self._config.iterative and (not weights or way(pruning).iterative)
            if trains:
                cuts = len(self._config.sparsities) if weights else 0
                cost += (cuts or search_cost(pruning, 1)) * train_cost
            yield step(
                f"search {name}",
                cell.ticket(pruning, "good"),
                (cell.full,),
                cost,
                functools.partial(self._search, pruning),
                TRAINING_COST if trains else search_weight(pruning) * task.passes,
            )
            tickets = ("good", *self._config.controls_of(pruning))
            for control in tickets[1:]:
                draw = functools.partial(self._control, pruning, control)
                found = (cell.ticket(pruning, "good"),)
                yield step(f"draw {control} {name}", cell.ticket(pruning, control), found, 1, draw)
            for ticket in tickets:
                pruned = functools.partial(self._pruned, pruning, ticket)
                drawn = cell.ticket(pruning, ticket)
                yield step(f"score {ticket} {name}", drawn / "pruned", (drawn,), dev, pruned, task.passes)
            for ticket in tickets if self._config.retrains else ():
                again = functools.partial(self._retrained, pruning, ticket)
                drawn = cell.ticket(pruning, ticket)
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
                    cost / (self._config.epochs * task.size("train")),
                )
            if "good" in SAVED[self._setting.save]:
                home = cell.ticket(pruning, "good")
                smaller = functools.partial(self._shrunk, pruning)
                small = home / "shrunk"
                model = home / "retrained" if self._config.retrains else home
                yield step(f"shrink good {name}", small, (model,), SHRINKING_COST, smaller)
                if not weights:
                    measure = functools.partial(self._measured, pruning)
                    yield step(f"time good {name}", home / COST, (small,), TIMING_COST, measure, alone=True)

    def _majority(self, _: Progress) -> None:
        task, started = self._setting.task, time.perf_counter()
        predictions = {split: task.baseline(split) for split in ("dev", *(split for split, _ in task.more.values()))}
        with publish(self._cell.folder / "majority") as draft:
            self._bench.write_row(draft, predictions, NOTHING, "none", "majority", "none", started)
            if (picture := task.picture(None)) is not None:
                write_bytes(draft / PICTURE, picture)

    def _full(self, progress: Progress) -> None:
        setting, config, started = self._setting, self._config, time.perf_counter()
        if not setting.task.trained:
            with publish(self._cell.full) as draft:
                self._score_full(draft, self._bench.model(), started, progress)
            return
        rewinding = config.rewinding
        # The classical lottery ticket starts, and its reference trains, from the random initialisation.
        model = setting.task.load(config.model, seed=self._cell.seed, state=rewinding.initial_state).to(setting.device)
        with publish(self._cell.full) as draft:
            at_step = (rewinding.step, lambda m: rewinding.save_step(m, draft)) if rewinding.to == "step" else None
            train(
                model,
                setting.task,
                config.recipe,
                seed=self._cell.seed,
                at_step=at_step,
                precision=setting.precision,
                progress=progress,
            )
            self._score_full(draft, model, started, progress)
            setting.task.save(model, draft)
        self._bench.keep(model)

    def _score_full(self, draft: Path, model: nn.Module, started: float, progress: Progress) -> None:
        self._bench.write_score(draft, whole(model), "full", "none", started, progress)
        if self._config.search_split == "train":
            evaluation = self._bench.evaluate(whole(model), "search", progress, importance=True)
            evaluation.write(draft / SEARCH_EVALUATION)

    def _search(self, pruning: str, progress: Progress) -> None:
        setting, config = self._setting, self._config
        # A killed search may have left a model that goes with no ticket.
        shutil.rmtree(self._cell.updated(pruning), ignore_errors=True)
        on_dev = config.search_split == "dev"

        def again(ticket: Ticket) -> Subnetwork:
            return self._bench.trained(ticket, progress)

        found = search_ticket(
            self._bench.model(),
            self._bench.task,
            pruning,
            options=config.search_options,
            split=config.searched,
            full=Evaluation.read(self._cell.full / (EVALUATION if on_dev else SEARCH_EVALUATION)),
            retrain=again if config.iterative else None,
            normalise_layers=config.normalise_layers,
            calibrate=functools.partial(
                setting.task.calibration_text, config.calibration_samples, config.sequence_length, self._cell.seed
            ),
            seed=self._cell.seed,
            batch_size=config.eval_batch_size,
            precision=setting.precision,
            progress=progress,
        )
        found = dataclasses.replace(found, good=self._bench.signed(found.good, "good", pruning))
        if found.model is not None:
            with publish(self._cell.updated(pruning)) as draft:
                setting.task.save(found.model, draft)
        found.save(self._cell.folder / pruning)
        if found.trained is not None:
            # The same weights that retraining would come to. A run that is killed just here retrains.
            started = time.perf_counter() - found.last.seconds
            known = dataclasses.replace(found.evaluation, importance=None) if found.evaluation and on_dev else None
            self._publish_retrained(pruning, "good", found.trained, started, progress, known)

    def _control(self, pruning: str, name: str, _: Progress) -> None:
        found = Search.load(self._cell.folder / pruning)
        units = members_of(self._setting.anatomy, pruning)
        if name == "bad":
            ticket = controls.bad(found, self._bench.model())
        elif name == "random":
            ticket = controls.random(found.good, self._cell.seed, units, self._setting.anatomy)
        else:
            ticket = controls.random_layerwise(found.good, self._cell.seed, units)
        self._bench.signed(ticket, name, pruning).save(self._cell.ticket(pruning, name))

    def _pruned(self, pruning: str, name: str, progress: Progress) -> None:
        started = time.perf_counter()
        folder = self._cell.ticket(pruning, name)
        ticket = Ticket.load(folder)
        with publish(folder / "pruned") as draft:
            model = (self._bench.updated(pruning) if name == "good" else None) or self._bench.model()
            known = self._seen(pruning, ticket) if name == "good" else None
            self._bench.write_score(draft, shrunk(model, ticket), name, "pruned", started, progress, known)

    def _seen(self, pruning: str, good: Ticket) -> Evaluation | None:
        """The evaluation of the good ticket that its search made already, if that is of the pruned model on dev."""
        path = self._cell.folder / pruning / GOOD
        same = good.provenance.get("split") == "dev" and good.provenance.get("stage") == "pruned"
        return dataclasses.replace(Evaluation.read(path), importance=None) if same and path.is_file() else None

    def _retrained(self, pruning: str, name: str, progress: Progress) -> None:
        started = time.perf_counter()
        folder = self._cell.ticket(pruning, name)
        if (folder / "retrained").is_dir():
            # A search that trains between its cuts leaves it.
            return
        ticket = Ticket.load(folder)
        # Nothing is rewound where nothing was fine-tuned: what pruning made of the weights is what recovers.
        initial_model = self._bench.updated(pruning) if name == "good" and not self._setting.task.trained else None
        self._publish_retrained(pruning, name, self._bench.trained(ticket, progress, initial_model), started, progress)

    def _publish_retrained(
        self,
        pruning: str,
        name: str,
        subnetwork: Subnetwork,
        started: float,
        progress: Progress,
        known: Evaluation | None = None,
    ) -> None:
        with publish(self._cell.ticket(pruning, name) / "retrained") as draft:
            self._bench.write_score(draft, subnetwork, name, "retrained", started, progress, known)
            if name in SAVED[self._setting.save]:
                self._setting.task.save(expanded(subnetwork), draft)
            if "writing" in self._config.analyses:
                # Now that it is here: of most tickets no model is saved.
                with spared(f"what the retrained {name} ticket writes was left out"):
                    self._bench.writing(subnetwork.model).write(draft / WRITING)

    def _shrunk(self, pruning: str, _: Progress) -> None:
        """The good ticket, retrained, as a model that really is smaller."""
        good = self._cell.ticket(pruning, "good")
        with spared("the good ticket was not written as a smaller model"):
            save_shrunk(
                self._bench.winner(pruning), Ticket.load(good), good / "shrunk", tokenizer=self._tokenizer(good)
            )

    def _tokenizer(self, good: Path) -> str:
        return str(good / "retrained") if self._config.retrains else self._config.model

    def _measured(self, pruning: str, _: Progress) -> None:
        good = self._cell.ticket(pruning, "good")
        with spared("the smaller model was not timed"):
            model = self._bench.winner(pruning).to(self._setting.device)
            small = self._setting.anatomy.weights < _LARGE
            costs = compare(
                model,
                Ticket.load(good),
                folder=good / "shrunk",
                length=self._config.max_length,
                repeats=3 if small else 1,
                activations=small,
            )
            write_json(good / COST, costs.entry())
