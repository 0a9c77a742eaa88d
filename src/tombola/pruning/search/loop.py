"""Search for a ticket: prune until the score no longer holds, by whatever strategy."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from warnings import warn

from torch import nn

from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.architectures.site_names import counted
from tombola.foundations.errors import TombolaError, check_type, memory_errors
from tombola.foundations.progress import Progress, shown
from tombola.metrics.scores import metric_title
from tombola.pruning.evaluation import STANDARD, Evaluation, EvaluationOptions, evaluate
from tombola.pruning.search.guessing import GuessingWarning, accepted, check_full_model, no_better
from tombola.pruning.search.options import SearchOptions
from tombola.pruning.search.records import NoTicketWarning, Search, SearchPass
from tombola.pruning.search.sites import group_phases, site_phases
from tombola.pruning.search.strategy import Cut, Phase, State
from tombola.pruning.search.weights import WeightPruner, weight_phases
from tombola.subnetworks.subnetwork import Subnetwork, masked, shrunk
from tombola.tasks.base import Predictions, Task
from tombola.tickets.kinds import BLOCK
from tombola.tickets.pruning_methods import PruningMethod, in_words, pruning_method
from tombola.tickets.site_groups import SiteGroups, count, fitted, site_groups
from tombola.tickets.ticket import Ticket, every_site

Retrain = Callable[[Ticket], Subnetwork]
"""Function that gives the ticket's part of a model, trained again."""


# Many parameters: beside two options values, what is known already and what trains.
@memory_errors()
def search_ticket(
    model: nn.Module,
    task: Task,
    method: str = "heads+mlps",
    *,
    options: SearchOptions | None = None,
    evaluation: EvaluationOptions = STANDARD,
    full: Evaluation | None = None,
    retrain: Retrain | None = None,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> Search:
    """Find the smallest ticket whose score holds.

    Sites: each iteration passes once over the split for score and importance, then removes the least important of each
    kind; the next pass runs on the shrunk network. `weights`: each iteration removes the smallest of the remaining
    prunable weights, whichever matrix they stand in. Other methods for weights begin every iteration with the full
    model, as what Wanda or SparseGPT removes at one sparsity need not be part of what it removes at the next.

    Args:
        model: a fine-tuned whole model; it is not changed.
        task: gives data, loss and metric, and calibration text for Wanda and SparseGPT.
        method: a pruning method, see `tombola.tickets.pruning_methods.METHODS`.
        options: threshold, steps, calibration; by default the paper's.
        evaluation: of the passes; its split is `dev` as in the paper, or `search` for rows held out from training.
        full: the evaluation of `model` on that split, if it is known; it serves if it has the importance of the sites.
        retrain: gives the ticket's part of the model, trained again from rewound weights; with it the search of
            `weights` is iterative magnitude pruning (Frankle & Carbin 2019): each cut goes by the retrained
            magnitudes, or importances, and each score is the retrained one. Other methods for weights, which begin
            with the full model each time, do without.
        seed: of calibration text and of random pruning.
        progress: in place of that of the evaluation; True for a bar on stderr.

    Warns:
        GuessingWarning: the full model does not clearly beat guessing, or guessing holds the threshold.
        NoTicketWarning: no cut held, so that the good ticket is the whole model; or nothing of it is left. Then the
            search's `found` is false.

    Raises:
        TombolaError: unknown pruning method or architecture; the split is empty, or has one label alone; the model's
            outputs mean something else than the task's labels; or `over_chance` of a model that does not beat guessing.
    """
    options, given, task = options or SearchOptions(), task, task.for_search()
    check_type("the options", options, SearchOptions, "SearchOptions(threshold=0.9)")
    evaluation = evaluation.showing(progress)
    if full is not None and task is not given:
        # It was scored by the task's own metric.
        full = full.scored_by(task, evaluation.split)
    plan = _plan(model, task, method, options, seed)
    if plan.full_ticket.sites:
        evaluation = replace(evaluation, importance=options.importance)
    trains = retrain is not None and _can_train(plan, options)
    with shown(evaluation.progress, f"search of {plan.method.name}") as counted:
        run = _Run(model, task, plan, options, evaluation.showing(counted), retrain if trains else None)
        state = entire = run.begin(full)
        for phase in plan.phases:
            state = run.run_phase(phase, state)
    good = run.good_ticket(entire, state)
    trained = state.part if trains and state is not entire else None
    return Search(good, tuple(run.passes), tuple(run.predictions), state.evaluation, state.updated, trained)


@dataclass(frozen=True, eq=False)
class _Plan:
    method: PruningMethod
    anatomy: Anatomy
    full_ticket: Ticket
    groups: SiteGroups | None
    normalise_layers: bool
    phases: Iterator[Phase]


def _can_train(plan: _Plan, options: SearchOptions) -> bool:
    """True if the method can train between cuts; a TombolaError where an option forbids it."""
    if plan.full_ticket.sites and options.normalise_over == "all":
        raise TombolaError("normalise_over all needs masked heads, which a search that trains between cuts has not")
    return plan.method.iterative or bool(plan.full_ticket.sites)


def _plan(model: nn.Module, task: Task, method: str, options: SearchOptions, seed: int) -> _Plan:
    anatomy = dissect(model)
    chosen = fitted(pruning_method(method), anatomy)
    groups = None if chosen.grouping is None else site_groups(anatomy, chosen.grouping)
    # Settings are read where they say something: what is read is what a study makes anew by.
    # The sites of a group share one importance, which norms of single layers would tear apart.
    layers = bool(chosen.sites) and groups is None and _normalises(task, options)
    bias = "heads" not in chosen.sites or options.emptied_attention == "bias"
    block = options.neuron_block if "neurons" in chosen.sites else BLOCK
    full_ticket = Ticket.full(anatomy, chosen.kind, block, attention_bias=bias)
    if chosen.kind == "weights":
        phases = weight_phases(WeightPruner(model, task, chosen, options, seed), anatomy)
    elif groups is not None:
        size = options.cut("heads", count(groups)) if chosen.grouping == "kv-groups" else max(1, options.mlps_step)
        phases = group_phases(groups, size)
    else:
        phases = site_phases(full_ticket, options, layers)
    return _Plan(chosen, anatomy, full_ticket, groups, layers, phases)


def _normalises(task: Task, options: SearchOptions) -> bool:
    return task.normalise_layers if options.normalise_layers is None else options.normalise_layers


@dataclass
class _Run:
    model: nn.Module
    task: Task
    plan: _Plan
    options: SearchOptions
    evaluation: EvaluationOptions
    retrain: Retrain | None
    bound: float = 0.0
    curve_bound: float | None = None
    passes: list[SearchPass] = field(default_factory=list)
    predictions: list[Predictions] = field(default_factory=list)

    def begin(self, full: Evaluation | None) -> State:
        full_ticket, options = self.plan.full_ticket, self.options
        part = Subnetwork(self.model, self.plan.anatomy, full_ticket, full_ticket)
        if full is None or self.plan.groups is not None or not _serves(full, full_ticket):
            full = self._evaluate(part)
        task, split, over = self.task, self.evaluation.split, options.over_chance
        check_full_model(task, full.predictions, split)
        self.bound = accepted(task, full.score, options.threshold, split, over_chance=over)
        if options.curve_until is not None:
            self.curve_bound = accepted(task, full.score, options.curve_until, split, over_chance=over)
        if (why := no_better(task, full.predictions, split, self.bound)) is not None:
            # Past a method, the search, and what decorates it. A note would go with the bar.
            warn(why, GuessingWarning, stacklevel=4)
        self._log("full", Cut(full_ticket, {}), full, holds=True, seconds=full.seconds)
        return State(full_ticket, full, part)

    def run_phase(self, phase: Phase, state: State) -> State:
        """Cut until the score falls, or for the curve's sake further down; the last state that held."""
        metric, holding, holds = self.task.metric, state, True
        while (cut := phase.strategy(state)) is not None:
            started = time.perf_counter()
            part = self._subnetwork(cut)
            evaluation = self._evaluate(part)
            holds = holds and metric.holds(evaluation.score, self.bound)
            self._log(phase.name, cut, evaluation, holds=holds, seconds=time.perf_counter() - started)
            state = State(cut.ticket, evaluation, part, cut.model if cut.updates else None)
            if holds:
                holding = state
            elif not phase.to_the_end:
                bound = self.curve_bound if phase.beyond else None
                if bound is None or not metric.holds(evaluation.score, bound):
                    break
        return holding

    def good_ticket(self, entire: State, found: State) -> Ticket:
        """The ticket of a state, with its provenance; all of it or nothing may be left, which is said."""
        task, split = self.task, self.evaluation.split
        facts: dict[str, object] = {
            "method": self.plan.method.name,
            "task": task.name,
            "metric": task.metric.name,
            "split": split,
            "stage": "pruned" if self.retrain is None else "retrained",
            "threshold": self.options.threshold,
            "full_score": entire.evaluation.score,
            "score": found.evaluation.score,
        }
        if self.plan.full_ticket.sites:
            # Where none other is named, the pass that scores ranks the sites too.
            facts["importance"] = dict(task.text_facts(task.importance_split or split))
        if (why := self._nothing_found(found)) is not None:
            warn(why, NoTicketWarning, stacklevel=4)
        return found.ticket.with_provenance(ticket="good", **facts)

    def _nothing_found(self, found: State) -> str | None:
        """Sentence on a search that ends with nothing, or all, of the model; None where it found a ticket."""
        of = f"no ticket of {in_words(self.plan.method.name)} was found on {self.task.name}"
        if not len(found.ticket):
            return (
                f"{of}: with nothing of the model left, the threshold ({self.bound:.3f}) holds as well; train the "
                "model for longer, or take the threshold over chance (--over-chance)"
            )
        if len(found.ticket) < found.ticket.total:
            return None
        first = next((one for one in self.passes[1:]), None)
        if first is None:
            return f"{of}: there is nothing that could be cut"
        return (
            f"{of}: the first cut, of {100 * first.sparsity:.1f} % of the weights, scores {first.score:.3f}, and the "
            f"threshold is {self.bound:.3f}; lower it (--threshold), take smaller steps, or cut once to a size "
            "(--density)"
        )

    def _evaluate(self, part: Subnetwork) -> Evaluation:
        sites = bool(self.plan.full_ticket.sites)
        return evaluate(part, self.task, self.evaluation, importance=sites, groups=self.plan.groups)

    def _subnetwork(self, cut: Cut) -> Subnetwork:
        if cut.model is not None:
            # Its pruned weights are zero already.
            anatomy = self.plan.anatomy
            return Subnetwork(cut.model, anatomy, cut.ticket, Ticket.full(anatomy, every_site(anatomy)))
        if self.retrain is not None:
            return self.retrain(cut.ticket)
        # The gradients of pruned heads can only be had where they are masked instead of gone.
        cut_out = masked if "heads" in cut.ticket.sites and self.options.normalise_over == "all" else shrunk
        return cut_out(self.model, cut.ticket)

    def _log(self, phase: str, cut: Cut, evaluation: Evaluation, *, holds: bool, seconds: float) -> None:
        ticket, anatomy, importance = cut.ticket, self.plan.anatomy, evaluation.importance
        survivors, sparsity, matrices = ticket.survivors(anatomy), ticket.sparsity(anatomy), list[int]()
        if ticket.kind == "weights":
            matrices = [int(ticket.masks[matrix.name].sum()) for matrix in anatomy.matrices]
            kept, importance = f"{100 * (1 - sparsity):.0f} % of weights", None
        else:
            every = self.options.normalise_over == "all"
            importance = importance and importance.normalised(self.plan.normalise_layers, every=every)
            kept = ", ".join(counted(survivors[kind], kind) for kind in ticket.sites)
        split = self.evaluation.split
        references = self.task.references(split)
        self.passes.append(
            SearchPass(
                iteration=len(self.passes),
                phase=phase,
                removed=cut.removed,
                **survivors,
                sparsity=sparsity,
                score=evaluation.score,
                holds=holds,
                seconds=seconds,
                importance=None if importance is None else importance.lists(),
                more={
                    name: metric.score(evaluation.predictions, references)
                    for name, (where, metric) in self.task.more.items()
                    if where == split
                },
                matrices=matrices,
            )
        )
        self.predictions.append(evaluation.predictions)
        metric = self.task.metric
        needed = f"{'at least' if metric.higher_is_better else 'at most'} {self.bound:.4f}"
        scored = f"{metric_title(metric.name)} {evaluation.score:.4f} (threshold: {needed})"
        note = f"iteration {len(self.passes) - 1}: {kept}, {scored}"
        self.evaluation.receiver.note(note)
        self.evaluation.receiver.measured(
            len(self.passes) - 1, {"score": evaluation.score, "share of the weights left": 1 - sparsity}
        )


def _serves(full: Evaluation, full_ticket: Ticket) -> bool:
    shapes = {} if full.importance is None else {kind: v.shape for kind, v in full.importance.sites.items()}
    return all(shapes.get(kind) == full_ticket.masks[kind].shape for kind in full_ticket.sites)
