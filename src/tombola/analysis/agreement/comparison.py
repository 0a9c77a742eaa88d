"""Comparison of tickets, as `tombola compare` makes it: survival and agreement within and between tasks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from tombola.analysis.agreement.coefficients import STATISTICS, Agreement, agreement, agreement_by_counts
from tombola.analysis.agreement.null_distribution import (
    DRAWS,
    Group,
    NullDistribution,
    RandomTicketStatistics,
    measure,
    null_distribution,
    random_sites,
)
from tombola.analysis.agreement.overlap import Overlap, crossed_pairs, overlap
from tombola.analysis.agreement.pairwise_overlap import Array, PairwiseOverlap, all_pairs
from tombola.analysis.agreement.survival import (
    Density,
    KindSurvival,
    densities,
    density_deviations,
    mean_densities,
    rows_of,
    site_survival,
)
from tombola.analysis.agreement.weight_overlap import LARGEST, PackedMasks, count, random_weights
from tombola.foundations.errors import TombolaError
from tombola.tickets.find_tickets import FoundTicket, find_tickets
from tombola.tickets.ticket import Ticket, TicketKind

CONTROLS = ("random", "random-layerwise")
"""The random tickets that every statistic stands beside."""
LAYERS_OF_ONE = "every layer has one site, so that a layer-matched random ticket is the ticket itself"
TOO_MANY = f"random tickets of {LARGEST:,} weights and more are not drawn"


@dataclass(frozen=True)
class KindComparison:
    """Comparison of one kind of site, or of the weights, over several tickets.

    Attributes:
        agreement: of the tickets.
        null_distributions: kind of random ticket → statistic → its distribution; None where it has none.
        no_null_distribution: kind of random ticket → why it has no distributions.
    """

    agreement: Agreement
    null_distributions: Mapping[str, Mapping[str, NullDistribution | None]]
    no_null_distribution: Mapping[str, str]


@dataclass(frozen=True)
class TaskComparison:
    """The tickets of one task and one kind.

    Attributes:
        found: the tickets.
        kinds: kind of site, or `weights` → agreement.
        survival: kind of site → survival of every site; empty for weights.
        density: of every matrix of tickets of weights, mean over tickets.
        density_deviations: its deviations over tickets.
    """

    found: tuple[FoundTicket, ...]
    kinds: Mapping[str, KindComparison]
    survival: Mapping[str, KindSurvival]
    density: tuple[Density, ...] = ()
    density_deviations: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class TicketKindComparison:
    """The tickets of one kind.

    Attributes:
        architecture: that they fit.
        tasks: task → its tickets.
        between: kind of site → agreement of the tickets of all tasks, over pairs of different tasks; empty for one.
        overlap: kind of site → the matrix of tasks.
    """

    architecture: str
    tasks: Mapping[str, TaskComparison]
    between: Mapping[str, KindComparison]
    overlap: Mapping[str, Overlap]


@dataclass(frozen=True)
class Comparison:
    """Comparison of several tickets: survival, agreement, overlap and null distributions.

    Attributes:
        kinds: kind of ticket → the tickets of it.
        draws, seed: of the random tickets.
    """

    kinds: Mapping[TicketKind, TicketKindComparison]
    draws: int
    seed: int


def compare(places: Iterable[Path | str], *, ticket: str = "good", draws: int = DRAWS, seed: int = 0) -> Comparison:
    """Compare the tickets in some folders; needs no model.

    Args:
        places, ticket: as in `find_tickets`.
        draws, seed: of the random tickets that everything is held against.

    Raises:
        TombolaError: as in `find_tickets`; a ticket is damaged; or draws or seed is no sensible number.
    """
    if draws < 1:
        raise TombolaError(f"{draws} draws give no distribution; take 1000, or some other number from 1")
    if seed < 0:
        raise TombolaError(f"the seed of the draws must be a whole number from 0, not {seed}")
    return Comparison(
        {kind: _of_kind(kind, tasks, draws, seed) for kind, tasks in find_tickets(places, ticket).items()},
        draws,
        seed,
    )


def _of_kind(
    kind: TicketKind, tasks: Mapping[str, Sequence[FoundTicket]], draws: int, seed: int
) -> TicketKindComparison:
    bounds = np.cumsum([0, *(len(found) for found in tasks.values())])
    members = [np.arange(first, last) for first, last in pairwise(bounds.tolist())]
    setting = _Setting(tuple(tasks), tuple(members), draws, seed)
    return (_of_weights if kind == "weights" else _of_sites)(tasks, setting)


@dataclass(frozen=True)
class _Setting:
    """Tickets to compare: names of tasks, the numbers of their tickets, draws and their seed."""

    tasks: tuple[str, ...]
    members: tuple[Array, ...]
    draws: int
    seed: int

    @cached_property
    def crossed(self) -> Mapping[tuple[int, int], Array]:
        """Pairs of tickets between every two tasks."""
        return crossed_pairs(self.members)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The tickets of each task; then, if there are several, those of all with the pairs of different tasks."""
        groups = [Group(numbers, numbers[all_pairs(len(numbers))]) for numbers in self.members]
        if len(self.tasks) > 1:
            different = [pairs for (row, column), pairs in self.crossed.items() if row != column]
            groups.append(Group(np.concatenate(self.members), np.concatenate(different)))
        return tuple(groups)


@dataclass(frozen=True)
class _OfKind:
    """Comparison of one kind of site: for each of the groups, and for every two tasks."""

    groups: tuple[KindComparison, ...]
    overlap: Overlap


def _of_sites(tasks: Mapping[str, Sequence[FoundTicket]], setting: _Setting) -> TicketKindComparison:
    tickets = {task: [one.load() for one in found] for task, found in tasks.items()}
    _check_shapes(tasks, tickets)
    everything = [ticket for several in tickets.values() for ticket in several]
    kinds = {}
    for number, kind in enumerate(everything[0].sites):
        masks = np.stack([rows_of(ticket.masks[kind]) for ticket in everything])
        kinds[kind] = _kind_of_site(masks, number, setting)
    survival = {task: site_survival(several) for task, several in tickets.items()}
    return _put_together(
        setting,
        {
            task: TaskComparison(tuple(found), {}, known.sites if (known := survival[task]) is not None else {})
            for task, found in tasks.items()
        },
        kinds,
    )


def _kind_of_site(masks: Array, number: int, setting: _Setting) -> _OfKind:
    """Compare masks [tickets, rows, sites of a row]; `number` keeps the draws of two kinds apart."""
    flat = masks.reshape(len(masks), -1)
    drawn, no_null_distribution = {}, {}
    for control in CONTROLS:
        layerwise = control == "random-layerwise"
        if layerwise and masks.shape[-1] == 1:
            no_null_distribution[control] = LAYERS_OF_ONE
            continue
        seed = (setting.seed, number, int(layerwise))
        batches = random_sites(masks, setting.groups, layerwise=layerwise, draws=setting.draws, seed=seed)
        drawn[control] = measure(batches, setting.groups, setting.crossed)
    observed = [
        # The group's tickets are counted from its own first.
        agreement(flat[group.members], group.pairs - group.members[0])
        for group in setting.groups
    ]
    return _against_null(observed, PairwiseOverlap.of(flat), drawn, no_null_distribution, setting)


def _of_weights(tasks: Mapping[str, Sequence[FoundTicket]], setting: _Setting) -> TicketKindComparison:
    described, packed = {}, []
    for task, found in tasks.items():
        by_ticket = []
        for one in found:
            # One whole ticket at a time: the masks of a large model over five seeds would fill the memory.
            ticket = one.load()
            by_ticket.append(densities(ticket))
            packed.append(PackedMasks(ticket))
            if packed[-1].sizes != packed[0].sizes:
                raise TombolaError(f"the ticket in {one.folder} has other matrices than the first; find it again")
        deviations = density_deviations(by_ticket)
        described[task] = TaskComparison(tuple(found), {}, {}, mean_densities(by_ticket), deviations)
    counts = count(packed, setting.groups)
    observed = [
        agreement_by_counts(counts.shared.among(group.members), always, group.pairs - group.members[0])
        for group, always in zip(setting.groups, counts.everywhere, strict=True)
    ]
    drawn, no_null_distribution = {}, {}
    for control in CONTROLS:
        if counts.shared.sites >= LARGEST:
            no_null_distribution[control] = TOO_MANY
            continue
        layerwise = control == "random-layerwise"
        seed = (setting.seed, 0, int(layerwise))
        batches = random_weights(counts, setting.groups, layerwise=layerwise, draws=setting.draws, seed=seed)
        drawn[control] = measure(batches, setting.groups, setting.crossed)
    return _put_together(
        setting, described, {"weights": _against_null(observed, counts.shared, drawn, no_null_distribution, setting)}
    )


def _against_null(
    observed: Sequence[Agreement],
    shared: PairwiseOverlap,
    drawn: Mapping[str, RandomTicketStatistics],
    no_null_distribution: Mapping[str, str],
    setting: _Setting,
) -> _OfKind:
    """The agreement of every group beside that of random tickets, and the matrix of tasks."""
    return _OfKind(
        tuple(
            KindComparison(
                one,
                {
                    control: {
                        name: null_distribution(random.groups[number][name], getattr(one, name)) for name in STATISTICS
                    }
                    for control, random in drawn.items()
                },
                no_null_distribution,
            )
            for number, one in enumerate(observed)
        ),
        overlap(setting.tasks, shared, setting.crossed, drawn),
    )


def _put_together(
    setting: _Setting, tasks: Mapping[str, TaskComparison], kinds: Mapping[str, _OfKind]
) -> TicketKindComparison:
    several = len(setting.tasks) > 1
    return TicketKindComparison(
        architecture=next(iter(tasks.values())).found[0].architecture,
        tasks={
            task: replace(one, kinds={kind: of_kind.groups[number] for kind, of_kind in kinds.items()})
            for number, (task, one) in enumerate(tasks.items())
        },
        between={kind: one.groups[-1] for kind, one in kinds.items()} if several else {},
        overlap={kind: one.overlap for kind, one in kinds.items()},
    )


def _check_shapes(tasks: Mapping[str, Sequence[FoundTicket]], tickets: Mapping[str, Sequence[Ticket]]) -> None:
    """Tickets of one architecture may still differ in the size of their blocks of neurons."""
    first: tuple[FoundTicket, dict[str, list[int]]] | None = None
    for task, several in tickets.items():
        for found, ticket in zip(tasks[task], several, strict=True):
            shapes = {kind: list(mask.shape) for kind, mask in ticket.masks.items()}
            if first is None:
                first = found, shapes
            if shapes != first[1] or shapes.keys() != set(ticket.sites):
                raise TombolaError(
                    f"the masks of {found.folder} have the shapes {shapes}, those of {first[0].folder} {first[1]}; "
                    "compare tickets of the same blocks of neurons only"
                )
