"""Everything that `tombola compare` says of tickets: survival and agreement within and between tasks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tombola.analysis.agreement import STATISTICS, Agreement, agreement
from tombola.analysis.chance import DRAWS, Chance, Drawn, Group, chance, draw
from tombola.analysis.gathering import Found, gather
from tombola.analysis.overlap import Overlap, crossed_pairs, overlap
from tombola.analysis.shared import Array, Shared, all_pairs
from tombola.analysis.survival import (
    Density,
    KindSurvival,
    densities,
    density_deviations,
    mean_densities,
    rows_of,
    site_survival,
)
from tombola.errors import TombolaError
from tombola.ticket import Pruning, Ticket

CONTROLS = ("random", "random-layerwise")
"""The random tickets that every statistic stands beside."""
LAYERS_OF_ONE = "every layer has one site, so that a layer-matched random ticket is the ticket itself"


@dataclass(frozen=True)
class KindComparison:
    """One kind of site over several tickets.

    Attributes:
        agreement: of the tickets.
        by_chance: kind of random ticket → statistic → its distribution; None where it has none.
        no_chance: kind of random ticket → why it has no distributions.
    """

    agreement: Agreement
    by_chance: Mapping[str, Mapping[str, Chance | None]]
    no_chance: Mapping[str, str]


@dataclass(frozen=True)
class TaskComparison:
    """The tickets of one task and one pruning.

    Attributes:
        found: the tickets.
        kinds: kind of site → agreement; empty for weights.
        survival: kind of site → survival of every site; empty for weights.
        density: of every matrix of tickets of weights, mean over tickets.
        density_deviations: its deviations over tickets.
    """

    found: tuple[Found, ...]
    kinds: Mapping[str, KindComparison]
    survival: Mapping[str, KindSurvival]
    density: tuple[Density, ...] = ()
    density_deviations: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class PruningComparison:
    """The tickets of one pruning.

    Attributes:
        architecture: that they fit.
        tasks: task → its tickets.
        between: kind of site → agreement of the tickets of all tasks, over pairs of different tasks; empty for one.
        overlap: kind of site → the matrix of tasks; empty for weights.
    """

    architecture: str
    tasks: Mapping[str, TaskComparison]
    between: Mapping[str, KindComparison]
    overlap: Mapping[str, Overlap]


@dataclass(frozen=True)
class Comparison:
    """What tickets have in common.

    Attributes:
        prunings: pruning → its tickets.
        draws, seed: of the random tickets.
    """

    prunings: Mapping[Pruning, PruningComparison]
    draws: int
    seed: int


def compare(places: Iterable[Path | str], *, which: str = "good", draws: int = DRAWS, seed: int = 0) -> Comparison:
    """Compare the tickets in some folders; needs no model.

    Args:
        places, which: as in `gather`.
        draws, seed: of the random tickets that everything is held against.

    Raises:
        TombolaError: as in `gather`; a ticket is damaged; or draws or seed is no sensible number.
    """
    if draws < 1:
        raise TombolaError(f"{draws} draws give no distribution; take 1000, or some other number from 1")
    if seed < 0:
        raise TombolaError(f"the seed of the draws must be a whole number from 0, not {seed}")
    return Comparison(
        {pruning: _pruning(pruning, tasks, draws, seed) for pruning, tasks in gather(places, which).items()},
        draws,
        seed,
    )


def _pruning(pruning: Pruning, tasks: Mapping[str, Sequence[Found]], draws: int, seed: int) -> PruningComparison:
    architecture = next(iter(tasks.values()))[0].architecture
    if pruning == "weights":
        return PruningComparison(architecture, {task: _weights(found) for task, found in tasks.items()}, {}, {})
    tickets = {task: [one.load() for one in found] for task, found in tasks.items()}
    _check_shapes(tasks, tickets)
    members, first = [], 0
    for found in tasks.values():
        members.append(np.arange(first, first + len(found)))
        first += len(found)
    kinds = {
        kind: _kind(
            [ticket for several in tickets.values() for ticket in several],
            kind,
            members,
            list(tasks),
            draws,
            (seed, number),
        )
        for number, kind in enumerate(pruning.split("+"))
    }
    survival = {task: site_survival(several) for task, several in tickets.items()}
    return PruningComparison(
        architecture=architecture,
        tasks={
            task: TaskComparison(
                found=tuple(found),
                kinds={kind: one.tasks[number] for kind, one in kinds.items()},
                survival=known.kinds if (known := survival[task]) is not None else {},
            )
            for number, (task, found) in enumerate(tasks.items())
        },
        between={kind: one.between for kind, one in kinds.items() if one.between is not None},
        overlap={kind: one.overlap for kind, one in kinds.items()},
    )


@dataclass(frozen=True)
class _OfKind:
    """One kind of site: in each task, between tasks, and for every two tasks."""

    tasks: tuple[KindComparison, ...]
    between: KindComparison | None
    overlap: Overlap


def _kind(
    tickets: Sequence[Ticket],
    kind: str,
    members: Sequence[Array],
    tasks: Sequence[str],
    draws: int,
    seed: tuple[int, int],
) -> _OfKind:
    masks = np.stack([rows_of(ticket.masks[kind]) for ticket in tickets])
    flat = masks.reshape(len(masks), -1)
    crossed = crossed_pairs(members)
    groups = [Group(numbers, numbers[all_pairs(len(numbers))]) for numbers in members]
    if len(tasks) > 1:
        different = np.concatenate([pairs for (row, column), pairs in crossed.items() if row != column])
        groups.append(Group(np.arange(len(tickets)), different))
    drawn, no_chance = {}, {}
    for number, name in enumerate(CONTROLS):
        layerwise = name == "random-layerwise"
        if layerwise and masks.shape[-1] == 1:
            no_chance[name] = LAYERS_OF_ONE
        else:
            drawn[name] = draw(masks, groups, crossed, layerwise=layerwise, draws=draws, seed=(*seed, number))
    found = [_compared(flat, group, number, drawn, no_chance) for number, group in enumerate(groups)]
    return _OfKind(
        tasks=tuple(found[: len(tasks)]),
        between=found[-1] if len(tasks) > 1 else None,
        overlap=overlap(tasks, Shared.of(flat), crossed, drawn),
    )


def _compared(
    masks: Array, group: Group, number: int, drawn: Mapping[str, Drawn], no_chance: Mapping[str, str]
) -> KindComparison:
    # The group's tickets are counted from its own first.
    observed = agreement(masks[group.members], group.pairs - group.members[0])
    return KindComparison(
        observed,
        {
            name: {
                statistic: chance(one.groups[number][statistic], getattr(observed, statistic))
                for statistic in STATISTICS
            }
            for name, one in drawn.items()
        },
        no_chance,
    )


def _weights(found: Sequence[Found]) -> TaskComparison:
    # One ticket at a time: the masks of a large model over five seeds would fill the memory.
    by_ticket = [densities(one.load()) for one in found]
    return TaskComparison(tuple(found), {}, {}, mean_densities(by_ticket), density_deviations(by_ticket))


def _check_shapes(tasks: Mapping[str, Sequence[Found]], tickets: Mapping[str, Sequence[Ticket]]) -> None:
    """Tickets of one architecture may still differ in the size of their blocks of neurons."""
    first: tuple[Found, dict[str, list[int]]] | None = None
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
