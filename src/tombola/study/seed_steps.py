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
from tombola.pruning.search.records import SEARCH_FILES
from tombola.pruning.weight_criteria import CRITERIA
from tombola.study.config import START
from tombola.study.folder_layout import COST, SAVED, STAGES, CrossSeedFolder
from tombola.study.seed_context import SeedContext
from tombola.study.seed_run import SeedRun
from tombola.study.step import IMPORTANCE_COST, TRAINING_COST, StudyStep, search_cost
from tombola.study.training_folder import training_folder
from tombola.subnetworks.subnetwork import shrunk
from tombola.tickets.kinds import SUPER_TICKETS
from tombola.tickets.pruning_methods import METHODS, in_words, pruning_method
from tombola.tickets.ticket import Ticket

SHRINKING_COST, TIMING_COST, COMPARING_COST = 1000.0, 5000.0, 2000.0
"""Cost of writing a smaller model, of timing it, and of comparing the tickets of a study's seeds, in forward passes of
one example, as seen with MiniLM."""


def seed_steps(run: SeedRun) -> Iterator[StudyStep]:
    """Steps of one seed: fine-tune, search, draw controls, score, retrain and shrink; later ones read earlier ones."""
    config, task, folder = run.config, run.setting.task, run.seed_folder
    step = functools.partial(StudyStep, context=run)
    dev = task.size("dev") * task.passes
    training = TRAINING_COST * config.recipe.epochs * task.size("train") if config.retrains else 0.0
    yield step("guessing", 1, 1.0, folder.folder / "guessing", run.guessing)
    trains = task.trained and config.full is None
    what, cost, weight = "score the full model", dev * IMPORTANCE_COST, 1.0
    if trains:
        what, cost, weight = "fine-tune the full model", training + cost, TRAINING_COST
    mend = functools.partial(run.write_interval, folder.full)
    trained, models = folder.trained if trains else None, int(task.trained)
    # Whether tickets go back to where it began, or stay where it ended, is nothing to it.
    of_full = functools.partial(step, mend=mend, models=models, trained=trained, instead={"rewind": START})
    yield of_full(what, cost, weight, folder.full, run.full)
    for method in config.methods:
        chosen, of_method = pruning_method(method), in_words(method)
        good, weights = folder.ticket(method, "good"), chosen.kind == "weights"
        trains = config.iterative and (not weights or chosen.iterative)
        cost, weight = search_cost(method, task.size(config.searched) * task.passes)
        if trains:
            cuts = len(config.search.sparsities) if weights else 0
            cost, weight = cost + (cuts or search_cost(method, 1)[0]) * training, TRAINING_COST
        else:
            weight *= task.passes
        search = functools.partial(run.search, method)
        beside = (*(good.parent / name for name in SEARCH_FILES), folder.updated(method))
        # The one interval that a search may write is of what it trained in passing, which is another step's.
        no_score = _nothing if trains else None
        saved = SAVED[run.setting.save]
        models = (weights and CRITERIA[chosen.criterion].updates) + (trains and "good" in saved)
        what, needs = f"search {of_method}", (folder.full,)
        yield step(what, cost, weight, good, search, needs, beside=beside, mend=no_score, models=models)
        controls = config.controls_of(method)
        drawn = {name: folder.ticket(method, name) for name in ("good", *controls)}
        for name in controls:
            draw = functools.partial(run.control, method, name)
            yield step(f"draw {name} {of_method}", 1, 1.0, drawn[name], draw, (good,))
        for name, place in drawn.items():
            score = functools.partial(run.pruned, method, name)
            result = place / "pruned"
            mend = functools.partial(run.write_interval, result)
            yield step(f"score {name} {of_method}", dev, task.passes, result, score, (place,), mend=mend)
        for name, place in drawn.items() if config.retrains else ():
            # A shrunk network trains in about two thirds of the time; a search that trains has trained the good one.
            passing, result = name == "good" and trains, place / "retrained"
            cost = 1.0 if passing else (1.0 if weights else 0.65) * (training + dev)
            again, weight = functools.partial(run.retrained, method, name), cost / (training / TRAINING_COST)
            mend, what = functools.partial(run.write_interval, result), f"retrain {name} {of_method}"
            models, needs = int(name in saved and not passing), (place,)
            yield step(what, cost, weight, result, again, needs, in_passing=passing, mend=mend, models=models)
        if "good" in saved:
            model, small = good / "retrained" if config.retrains else good, good / "shrunk"
            shrink, measure = (functools.partial(one, method) for one in (run.shrunk, run.measured))
            yield step(f"shrink good {of_method}", SHRINKING_COST, 1.0, small, shrink, (model,), models=1)
            if not weights:
                yield step(f"time good {of_method}", TIMING_COST, 1.0, good / COST, measure, (small,), alone=True)


def cross_seed_steps(contexts: Sequence[SeedContext], survivors: CrossSeedFolder) -> Iterator[StudyStep]:
    """Compare the good tickets of two or more seeds, and score and retrain their super-survivors like any ticket.

    Tickets of weights have no super-survivors of their own: they are compared only.
    """
    config, setting = contexts[0].config, contexts[0].setting
    # The standard methods, one for each kind of ticket: others find the same kind by other means.
    standard = [name for name, one in METHODS.items() if one.standard and name in config.methods]
    good = {method: tuple(one.ticket(method, "good") for one in survivors.seed_folders) for method in standard}
    every = tuple(itertools.chain.from_iterable(zip(*good.values(), strict=True)))
    what, comparing = "compare the tickets of all seeds", functools.partial(_compare, every, survivors)
    yield StudyStep(what, COMPARING_COST, 1.0, survivors.comparison, comparing, every)
    methods = [method for method in standard if METHODS[method].sites]
    for method in methods:
        place = survivors.folder / method
        draw = functools.partial(_draw, good[method], contexts[0], place)
        yield StudyStep(f"draw super-survivors of {in_words(method)}", 1.0, 1.0, place, draw, good[method])
    dev = setting.task.size("dev")
    # They are small, so that training them costs a fraction of what the whole model's does.
    weight = 0.4 * TRAINING_COST
    train = weight * config.recipe.epochs * setting.task.size("train")
    for context, method, name in itertools.product(contexts, methods, SUPER_TICKETS):
        home = survivors.scores(method, name, context.seed_folder.seed)
        needs = (survivors.folder / method, context.seed_folder.full)
        label = f"seed {context.seed_folder.seed}: %s {name} of {in_words(method)}"
        score = functools.partial(_score, context, survivors.ticket(method, name), home)
        pruned, retrained = (functools.partial(score, stage) for stage in STAGES)
        mend = functools.partial(context.write_interval, home / "pruned")
        yield StudyStep(label % "score", dev, 1.0, home / "pruned", pruned, needs, context, mend=mend)
        if config.retrains:
            place, cost = home / "retrained", train + dev
            mend = functools.partial(context.write_interval, place)
            yield StudyStep(label % "retrain", cost, weight, place, retrained, needs, context, mend=mend)


def _compare(good: Sequence[Path], survivors: CrossSeedFolder, _: Progress) -> None:
    compare(good, relative_to=survivors.home).write(survivors.comparison)


def _nothing() -> None: ...


def _draw(good: Sequence[Path], context: SeedContext, place: Path, _: Progress) -> None:
    tickets, outside = [Ticket.load(one) for one in good], context.config.super_random == "outside"
    made = super_survivor_controls(tickets, 0, context.setting.anatomy, outside=outside)
    drawn = {"super-survivors": super_survivors(tickets), "super-random": made["random"], "super-bad": made["bad"]}
    with publish(place) as draft:
        for name, ticket in drawn.items():
            ticket.with_provenance(ticket=name).save(draft / name)


def _score(context: SeedContext, place: Path, home: Path, stage: str, progress: Progress) -> None:
    started = time.perf_counter()
    ticket = Ticket.load(place)
    result, trains = home / stage, stage == "retrained"
    keep = training_folder(result)
    part = context.trained(ticket, progress, keep) if trains else shrunk(context.model(), ticket)
    with publish(result) as draft:
        context.write_score(draft, part, place.name, stage, started, progress)
