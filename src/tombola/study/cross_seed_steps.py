"""Steps across seeds: agreement of their tickets, and scores of the super-survivors."""

import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tombola.analysis.agreement.comparison import compare
from tombola.analysis.agreement.survival import super_survivor_controls, super_survivors
from tombola.foundations.atomic_files import publish
from tombola.foundations.progress import Progress
from tombola.study.folder_layout import CrossSeedFolder
from tombola.study.seed_context import SeedContext
from tombola.study.step import COMPARING_COST, TRAINING_COST, StudyStep
from tombola.subnetworks.subnetwork import shrunk
from tombola.tickets.pruning_methods import METHODS, in_words
from tombola.tickets.ticket import SUPER_TICKETS, Ticket


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
