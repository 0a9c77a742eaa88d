"""Ticket of any pruning method by a single cut: of a given density, whatever the score."""

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.checkpoints.semi_structured import PATTERN, prune_semi_structured
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions, evaluate
from tombola.pruning.one_shot import ON_TRAINING_ROWS, check_density, one_shot
from tombola.pruning.search.from_full_model import WeightPruner
from tombola.pruning.search.groups import least_important_groups, without_groups
from tombola.pruning.search.options import SearchOptions
from tombola.subnetworks.subnetwork import Subnetwork
from tombola.tasks.base import Task
from tombola.tickets.pruning_methods import PruningMethod, pruning_method
from tombola.tickets.site_groups import count, fitted, site_groups
from tombola.tickets.ticket import Ticket


def single_cut(
    model: nn.Module,
    task: Task,
    method: str,
    density: float | Mapping[str, float] | None = None,
    *,
    options: SearchOptions | None = None,
    evaluation: EvaluationOptions = ON_TRAINING_ROWS,
    seed: int = 0,
) -> tuple[Ticket, nn.Module | None]:
    """Prune a model by any method, at once.

    Args:
        model: a fine-tuned whole model; it is not changed.
        task: gives data and loss, or calibration text, as far as the method asks for them.
        method: a pruning method, see `tombola.tickets.pruning_methods.METHODS`.
        density: share that stays, from 0 to 1; of each kind of site, or by kind. Of groups of sites, their share. None
            for a method of a pattern, which has a density of its own.
        options: blocks of neurons, calibration text.
        evaluation: of the pass that measures importance, see [`one_shot`][tombola.pruning.one_shot.one_shot].
        seed: of calibration text and of random pruning.

    Returns:
        The ticket, and the pruned model where the method changes the weights that survive; None otherwise.

    Raises:
        TombolaError: unknown method or architecture, or a density that does not go with the method.
    """
    anatomy, options = dissect(model), options or SearchOptions()
    chosen = fitted(pruning_method(method), anatomy)
    if density is None and chosen.pattern is None:
        raise TombolaError(f"{chosen.name} has no density of its own; give the share that stays")
    if density is not None and chosen.pattern is not None:
        raise TombolaError(f"{chosen.name} keeps {chosen.pattern}; leave the density out")
    if chosen.standard and density is not None:
        of_kinds = density if isinstance(density, Mapping) else dict.fromkeys(chosen.kind.split("+"), density)
        layers = options.normalise_layers
        ticket = one_shot(
            model, task, of_kinds, block=options.neuron_block, normalise_layers=layers, evaluation=evaluation
        )
        return ticket, None
    if isinstance(density, Mapping):
        raise TombolaError(f"{chosen.name} takes one density, not one of each kind")
    if density is not None:
        check_density(chosen.name, density)
        if chosen.grouping is not None:
            return _group_cut(model, anatomy, task, chosen, density, evaluation), None
    if (chosen.criterion, chosen.pattern) == ("magnitude", PATTERN):
        # Matrices that the pattern does not divide stay whole.
        return prune_semi_structured(model), None
    pruner = WeightPruner(model, task, chosen, options, seed)
    found = pruner.prune(None if density is None else 1 - density, evaluation.progress)
    return found.ticket, found.model if pruner.updates else None


def _group_cut(
    model: nn.Module,
    anatomy: Anatomy,
    task: Task,
    method: PruningMethod,
    density: float,
    evaluation: EvaluationOptions,
) -> Ticket:
    """Ticket of the most important groups of sites."""
    assert method.grouping is not None
    groups, everything = site_groups(anatomy, method.grouping), Ticket.full(anatomy, method.kind)
    evaluation = replace(evaluation, split=task.importance_split or evaluation.split)
    whole = Subnetwork(model, anatomy, everything, everything)
    importance = evaluate(whole, task, evaluation, importance=True, groups=groups).importance
    assert importance is not None
    order = least_important_groups(importance, groups)
    ticket = without_groups(everything, groups, order[: len(order) - round(density * count(groups))]).ticket
    facts = {"ticket": "one-shot", "density": {method.name: density}, "task": task.name, "split": evaluation.split}
    return ticket.with_provenance(**facts)
