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

    from tombola.study.session import Pipeline


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    from tombola.tickets.pruning_methods import WAYS

    at_once = parser.add_mutually_exclusive_group()
    at_once.add_argument(
        "--density",
        type=_density,
        metavar="SHARE",
        help="no search: one cut that leaves this share of each kind, 0 to 1, or a share of each kind that is named, as "
        "heads=0.5,channels=0.8",
    )
    at_once.add_argument(
        "--pattern",
        choices=("2:4",),
        help="no search: of every four weights in a row the two largest, for GPUs; needs --pruning weights",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="new folder: search.jsonl and good/ (with SparseGPT also updated/, the model), or ticket/ with no search",
    )
    parser.add_argument(
        "--pruning",
        metavar="WAY",
        help=f"what to remove, and by what, of {', '.join(WAYS)} (heads+mlps; of a U-net heads+channels)",
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
    from tombola.architectures.anatomy import dissect
    from tombola.foundations.atomic_files import publish
    from tombola.pruning.evaluation import judged, score
    from tombola.pruning.search import search_ticket
    from tombola.study.session import Pipeline
    from tombola.study.step import search_weight
    from tombola.tickets.pruning_methods import way
    from tombola.tickets.ticket import every_site

    weights = options.pruning is not None and way(options.pruning).pruning == "weights"
    if options.pattern is not None and options.pruning != "weights":
        raise TombolaError(f"{options.pattern} is a pattern of weights; add --pruning weights")
    density = options.density
    if isinstance(density, dict) and options.pruning is not None:
        raise TombolaError("--density names the kinds that are pruned; leave --pruning out")
    settings = given_settings(options)
    if density is not None and "retain" in settings:
        raise TombolaError("--density cuts once, without a search that could retain anything; leave --retain out")
    pipe = Pipeline.open(settings, options.preset)
    model = pipe.trained("sampling" if weights else "importance")
    if options.pruning is None:
        options.pruning = "+".join(density) if isinstance(density, dict) else every_site(dissect(model))
    if isinstance(density, dict):
        return _prune_at_once(options, density, pipe, model)
    chosen = way(options.pruning)
    if options.pattern is not None or density is not None:
        if chosen.name != chosen.pruning:
            raise TombolaError(f"{chosen.name} is found by a search; leave --density out")
        densities = None if density is None else dict.fromkeys(chosen.pruning.split("+"), density)
        return _prune_at_once(options, densities, pipe, model)
    with (
        publish(options.out) as draft,
        pipe.bars(
            f"search {options.pruning}", pipe.search_cost(options.pruning), search_weight(options.pruning)
        ) as bars,
    ):
        config = pipe.config
        how: dict[str, Any] = {"batch_size": config.eval_batch_size, "precision": pipe.precision, "progress": bars}
        task, full = pipe.task, None
        if task.abilities:
            # Which of them count is known only when the full model was asked.
            task, full = judged(task, score(model, task, **how))
        found = search_ticket(
            model,
            task,
            chosen.name,
            options=config.search_options,
            split=config.searched,
            full=full if config.searched == "dev" else None,
            normalise_layers=config.normalise_layers,
            calibrate=lambda: task.calibration_text(config.calibration_samples, config.sequence_length, 0),
            **how,
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
    options: argparse.Namespace, densities: Mapping[str, float] | None, pipe: "Pipeline", model: "nn.Module"
) -> dict[str, Any]:
    """A ticket without a search: of given shares, or by a pattern."""
    from tombola.architectures.anatomy import dissect
    from tombola.checkpoints.semi_structured import prune_semi_structured
    from tombola.foundations.atomic_files import publish
    from tombola.pruning.evaluation import judged, score
    from tombola.pruning.one_shot import one_shot
    from tombola.study.step import IMPORTANCE_COST

    how: dict[str, Any] = {"batch_size": pipe.config.eval_batch_size, "precision": pipe.precision}
    measured = densities is not None and options.pruning != "weights"
    cost = 2 * pipe.task.size("dev") + (IMPORTANCE_COST * pipe.task.size("train") if measured else 0)
    weight = cost / (2 * pipe.task.size("dev") + (pipe.task.size("train") if measured else 0))
    with publish(options.out) as draft, pipe.bars(f"prune {options.pruning}", cost, weight) as bars:
        if densities is None:
            ticket = prune_semi_structured(model)
        else:
            # The settings' default is that of searches.
            block = getattr(options, "neuron_block", 1)
            ticket = one_shot(model, pipe.task, densities, block=block, progress=bars, **how)
        task, whole = judged(pipe.task, score(model, pipe.task, progress=bars, **how))
        full, found = whole.score, score(model, task, ticket, progress=bars, **how).score
        facts = {"task": task.name, "metric": task.metric.name, "split": "dev", "stage": "pruned"}
        ticket.with_provenance(**facts, full_score=full, score=found).save(draft / "ticket")
    anatomy = dissect(model)
    survivors, sparsity = ticket.survivors(anatomy), ticket.sparsity(anatomy)
    path = str(options.out / "ticket")
    if not options.json:
        kept = _kept(ticket.sites, survivors, sparsity)
        print(f"{kept} score {found:.4f}, the full model {full:.4f}: {path}")
    return {"ticket": path, "score": found, "full_score": full, **survivors, "sparsity": sparsity}


def _kept(sites: Sequence[str], survivors: Mapping[str, int], sparsity: float) -> str:
    """What a ticket keeps, in words."""
    from tombola.tickets.pruning_methods import in_words

    counted = [f"{survivors[kind]:,} {in_words(kind)}" for kind in sites]
    return " and ".join(counted) or f"{1 - sparsity:.1%} of the weights"


COMMAND = Command(
    name="prune",
    what="from a fine-tuned model and a task to a good ticket",
    add_arguments=_add_arguments,
    run=_run,
    groups=("what to study", "how much data", "the search", "language models", "running"),
)
