"""Prune until the score no longer holds: the trajectory, and the smallest ticket that still holds."""

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.foundations.atomic_files import read_lines, write_bytes, write_lines
from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import read
from tombola.foundations.precision import Precision
from tombola.foundations.progress import SILENT, Progress
from tombola.pruning.calibration import SAMPLES, SEQUENCE_LENGTH, Calibration
from tombola.pruning.evaluation import Evaluation, evaluate
from tombola.pruning.importance import Importance
from tombola.pruning.magnitude import keep_largest
from tombola.pruning.weight_criteria import CRITERIA
from tombola.pruning.weight_pruning import prune_weights
from tombola.subnetworks.subnetwork import Subnetwork, shrunk
from tombola.tasks.base import Predictions, Task
from tombola.tickets.nm_sparsity import WeightPattern
from tombola.tickets.pruning_methods import PruningMethod, in_words, pruning_method
from tombola.tickets.site_groups import SiteGroups, count, fitted, site_groups
from tombola.tickets.ticket import BLOCK, Ticket, TicketKind, every_site

PREDICTIONS = "predictions.safetensors"
"""The file of what every iteration of a search predicts."""
GOOD = "good.safetensors"
"""The file of the evaluation of the good ticket's state."""


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
        sparsities: the sparsities that a search of weights passes through, instead of steps.
        curve_until: go on, for the sake of the curve, until the score falls under this share of the full model's, or
            through all `sparsities`; None to stop where the threshold does. What is found beyond the threshold never
            becomes the good ticket.
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
    sparsities: tuple[float, ...] = ()
    curve_until: float | None = None

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
        if self.curve_until is not None and not 0 < self.curve_until <= self.threshold:
            raise TombolaError(
                f"curve_until must lie above 0 and at most at the threshold {self.threshold}, not {self.curve_until}"
            )
        if any(not 0 < one < 1 for one in self.sparsities) or list(self.sparsities) != sorted(set(self.sparsities)):
            raise TombolaError(
                f"sparsities must rise, each above 0 and below 1, not {', '.join(map(str, self.sparsities))}"
            )

    def cut(self, kind: str, total: int, *, refining: bool = False) -> int:
        """How many of all `total` sites of a kind an iteration removes."""
        if kind == "mlps":
            return 1 if refining else self.mlps_step
        # A group of channels is to a residual block what a block of neurons is to an MLP.
        kind = "neurons" if kind == "channels" else kind
        return _share(getattr(self, f"refine_{kind}_step" if refining else f"{kind}_step"), total)


@dataclass(frozen=True)
class SearchPass:
    """One iteration of a search: a line of `search.jsonl`.

    Attributes:
        iteration: from 0, the full model.
        phase: `full`; of sites `joint`, `heads`, `mlps`, `neurons`, `channels`; of weights the criterion: `magnitude`.
        removed: what this iteration removed: `heads` as [layer, head], `mlps` as layers, `neurons` as [layer, block]
            and `channels` as [residual block, group], least important first; or by how many `weights` fewer there are
            than before.
        heads, mlps, neurons, weights: survivors.
        sparsity: share of the prunable weights that is gone.
        score: on the search split.
        holds: whether the score holds the threshold, as all before it did; if not, the state before stands.
        seconds: of this pass.
        importance: normalised importance of the survivors in this state, as `Importance.lists`; None for weights.
        more: the task's further metrics, those of the search split.
        channels: surviving groups of channels.
        matrices: of a ticket of weights, how many survive in each matrix, in the order of the anatomy.
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
    more: Mapping[str, float] = field(default_factory=dict)
    channels: int = 0
    matrices: list[int] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Search:
    """A finished search.

    Attributes:
        good: the smallest ticket found whose score holds.
        passes: every iteration, the full model first.
        predictions: [examples] of every iteration, from which intervals are drawn; none when it was read from disk.
        evaluation: of the good ticket's state, on the search split.
        model: what the good ticket keeps, where the method changed the values of the weights that survive.
        trained: the good ticket as it was trained, where the search trains between its cuts and found one.
    """

    good: Ticket
    passes: tuple[SearchPass, ...] = field(repr=False)
    predictions: tuple[Predictions, ...] = field(default=(), repr=False)
    evaluation: Evaluation | None = field(default=None, repr=False)
    model: nn.Module | None = field(default=None, repr=False)
    trained: Subnetwork | None = field(default=None, repr=False)

    @property
    def kind(self) -> TicketKind:
        """Kind of the good ticket: what was removed."""
        return self.good.kind

    @property
    def full_score(self) -> float:
        """The full model's score on the search split."""
        return self.passes[0].score

    @property
    def last(self) -> SearchPass:
        """The iteration whose state is the good ticket."""
        return [step for step in self.passes if step.holds][-1]

    def least_useful_first(self, kind: str) -> list[Any]:
        """Every site of a kind: in the order of removal, then survivors by rising importance.

        Heads are [layer, head], MLPs layers, neurons [layer, block].
        """
        removed = [site for step in self.passes if step.holds for site in step.removed.get(kind, [])]
        assert self.last.importance is not None
        return removed + Importance.from_lists(self.last.importance).least_first(kind)

    def save(self, folder: Path) -> None:
        """Write `search.jsonl` and predictions, then the ticket as `good/`: where that is, the search is complete."""
        write_lines(folder / "search.jsonl", (asdict(step) for step in self.passes))
        if self.predictions:
            write_bytes(folder / PREDICTIONS, save({str(index): one for index, one in enumerate(self.predictions)}))
        if self.evaluation is not None:
            self.evaluation.write(folder / GOOD)
        self.good.save(folder / "good")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a search that `save` wrote.

        Raises:
            TombolaError: a file is missing or damaged.
        """
        return cls(Ticket.load(folder / "good"), read_passes(folder / "search.jsonl"))


def read_predictions(path: Path) -> tuple[Predictions, ...]:
    """Read the predictions [examples] of every iteration that a search wrote as `PREDICTIONS`.

    Raises:
        TombolaError: the file is missing or damaged.
    """
    try:
        arrays = load_file(path)
        return tuple(arrays[str(index)] for index in range(len(arrays)))
    except (OSError, SafetensorError, KeyError) as error:
        raise TombolaError(f"{path} cannot be read ({error}); delete {path.parent} and start again") from None


def read_passes(path: Path) -> tuple[SearchPass, ...]:
    """Read a `search.jsonl`, the full model first.

    Raises:
        TombolaError: it is missing or damaged.
    """
    mend = f"delete {path.parent} and start again"
    lines = enumerate(read_lines(path), start=1)
    steps = tuple(read(SearchPass, line, f"{path}, line {number}", mend) for number, line in lines)
    if not steps or not steps[0].holds:
        raise TombolaError(f"{path} does not begin with the full model; {mend}")
    return steps


@dataclass(frozen=True, eq=False)
class _State:
    ticket: Ticket
    evaluation: Evaluation
    part: Subnetwork


@dataclass(frozen=True, eq=False)
class _Cut:
    """What comes next: a smaller ticket, what it removes, and the pruned model where there is one already."""

    ticket: Ticket
    removed: Mapping[str, Any]
    model: nn.Module | None = None


_Cutter = Callable[[_State], _Cut | None]


@dataclass
class _Trail:
    """The loop that all searches share: cut, pass, keep the cut while the score holds."""

    task: Task
    split: str
    anatomy: Anatomy
    floor: float
    beyond: float | None
    progress: Progress
    normalise_layers: bool
    pass_over: Callable[[_Cut], tuple[Subnetwork, Evaluation]]
    steps: list[SearchPass] = field(default_factory=list)
    predictions: list[Predictions] = field(default_factory=list)

    def record_full(self, state: _State) -> _State:
        self._log("full", {}, state.ticket, state.evaluation, holds=True, seconds=state.evaluation.seconds)
        return state

    def descend(
        self, phase: str, state: _State, cut: _Cutter, *, beyond: bool = False, to_the_end: bool = False
    ) -> _State:
        """Cut until the score falls, or for the curve's sake further down; the last state that held.

        Args:
            phase: what is cut.
            state: from where.
            cut: the next cut; None where there is no other.
            beyond: go on below the threshold, as far as the trail says.
            to_the_end: make every cut that there is.
        """
        holding, holds = state, True
        while (found := cut(state)) is not None:
            started = time.perf_counter()
            part, evaluation = self.pass_over(found)
            holds = holds and self.task.metric.holds(evaluation.score, self.floor)
            seconds = time.perf_counter() - started
            self._log(phase, found.removed, found.ticket, evaluation, holds=holds, seconds=seconds)
            state = _State(found.ticket, evaluation, part)
            if holds:
                holding = state
            elif to_the_end:
                continue
            elif not beyond or self.beyond is None or not self.task.metric.holds(evaluation.score, self.beyond):
                break
        return holding

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
        survivors, matrices = ticket.survivors(self.anatomy), list[int]()
        if ticket.kind == "weights":
            matrices = [int(ticket.masks[matrix.name].sum()) for matrix in self.anatomy.matrices]
            kept, importance = f"{1 - ticket.sparsity(self.anatomy):.0%} of weights", None
        else:
            kept = ", ".join(f"{survivors[kind]} {in_words(kind)}" for kind in ticket.sites)
        references = self.task.references(self.split)
        more = {
            name: metric.score(evaluation.predictions, references)
            for name, (split, metric) in self.task.more.items()
            if split == self.split
        }
        self.steps.append(
            SearchPass(
                iteration=len(self.steps),
                phase=phase,
                removed=removed,
                **survivors,
                sparsity=ticket.sparsity(self.anatomy),
                score=evaluation.score,
                holds=holds,
                seconds=seconds,
                importance=None if importance is None else importance.normalised(self.normalise_layers).lists(),
                more=more,
                matrices=matrices,
            )
        )
        self.predictions.append(evaluation.predictions)
        self.progress.note(f"iteration {len(self.steps) - 1}: {kept}, {evaluation.score:.4f} (floor {self.floor:.4f})")


Calibrate = Callable[[], Calibration]
"""Gives calibration text when it is needed: most methods need none."""


def search_ticket(
    model: nn.Module,
    task: Task,
    method: str = "heads+mlps",
    *,
    options: SearchOptions | None = None,
    split: str = "dev",
    full: Evaluation | None = None,
    realise: Callable[[nn.Module, Ticket], Subnetwork] = shrunk,
    retrain: Callable[[Ticket], Subnetwork] | None = None,
    normalise_layers: bool | None = None,
    calibrate: Calibrate | None = None,
    seed: int = 0,
    batch_size: int = 64,
    precision: Precision = "fp32",
    progress: Progress = SILENT,
) -> Search:
    """Find the smallest ticket whose score holds.

    Sites: each iteration passes once over the split for score and importance, then removes the least important of each
    kind; the next pass runs on the shrunk network. `weights`: each iteration removes the smallest of the remaining
    prunable weights, whichever matrix they stand in. Other methods for weights begin every iteration with the full
    model, as what Wanda or SparseGPT removes at one sparsity need not be part of what it removes at the next.

    Args:
        model: a fine-tuned whole model; it is not changed.
        task: gives data, loss and metric.
        method: a pruning method, see `tombola.tickets.pruning_methods.METHODS`.
        options: threshold and steps.
        split: `dev` as in the paper, or `search` for rows held out from training.
        full: the evaluation of `model` on that split, if it is known; it serves if it has the importance of the sites.
        realise: `shrunk`, or `masked` for comparison.
        retrain: gives the ticket's part of the model, trained again from rewound weights; with it the search of
            `weights` is iterative magnitude pruning (Frankle & Carbin 2019): each cut goes by the retrained
            magnitudes, or importances, and each score is the retrained one. Other methods for weights, which begin
            with the full model each time, do without.
        normalise_layers: divide the importance of heads by their layer's norm; by default as the task says.
        calibrate: gives calibration text, for Wanda and SparseGPT; by default 128 x 2,048 tokens of the task's.
        seed: of calibration text and of random pruning.
        batch_size: examples at a time.
        precision: of the forward passes.
        progress: counts examples, notes iterations.

    Raises:
        TombolaError: unknown pruning method or architecture, or the split is empty.
    """
    options, chosen = options or SearchOptions(), pruning_method(method)
    anatomy = dissect(model)
    chosen = fitted(chosen, anatomy)
    weights = chosen.kind == "weights"
    layers = task.normalise_layers if normalise_layers is None else normalise_layers
    # The sites of a group share one importance, which norms of single layers would tear apart.
    layers = layers and chosen.grouping is None
    groups = None if chosen.grouping is None else site_groups(anatomy, chosen.grouping)
    retrain = retrain if chosen.iterative or not weights else None

    def evaluation(subnetwork: Subnetwork) -> Evaluation:
        return evaluate(
            subnetwork,
            task,
            split,
            importance=not weights,
            groups=groups,
            batch_size=batch_size,
            precision=precision,
            progress=progress,
        )

    def pass_over(cut: _Cut) -> tuple[Subnetwork, Evaluation]:
        if cut.model is not None:
            part = _as_it_is(cut.model, anatomy, cut.ticket)
        else:
            part = realise(model, cut.ticket) if retrain is None else retrain(cut.ticket)
        return part, evaluation(part)

    full_ticket = Ticket.full(anatomy, chosen.kind, options.neuron_block)
    entire = Subnetwork(model, anatomy, full_ticket, full_ticket)
    if full is None or groups is not None or not _serves(full, full_ticket):
        full = evaluation(entire)
    metric = task.metric
    trail = _Trail(
        task,
        split,
        anatomy,
        floor=metric.floor(full.score, options.threshold),
        beyond=None if options.curve_until is None else metric.floor(full.score, options.curve_until),
        progress=progress,
        normalise_layers=layers,
        pass_over=pass_over,
    )
    state = trail.record_full(_State(full_ticket, full, entire))
    if weights:
        counts = iter(_remaining(chosen, full_ticket.total, options))
        if chosen.iterative:
            cut = functools.partial(_smallest, counts=counts, anatomy=anatomy)
        else:
            text = calibrate or functools.partial(task.calibration_text, SAMPLES, SEQUENCE_LENGTH, seed)
            cut = functools.partial(_at_once, counts=counts, model=model, method=chosen, calibrate=text, seed=seed)
        # Sparsities that were asked for are all measured, if there is to be a curve at all.
        to_the_end = options.curve_until is not None and bool(options.sparsities)
        state = trail.descend(chosen.criterion, state, cut, beyond=True, to_the_end=to_the_end)
    elif groups is not None:
        size = options.cut("heads", count(groups)) if chosen.grouping == "kv-groups" else max(1, options.mlps_step)
        state = trail.descend("joint", state, functools.partial(_cut_groups, groups=groups, size=size), beyond=True)
    else:
        totals = full_ticket.counts()
        sizes = {kind: options.cut(kind, total) for kind, total in totals.items()}
        state = trail.descend("joint", state, functools.partial(_cut_sites, counts=sizes, layers=layers), beyond=True)
        for kind, total in totals.items() if options.refine else ():
            alone = {kind: options.cut(kind, total, refining=True)}
            if alone == sizes:
                # It would cut again what the last joint step took back.
                continue
            state = trail.descend(kind, state, functools.partial(_cut_sites, counts=alone, layers=layers))
    good = state.ticket.with_provenance(
        ticket="good",
        method=chosen.name,
        task=task.name,
        metric=metric.name,
        split=split,
        stage="pruned" if retrain is None else "retrained",
        threshold=options.threshold,
        full_score=full.score,
        score=state.evaluation.score,
    )
    updated = weights and CRITERIA[chosen.criterion].updates and state.part is not entire
    return Search(
        good,
        tuple(trail.steps),
        tuple(trail.predictions),
        state.evaluation,
        state.part.model if updated else None,
        None if retrain is None or state.part is entire else state.part,
    )


def _as_it_is(model: nn.Module, anatomy: Anatomy, ticket: Ticket) -> Subnetwork:
    """A model whose pruned weights are zero already."""
    return Subnetwork(model, anatomy, ticket, Ticket.full(anatomy, every_site(anatomy)))


def _serves(full: Evaluation, full_ticket: Ticket) -> bool:
    """Whether an evaluation of the full model has the importance of all sites that are pruned."""
    shapes = {} if full.importance is None else {kind: v.shape for kind, v in full.importance.sites.items()}
    return all(shapes.get(kind) == full_ticket.masks[kind].shape for kind in full_ticket.sites)


def _cut_sites(state: _State, counts: Mapping[str, int], layers: bool) -> _Cut | None:
    """The ticket without the least important sites, so many of each kind."""
    if state.evaluation.importance is None:
        # Cutting went so far that the model is broken.
        return None
    importance = state.evaluation.importance.normalised(layers)
    removed = {kind: importance.least_first(kind)[:count] for kind, count in counts.items()}
    return _Cut(state.ticket.without(removed), removed) if any(removed.values()) else None


def _cut_groups(state: _State, groups: SiteGroups, size: int) -> _Cut | None:
    """The ticket without so many of the groups that are least important, with all that belongs to them."""
    if state.evaluation.importance is None:
        return None
    order: dict[int, float] = {}
    for kind, values in state.evaluation.importance.sites.items():
        alive = ~values.isnan()
        order |= dict(zip(groups[kind][alive].tolist(), values[alive].tolist(), strict=True))
    gone = sorted(order, key=lambda group: (order[group], group))[:size]
    # With the last group nothing would be left to compare.
    if len(gone) == len(order):
        return None
    # Group by group, so that what is removed stands in the order of its importance.
    removed = {
        kind: [
            site for group in gone for site in ((groups[kind] == group) & state.ticket.masks[kind]).nonzero().tolist()
        ]
        for kind in groups
    }
    removed = {kind: [site if len(site) > 1 else site[0] for site in sites] for kind, sites in removed.items()}
    return _Cut(state.ticket.without(removed), removed)


def _remaining(chosen: PruningMethod, total: int, options: SearchOptions) -> Iterator[int]:
    """How many weights remain after each cut."""
    if chosen.pattern is not None:
        yield total - round(WeightPattern.parse(chosen.pattern).sparsity * total)
        return
    if options.sparsities:
        yield from (total - round(sparsity * total) for sparsity in options.sparsities)
        return
    remaining = total
    while (removed := _share(options.weights_step, remaining)) < remaining:
        remaining -= removed
        yield remaining


def _smallest(state: _State, counts: Iterator[int], anatomy: Anatomy) -> _Cut | None:
    """Without the smallest of the weights that remain, over the whole model."""
    remaining = next(counts, None)
    if remaining is None:
        return None
    masks = keep_largest(anatomy.weights_of(state.part.model), remaining, state.ticket.masks)
    return _Cut(replace(state.ticket, masks=masks), {"weights": len(state.ticket) - remaining})


def _at_once(
    state: _State, counts: Iterator[int], model: nn.Module, method: PruningMethod, calibrate: Calibrate, seed: int
) -> _Cut | None:
    """Pruned from the full model, to the next sparsity."""
    remaining = next(counts, None)
    if remaining is None:
        return None
    found = prune_weights(
        model,
        method.criterion,
        None if method.pattern else 1 - remaining / state.ticket.total,
        calibration=calibrate() if CRITERIA[method.criterion].statistic else None,
        pattern=method.pattern,
        scope=method.scope,
        seed=seed,
    )
    return _Cut(found.ticket, {"weights": len(state.ticket) - len(found.ticket)}, found.model)


def _share(share: float, total: int) -> int:
    """The share of a number, rounded down, at least 1; 0.29 of 100 is 29, whatever binary fractions make of it."""
    return max(1, math.floor(share * total + 1e-9))
