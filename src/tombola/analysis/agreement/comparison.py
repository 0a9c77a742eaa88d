"""Comparison of tickets, as `tombola compare` makes it: survival and agreement within and between tasks."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from tombola.analysis.agreement.coefficients import STATISTICS, Agreement, Group, agreement
from tombola.analysis.agreement.null_distribution import (
    DRAWS,
    Batch,
    NullDistribution,
    RandomTicketStatistics,
    measure,
    null_distribution,
    random_sites,
)
from tombola.analysis.agreement.overlap import Overlap, crossed_pairs, overlap
from tombola.analysis.agreement.pairwise_overlap import LEVEL, Array, PairwiseOverlap, all_pairs
from tombola.analysis.agreement.survival import (
    Density,
    Rows,
    densities,
    in_rows,
    mean_densities,
    sites_of,
    super_survivor_controls,
    super_survivors,
)
from tombola.analysis.agreement.weight_overlap import LARGEST, PackedMasks, count, random_weights
from tombola.foundations.atomic_files import publish
from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import JsonRecord
from tombola.foundations.slug import slugs
from tombola.tickets.find_tickets import FoundTicket, find_tickets
from tombola.tickets.kinds import TicketKind
from tombola.tickets.ticket import Ticket

CONTROLS = ("random", "layer-matched")
"""Random tickets that every statistic stands beside."""
LAYERS_OF_ONE = "every layer has one site, so that a layer-matched random ticket is the ticket itself"
TOO_MANY = f"random tickets of {LARGEST:,} weights and more are not drawn"
ONE_TASK = "a single task has nothing to agree with"


@dataclass(frozen=True, kw_only=True)
class KindComparison(Agreement):
    """Agreement of several tickets on one kind of site, or on weights, beside that of random tickets.

    Attributes:
        null_distribution: kind of random ticket → statistic → its distribution, None where it has none; None for
            random tickets that are not drawn, whose reason stands in `undefined`.
        survival: share of the tickets in which each site survives, in rows as in the mask; None for weights, and for
            tickets of several tasks; the next two likewise.
        survival_deviation: standard deviation over the tickets of each site's survival, 0 or 1.
        super_survivor_sites: row and place there of every site that survives in all tickets.
    """

    null_distribution: Mapping[str, Mapping[str, NullDistribution | None] | None]
    survival: Rows | None = None
    survival_deviation: Rows | None = None
    super_survivor_sites: tuple[tuple[int, int], ...] | None = None

    def null_distributions(self, statistic: str) -> dict[str, NullDistribution]:
        """Kind of random ticket → distribution of a statistic; without those that have none."""
        drawn = {control: (self.null_distribution.get(control) or {}).get(statistic) for control in CONTROLS}
        return {control: found for control, found in drawn.items() if found is not None}


@dataclass(frozen=True)
class TicketPlace:
    """Folder of a ticket, and its seed: a number, or `–` where its provenance says none."""

    folder: str
    seed: str


@dataclass(frozen=True)
class TaskComparison:
    """The tickets of one task and one kind: kind of site, or `weights` → agreement, and the densities of `matrices`."""

    tickets: tuple[TicketPlace, ...]
    agreement: Mapping[str, KindComparison]
    matrices: tuple[Density, ...] = ()


@dataclass(frozen=True)
class TicketKindComparison:
    """The tickets of one kind.

    Attributes:
        architecture: that they fit.
        tasks: task → its tickets.
        between_tasks: kind of site → agreement of all tickets, over pairs of different tasks; None for one task.
        overlap: kind of site → the matrix of tasks.
        undefined: why `between_tasks` is None.
    """

    architecture: str
    tasks: Mapping[str, TaskComparison]
    between_tasks: Mapping[str, KindComparison] | None
    overlap: Mapping[str, Overlap]
    undefined: Mapping[str, str]


@dataclass(frozen=True)
class Comparison(JsonRecord):
    """Comparison of several tickets, as `comparison.json` has it.

    Attributes:
        draws, seed: of the random tickets.
        level: p value below which pairs are rejected.
        kinds: kind of ticket → the tickets of it.
    """

    draws: int
    seed: int
    level: float
    kinds: Mapping[TicketKind, TicketKindComparison]

    mend: ClassVar[str] = "run `tombola compare` again"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote, and hold its parts against each other: types alone do not say that they fit.

        Raises:
            TombolaError: the file is missing or damaged.
        """
        comparison = super().read(path)
        if not comparison.kinds:
            raise TombolaError(f"{path}: it compares no tickets; {cls.mend}")
        for kind, of_kind in comparison.kinds.items():
            if wrong := next(_unfitting(kind, of_kind), ""):
                raise TombolaError(f"{path}: kinds, {kind}, {wrong}; {cls.mend}")
        return comparison


def compare(
    places: Iterable[Path | str] | Path | str,
    *,
    ticket: str = "good",
    draws: int = DRAWS,
    seed: int = 0,
    relative_to: Path | None = None,
) -> Comparison:
    """Compare the tickets in some folders; needs no model.

    Args:
        places, ticket: as in `find_tickets`.
        draws, seed: of the random tickets that everything is held against.
        relative_to: folder from which the tickets' folders are named; by default they are named as they were given.

    Raises:
        TombolaError: as in `find_tickets`; a ticket is damaged; or draws or seed is no sensible number.
    """
    if draws < 1:
        raise TombolaError(f"{draws} draws give no distribution; take 1000, or some other number from 1")
    if seed < 0:
        raise TombolaError(f"the seed of the draws must be a whole number from 0, not {seed}")
    found = find_tickets(places, ticket)
    kinds = {kind: _of_kind(kind, tasks, draws, seed, relative_to) for kind, tasks in found.items()}
    return Comparison(draws, seed, LEVEL, kinds)


def _unfitting(kind: TicketKind, found: TicketKindComparison) -> Iterator[str]:
    """Parts of the comparison of tickets of a kind that do not fit it, or its tasks, in words."""
    if not found.tasks:
        yield "tasks: there are none"
    sites = set(kind.split("+"))
    places: dict[str, Mapping[str, object]] = {
        f"tasks, {task}, agreement": its.agreement for task, its in found.tasks.items()
    }
    places["overlap"] = found.overlap
    if found.between_tasks is not None:
        places["between_tasks"] = found.between_tasks
    yield from (
        f"{where} must have {sorted(sites)}, not {sorted(its)}" for where, its in places.items() if set(its) != sites
    )
    for task, its in found.tasks.items():
        for site, one in its.agreement.items() if kind != "weights" else ():
            sizes = {len(row) for row in one.survival or ((),)}
            # Rows of a model that was shrunk may be empty, but not all of them.
            if sizes == {0} or (site == "mlps" and sizes - {0, 1}):
                yield f"tasks, {task}, agreement, {site}: the rows of 'survival' are those of no model"
    for site, matrices in found.overlap.items():
        nulls = [null.jaccard for null in matrices.null_distribution.values() if null]
        n = len(matrices.tasks)
        if any(len(matrix) != n or {*map(len, matrix)} - {n} for matrix in (matrices.jaccard, *nulls)):
            yield f"overlap, {site}: a matrix of {n} tasks must have {n} rows of {n}"
        if not matrices.null_distribution.keys() >= set(CONTROLS):
            yield f"overlap, {site}: 'null_distribution' must have {list(CONTROLS)}"


def save_comparison(comparison: Comparison, out: Path) -> None:
    """Write `comparison.json` and `<kind>/<task>/{super-survivors,random,layer-matched,bad}/` as one new folder.

    Weights have no such tickets: those that always survive are better taken with `&`.

    Raises:
        TombolaError: the folder exists or cannot be written, or a ticket vanished in the meantime.
    """
    with publish(out) as draft:
        comparison.write(draft / "comparison.json")
        for kind, of_kind in comparison.kinds.items():
            names = slugs(of_kind.tasks)
            for task, one in of_kind.tasks.items() if kind != "weights" else ():
                tickets = [Ticket.load(Path(ticket.folder)) for ticket in one.tickets]
                made = {"super-survivors": super_survivors(tickets)}
                made |= super_survivor_controls(tickets, comparison.seed)
                for name, ticket in made.items():
                    ticket.save(draft / kind / names[task] / name)


@dataclass(frozen=True)
class _Setting:
    """Tickets to compare: names of tasks, the numbers of their tickets, draws and their seed."""

    tasks: tuple[str, ...]
    members: tuple[Array, ...]
    draws: int
    seed: int

    @cached_property
    def crossed(self) -> Mapping[tuple[int, int], Array]:
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
class _OfSite:
    """Comparison of one kind of site: for each group, for every two tasks, and the matrices of each task's weights."""

    groups: tuple[KindComparison, ...]
    overlap: Overlap
    matrices: tuple[tuple[Density, ...], ...] = ()


def _of_kind(
    kind: TicketKind, tasks: Mapping[str, Sequence[FoundTicket]], draws: int, seed: int, home: Path | None
) -> TicketKindComparison:
    bounds = np.cumsum([0, *(len(found) for found in tasks.values())])
    members = [np.arange(first, last) for first, last in pairwise(bounds.tolist())]
    setting, several = _Setting(tuple(tasks), tuple(members), draws, seed), len(tasks) > 1
    sites = (_of_weights if kind == "weights" else _of_sites)(tasks, setting)
    return TicketKindComparison(
        architecture=next(iter(tasks.values()))[0].architecture,
        tasks={
            task: TaskComparison(
                tuple(
                    TicketPlace((one.folder.relative_to(home) if home else one.folder).as_posix(), one.seed)
                    for one in found
                ),
                {site: one.groups[number] for site, one in sites.items()},
                next((one.matrices[number] for one in sites.values() if one.matrices), ()),
            )
            for number, (task, found) in enumerate(tasks.items())
        },
        between_tasks={site: one.groups[-1] for site, one in sites.items()} if several else None,
        overlap={site: one.overlap for site, one in sites.items()},
        undefined={} if several else {"between_tasks": ONE_TASK},
    )


def _of_sites(tasks: Mapping[str, Sequence[FoundTicket]], setting: _Setting) -> dict[str, _OfSite]:
    found = [one for several in tasks.values() for one in several]
    tickets = [one.load() for one in found]
    _check_shapes(found, tickets)
    return {kind: _of_site(*sites_of(tickets, kind), number, setting) for number, kind in enumerate(tickets[0].sites)}


def _of_site(masks: Array, sizes: Sequence[int], number: int, setting: _Setting) -> _OfSite:
    """Compare masks [tickets, sites], in rows of these sizes; `number` keeps the draws of two kinds apart."""
    always = [int(masks[group.members].all(axis=0).sum()) for group in setting.groups]
    missing = {"layer-matched": LAYERS_OF_ONE} if max(sizes) == 1 else {}
    draw = functools.partial(random_sites, masks, sizes)
    together = setting.members if len(setting.tasks) > 1 else ()
    found = _against_null(PairwiseOverlap.of(masks), always, draw, missing, setting, number, together)
    of_tasks = (_with_survival(found.groups[task], masks[own], sizes) for task, own in enumerate(setting.members))
    return replace(found, groups=(*of_tasks, *found.groups[len(setting.tasks) :]))


def _with_survival(one: KindComparison, masks: Array, sizes: Sequence[int]) -> KindComparison:
    shares = masks.mean(axis=0)
    survival = in_rows(shares, sizes)
    return replace(
        one,
        survival=survival,
        survival_deviation=in_rows(np.sqrt(shares * (1 - shares)), sizes),
        super_survivor_sites=tuple(
            (row, site) for row, its in enumerate(survival) for site, share in enumerate(its) if share == 1
        ),
    )


def _of_weights(tasks: Mapping[str, Sequence[FoundTicket]], setting: _Setting) -> dict[str, _OfSite]:
    matrices, packed = [], []
    for found in tasks.values():
        by_ticket = []
        for one in found:
            # One whole ticket at a time: the masks of a large model over five seeds would fill the memory.
            ticket = one.load()
            by_ticket.append(densities(ticket))
            packed.append(PackedMasks(ticket))
            if packed[-1].sizes != packed[0].sizes:
                raise TombolaError(f"the ticket in {one.folder} has other matrices than the first; find it again")
        matrices.append(mean_densities(by_ticket))
    counts = count(packed, setting.groups)
    missing = dict.fromkeys(CONTROLS, TOO_MANY) if counts.shared.sites >= LARGEST else {}
    draw = functools.partial(random_weights, counts)
    of_weights = _against_null(counts.shared, counts.everywhere, draw, missing, setting)
    return {"weights": replace(of_weights, matrices=tuple(matrices))}


def _against_null(
    shared: PairwiseOverlap,
    super_survivors: Sequence[int],
    draw: Callable[..., Iterator[Batch]],
    missing: Mapping[str, str],
    setting: _Setting,
    stream: int = 0,
    together: Sequence[Array] = (),
) -> _OfSite:
    """The agreement of every group beside that of random tickets, and the matrix of tasks.

    Tickets of one task may agree whatever other tasks do. Where tasks are held against each other, those of each are
    drawn `together` then, so that several seeds that keep the same are not taken for so many independent tickets.
    """
    drawn: dict[str, RandomTicketStatistics | None] = dict.fromkeys(CONTROLS)
    for control in CONTROLS:
        if control not in missing:
            layer_matched = control == "layer-matched"
            seed = (setting.seed, stream, int(layer_matched))
            of_random = functools.partial(
                draw, setting.groups, layer_matched=layer_matched, draws=setting.draws, seed=seed
            )
            found = measure(of_random(), setting.groups, setting.crossed)
            if together:
                of_tasks = measure(of_random(together=together), setting.groups, setting.crossed)
                found = found.with_between_tasks(of_tasks)
            drawn[control] = found

    def beside_random(number: int) -> KindComparison:
        one = agreement(shared, super_survivors[number], setting.groups[number])
        nulls = {
            control: None
            if random is None
            else {name: null_distribution(random.groups[number][name], getattr(one, name)) for name in STATISTICS}
            for control, random in drawn.items()
        }
        return KindComparison(**{**vars(one), "undefined": {**one.undefined, **missing}}, null_distribution=nulls)

    groups = tuple(map(beside_random, range(len(setting.groups))))
    return _OfSite(groups, overlap(setting.tasks, shared, setting.crossed, drawn))


def _check_shapes(found: Sequence[FoundTicket], tickets: Sequence[Ticket]) -> None:
    """Tickets of one architecture may still differ in the size of their blocks of neurons."""
    shapes = [{kind: [len(row) for row in ticket.rows(kind)] for kind in ticket.masks} for ticket in tickets]
    for one, ticket, its in zip(found, tickets, shapes, strict=True):
        if its != shapes[0] or its.keys() != set(ticket.sites):
            raise TombolaError(
                f"the masks of {one.folder} have the shapes {its}, those of {found[0].folder} {shapes[0]}; "
                "compare tickets of the same blocks of neurons only"
            )
