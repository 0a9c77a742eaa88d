"""`tombola prune`: from a fine-tuned model to a ticket, by a search or at once."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.cli.command import Command
from tombola.cli.settings import given_settings
from tombola.foundations.errors import TombolaError

if TYPE_CHECKING:
    from torch import nn

    from tombola.study.session import Session
    from tombola.tickets.ticket import Ticket


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    from tombola.tickets.pruning_methods import METHODS

    parser.add_argument(
        "--density",
        type=_density,
        metavar="SHARE",
        help="no search: one cut that leaves this share of each kind, 0 to 1, or a share of each kind that is named, "
        "as heads=0.5,channels=0.8",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="new folder: search.jsonl and good/ (with SparseGPT also updated/, the model), or ticket/ with no search",
    )
    parser.add_argument(
        "--method",
        metavar="NAME",
        help=f"what to remove, and by what, of {', '.join(METHODS)} (heads+mlps; of a U-net heads+channels); those "
        "of a pattern N:M make one cut, with no search",
    )


def _density(text: str) -> float | dict[str, float]:
    """A share of sites, or shares by their kinds."""
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
    from tombola.architectures.dissect import dissect
    from tombola.foundations.atomic_files import publish
    from tombola.pruning.evaluation import score, with_full_model
    from tombola.pruning.search.loop import search_ticket
    from tombola.study.session import Session
    from tombola.study.step import search_weight
    from tombola.tasks.capabilities import HasAbilities
    from tombola.tickets.pruning_methods import pruning_method
    from tombola.tickets.ticket import every_site

    weights = options.method is not None and pruning_method(options.method).kind == "weights"
    density = options.density
    if isinstance(density, dict) and options.method is not None:
        raise TombolaError("--density names the kinds that are pruned; leave --method out")
    settings = given_settings(options)
    if density is not None and "retain" in settings:
        raise TombolaError("--density cuts once, without a search that could retain anything; leave --retain out")
    session = Session.open(settings, options.preset)
    model = session.load_model("sampling" if weights else "importance")
    if options.method is None:
        options.method = "+".join(density) if isinstance(density, dict) else every_site(dissect(model))
    if isinstance(density, dict):
        return _prune_at_once(options, density, session, model)
    chosen = pruning_method(options.method)
    if density is not None:
        if not chosen.standard:
            how_much = "is found by a search" if chosen.pattern is None else f"keeps {chosen.pattern}"
            raise TombolaError(f"{chosen.name} {how_much}; leave --density out")
        return _prune_at_once(options, dict.fromkeys(chosen.kind.split("+"), density), session, model)
    if chosen.pattern is not None:
        return _prune_at_once(options, None, session, model)
    with (
        publish(options.out) as draft,
        session.bars(
            f"search {options.method}", session.search_cost(options.method), search_weight(options.method)
        ) as bars,
    ):
        config = session.config
        task, full = session.task, None
        if isinstance(task, HasAbilities):
            # Which of them count is known only when the full model was asked.
            task, full = with_full_model(task, score(model, task, None, session.evaluation(bars)))
        found = search_ticket(
            model,
            task,
            chosen.name,
            options=config.search_options,
            evaluation=session.evaluation(bars, config.searched),
            full=full if config.searched == "dev" else None,
        )
        if found.model is not None:
            (draft / "updated").mkdir()
            task.save(found.model, draft / "updated")
        found.save(draft)
    last = found.last
    result = {
        "ticket": str(options.out / "good"),
        "score": last.score,
        "full_score": found.full_score,
        **{name: getattr(last, name) for name in ("heads", "mlps", "neurons", "weights", "sparsity")},
    }
    if not options.json:
        kept = _kept(found.good.sites, dataclasses.asdict(last), last.sparsity)
        print(f"{kept} score {last.score:.4f}, the full model {found.full_score:.4f}: {result['ticket']}")
    return result


def _prune_at_once(
    options: argparse.Namespace, densities: Mapping[str, float] | None, session: "Session", model: "nn.Module"
) -> dict[str, Any]:
    """A ticket without a search: of given shares, or, without them, by the pattern of the method."""
    from tombola.architectures.dissect import dissect
    from tombola.foundations.atomic_files import publish
    from tombola.pruning.evaluation import score, with_full_model
    from tombola.pruning.one_shot import one_shot
    from tombola.study.step import IMPORTANCE_COST

    measured = densities is not None and options.method != "weights"
    cost = 2 * session.task.size("dev") + (IMPORTANCE_COST * session.task.size("train") if measured else 0)
    weight = cost / (2 * session.task.size("dev") + (session.task.size("train") if measured else 0))
    with publish(options.out) as draft, session.bars(f"prune {options.method}", cost, weight) as bars:
        pruned = model
        if densities is None:
            ticket, pruned = _by_pattern(options.method, session, model)
            if pruned is not model:
                (draft / "updated").mkdir()
                session.task.save(pruned, draft / "updated")
        else:
            # The settings' default is that of searches.
            block = getattr(options, "neuron_block", 1)
            how = session.evaluation(bars, "train")
            ticket = one_shot(model, session.task, densities, block=block, evaluation=how)
        task, whole = with_full_model(session.task, score(model, session.task, None, session.evaluation(bars)))
        full, found = whole.score, score(pruned, task, ticket, session.evaluation(bars)).score
        facts = {"task": task.name, "metric": task.metric.name, "split": "dev", "stage": "pruned"}
        ticket.with_provenance(**facts, full_score=full, score=found).save(draft / "ticket")
    anatomy = dissect(model)
    survivors, sparsity = ticket.survivors(anatomy), ticket.sparsity(anatomy)
    path = str(options.out / "ticket")
    if not options.json:
        kept = _kept(ticket.sites, survivors, sparsity)
        print(f"{kept} score {found:.4f}, the full model {full:.4f}: {path}")
    return {"ticket": path, "score": found, "full_score": full, **survivors, "sparsity": sparsity}


def _by_pattern(name: str, session: "Session", model: "nn.Module") -> "tuple[Ticket, nn.Module]":
    """The ticket of a method with a pattern, and the model, whose weights SparseGPT changes."""
    from tombola.checkpoints.semi_structured import PATTERN, prune_semi_structured
    from tombola.pruning.weight_criteria import CRITERIA, WeightCut
    from tombola.pruning.weight_pruning import prune_weights
    from tombola.tickets.pruning_methods import pruning_method

    method, config = pruning_method(name), session.config
    if (method.criterion, method.pattern) == ("magnitude", PATTERN):
        # Matrices that the pattern does not divide stay whole.
        return prune_semi_structured(model).with_provenance(method=method.name), model
    criterion = CRITERIA[method.criterion]
    text = None
    if criterion.statistic is not None:
        text = session.task.calibration_text(config.search.calibration_samples, config.search.sequence_length, 0)
    found = prune_weights(model, WeightCut(method.criterion, pattern=method.pattern), calibration=text)
    ticket = found.ticket.with_provenance(method=method.name)
    return ticket, found.model if criterion.updates else model


def _kept(sites: Sequence[str], survivors: Mapping[str, int], sparsity: float) -> str:
    """Survivors of a ticket, in words."""
    from tombola.tickets.pruning_methods import in_words

    counted = [f"{survivors[kind]:,} {in_words(kind)}" for kind in sites]
    return " and ".join(counted) or f"{1 - sparsity:.1%} of the weights"


COMMAND = Command(
    name="prune",
    what="from a fine-tuned model and a task to a good ticket",
    add_arguments=_add_arguments,
    run=_run,
    groups=("what to study", "how much data", "the search", "running"),
)
