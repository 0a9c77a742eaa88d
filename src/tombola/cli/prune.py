"""`tombola prune`: from a fine-tuned model to a ticket, by a search or by a single cut."""

import argparse
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tombola.cli.command import Command, add_continue, add_out, checked_config, given_settings, say
from tombola.cli.dry_run import add_dry_run, planned, planned_step
from tombola.foundations.errors import FailedError, TombolaError, check_number

if TYPE_CHECKING:
    from torch import nn

    from tombola.architectures.anatomy import Anatomy
    from tombola.foundations.progress import Progress
    from tombola.metrics.scores import Metric
    from tombola.study.config import StudyConfig
    from tombola.study.session import Session
    from tombola.study.trail import Trail
    from tombola.tickets.pruning_methods import PruningMethod
    from tombola.tickets.ticket import Ticket


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    from tombola.tickets.pruning_methods import METHODS

    cut = "no search: one cut (of single neurons, unless --neuron-block is given) that leaves"
    shares = "this share of each kind, 0 to 1, or a share of each kind that is named, as heads=0.5,channels=0.8"
    parser.add_argument("--density", type=_density, metavar="SHARE", help=f"{cut} {shares}")
    files = "the ticket as good/, scores, search.jsonl (with SparseGPT also updated/, the model)"
    add_out(parser, f"new folder, in a study's layout: {files}; report, compare, retrain and score read it")
    parser.add_argument("--seed", type=int, default=0, help="of calibration text and of random pruning (0)")
    add_continue(parser)
    add_dry_run(parser)
    what = f"what to remove, and by what, of {', '.join(METHODS)} (heads+mlps; of a U-net heads+channels)"
    once = "those of a pattern N:M, of any numbers (wanda-1:4), make one cut, with no search"
    parser.add_argument("--method", metavar="NAME", help=f"{what}; {once}")


def _density(text: str) -> float | dict[str, float]:
    try:
        if "=" not in text:
            return float(text)
        parts = [part.split("=") for part in text.split(",")]
        return {kind.strip(): float(share) for kind, share in parts}
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} gives no share, as 0.5, nor shares such as heads=0.5,channels=0.8"
        ) from None


def _run(options: argparse.Namespace) -> dict[str, Any]:
    density, settings = options.density, given_settings(options)
    _check(density, options.method, settings)
    # A cut may need no task, and then goes for any model.
    config = checked_config(options, judged="task" in settings)
    from tombola.architectures.dissect import dissect
    from tombola.foundations.atomic_files import publish
    from tombola.pruning.one_shot import needs_task
    from tombola.pruning.weight_criteria import CRITERIA
    from tombola.study.results import read_row
    from tombola.study.session import Session
    from tombola.study.trail import Trail
    from tombola.tickets.kinds import kind_of
    from tombola.tickets.pruning_methods import pruning_method
    from tombola.tickets.ticket import Ticket, every_site

    named = kind_of(density) if isinstance(density, dict) else options.method
    chosen = None if named is None else pruning_method(named)
    once = density is not None or (chosen is not None and chosen.pattern is not None)
    if once and "task" not in settings and chosen is not None and not needs_task(chosen):
        return _cut_alone(options, config, chosen)
    weights = chosen is not None and chosen.kind == "weights"
    session = Session.open(config)
    model = session.task.load(session.config.model, seed=0, state="trained").to(session.device)
    anatomy = dissect(model)
    session.check_memory(model, "sampling" if weights else "importance")
    method = named or every_site(anatomy)
    chosen = pruning_method(method)
    # A preset may train between cuts: a single one has none, and searches of most weights begin with the full model.
    changed: dict[str, Any] = {} if not once and (chosen.sites or chosen.iterative) else {"iterative": False}
    # The settings' default is that of searches.
    changed |= {"neuron_block": settings.get("neuron_block", 1)} if once else {}
    session = replace(session, config=session.config.replaced(**changed))
    cost, weight = _cost(session, method, once=once)
    what = f"{'prune' if once else 'search'} {chosen.words}"
    if options.dry_run:
        return planned_step(options, session, model, what, cost, writes=weights and CRITERIA[chosen.criterion].updates)
    with publish(options.out) as draft, session.bars(what, cost, weight) as bars:
        trail = Trail(session, draft, anatomy, chosen.name, options.seed)
        if once:
            _cut(trail, model, density, bars)
        else:
            _search(trail, model, bars)
        trail.run.pruned(chosen.name, "good", bars)
        trail.finish(options.typed, "pruned")
        place, model_folder = trail.ticket("good"), trail.seed_folder.updated(chosen.name)
        good = Ticket.load(place)
        result = {
            "ticket": str(options.out / place.relative_to(draft)),
            **({"model": str(options.out / model_folder.relative_to(draft))} if model_folder.is_dir() else {}),
            "score": good.provenance["score"],
            "full_score": good.provenance["full_score"],
            **_sizes(good, anatomy),
        }
        scores = _scores(read_row(place / "pruned"), read_row(trail.seed_folder.full), session.task.metric)
    if not options.json:
        say(f"{_kept(good.sites, result)}: {scores}: {result['ticket']}")
    return result


def _scores(good: Mapping[str, Any], full: Mapping[str, Any], metric: "Metric") -> str:
    """Scores on dev of the good ticket, with its interval, and of the full model, by their rows."""
    from tombola.metrics.scores import direction, metric_title

    interval = f"95 % interval {good['score_low']:.4f} to {good['score_high']:.4f}"
    title = f"{metric_title(metric.name)}{direction(metric.higher_is_better)}"
    return f"{title} {good['score']:.4f} ({interval}), the full model {full['score']:.4f}"


def _cut_alone(options: argparse.Namespace, config: "StudyConfig", method: "PruningMethod") -> dict[str, Any]:
    """Cut a model once by a method that needs no task; no score is made up for it."""
    from tombola.architectures.dissect import dissect
    from tombola.checkpoints.model_libraries import load_any
    from tombola.foundations.atomic_files import publish
    from tombola.pruning.one_shot import single_cut
    from tombola.study.estimates import Plan
    from tombola.study.folder_layout import SeedFolder

    started = time.perf_counter()
    config, device = config.resolved()
    model = load_any(config.model).to(device)
    ticket, _ = single_cut(model, None, method.name, options.density, options=config.search, seed=options.seed)
    if options.dry_run:
        # Quick enough to be made, as there is no task to time a pass of.
        return planned(options, Plan.of([(f"prune {method.words}", time.perf_counter() - started)]))
    ticket = ticket.with_provenance(method=method.name, model=config.model, seed=options.seed, stage="pruned")
    with publish(options.out) as draft:
        place = SeedFolder(options.seed, draft / "no-task" / f"seed-{options.seed}").ticket(method.name, "good")
        ticket.save(place)
        result = {"ticket": str(options.out / place.relative_to(draft)), **_sizes(ticket, dissect(model))}
    if not options.json:
        say(f"{_kept(ticket.sites, result)}, not scored, as no --task is given: {result['ticket']}")
    return result


def _sizes(ticket: "Ticket", anatomy: "Anatomy") -> dict[str, Any]:
    return {**ticket.survivors(anatomy), "sparsity": ticket.sparsity(anatomy)}


def _cut(trail: "Trail", model: "nn.Module", density: float | dict[str, float] | None, progress: "Progress") -> None:
    """Cut once, by importance on training rows."""
    from tombola.pruning.one_shot import single_cut
    from tombola.pruning.search.guessing import check_full_model, no_better

    session = trail.session
    # Before the full model is scored, so that a density that cannot be is found at once.
    ticket, updated = single_cut(
        model,
        session.task,
        trail.method,
        density,
        options=session.config.search,
        evaluation=session.evaluation(progress, "train", importance=True),
        seed=trail.seed_folder.seed,
    )
    full = trail.score_full(model, progress)
    check_full_model(session.task, full.predictions, "dev")
    # A cut is of the size that is asked for, whatever the score.
    if (why := no_better(session.task, full.predictions, "dev", full.score)) is not None:
        warnings.warn(why, stacklevel=2)
    trail.add_cut(ticket, updated, progress)


def _search(trail: "Trail", model: "nn.Module", progress: "Progress") -> None:
    """Search; a search that finds no ticket is a failure, of which nothing is written."""
    from tombola.pruning.search.records import NoTicketWarning

    session = trail.session
    trail.score_full(model, progress, importance=session.config.searched == "dev")
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoTicketWarning)
        try:
            trail.run.search(trail.method, progress)
        except NoTicketWarning as warning:
            raise FailedError(str(warning)) from None


def _check(density: float | dict[str, float] | None, method: str | None, settings: Mapping[str, Any]) -> None:
    from tombola.tickets.kinds import kind_of
    from tombola.tickets.pruning_methods import pruning_method

    given = None if method is None else pruning_method(method)
    shares = density if isinstance(density, dict) else {} if density is None else {"": density}
    for kind, share in shares.items():
        check_number(f"--density{kind and f' of {kind}'}", share, 0, 1)
    if isinstance(density, dict):
        _ = kind_of(density)
    if isinstance(density, dict) and method is not None:
        raise TombolaError("--density names the kinds that are pruned; leave --method out")
    if density is not None and "retain" in settings:
        raise TombolaError("--density cuts once, without a search that could retain anything; leave --retain out")
    if density is not None and given is not None and given.pattern is not None:
        raise TombolaError(f"{given.name} keeps {given.pattern}; leave --density out")


def _cost(session: "Session", method: str, *, once: bool) -> tuple[float, float]:
    """Expected cost of a cut or a search, in forward passes of one example, and of each example that it reports."""
    from tombola.study.step import IMPORTANCE_COST, search_cost
    from tombola.tickets.pruning_methods import pruning_method

    size, passes = session.task.size, session.task.passes
    if not once:
        cost, weight = search_cost(method, size(session.config.searched))
        return cost * passes, weight * passes
    measured = size("train") if pruning_method(method).kind != "weights" else 0
    cost = (2 * size("dev") + IMPORTANCE_COST * measured) * passes
    return cost, cost / (2 * size("dev") + measured)


def _kept(sites: Sequence[str], survivors: Mapping[str, Any]) -> str:
    from tombola.architectures.site_names import counted

    return (
        " and ".join(counted(survivors[kind], kind) for kind in sites)
        or f"{100 * (1 - survivors['sparsity']):.1f} % of the weights"
    )


COMMAND = Command(
    "prune",
    "from a fine-tuned model and a task to a good ticket",
    _add_arguments,
    _run,
    groups=("what to study", "how much data", "the search", "running"),
)
