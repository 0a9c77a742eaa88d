"""Analysis steps of one seed's full model and tickets: each publishes one file."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tombola.analysis.attention.attention_probabilities import attention_patterns
from tombola.analysis.forward_passes import SampleOptions
from tombola.analysis.generation_profile import GeneratingModel, GenerationProfile
from tombola.analysis.locality import gate_hessian, random_curve
from tombola.analysis.locality.gate_hessian import SAMPLE, interactions, interactions_cost
from tombola.analysis.locality.random_tickets import DRAWS, RETRAINED, SIZES, DrawOptions, random_tickets
from tombola.analysis.locality.representations import INPUTS, representations, representations_cost
from tombola.analysis.retention_profile import ProfileOptions, Scored, retention_profile
from tombola.foundations.errors import TombolaError
from tombola.foundations.progress import Progress
from tombola.metrics import statistics
from tombola.pruning.evaluation import Evaluation
from tombola.pruning.search.guessing import accepted
from tombola.pruning.search.records import PREDICTIONS, Search, read_predictions
from tombola.study.folder_layout import EVALUATION, STAGES, TEXT_GENERATION
from tombola.study.seed_context import SeedContext
from tombola.study.step import TRAINING_COST, StudyStep
from tombola.study.training_folder import training_folder
from tombola.subnetworks.subnetwork import Subnetwork, shrunk, whole
from tombola.tasks.capabilities import PROMPTS, GeneratedTexts, GenerationSettings, HasAbilities
from tombola.tickets.kinds import TICKETS
from tombola.tickets.pruning_methods import in_words, pruning_method
from tombola.tickets.ticket import Ticket

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

Run = Callable[[SeedContext, Path, str, Progress], None]


def analysis_steps(context: SeedContext) -> Iterator[StudyStep]:
    """Analyses of one seed that its study asks for; they read what the seed's own steps published."""
    setting, config, task = context.setting, context.config, context.setting.task
    step = functools.partial(_step, context)
    if isinstance(task, HasAbilities):
        for method in config.methods:
            yield step("retention", method, RETENTION_COST, _retention)
    if "attention" in config.analyses:
        cost = ATTENTION_COST * min(ATTENTION_INPUTS, task.size("dev"))
        saved = config.methods if setting.save != "none" else ()
        for method in ("", *(method for method in saved if "heads" in pruning_method(method).sites)):
            yield step("attention", method, cost, _attention, ATTENTION_COST, names=("good",))
    if "interactions" in config.analyses:
        sites = sum(setting.anatomy.sizes("heads")) + sum(setting.anatomy.sizes("mlps"))
        cost = interactions_cost(sites, min(SAMPLE, task.size("dev")))
        # Its passes are in 32 bits whatever the study's are, by which the estimate measures.
        passes = FULL_PRECISION_COST if setting.precision != "fp32" else 1.0
        yield step("interactions", "", passes * cost, _interactions)
    for method in config.methods if "representations" in config.analyses else ():
        yield step("representations", method, representations_cost(len(TICKETS) + 2), _representations)
    for method in ("", *config.methods) if "text-generation" in config.analyses else ():
        authors = 1 + len(config.controls_of(method)) if method else 1
        yield step("text-generation", method, TEXT_GENERATION_COST * authors, _text_generation)
    for method in config.methods if "random-tickets" in config.analyses else ():
        passes = DRAWS * SIZES * task.size(config.searched)
        retraining = TRAINING_COST * config.recipe.epochs * task.size("train") + task.size("dev")
        yield step("random-tickets", method, passes + RETRAINED * retraining, _random_tickets)
    if random_curve.NAME in config.analyses:
        yield from _random_curves(context)


def _step(
    context: SeedContext,
    what: str,
    method: str,
    cost: float,
    run: Run,
    weight: float = 1.0,
    names: Sequence[str] | None = None,
) -> StudyStep:
    seed_folder, needs = context.seed_folder, [context.seed_folder.full]
    if method:
        # More than some of them read, and all that any does.
        names = names or ("good", *context.config.controls_of(method))
        tickets = [seed_folder.ticket(method, name) for name in names]
        needs += [*tickets, *(ticket / stage for ticket in tickets for stage in STAGES)]
    path = seed_folder.analysis(what, method)
    name = f"{what.replace('-', ' ')} of {in_words(method) if method else 'the full model'}"

    of_these = functools.partial(_run, run, what, context, path, method)
    return StudyStep(name, cost, weight, path, of_these, tuple(needs), context, analysis=what)


def _run(run: Run, what: str, context: SeedContext, path: Path, method: str, progress: Progress) -> None:
    if (reason := context.setting.task.unfit.get(what)) is not None:
        raise TombolaError(reason)
    run(context, path, method, progress)


def _random_curves(context: SeedContext) -> Iterator[StudyStep]:
    task, config = context.setting.task, context.config
    training = TRAINING_COST * config.recipe.epochs * task.size("train") if config.iterative else 0.0
    cost = training + task.size(config.searched) * task.passes
    weight = TRAINING_COST if config.iterative else task.passes
    for method in config.methods:
        needs = (context.seed_folder.ticket(method, "good"),)
        # Other methods begin with the full model at every sparsity, and have tickets of random weights beside them.
        for index, sparsity in enumerate(config.search.sparsities if pruning_method(method).iterative else ()):
            path = context.seed_folder.analysis(f"{random_curve.NAME}-{index}", method)
            name = f"random {in_words(method)} at {100 * sparsity:g} %"
            run = functools.partial(_random_point, context, path, method, index)
            yield StudyStep(name, cost, weight, path, run, needs, context, analysis=random_curve.NAME)


def _random_point(context: SeedContext, path: Path, method: str, index: int, progress: Progress) -> None:
    config, task, seed = context.config, context.task.for_search(), context.seed_folder.seed
    sparsity = config.search.sparsities[index]
    point = random_curve.at(Search.load(context.seed_folder.folder / method).passes, sparsity)
    ticket = random_curve.random_like(point, context.setting.anatomy, seed)
    part = (
        context.trained(ticket, progress, training_folder(path))
        if config.iterative
        else shrunk(context.model(), ticket)
    )
    found = context.evaluate(part, config.searched, progress).scored_by(task, config.searched)
    references, resamples = task.references(config.searched), config.bootstrap_resamples
    low, high = statistics.interval(task.metric, found.predictions, references, seed=seed, resamples=resamples)
    stage = "retrained" if config.iterative else "pruned"
    random_curve.RandomPoint(point.sparsity, stage, found.score, low, high, seed).write(path)


def _retention(context: SeedContext, path: Path, method: str, _: Progress) -> None:
    task, config, seed_folder = context.task, context.config, context.seed_folder
    assert isinstance(task, HasAbilities)
    home = seed_folder.folder / method
    files = {
        Scored(name, stage): seed_folder.ticket(method, name) / stage / EVALUATION
        for name, stage in itertools.product(TICKETS, STAGES)
    }
    retention_profile(
        task,
        Search.load(home),
        read_predictions(home / PREDICTIONS),
        {scored: Evaluation.read(file).predictions for scored, file in files.items() if file.is_file()},
        Evaluation.read(seed_folder.full / EVALUATION).predictions,
        ProfileOptions(
            split=config.searched,
            method=method,
            threshold=config.search_options.threshold,
            seed=seed_folder.seed,
            resamples=config.bootstrap_resamples,
        ),
    ).write(path)


def _attention(context: SeedContext, path: Path, method: str, progress: Progress) -> None:
    ticket = Ticket.load(context.seed_folder.ticket(method, "good")) if method else None
    model = context.good_model(method) if method else context.model()
    options = SampleOptions("dev", 32, context.setting.precision, progress, ATTENTION_INPUTS)
    attention_patterns(model, context.setting.task, options, ticket=ticket).write(path)


def _interactions(context: SeedContext, path: Path, _: str, progress: Progress) -> None:
    # Of the same examples in every seed, so that seeds differ in their models only.
    options = dataclasses.replace(gate_hessian.SOME, progress=progress)
    interactions(context.model(), context.setting.task, options).write(path)


def _representations(context: SeedContext, path: Path, method: str, progress: Progress) -> None:
    setting, config, seed_folder = context.setting, context.config, context.seed_folder
    model = context.model()
    names = ("good", *config.controls_of(method))
    tickets = {name: Ticket.load(seed_folder.ticket(method, name)) for name in names}
    others: dict[str, Callable[[], Subnetwork]] = {
        f"{name} pruned": functools.partial(shrunk, model, ticket) for name, ticket in tickets.items()
    }
    if (updated := context.updated(method)) is not None:
        others["good pruned"] = functools.partial(shrunk, updated, tickets["good"])
    if setting.save != "none" and config.retrains:
        others["good retrained"] = lambda: shrunk(context.good_model(method), tickets["good"])
    batch_size, resamples = config.eval_batch_size, config.bootstrap_resamples
    options = SampleOptions("dev", batch_size, setting.precision, progress, INPUTS, seed_folder.seed)
    representations(whole(model), others, context.task, options, resamples=resamples).write(path)


def _text_generation(context: SeedContext, path: Path, method: str, _: Progress) -> None:
    if method:
        names = ("good", *context.config.controls_of(method))
        authors = [author for name in names for author in _generating_models(context, method, name)]
    else:
        authors = [GeneratingModel("full", "none", 0.0, context.generate_texts(context.model()))]
    settings = GenerationSettings(seed=context.seed_folder.seed)
    GenerationProfile(PROMPTS, settings, tuple(authors)).write(path)


def _generating_models(context: SeedContext, method: str, name: str) -> Iterator[GeneratingModel]:
    """A ticket as it was pruned, and retrained, if it is known what it wrote then or its model was saved."""
    home = context.seed_folder.ticket(method, name)
    ticket, again = Ticket.load(home), home / "retrained"
    sparsity = ticket.sparsity(context.setting.anatomy)
    model = (context.updated(method) if name == "good" else None) or context.model()
    yield GeneratingModel(name, "pruned", sparsity, context.generate_texts(shrunk(model, ticket).model))
    if (again / TEXT_GENERATION).is_file():
        yield GeneratingModel(name, "retrained", sparsity, GeneratedTexts.read(again / TEXT_GENERATION))
    elif (again / "config.json").is_file():
        # It was trained before anyone asked what it writes.
        texts = context.generate_texts(shrunk(context.load(again), ticket).model)
        yield GeneratingModel(name, "retrained", sparsity, texts)


def _random_tickets(context: SeedContext, path: Path, method: str, progress: Progress) -> None:
    home, task, options = context.seed_folder.folder / method, context.task.for_search(), context.config.search_options
    found = Search.load(home)

    def again(ticket: Ticket) -> float:
        part = context.trained(ticket, progress, training_folder(path))
        return context.evaluate(part, "dev", progress).scored_by(task).score

    good = Evaluation.read(home / "good" / "retrained" / EVALUATION).scored_by(task).score
    random_tickets(
        context.model(),
        found,
        task,
        accepted(task, found.full_score, options.threshold, context.config.searched, over_chance=options.over_chance),
        context.setting.evaluation(progress, context.config.searched),
        DrawOptions(seed=context.seed_folder.seed),
        retrained=(good, again, RETRAINED),
    ).write(path)
