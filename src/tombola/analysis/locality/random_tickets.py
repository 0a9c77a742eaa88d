"""Share of random tickets that win: many of them at each size that a search passed through, beside its own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from scipy.stats import beta, t
from torch import nn
from typing_extensions import override

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import JsonRecord
from tombola.metrics.resampling import LEVEL
from tombola.pruning import controls
from tombola.pruning.evaluation import STANDARD, EvaluationOptions, score
from tombola.pruning.search.records import Search, SearchPass
from tombola.tasks.base import Task
from tombola.tickets.kinds import TicketKind
from tombola.tickets.site_groups import site_groups_of
from tombola.tickets.ticket import Ticket

DRAWS, RETRAINED, SIZES = 20, 4, 3
"""Random tickets of each size, how many of those of the good ticket's size are retrained, and sizes."""


@dataclass(frozen=True)
class Share:
    """A share of random tickets with its 95 % interval; `by_seed`: how many of a seed's count, and of how many."""

    by_seed: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """Number of tickets that are counted."""
        return sum(count for count, _ in self.by_seed)

    @property
    def n(self) -> int:
        """Number of all tickets."""
        return sum(n for _, n in self.by_seed)

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.count / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval: exact for one seed (Clopper & Pearson 1934).

        The tickets of a seed share one full model and one threshold, so that those of several seeds are worth fewer
        independent ones: as many as give the variance that is seen between seeds (Korn & Graubard 1998).
        """
        worth, seeds, share = float(self.n), len(self.by_seed), self.value
        if seeds > 1 and 0 < share < 1:
            # Of a ratio: the seeds need not have the same number of tickets.
            apart = sum((count - share * n) ** 2 for count, n in self.by_seed)
            variance = seeds / (seeds - 1) * apart / self.n**2
            quantile = (1 + LEVEL) / 2
            wider = (t.ppf(quantile, seeds - 1) / t.ppf(quantile, self.n - 1)) ** 2
            worth = min(worth, share * (1 - share) / (variance * wider)) if variance > 0 else worth
        counted, outside = share * worth, (1 - LEVEL) / 2
        low = float(beta.ppf(outside, counted, worth - counted + 1)) if share > 0 else 0.0
        high = float(beta.ppf(1 - outside, counted + 1, worth - counted)) if share < 1 else 1.0
        return low, high


@dataclass(frozen=True)
class SizeScores:
    """Random tickets of one size.

    Attributes:
        stage: `pruned`: cut out of the full model; `retrained`: trained again from the rewound weights.
        kept: kind of site, or `weights` → how many survive.
        sparsity: share of the prunable weights that is gone in the searched ticket. Random ones keep as many sites of
            each kind, and so as many weights, but where heads share keys and values and go in groups only.
        searched: score of the search's own ticket of this size.
        scores: of the random tickets.
    """

    stage: str
    kept: Mapping[str, int]
    sparsity: float
    searched: float
    scores: tuple[float, ...]


@dataclass(frozen=True)
class RandomTickets(JsonRecord):
    """Scores of random tickets of one seed.

    Attributes:
        kind: of the tickets.
        split: on which the pruned ones are scored: the search's own. Retrained ones are scored on dev.
        full: score of the full model on that split.
        bound: the worst score that the search accepted there.
        higher_is_better: whether a larger score is a better one.
        sizes: the smallest last, and then the retrained ones, if there are any.
    """

    kind: TicketKind
    split: str
    full: float
    bound: float
    higher_is_better: bool
    sizes: tuple[SizeScores, ...]

    @classmethod
    @override
    def read(cls, path: Path) -> Self:
        found = super().read(path)
        if not found.sizes or not all(size.scores for size in found.sizes):
            raise TombolaError(f"{path} is damaged: it has a size without random tickets; {cls.mend}")
        return found


@dataclass(frozen=True)
class DrawOptions:
    """Draws of random tickets, so many of each size.

    Sizes are spread evenly over the sparsities from the full model to the good ticket, which is the last.
    """

    draws: int = DRAWS
    sizes: int = SIZES
    seed: int = 0


DRAWING = DrawOptions()


def winning(sizes: Sequence[tuple[RandomTickets, SizeScores]]) -> Share:
    """Share of random tickets that hold the search's threshold, over the seeds of one size."""
    return _reaching((found, at, found.bound) for found, at in sizes)


def above(sizes: Sequence[tuple[RandomTickets, SizeScores]]) -> Share:
    """Share of random tickets that score at least as well as the searched one of their seed."""
    return _reaching((found, at, at.searched) for found, at in sizes)


def _reaching(bars: Iterable[tuple[RandomTickets, SizeScores, float]]) -> Share:
    reached = [[one >= bar if found.higher_is_better else one <= bar for one in at.scores] for found, at, bar in bars]
    return Share(tuple((sum(one), len(one)) for one in reached))


def random_tickets(
    model: nn.Module,
    found: Search,
    task: Task,
    bound: float,
    options: EvaluationOptions = STANDARD,
    drawing: DrawOptions = DRAWING,
    *,
    retrained: tuple[float, Callable[[Ticket], float], int] | None = None,
) -> RandomTickets:
    """Score random tickets of the sizes that a search passed through.

    Sizes are those of states that held, so that the searched ticket's score at each is known without another pass.
    After iterative magnitude pruning those are scores of retrained models, which random tickets that are only cut out
    cannot be held against: then the good ticket alone is the bar, cut out too.

    Args:
        model: the fine-tuned full model that was searched; it is not changed.
        bound: the worst score that the search accepted.
        options: of the passes; their split is that which the search ran on.
        retrained: score of the retrained good ticket on dev, what trains a ticket again and scores it there, and how
            many random ones to do that to.

    Raises:
        TombolaError: the search is of another architecture.
    """
    anatomy = dissect(model)
    found.good.check(anatomy)
    groups = site_groups_of(anatomy, found.good.method)

    def cut_out(ticket: Ticket) -> float:
        return score(model, task, ticket, options).score

    def draw(template: Ticket, size: int, several: int) -> list[Ticket]:
        # Draws of two sizes or seeds have nothing in common.
        parts = ((drawing.seed, size, number) for number in range(several))
        seeds = (int(np.random.SeedSequence(part).generate_state(1)[0]) for part in parts)
        named = template.with_provenance(**found.good.provenance)
        return [controls.random(named, seed, groups, anatomy) for seed in seeds]

    scored, passes = [], [search_pass for search_pass in found.passes if search_pass.holds]
    iterative = found.good.provenance.get("stage") == "retrained"
    for number, search_pass in enumerate(passes[-1:] if iterative else _spread(passes, drawing.sizes)):
        template = found.good if iterative else _state(found, search_pass, anatomy)
        bar = cut_out(template) if iterative else search_pass.score
        scores = tuple(map(cut_out, draw(template, number, drawing.draws)))
        scored.append(SizeScores("pruned", _kept(template), search_pass.sparsity, bar, scores))
    if retrained is not None:
        good, again, several = retrained
        scores = tuple(map(again, draw(found.good, drawing.sizes, several)))
        scored.append(SizeScores("retrained", _kept(found.good), found.last.sparsity, good, scores))
    better = task.metric.higher_is_better
    return RandomTickets(found.kind, options.split, found.full_score, bound, better, tuple(scored))


def _spread(passes: Sequence[SearchPass], sizes: int) -> list[SearchPass]:
    """States whose sparsities lie evenly between none and the last one's, which is among them; fewer if there are."""
    last = passes[-1].sparsity
    chosen = []
    for number in range(1, sizes + 1):
        near = min(passes[1:] or passes, key=lambda search_pass: abs(search_pass.sparsity - last * number / sizes))
        if near not in chosen:
            chosen.append(near)
    return chosen


def _state(found: Search, search_pass: SearchPass, anatomy: Anatomy) -> Ticket:
    """A ticket of the size of one state of a search; for sites it is that state's own."""
    full_ticket = found.good | ~found.good
    if found.kind == "weights":
        # Only the number counts: which weights are kept is drawn anyway.
        left, masks = search_pass.weights, {}
        for name, mask in full_ticket.masks.items():
            kept = mask.flatten().clone()
            kept[min(left, kept.numel()) :] = False
            left -= int(kept.sum())
            masks[name] = kept.view_as(mask)
        return replace(full_ticket, masks=masks)
    state = full_ticket
    for done in found.passes[: search_pass.iteration + 1]:
        if done.holds:
            state = state.without({kind: done.removed.get(kind, []) for kind in full_ticket.sites})
    assert state.survivors(anatomy)["heads"] == search_pass.heads
    return state


def _kept(ticket: Ticket) -> dict[str, int]:
    return {"weights": len(ticket)} if ticket.kind == "weights" else ticket.counts()
