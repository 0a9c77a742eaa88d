"""Steps of one seed of a study, and across seeds, with what they cost and what they need."""

import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tombola.analysis.agreement.comparison import compare
from tombola.analysis.agreement.survival import super_survivor_controls, super_survivors
from tombola.foundations.atomic_files import publish
from tombola.foundations.progress import Progress
from tombola.study.folder_layout import COST, SAVED, CrossSeedFolder
from tombola.study.seed_context import SeedContext
from tombola.study.seed_run import SeedRun
from tombola.study.step import (
    COMPARING_COST,
    IMPORTANCE_COST,
    SHRINKING_COST,
    TIMING_COST,
    TRAINING_COST,
    StudyStep,
    search_cost,
    search_weight,
)
from tombola.subnetworks.subnetwork import shrunk
from tombola.tickets.pruning_methods import METHODS, in_words, pruning_method
from tombola.tickets.ticket import SUPER_TICKETS, Ticket


class SeedSteps:
    """Steps of one seed: fine-tune, search, draw controls, score, retrain and shrink.

    Args:
        context: of that seed.
    """

    def __init__(self, context: SeedContext) -> None:
        self._context = context
        self._config = context.config
        self._seed_folder = context.seed_folder
        self._run = SeedRun(context)
        self._step = functools.partial(StudyStep.of, context)

    def steps(self) -> Iterator[StudyStep]:
        """Steps in order; later ones read what earlier ones published."""
        task, seed_folder, run = self._context.setting.task, self._seed_folder, self._run
        yield self._step("majority baseline", seed_folder.folder / "majority", (), 1, run.majority)
        cost = self._dev * IMPORTANCE_COST
        if task.trained:
            what = "fine-tune the full model"
            yield self._step(what, seed_folder.full, (), self._training + cost, run.full, TRAINING_COST)
        else:
            yield self._step("score the full model", seed_folder.full, (), cost, run.full)
        for method in self._config.methods:
            yield self._search(method)
            tickets = ("good", *self._config.controls_of(method))
            for control in tickets[1:]:
                draw = functools.partial(run.control, method, control)
                good, drawn = (seed_folder.ticket(method, name) for name in ("good", control))
                yield self._step(f"draw {control} {in_words(method)}", drawn, (good,), 1, draw)
            for ticket in tickets:
                yield self._score(method, ticket)
            for ticket in tickets if self._config.retrains else ():
                yield self._retrain(method, ticket)
            if "good" in SAVED[self._context.setting.save]:
                yield from self._shrink(method)

    @property
    def _training(self) -> float:
        """Cost of one training."""
        size = self._context.setting.task.size("train")
        return TRAINING_COST * self._config.recipe.epochs * size if self._config.retrains else 0.0

    @property
    def _dev(self) -> float:
        """Cost of one pass over the dev rows."""
        task = self._context.setting.task
        return task.size("dev") * task.passes

    def _trains(self, method: str) -> bool:
        """True if a search trains between its cuts."""
        chosen = pruning_method(method)
        return self._config.iterative and (chosen.kind != "weights" or chosen.iterative)

    def _search(self, method: str) -> StudyStep:
        task, good = self._context.setting.task, self._seed_folder.ticket(method, "good")
        cost, weight = search_cost(method, task.size(self._config.searched) * task.passes), TRAINING_COST
        if self._trains(method):
            cuts = len(self._config.search.sparsities) if pruning_method(method).kind == "weights" else 0
            cost += (cuts or search_cost(method, 1)) * self._training
        else:
            weight = search_weight(method) * task.passes
        search = functools.partial(self._run.search, method)
        return self._step(f"search {in_words(method)}", good, (self._seed_folder.full,), cost, search, weight)

    def _score(self, method: str, ticket: str) -> StudyStep:
        drawn, passes = self._seed_folder.ticket(method, ticket), self._context.setting.task.passes
        score = functools.partial(self._run.pruned, method, ticket)
        return self._step(f"score {ticket} {in_words(method)}", drawn / "pruned", (drawn,), self._dev, score, passes)

    def _retrain(self, method: str, ticket: str) -> StudyStep:
        drawn, again = self._seed_folder.ticket(method, ticket), functools.partial(self._run.retrained, method, ticket)
        # A shrunk network trains in about two thirds of the time.
        cost = (1.0 if pruning_method(method).kind == "weights" else 0.65) * (self._training + self._dev)
        if ticket == "good" and self._trains(method):
            # Its search has trained it.
            cost = 1.0
        weight = cost / (self._config.recipe.epochs * self._context.setting.task.size("train"))
        return self._step(f"retrain {ticket} {in_words(method)}", drawn / "retrained", (drawn,), cost, again, weight)

    def _shrink(self, method: str) -> Iterator[StudyStep]:
        """Steps that make the good ticket really small, and time it."""
        good, name = self._seed_folder.ticket(method, "good"), in_words(method)
        model, small = good / "retrained" if self._config.retrains else good, good / "shrunk"
        shrink = functools.partial(self._run.shrunk, method)
        yield self._step(f"shrink good {name}", small, (model,), SHRINKING_COST, shrink)
        if pruning_method(method).kind != "weights":
            measure = functools.partial(self._run.measured, method)
            yield self._step(f"time good {name}", good / COST, (small,), TIMING_COST, measure, alone=True)


class CrossSeedSteps:
    """Compare the good tickets of all seeds, and score and retrain their super-survivors like any ticket.

    Tickets of weights have no super-survivors of their own: they are compared only.

    Args:
        contexts: of the seeds, two at least.
        survivors: where results go.
    """

    def __init__(self, contexts: Sequence[SeedContext], survivors: CrossSeedFolder) -> None:
        self._contexts = tuple(contexts)
        self._survivors = survivors

    def steps(self) -> Iterator[StudyStep]:
        """Steps in order; they read what the seeds' own steps published."""
        survivors, first = self._survivors, self._contexts[0]
        compare_all = "compare the tickets of all seeds"
        good = self._good(self._methods)
        yield StudyStep(compare_all, COMPARING_COST, 1.0, survivors.comparison, self._compare, good)
        methods = [method for method in self._methods if METHODS[method].sites]
        for method in methods:
            place, draw = survivors.folder / method, functools.partial(self._tickets, method)
            what = f"draw super-survivors of {in_words(method)}"
            yield StudyStep(what, 1.0, 1.0, place, draw, self._good([method]))
        dev = first.setting.task.size("dev")
        # They are small, so that training them costs a fraction of what the whole model's does.
        train = 0.4 * TRAINING_COST * first.config.recipe.epochs * first.setting.task.size("train")
        for context, method in itertools.product(self._contexts, methods):
            for name in SUPER_TICKETS:
                home = survivors.scores(method, name, context.seed_folder.seed)
                needs = (survivors.folder / method, context.seed_folder.full)
                label = f"seed {context.seed_folder.seed}: %s {name.replace('-', ' ')} of {in_words(method)}"
                pruned = functools.partial(self._score, context, method, name)
                yield StudyStep(label % "score", dev, 1.0, home / "pruned", pruned, needs, context)
                again = functools.partial(self._score, context, method, name, retrained=True)
                cost, weight = train + dev, 0.4 * TRAINING_COST
                if not first.config.retrains:
                    continue
                yield StudyStep(label % "retrain", cost, weight, home / "retrained", again, needs, context)

    @property
    def _methods(self) -> list[str]:
        """The study's standard methods, one for each kind of ticket: others find the same kind by other means."""
        return [name for name, one in METHODS.items() if one.standard and name in self._contexts[0].config.methods]

    def _good(self, methods: Sequence[str]) -> tuple[Path, ...]:
        """The good tickets of all seeds."""
        return tuple(
            seed_folder.ticket(method, "good") for seed_folder in self._survivors.seed_folders for method in methods
        )

    def _compare(self, _: Progress) -> None:
        compare(self._good(self._methods), relative_to=self._survivors.home).write(self._survivors.comparison)

    def _tickets(self, method: str, _: Progress) -> None:
        tickets = [Ticket.load(seed_folder.ticket(method, "good")) for seed_folder in self._survivors.seed_folders]
        made = super_survivor_controls(tickets, 0, self._contexts[0].setting.anatomy)
        drawn = {"super-survivors": super_survivors(tickets), "super-random": made["random"], "super-bad": made["bad"]}
        with publish(self._survivors.folder / method) as draft:
            for name, ticket in drawn.items():
                ticket.with_provenance(ticket=name).save(draft / name)

    def _score(
        self, context: SeedContext, method: str, name: str, progress: Progress, *, retrained: bool = False
    ) -> None:
        started = time.perf_counter()
        ticket = Ticket.load(self._survivors.ticket(method, name))
        part = context.trained(ticket, progress) if retrained else shrunk(context.model(), ticket)
        stage = "retrained" if retrained else "pruned"
        with publish(self._survivors.scores(method, name, context.seed_folder.seed) / stage) as draft:
            context.write_score(draft, part, name, stage, started, progress)
