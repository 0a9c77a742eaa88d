"""Prune until the score no longer holds: the trajectory, and the smallest ticket that still holds."""

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from torch import nn

from tombola.anatomy import Anatomy, dissect
from tombola.errors import TombolaError
from tombola.evaluation import Evaluation, evaluate
from tombola.importance import Importance
from tombola.magnitude import keep_largest
from tombola.precision import Precision
from tombola.progress import SILENT, Progress
from tombola.records import read
from tombola.store import read_lines, write_lines
from tombola.subnetwork import Subnetwork, shrunk
from tombola.tasks.base import Task
from tombola.ticket import BLOCK, Pruning, Ticket, in_words


@dataclass(frozen=True)
class SearchOptions:
    """How a search proceeds; the defaults are the paper's (Prasanna et al. 2020, section 4), but for neurons.

    Attributes:
        threshold: share of the full model's score that must hold.
        heads_step: share of all heads that an iteration removes, at least one head.
        mlps_step: MLPs that an iteration removes.
        neurons_step: share of all blocks of neurons that an iteration removes, at least one block; and of all groups of
            channels.
        neuron_block: neighbouring neurons that are removed together.
        refine: after heads and MLPs (neurons) together, go on with heads alone, then with MLPs (neurons) alone.
        refine_heads_step: share of all heads that a refining iteration removes, at least one head.
        refine_neurons_step: the same for blocks of neurons and groups of channels.
        weights_step: share of the remaining weights that an iteration of m-pruning removes.
    """

    threshold: float = 0.9
    heads_step: float = 0.1
    mlps_step: int = 1
    neurons_step: float = 0.1
    neuron_block: int = BLOCK
    refine: bool = True
    refine_heads_step: float = 0.05
    refine_neurons_step: float = 0.05
    weights_step: float = 0.1

    def __post_init__(self) -> None:
        shares = ("threshold", "heads_step", "neurons_step", "refine_heads_step", "refine_neurons_step", "weights_step")
        for name in shares:
            if not 0 < getattr(self, name) <= 1:
                raise TombolaError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        if self.mlps_step < 0:
            raise TombolaError(f"mlps_step must be 0 or more, not {self.mlps_step}")
        if self.neuron_block < 1:
            raise TombolaError(f"neuron_block must be 1 or more, not {self.neuron_block}")
        if self.weights_step == 1:
            raise TombolaError("weights_step must be below 1: removing all weights at once leaves no ticket")

    def cut(self, kind: str, total: int, *, refining: bool = False) -> int:
        """How many of all `total` sites of a kind an iteration removes."""
        if kind == "mlps":
            return 1 if refining else self.mlps_step
        # A group of channels is to a residual block what a block of neurons is to an MLP.
        kind = "neurons" if kind == "channels" else kind
        return _share(getattr(self, f"refine_{kind}_step" if refining else f"{kind}_step"), total)


@dataclass(frozen=True)
class Step:
    """One iteration of a search: a line of `search.jsonl`.

    Attributes:
        iteration: from 0, the full model.
        phase: `full`, `joint`, `heads`, `mlps`, `neurons`, `channels` (the s-search) or `magnitude` (the m-search).
        removed: what this iteration removed: `heads` as [layer, head], `mlps` as layers, `neurons` as [layer, block]
            and `channels` as [residual block, group], least important first; or the number of `weights`.
        heads, mlps, neurons, weights: survivors.
        sparsity: share of the prunable weights that is gone.
        score: on the search split.
        holds: whether the score holds the threshold; if not, the state before stands.
        seconds: of this pass.
        importance: normalised importance of the survivors in this state, as `Importance.lists`; None for weights.
        channels: surviving groups of channels.
    """

    iteration: int
    phase: str
    removed: Mapping[str, Any]
    heads: int
    mlps: int
    neurons: int
    weights: int
    sparsity: float
    score: float
    holds: bool
    seconds: float
    importance: Mapping[str, Any] | None = None
    channels: int = 0


@dataclass(frozen=True, eq=False)
class Search:
    """A finished search.

    Attributes:
        good: the smallest ticket found whose score holds.
        steps: every iteration, the full model first.
    """

    good: Ticket
    steps: tuple[Step, ...] = field(repr=False)

    @property
    def pruning(self) -> Pruning:
        """What was removed."""
        return self.good.pruning

    @property
    def full_score(self) -> float:
        """The full model's score on the search split."""
        return self.steps[0].score

    @property
    def last(self) -> Step:
        """The iteration whose state is the good ticket."""
        return [step for step in self.steps if step.holds][-1]

    def least_useful_first(self, kind: str) -> list[Any]:
        """Every site of a kind: in the order of removal, then survivors by rising importance.

        Heads are [layer, head], MLPs layers, neurons [layer, block].
        """
        removed = [site for step in self.steps if step.holds for site in step.removed.get(kind, [])]
        assert self.last.importance is not None
        return removed + Importance.from_lists(self.last.importance).least_first(kind)

    def save(self, folder: Path) -> None:
        """Write `search.jsonl`, then the ticket as `good/`: where `good/` is, the search is complete."""
        write_lines(folder / "search.jsonl", (asdict(step) for step in self.steps))
        self.good.save(folder / "good")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a search that `save` wrote.

        Raises:
            TombolaError: a file is missing or damaged.
        """
        return cls(Ticket.load(folder / "good"), read_steps(folder / "search.jsonl"))


def read_steps(path: Path) -> tuple[Step, ...]:
    """Read a `search.jsonl`, the full model first.

    Raises:
        TombolaError: it is missing or damaged.
    """
    mend = f"delete {path.parent} and start again"
    lines = enumerate(read_lines(path), start=1)
    steps = tuple(read(Step, line, f"{path}, line {number}", mend) for number, line in lines)
    if not steps or not steps[0].holds:
        raise TombolaError(f"{path} does not begin with the full model; {mend}")
    return steps


@dataclass(frozen=True, eq=False)
class _State:
    ticket: Ticket
    evaluation: Evaluation
    model: nn.Module


@dataclass
class _Trail:
    """The loop that both searches share: cut, pass, keep the cut while the score holds."""

    task: Task
    anatomy: Anatomy
    floor: float
    progress: Progress
    normalise_layers: bool
    pass_over: Callable[[Ticket], tuple[nn.Module, Evaluation]]
    steps: list[Step] = field(default_factory=list)

    def start(self, state: _State) -> _State:
        self._log("full", {}, state.ticket, state.evaluation, holds=True, seconds=state.evaluation.seconds)
        return state

    def descend(
        self, phase: str, state: _State, cut: Callable[[_State], tuple[Ticket, Mapping[str, Any]] | None]
    ) -> _State:
        while (found := cut(state)) is not None:
            started = time.perf_counter()
            ticket, removed = found
            model, evaluation = self.pass_over(ticket)
            holds = self.task.metric.holds(evaluation.score, self.floor)
            self._log(phase, removed, ticket, evaluation, holds=holds, seconds=time.perf_counter() - started)
            if not holds:
                break
            state = _State(ticket, evaluation, model)
        return state

    def _log(
        self,
        phase: str,
        removed: Mapping[str, Any],
        ticket: Ticket,
        evaluation: Evaluation,
        *,
        holds: bool,
        seconds: float,
    ) -> None:
        importance = evaluation.importance
        survivors = ticket.survivors(self.anatomy)
        if ticket.pruning == "weights":
            kept, importance = f"{1 - ticket.sparsity(self.anatomy):.0%} of weights", None
        else:
            kept = ", ".join(f"{survivors[kind]} {in_words(kind)}" for kind in ticket.sites)
        self.steps.append(
            Step(
                iteration=len(self.steps),
                phase=phase,
                removed=removed,
                **survivors,
                sparsity=ticket.sparsity(self.anatomy),
                score=evaluation.score,
                holds=holds,
                seconds=seconds,
                importance=None if importance is None else importance.normalised(self.normalise_layers).lists(),
            )
        )
        self.progress.note(f"iteration {len(self.steps) - 1}: {kept}, {evaluation.score:.4f} (floor {self.floor:.4f})")


def search_ticket(
    model: nn.Module,
    task: Task,
    pruning: Pruning = "heads+mlps",
    *,
    options: SearchOptions | None = None,
    split: str = "dev",
    full: Evaluation | None = None,
    realise: Callable[[nn.Module, Ticket], Subnetwork] = shrunk,
    retrain: Callable[[Ticket], nn.Module] | None = None,
    normalise_layers: bool | None = None,
    batch_size: int = 64,
    precision: Precision = "fp32",
    progress: Progress = SILENT,
) -> Search:
    """Find the smallest ticket whose score holds.

    Sites: each iteration passes once over the split for score and importance, then removes the least important of each
    kind; the next pass runs on the shrunk network. `weights`: each iteration removes the smallest of the remaining
    prunable weights, whichever matrix they stand in.

    Args:
        model: a fine-tuned whole model; it is not changed.
        task: gives data, loss and metric.
        pruning: what to remove.
        options: threshold and steps.
        split: `dev` as in the paper, or `search` for rows held out from training.
        full: the evaluation of `model` on that split, if it is known; it serves if it has the importance of the sites.
        realise: `shrunk`, or `masked` for comparison.
        retrain: gives the model trained again under a ticket of weights from rewound weights; with it the search is
            iterative magnitude pruning (Frankle & Carbin 2019), and each cut goes by the retrained magnitudes.
        normalise_layers: divide the importance of heads by their layer's norm; by default as the task says.
        batch_size: examples at a time.
        precision: of the forward passes.
        progress: counts examples, notes iterations.

    Raises:
        TombolaError: unknown architecture, or the split is empty.
    """
    options = options or SearchOptions()
    importance = pruning != "weights"
    layers = task.normalise_layers if normalise_layers is None else normalise_layers

    def evaluation(subnetwork: Subnetwork) -> Evaluation:
        return evaluate(
            subnetwork,
            task,
            split,
            importance=importance,
            batch_size=batch_size,
            precision=precision,
            progress=progress,
        )

    def pass_over(ticket: Ticket) -> tuple[nn.Module, Evaluation]:
        trained = retrain(ticket) if retrain is not None and pruning == "weights" else model
        return trained, evaluation(realise(trained, ticket))

    anatomy = dissect(model)
    everything = Ticket.everything(anatomy, pruning, options.neuron_block)
    if full is None or not _serves(full, everything):
        full = evaluation(Subnetwork(model, anatomy, everything, everything))
    trail = _Trail(task, anatomy, task.metric.floor(full.score, options.threshold), progress, layers, pass_over)
    state = trail.start(_State(everything, full, model))
    if pruning == "weights":
        state = trail.descend("magnitude", state, lambda s: _cut_weights(s, anatomy, options.weights_step))
    else:
        totals = everything.counts()
        counts = {kind: options.cut(kind, total) for kind, total in totals.items()}
        state = trail.descend("joint", state, lambda s: _cut_sites(s, counts, layers))
        for kind, total in totals.items() if options.refine else ():
            alone = {kind: options.cut(kind, total, refining=True)}
            if alone == counts:
                # It would cut again what the last joint step took back.
                continue
            state = trail.descend(kind, state, functools.partial(_cut_sites, counts=alone, layers=layers))
    good = state.ticket.with_provenance(
        ticket="good",
        task=task.name,
        metric=task.metric.name,
        split=split,
        stage="pruned" if retrain is None or pruning != "weights" else "retrained",
        threshold=options.threshold,
        full_score=full.score,
        score=state.evaluation.score,
    )
    return Search(good, tuple(trail.steps))


def _serves(full: Evaluation, everything: Ticket) -> bool:
    """Whether an evaluation of the full model has the importance of all sites that are pruned."""
    shapes = {} if full.importance is None else {kind: v.shape for kind, v in full.importance.sites.items()}
    return all(shapes.get(kind) == everything.masks[kind].shape for kind in everything.sites)


def _cut_sites(state: _State, counts: Mapping[str, int], layers: bool) -> tuple[Ticket, Mapping[str, Any]] | None:
    """The ticket without the least important sites, so many of each kind."""
    assert state.evaluation.importance is not None
    importance = state.evaluation.importance.normalised(layers)
    removed = {kind: importance.least_first(kind)[:count] for kind, count in counts.items()}
    return (state.ticket.without(removed), removed) if any(removed.values()) else None


def _cut_weights(state: _State, anatomy: Anatomy, share: float) -> tuple[Ticket, Mapping[str, Any]] | None:
    remaining = len(state.ticket)
    removed = _share(share, remaining)
    if removed >= remaining:
        return None
    weights = anatomy.weights_of(state.model)
    masks = keep_largest(weights, remaining - removed, state.ticket.masks)
    return replace(state.ticket, masks=masks), {"weights": removed}


def _share(share: float, total: int) -> int:
    """The share of a number, rounded down, at least 1; 0.29 of 100 is 29, whatever binary fractions make of it."""
    return max(1, math.floor(share * total + 1e-9))
