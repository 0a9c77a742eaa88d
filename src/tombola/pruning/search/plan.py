"""Plan of a search: the phases, and so the strategies, that a pruning method asks for."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.pruning.search.from_full_model import FromFullModel, WeightPruner
from tombola.pruning.search.groups import group_phases
from tombola.pruning.search.magnitude import SmallestWeights, remaining_weights
from tombola.pruning.search.options import SearchOptions
from tombola.pruning.search.sites import site_phases
from tombola.pruning.search.strategy import Phase, Strategy
from tombola.tasks.base import Task
from tombola.tickets.nm_sparsity import WeightPattern
from tombola.tickets.pruning_methods import PruningMethod, pruning_method
from tombola.tickets.site_groups import SiteGroups, count, fitted, site_groups
from tombola.tickets.ticket import Ticket


@dataclass(frozen=True, eq=False)
class SearchPlan:
    """Plan of a search.

    Attributes:
        method: with the kinds of sites that the model has.
        anatomy: of the model.
        full_ticket: the ticket that the search begins with.
        groups: sites that go together; None where each goes alone.
        normalise_layers: whether the importance of heads is divided by their layer's norm.
        phases: of the search, in order.
    """

    method: PruningMethod
    anatomy: Anatomy
    full_ticket: Ticket
    groups: SiteGroups | None
    normalise_layers: bool
    phases: tuple[Phase, ...]


def plan_search(model: nn.Module, task: Task, method: str, options: SearchOptions, seed: int) -> SearchPlan:
    """The plan of a search.

    Raises:
        TombolaError: unknown pruning method or architecture.
    """
    anatomy = dissect(model)
    chosen = fitted(pruning_method(method), anatomy)
    groups = None if chosen.grouping is None else site_groups(anatomy, chosen.grouping)
    layers = task.normalise_layers if options.normalise_layers is None else options.normalise_layers
    # The sites of a group share one importance, which norms of single layers would tear apart.
    layers = layers and groups is None
    full_ticket = Ticket.full(anatomy, chosen.kind, options.neuron_block)
    phases: Iterator[Phase]
    if chosen.kind == "weights":
        pruner = WeightPruner(model, task, chosen, options, seed)
        phases = _weight_phases(pruner, anatomy, full_ticket.total)
    elif groups is not None:
        size = options.cut("heads", count(groups)) if chosen.grouping == "kv-groups" else max(1, options.mlps_step)
        phases = group_phases(groups, size)
    else:
        phases = site_phases(full_ticket, options, layers)
    return SearchPlan(chosen, anatomy, full_ticket, groups, layers, tuple(phases))


def _weight_phases(pruner: WeightPruner, anatomy: Anatomy, total: int) -> Iterator[Phase]:
    """Phases of a search of weights: one, to the pattern's sparsity or through several."""
    method, options = pruner.method, pruner.options
    counts = remaining_weights(total, options)
    if method.pattern is not None:
        counts = iter([total - round(WeightPattern.parse(method.pattern).sparsity * total)])
    strategy: Strategy = SmallestWeights(anatomy, counts) if method.iterative else FromFullModel(pruner, counts)
    # Sparsities that were asked for are all measured, if there is to be a curve at all.
    to_the_end = options.curve_until is not None and bool(options.sparsities)
    yield Phase(method.criterion, strategy, beyond=True, to_the_end=to_the_end)
