"""Analysis steps of one seed's full model and tickets: each publishes one file."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

from tombola.analysis.attention.attention_probabilities import attention_patterns
from tombola.analysis.forward_passes import SampleOptions
from tombola.analysis.generation_profile import GeneratingModel, GenerationProfile
from tombola.analysis.locality import gate_hessian, random_curve
from tombola.analysis.locality.gate_hessian import SAMPLE, interactions, interactions_cost
from tombola.analysis.locality.random_tickets import DRAWS, RETRAINED, SIZES, DrawOptions, random_tickets
from tombola.analysis.locality.representations import INPUTS, representations, representations_cost
from tombola.analysis.retention_profile import ProfileOptions, Scored, retention_profile
from tombola.foundations.atomic_files import read_json
from tombola.foundations.progress import Progress
from tombola.metrics import statistics
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.search.records import PREDICTIONS, Search, read_predictions
from tombola.study.folder_layout import EVALUATION, TEXT_GENERATION
from tombola.study.seed_context import SeedContext
from tombola.study.step import TRAINING_COST, StudyStep, warn_on_failure
from tombola.subnetworks.subnetwork import Subnetwork, shrunk, whole
from tombola.tasks.capabilities import PROMPTS, GeneratedTexts, HasAbilities
from tombola.tickets.pruning_methods import in_words, pruning_method
from tombola.tickets.ticket import TICKETS, Ticket

ATTENTION_INPUTS = 500
"""Dev examples whose attention is looked at."""
ATTENTION_COST = 2.5
"""Cost of an example whose attention is looked at, in forward passes."""

RETENTION_COST = 200.0
"""Cost of the intervals of a retention profile, in forward passes of one example, as seen with SmolLM2."""

TEXT_GENERATION_COST = 300.0
"""Cost of a model that writes, in forward passes of one example, as seen with SmolLM2."""

FULL_PRECISION_COST = 2.0
"""Cost of a pass in fp32, in passes in bf16."""

Run = Callable[[Path, str | None, Progress], None]


class AnalysisSteps:
    """The analyses of one seed that its study asks for.

    Args:
        context: of that seed.
    """

    def __init__(self, context: SeedContext) -> None:
        self._context = context
        self._setting = context.setting
        self._config = context.config
        self._seed_folder = context.seed_folder

    def steps(self) -> Iterator[StudyStep]:
        """Steps in order; they read what the seed's own steps published.

        A model that one analysis cannot look at, for want of attention maps say, keeps its study.
        """
        for step in self._asked():
            yield dataclasses.replace(step, run=functools.partial(_run_or_warn, step))

    def _asked(self) -> Iterator[StudyStep]:
        if isinstance(self._setting.task, HasAbilities):
            for method in self._config.methods:
                yield self._step("retention", method, RETENTION_COST, self._retention)
        if "attention" in self._config.analyses:
            cost = ATTENTION_COST * min(ATTENTION_INPUTS, self._setting.task.size("dev"))
            yield self._step("attention", None, cost, self._attention, ATTENTION_COST)
            for method in self._config.methods if self._setting.save != "none" else ():
                if "heads" in pruning_method(method).sites:
                    yield self._step("attention", method, cost, self._attention, ATTENTION_COST)
        if "interactions" in self._config.analyses:
            sites = math.prod(self._setting.anatomy.heads) + self._setting.anatomy.mlps
            cost = interactions_cost(sites, min(SAMPLE, self._setting.task.size("dev")))
            # Its passes are in 32 bits whatever the study's are, by which the estimate measures.
            cost *= FULL_PRECISION_COST if self._setting.precision == "bf16" else 1.0
            yield self._step("interactions", None, cost, self._interactions)
        if "representations" in self._config.analyses:
            for method in self._config.methods:
                cost = representations_cost(len(TICKETS) + 2)
                yield self._step("representations", method, cost, self._representations)
        if "text-generation" in self._config.analyses:
            yield self._step("text-generation", None, TEXT_GENERATION_COST, self._text_generation)
            for method in self._config.methods:
                tickets = 1 + len(self._config.controls_of(method))
                yield self._step("text-generation", method, TEXT_GENERATION_COST * tickets, self._text_generation)
        if "random-tickets" in self._config.analyses:
            for method in self._config.methods:
                yield self._step("random-tickets", method, self._random_cost(), self._random)

        if random_curve.NAME in self._config.analyses:
            yield from self._random_curves()

    def _random_curves(self) -> Iterator[StudyStep]:
        task, config = self._setting.task, self._config
        training = TRAINING_COST * config.recipe.epochs * task.size("train") if config.iterative else 0.0
        cost = training + task.size(config.searched) * task.passes
        weight = TRAINING_COST if config.iterative else task.passes
        for method in config.methods:
            needs = (self._seed_folder.ticket(method, "good"),)
            # Other methods begin with the full model at every sparsity, and have tickets of random weights beside them.
            for index, sparsity in enumerate(config.search.sparsities if pruning_method(method).iterative else ()):
                path = self._seed_folder.analysis(random_curve.file_name(index), method)
                name = f"random {in_words(method)} at {100 * sparsity:g} %"
                run = functools.partial(self._random_point, path, method, sparsity)
                yield StudyStep.of(self._context, name, path, needs, cost, run, weight, analysis=random_curve.NAME)

    def _random_point(self, path: Path, method: str, sparsity: float, progress: Progress) -> None:
        context, config, task = self._context, self._config, self._context.task
        step = random_curve.at(Search.load(self._seed_folder.folder / method).passes, sparsity)
        ticket = random_curve.random_like(step, self._setting.anatomy, self._seed_folder.seed)
        part = context.trained(ticket, progress) if config.iterative else shrunk(context.model(), ticket)
        found = context.evaluate(part, config.searched, progress)
        low, high = statistics.interval(
            task.metric,
            found.predictions,
            task.references(config.searched),
            seed=self._seed_folder.seed,
            resamples=config.bootstrap_resamples,
        )
        stage = "retrained" if config.iterative else "pruned"
        random_curve.RandomPoint(step.sparsity, stage, found.score, low, high, self._seed_folder.seed).write(path)

    def _step(self, what: str, method: str | None, cost: float, run: Run, weight: float = 1.0) -> StudyStep:
        """An analysis of the full model, or of the tickets of a method."""
        seed_folder = self._seed_folder
        needs = [seed_folder.full]
        if method is not None:
            # More than some of them read, and all that any does.
            tickets = [seed_folder.ticket(method, name) for name in ("good", *self._config.controls_of(method))]
            needs += [*tickets, *(ticket / stage for ticket in tickets for stage in ("pruned", "retrained"))]
        of = "the full model" if method is None else in_words(method)
        path = seed_folder.analysis(what, method or "")
        name = f"{what.replace('-', ' ')} of {of}"
        of_these = functools.partial(run, path, method)
        return StudyStep.of(self._context, name, path, tuple(needs), cost, of_these, weight, analysis=what)

    def _retention(self, path: Path, method: str | None, _: Progress) -> None:
        task = self._context.task
        assert method is not None
        assert isinstance(task, HasAbilities)
        home = self._seed_folder.folder / method
        stages = (
            (Scored(name, stage), self._seed_folder.ticket(method, name) / stage / EVALUATION)
            for name in TICKETS
            for stage in ("pruned", "retrained")
        )
        retention_profile(
            task,
            Search.load(home),
            read_predictions(home / PREDICTIONS),
            {scored: Evaluation.read(file).predictions for scored, file in stages if file.is_file()},
            Evaluation.read(self._seed_folder.full / EVALUATION).predictions,
            ProfileOptions(
                split=self._config.searched,
                method=method,
                threshold=self._config.search_options.threshold,
                seed=self._seed_folder.seed,
                resamples=self._config.bootstrap_resamples,
            ),
        ).write(path)

    def _attention(self, path: Path, method: str | None, progress: Progress) -> None:
        """Attention patterns of the full model, or of the retrained good ticket without its pruned heads."""
        ticket = None if method is None else Ticket.load(self._seed_folder.ticket(method, "good"))
        model = self._context.model() if method is None else self._context.good_model(method)
        options = SampleOptions("dev", 32, self._setting.precision, progress, ATTENTION_INPUTS)
        attention_patterns(model.to(self._setting.device), self._setting.task, options, ticket=ticket).write(path)

    def _interactions(self, path: Path, _: str | None, progress: Progress) -> None:
        # Of the same examples in every seed, so that seeds differ in their models only.
        options = dataclasses.replace(gate_hessian.SOME, progress=progress)
        interactions(self._context.model(), self._setting.task, options).write(path)

    def _representations(self, path: Path, method: str | None, progress: Progress) -> None:
        """Representations of tickets cut out of the full model, and of the good one retrained, where it was saved."""
        assert method is not None
        model, home = self._context.model(), self._seed_folder.folder / method
        tickets = {name: Ticket.load(home / name) for name in ("good", *self._config.controls_of(method))}
        others: dict[str, Callable[[], Subnetwork]] = {
            f"{name} pruned": functools.partial(shrunk, model, ticket) for name, ticket in tickets.items()
        }
        if (updated := self._context.updated(method)) is not None:
            others["good pruned"] = functools.partial(shrunk, updated, tickets["good"])
        if self._setting.save != "none" and self._config.retrains:

            def retrained() -> Subnetwork:
                return shrunk(self._context.good_model(method).to(self._setting.device), tickets["good"])

            others["good retrained"] = retrained
        options = SampleOptions(
            "dev", self._config.eval_batch_size, self._setting.precision, progress, INPUTS, self._seed_folder.seed
        )
        resamples = self._config.bootstrap_resamples
        representations(whole(model), others, self._context.task, options, resamples=resamples).write(path)

    def _text_generation(self, path: Path, method: str | None, _: Progress) -> None:
        context = self._context
        if method is None:
            authors = [GeneratingModel("full", "none", 0.0, context.generate_texts(context.model()))]
        else:
            names = ("good", *self._config.controls_of(method))
            authors = [author for name in names for author in self._generating_models(method, name)]
        GenerationProfile(PROMPTS, context.generation_settings, tuple(authors)).write(path)

    def _generating_models(self, method: str, name: str) -> Iterator[GeneratingModel]:
        """A ticket as it was pruned, and retrained, if it is known what it wrote then or its model was saved."""
        context, home = self._context, self._seed_folder.ticket(method, name)
        ticket, again = Ticket.load(home), home / "retrained"
        sparsity = ticket.sparsity(self._setting.anatomy)
        model = (context.updated(method) if name == "good" else None) or context.model()
        yield GeneratingModel(name, "pruned", sparsity, context.generate_texts(shrunk(model, ticket).model))
        if (again / TEXT_GENERATION).is_file():
            yield GeneratingModel(name, "retrained", sparsity, GeneratedTexts.read(again / TEXT_GENERATION))
        elif (again / "config.json").is_file():
            # It was trained before anyone asked what it writes.
            model = self._setting.task.load(str(again), seed=self._seed_folder.seed, state="trained")
            part = shrunk(model.to(self._setting.device), ticket)
            yield GeneratingModel(name, "retrained", sparsity, context.generate_texts(part.model))

    def _random_cost(self) -> float:
        task, config = self._setting.task, self._config
        passes = DRAWS * SIZES * task.size(config.searched)
        return passes + RETRAINED * (TRAINING_COST * config.recipe.epochs * task.size("train") + task.size("dev"))

    def _random(self, path: Path, method: str | None, progress: Progress) -> None:
        assert method is not None
        home = self._seed_folder.folder / method
        found = Search.load(home)

        def again(ticket: Ticket) -> float:
            return self._context.evaluate(self._context.trained(ticket, progress), "dev", progress).score

        good = float(read_json(home / "good" / "retrained" / "score.json")["score"])
        random_tickets(
            self._context.model(),
            found,
            self._context.task,
            self._context.task.metric.floor(found.full_score, self._config.search_options.threshold),
            self._context.evaluation(self._config.searched, progress),
            DrawOptions(seed=self._seed_folder.seed),
            retrained=(good, again, RETRAINED),
        ).write(path)


def _run_or_warn(step: StudyStep, progress: Progress) -> None:
    with warn_on_failure(f"{step.what} left out"):
        step.run(progress)
