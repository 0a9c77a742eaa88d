"""One-shot pruning: a ticket of a given size by a single cut, whatever the score."""

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError, check_number, memory_errors
from tombola.foundations.progress import Progress
from tombola.pruning.evaluation import EvaluationOptions, evaluate
from tombola.pruning.importance import Importance
from tombola.pruning.search.guessing import check_full_model
from tombola.pruning.search.options import SearchOptions
from tombola.pruning.search.sites import least_important_groups, without_groups
from tombola.pruning.search.weights import WeightPruner
from tombola.pruning.weight_criteria import CRITERIA
from tombola.pruning.weight_pruning import keep_by_criterion
from tombola.subnetworks.subnetwork import Subnetwork, whole
from tombola.tasks.base import Task
from tombola.tickets.kinds import kind_of
from tombola.tickets.pruning_methods import PruningMethod, pruning_method
from tombola.tickets.site_groups import SiteGroups, count, fitted, site_groups
from tombola.tickets.ticket import Ticket, every_site

ON_TRAINING_ROWS = EvaluationOptions(split="train")
"""Options of the pass that measures importance, on rows that do not judge."""


@memory_errors()
def one_shot(
    model: nn.Module,
    task: Task,
    densities: float | Mapping[str, float],
    *,
    block: int = 1,
    normalise_layers: bool | None = None,
    evaluation: EvaluationOptions = ON_TRAINING_ROWS,
    progress: Progress | bool | None = None,
) -> Ticket:
    """Prune once: keep the most important sites of each kind, or the largest weights, whatever the score.

    Args:
        model: a fine-tuned whole model; it is not changed.
        task: gives data and loss; a ticket of weights asks for none.
        densities: kind of site (`heads`, `mlps`, `neurons`) or `weights` → share that stays, from 0 to 1; one number
            for all kinds that a search prunes by default, heads and MLPs in most families. The count is rounded.
        block: neurons of a block. Single ones make the better tickets; larger blocks leave MLPs of rounder sizes.
        normalise_layers: divide the importance of heads by their layer's norm; by default as the task says.
        evaluation: of the pass that measures importance, over training rows by default, so that the dev rows can judge;
            if the task has a split for that, over its own.
        progress: in place of that of the evaluation; True for a bar on stderr.

    Raises:
        TombolaError: unknown architecture or kinds, a share that is none, or the model's outputs mean something else
            than the task's labels.
    """
    if not isinstance(densities, Mapping):
        densities = dict.fromkeys(every_site(dissect(model)).split("+"), densities)
    kind = kind_of(densities)
    if kind == "weights":
        return _largest_weights(model, task, densities)
    for site, share in densities.items():
        _check_density(site, share)
    part = whole(model, kind, block)
    found, read = _importance(part, task, evaluation.showing(progress))
    importance = found.normalised(task.normalise_layers if normalise_layers is None else normalise_layers)
    removed = {}
    for site, share in densities.items():
        least = importance.least_first(site)
        removed[site] = least[: len(least) - round(share * len(least))]
    return _cut_ticket(part.ticket.without(removed), densities, task, **read)


def single_cut(
    model: nn.Module,
    task: Task | None,
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
        task: gives data and loss, or calibration text, as far as the method asks for them; None for a method that asks
            for nothing, see `needs_task`.
        method: a pruning method, see `tombola.tickets.pruning_methods.METHODS`.
        density: share that stays, from 0 to 1; of each kind of site, or by kind. Of groups of sites, their share. None
            for a method of a pattern, which has a density of its own.
        options: blocks of neurons, calibration text.
        evaluation: of the pass that measures importance, see `one_shot`.
        seed: of calibration text and of random pruning.

    Returns:
        The ticket, and the pruned model where the method changes the weights that survive; None otherwise.

    Raises:
        TombolaError: unknown method or architecture, a density that does not go with the method, or no task where it
            needs one.
    """
    anatomy, options = dissect(model), options or SearchOptions()
    chosen = fitted(pruning_method(method), anatomy)
    if task is None and needs_task(chosen):
        raise TombolaError(f"pruning {chosen.words} asks a task for data; give one")
    if density is None and chosen.pattern is None:
        raise TombolaError(f"{chosen.name} has no density of its own; give the share that stays")
    if density is not None and chosen.pattern is not None:
        raise TombolaError(f"{chosen.name} keeps {chosen.pattern}; leave the density out")
    if chosen.standard and density is not None:
        of_kinds = density if isinstance(density, Mapping) else dict.fromkeys(chosen.kind.split("+"), density)
        layers = options.normalise_layers
        if chosen.kind == "weights":
            return _largest_weights(model, task, of_kinds), None
        assert task is not None
        block = options.neuron_block
        return one_shot(model, task, of_kinds, block=block, normalise_layers=layers, evaluation=evaluation), None
    if isinstance(density, Mapping):
        raise TombolaError(f"{chosen.name} takes one density, not one of each kind")
    if density is not None:
        _check_density(chosen.name, density)
        if chosen.grouping is not None:
            assert task is not None
            return _most_important_groups(model, task, chosen, density, evaluation), None
    pruner = WeightPruner(model, task, chosen, options, seed)
    found = pruner.prune(None if density is None else 1 - density, evaluation.progress)
    return found.ticket.with_provenance(ticket="good"), found.model if pruner.updates else None


def needs_task(method: PruningMethod) -> bool:
    """True if a method ranks sites by a task's loss, or weights by the activations of its text."""
    return bool(method.sites) or CRITERIA[method.criterion].statistic is not None


def _importance(
    part: Subnetwork, task: Task, evaluation: EvaluationOptions, groups: SiteGroups | None = None
) -> tuple[Importance, dict[str, object]]:
    """The importance, and the split with what was read there, for the provenance."""
    evaluation = replace(evaluation, split=task.importance_split or evaluation.split)
    found = evaluate(part, task, evaluation, importance=True, groups=groups)
    check_full_model(task, found.predictions, evaluation.split)
    assert found.importance is not None
    return found.importance, {"split": evaluation.split, "importance": dict(task.text_facts(evaluation.split))}


def _most_important_groups(
    model: nn.Module, task: Task, method: PruningMethod, density: float, evaluation: EvaluationOptions
) -> Ticket:
    assert method.grouping is not None
    part = whole(model, method.kind)
    groups = site_groups(part.anatomy, method.grouping)
    importance, read = _importance(part, task, evaluation, groups)
    order = least_important_groups(importance, groups)
    ticket = without_groups(part.ticket, groups, order[: len(order) - round(density * count(groups))]).ticket
    return _cut_ticket(ticket, {method.name: density}, task, **read)


def _largest_weights(model: nn.Module, task: Task | None, densities: Mapping[str, float]) -> Ticket:
    _check_density("weights", densities["weights"])
    anatomy = dissect(model)
    criterion = pruning_method("weights").criterion
    masks = keep_by_criterion(model, anatomy, criterion, round(densities["weights"] * anatomy.weights))
    return _cut_ticket(Ticket("weights", anatomy.signature, masks), densities, task)


def _cut_ticket(ticket: Ticket, densities: Mapping[str, float], task: Task | None, **facts: object) -> Ticket:
    where = {} if task is None else {"task": task.name}
    return ticket.with_provenance(ticket="good", density=dict(densities), **where, **facts)


def _check_density(what: str, density: float) -> None:
    check_number(f"the density of {what}", density, 0, 1)
