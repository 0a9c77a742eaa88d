"""The steps that ask what one seed's full model and tickets mean: each publishes one file of analysis."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

from tombola.analysis.attention.attention_probabilities import attention_patterns
from tombola.analysis.generation_profile import Author, WritingProfile
from tombola.analysis.locality import random_curve
from tombola.analysis.locality.gate_hessian import SAMPLE, interactions, interactions_cost
from tombola.analysis.locality.random_tickets import DRAWS, RETRAINED, SIZES, random_tickets
from tombola.analysis.locality.representations import representations, representations_cost
from tombola.analysis.retention_profile import Scored, retention_profile
from tombola.foundations.atomic_files import read_json
from tombola.foundations.progress import Progress
from tombola.metrics import statistics
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.search import PREDICTIONS, Search, read_predictions
from tombola.study.folder_layout import EVALUATION, WRITING
from tombola.study.seed_context import Workbench
from tombola.study.step import TRAINING_COST, Step, spared
from tombola.subnetworks.subnetwork import Subnetwork, shrunk, whole
from tombola.tasks.language.text_generation import PROMPTS, Writing
from tombola.tickets.pruning_methods import in_words, way
from tombola.tickets.ticket import TICKETS, Ticket

ATTENTION_INPUTS = 500
"""Dev examples whose attention is looked at."""
ATTENTION_COST = 2.5
"""Of an example whose attention is looked at, in forward passes."""

RETENTION_COST = 200.0
"""Of the intervals of a retention profile, in forward passes of one example, as seen with SmolLM2."""

WRITING_COST = 300.0
"""Of a model that writes, in forward passes of one example, as seen with SmolLM2."""

FULL_PRECISION_COST = 2.0
"""Of a pass in fp32, in passes in bf16."""

Run = Callable[[Path, str | None, Progress], None]


class AnalysisSteps:
    """The analyses of one seed that its study asks for.

    Args:
        bench: of that seed.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._setting = bench.setting
        self._config = bench.config
        self._cell = bench.cell

    def steps(self) -> Iterator[Step]:
        """All steps in order; they read what the seed's own steps published.

        A model that one analysis cannot look at, for want of attention maps say, keeps its study.
        """
        for step in self._asked():
            yield dataclasses.replace(step, run=functools.partial(_spare, step))

    def _asked(self) -> Iterator[Step]:
        if self._setting.task.abilities:
            for pruning in self._config.prunings:
                yield self._step("retention", pruning, RETENTION_COST, self._retention)
        if "attention" in self._config.analyses:
            cost = ATTENTION_COST * min(ATTENTION_INPUTS, self._setting.task.size("dev"))
            yield self._step("attention", None, cost, self._attention, ATTENTION_COST)
            for pruning in self._config.prunings if self._setting.save != "none" else ():
                if "heads" in way(pruning).kinds:
                    yield self._step("attention", pruning, cost, self._attention, ATTENTION_COST)
        if "interactions" in self._config.analyses:
            sites = math.prod(self._setting.anatomy.heads) + self._setting.anatomy.mlps
            cost = interactions_cost(sites, min(SAMPLE, self._setting.task.size("dev")))
            # Its passes are in 32 bits whatever the study's are, by which the estimate measures.
            cost *= FULL_PRECISION_COST if self._setting.precision == "bf16" else 1.0
            yield self._step("interactions", None, cost, self._interactions)
        if "representations" in self._config.analyses:
            for pruning in self._config.prunings:
                cost = representations_cost(len(TICKETS) + 2)
                yield self._step("representations", pruning, cost, self._representations)
        if "writing" in self._config.analyses:
            yield self._step("writing", None, WRITING_COST, self._writing)
            for pruning in self._config.prunings:
                tickets = 1 + len(self._config.controls_of(pruning))
                yield self._step("writing", pruning, WRITING_COST * tickets, self._writing)
        if "random-tickets" in self._config.analyses:
            for pruning in self._config.prunings:
                yield self._step("random-tickets", pruning, self._random_cost(), self._random)

        if random_curve.NAME in self._config.analyses:
            yield from self._random_curves()

    def _random_curves(self) -> Iterator[Step]:
        task, config = self._setting.task, self._config
        training = TRAINING_COST * config.epochs * task.size("train") if config.iterative else 0.0
        cost = training + task.size(config.searched) * task.passes
        weight = TRAINING_COST if config.iterative else task.passes
        for pruning in config.prunings:
            needs = (self._cell.ticket(pruning, "good"),)
            # Other ways begin with the full model at every sparsity, and have tickets of random weights beside them.
            for index, sparsity in enumerate(config.sparsities if way(pruning).iterative else ()):
                path = self._cell.analysis(random_curve.file_name(index), pruning)
                name = f"random {in_words(pruning)} at {100 * sparsity:g} %"
                run = functools.partial(self._random_point, path, pruning, sparsity)
                yield Step.of(self._bench, name, path, needs, cost, run, weight, analysis=random_curve.NAME)

    def _random_point(self, path: Path, pruning: str, sparsity: float, progress: Progress) -> None:
        bench, config, task = self._bench, self._config, self._bench.task
        step = random_curve.at(Search.load(self._cell.folder / pruning).steps, sparsity)
        ticket = random_curve.random_like(step, self._setting.anatomy, self._cell.seed)
        part = bench.trained(ticket, progress) if config.iterative else shrunk(bench.model(), ticket)
        found = bench.evaluate(part, config.searched, progress)
        low, high = statistics.interval(
            task.metric,
            found.predictions,
            task.references(config.searched),
            seed=self._cell.seed,
            resamples=config.bootstrap_resamples,
        )
        stage = "retrained" if config.iterative else "pruned"
        random_curve.RandomPoint(step.sparsity, stage, found.score, low, high, self._cell.seed).write(path)

    def _step(self, what: str, pruning: str | None, cost: float, run: Run, weight: float = 1.0) -> Step:
        """An analysis of the full model, or of the tickets of a way of pruning."""
        cell = self._cell
        needs = [cell.full]
        if pruning is not None:
            # More than some of them read, and all that any does.
            tickets = [cell.ticket(pruning, name) for name in ("good", *self._config.controls_of(pruning))]
            needs += [*tickets, *(ticket / stage for ticket in tickets for stage in ("pruned", "retrained"))]
        of = "the full model" if pruning is None else in_words(pruning)
        path = cell.analysis(what, pruning or "")
        name = f"{what.replace('-', ' ')} of {of}"
        of_these = functools.partial(run, path, pruning)
        return Step.of(self._bench, name, path, tuple(needs), cost, of_these, weight, analysis=what)

    def _retention(self, path: Path, pruning: str | None, _: Progress) -> None:
        assert pruning is not None
        home = self._cell.folder / pruning
        stages = (
            (Scored(name, stage), self._cell.ticket(pruning, name) / stage / EVALUATION)
            for name in TICKETS
            for stage in ("pruned", "retrained")
        )
        retention_profile(
            self._bench.task,
            Search.load(home),
            read_predictions(home / PREDICTIONS),
            {scored: Evaluation.read(file).predictions for scored, file in stages if file.is_file()},
            Evaluation.read(self._cell.full / EVALUATION).predictions,
            split=self._config.searched,
            pruning=pruning,
            threshold=self._config.search_options.threshold,
            seed=self._cell.seed,
            resamples=self._config.bootstrap_resamples,
        ).write(path)

    def _attention(self, path: Path, pruning: str | None, progress: Progress) -> None:
        """Of the full model; or of the retrained good ticket, whose pruned heads attend to nothing."""
        ticket = None if pruning is None else Ticket.load(self._cell.ticket(pruning, "good"))
        model = self._bench.model() if pruning is None else self._bench.winner(pruning)
        attention_patterns(
            model.to(self._setting.device),
            self._setting.task,
            ticket=ticket,
            sample=ATTENTION_INPUTS,
            precision=self._setting.precision,
            progress=progress,
        ).write(path)

    def _interactions(self, path: Path, _: str | None, progress: Progress) -> None:
        # Of the same examples in every seed, so that seeds differ in their models only.
        interactions(self._bench.model(), self._setting.task, seed=0, progress=progress).write(path)

    def _representations(self, path: Path, pruning: str | None, progress: Progress) -> None:
        """Of the tickets cut out of the full model, and of the good one retrained, where the study saved it."""
        assert pruning is not None
        model, home = self._bench.model(), self._cell.folder / pruning
        tickets = {name: Ticket.load(home / name) for name in ("good", *self._config.controls_of(pruning))}
        others: dict[str, Callable[[], Subnetwork]] = {
            f"{name} pruned": functools.partial(shrunk, model, ticket) for name, ticket in tickets.items()
        }
        if (updated := self._bench.updated(pruning)) is not None:
            others["good pruned"] = functools.partial(shrunk, updated, tickets["good"])
        if self._setting.save != "none" and self._config.retrains:

            def retrained() -> Subnetwork:
                return shrunk(self._bench.winner(pruning).to(self._setting.device), tickets["good"])

            others["good retrained"] = retrained
        representations(
            whole(model),
            others,
            self._bench.task,
            seed=self._cell.seed,
            batch_size=self._config.eval_batch_size,
            precision=self._setting.precision,
            resamples=self._config.bootstrap_resamples,
            progress=progress,
        ).write(path)

    def _writing(self, path: Path, pruning: str | None, _: Progress) -> None:
        bench = self._bench
        if pruning is None:
            authors = [Author("full", "none", 0.0, bench.writing(bench.model()))]
        else:
            names = ("good", *self._config.controls_of(pruning))
            authors = [author for name in names for author in self._authors(pruning, name)]
        WritingProfile(PROMPTS, bench.sampling, tuple(authors)).write(path)

    def _authors(self, pruning: str, name: str) -> Iterator[Author]:
        """A ticket as it was pruned, and retrained, if it is known what it wrote then or its model was saved."""
        bench, home = self._bench, self._cell.ticket(pruning, name)
        ticket, again = Ticket.load(home), home / "retrained"
        sparsity = ticket.sparsity(self._setting.anatomy)
        model = (bench.updated(pruning) if name == "good" else None) or bench.model()
        yield Author(name, "pruned", sparsity, bench.writing(shrunk(model, ticket).model))
        if (again / WRITING).is_file():
            yield Author(name, "retrained", sparsity, Writing.read(again / WRITING))
        elif (again / "config.json").is_file():
            # It was trained before anyone asked what it writes.
            model = self._setting.task.load(str(again), seed=self._cell.seed, state="trained")
            part = shrunk(model.to(self._setting.device), ticket)
            yield Author(name, "retrained", sparsity, bench.writing(part.model))

    def _random_cost(self) -> float:
        task, config = self._setting.task, self._config
        passes = DRAWS * SIZES * task.size(config.searched)
        return passes + RETRAINED * (TRAINING_COST * config.epochs * task.size("train") + task.size("dev"))

    def _random(self, path: Path, pruning: str | None, progress: Progress) -> None:
        assert pruning is not None
        home = self._cell.folder / pruning
        found = Search.load(home)

        def again(ticket: Ticket) -> float:
            return self._bench.evaluate(self._bench.trained(ticket, progress), "dev", progress).score

        good = float(read_json(home / "good" / "retrained" / "score.json")["score"])
        random_tickets(
            self._bench.model(),
            found,
            self._bench.task,
            self._bench.task.metric.floor(found.full_score, self._config.search_options.threshold),
            split=self._config.searched,
            seed=self._cell.seed,
            retrained=(good, again, RETRAINED),
            batch_size=self._config.eval_batch_size,
            precision=self._setting.precision,
            progress=progress,
        ).write(path)


def _spare(step: Step, progress: Progress) -> None:
    with spared(f"{step.what} left out"):
        step.run(progress)
