"""The searches against the protocol written out in plain Python, with scores and importances that are made up."""

import contextlib
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from builders.encoders import HEADS, LAYERS, Exact, classifier, synthetic
from builders.made_up_scores import Fake, Scores, least, made_up_scores
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import metric
from tombola.pruning.evaluation import Evaluation, EvaluationOptions, evaluate
from tombola.pruning.search.loop import search_ticket
from tombola.pruning.search.options import SearchOptions
from tombola.pruning.search.records import NoTicketWarning, Search
from tombola.subnetworks.subnetwork import Subnetwork, masked, shrunk
from tombola.tasks.base import Task
from tombola.tickets.kinds import TICKET_KINDS, TicketKind
from tombola.tickets.ticket import Ticket

MODELS = {(layers, heads): classifier(layers=layers, heads=heads, hidden=40) for layers, heads in ((2, 2), (3, 10))}
ANATOMIES = {shape: dissect(model) for shape, model in MODELS.items()}


def stub(name: str = "accuracy") -> Task:
    task = SimpleNamespace(metric=metric(name), name="made-up", normalise_layers=True, more={}, references=len)
    task.for_search, task.importance_split, task.text_facts = lambda: task, None, lambda split: {"text": split}
    return cast(Task, task)


def unrealised(model: nn.Module, ticket: Ticket) -> Subnetwork:
    """The model as it is, as its score is made up from the ticket."""
    anatomy = dissect(model)
    return Subnetwork(model, anatomy, ticket, ticket)


@contextlib.contextmanager
def made_up(fake: Fake) -> Iterator[pytest.MonkeyPatch]:
    """Scores come from `fake`; of them there are no predictions to hold against guessing (test_guessing.py)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tombola.pruning.search.loop.evaluate", fake)
        patch.setattr("tombola.pruning.search.loop.check_full_model", lambda *_: None)
        patch.setattr("tombola.pruning.search.loop.no_better", lambda *_: None)
        yield patch


def run(
    fake: Fake, shape: tuple[int, int] = (3, 10), method: Any = "heads+mlps", task: Task | None = None, **options: Any
) -> Search:
    with made_up(fake) as patch:
        if method != "weights":
            patch.setattr("tombola.pruning.search.loop.shrunk", unrealised)
        return search_ticket(MODELS[shape], task or stub(), method, options=SearchOptions(**options))


def protocol(
    shape: tuple[int, int], method: TicketKind, score: Scores, seed: int, options: SearchOptions
) -> tuple[list[tuple[Any, ...]], Ticket]:
    """The s-search, written out: (phase, what is removed, score, holds), and what is left."""
    ticket = Ticket.full(ANATOMIES[shape], method, options.neuron_block)
    floor = options.threshold * score(ticket)
    log: list[tuple[Any, ...]] = [("full", {}, score(ticket), True)]
    joint, fine = {"mlps": options.mlps_step}, {"mlps": 1}
    for kind, mask in ticket.masks.items():
        if kind != "mlps":
            joint[kind] = max(1, int(getattr(options, f"{kind}_step") * mask.numel() + 1e-9))
            fine[kind] = max(1, int(getattr(options, f"refine_{kind}_step") * mask.numel() + 1e-9))
    phases = [("joint", {kind: joint[kind] for kind in ticket.masks})]
    if options.refine:
        phases += [(kind, {kind: fine[kind]}) for kind in ticket.masks if phases[0][1] != {kind: fine[kind]}]
    for phase, counts in phases:
        while True:
            weak = {kind: sites[: counts[kind]] for kind, sites in least(ticket, seed).items() if kind in counts}
            if not any(weak.values()):
                break
            left = {kind: mask.clone() for kind, mask in ticket.masks.items()}
            for kind, sites in weak.items():
                for site in sites:
                    left[kind][site if kind == "mlps" else tuple(site)] = False
            cut = Ticket(ticket.kind, ticket.architecture, left)
            holds = score(cut) >= floor
            log.append((phase, weak, score(cut), holds))
            if not holds:
                break
            ticket = cut
    return log, ticket


@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["falls", "random", "never falls"]),
    shape=st.sampled_from(sorted(MODELS)),
    method=st.sampled_from([one for one in TICKET_KINDS[:-1] if "channels" not in one]),
    threshold=st.sampled_from([0.5, 0.8, 0.9, 1.0]),
    steps=st.sampled_from([(0.1, 1, 0.05), (0.3, 2, 0.1), (1.0, 0, 1.0), (0.2, 3, 0.01)]),
    refine=st.booleans(),
)
@settings(max_examples=80)
def test_the_search_for_sites_follows_the_protocol(
    seed: int,
    kind: str,
    shape: tuple[int, int],
    method: TicketKind,
    threshold: float,
    steps: tuple[float, int, float],
    refine: bool,
) -> None:
    settings_: dict[str, Any] = {
        "threshold": threshold,
        "heads_step": steps[0],
        "mlps_step": steps[1],
        "neurons_step": steps[0],
        "neuron_block": 12,
        "refine_heads_step": steps[2],
        "refine_neurons_step": steps[2],
    }
    # Without a step no MLP is removed; alone they would never be.
    settings_["mlps_step"] = max(1, steps[1]) if method == "mlps" else steps[1]
    score = made_up_scores(seed, kind)
    log, ticket = protocol(shape, method, score, seed, SearchOptions(**settings_, refine=refine))
    found = run(Fake(score, seed), shape, method, **settings_, refine=refine)
    assert [(s.phase, s.removed, s.score, s.holds) for s in found.passes] == log
    assert found.good == ticket
    assert found.full_score == log[0][2]
    # What the last step that holds states is what the ticket has.
    anatomy = ANATOMIES[shape]
    last = found.last
    stated = {name: getattr(last, name) for name in ("heads", "mlps", "neurons", "channels", "weights")}
    assert stated == ticket.survivors(anatomy)
    assert last.sparsity == pytest.approx(ticket.sparsity(anatomy))
    assert [step.iteration for step in found.passes] == list(range(len(found.passes)))


def test_the_default_steps_are_those_of_the_paper() -> None:
    found = run(Fake(made_up_scores(0, "never falls")))
    # Thirty heads and three MLPs: three and one an iteration; then nothing but heads is left.
    assert [(step.phase, step.heads, step.mlps) for step in found.passes] == [
        ("full", 30, 3),
        *(("joint", heads, mlps) for heads, mlps in ((27, 2), (24, 1), (21, 0))),
        *(("joint", heads, 0) for heads in range(18, -1, -3)),
    ]
    assert len(found.good) == 0


def test_refinement_removes_five_percent_of_heads_and_then_single_mlps() -> None:
    def score(ticket: Ticket) -> float:
        heads, mlps = int(ticket.heads.sum()), int(ticket.mlps.sum())
        # Joint steps fail at once, heads alone hold down to 28, MLPs down to 1.
        return 1.0 if (mlps == 3 and heads >= 28) or (heads == 28 and mlps) else 0.0

    found = run(Fake(score))
    assert [(step.phase, step.heads, step.mlps, step.holds) for step in found.passes] == [
        ("full", 30, 3, True),
        ("joint", 27, 2, False),
        ("heads", 29, 3, True),
        ("heads", 28, 3, True),
        ("heads", 27, 3, False),
        ("mlps", 28, 2, True),
        ("mlps", 28, 1, True),
        ("mlps", 28, 0, False),
    ]


def test_a_score_at_the_bound_still_holds() -> None:
    found = run(Fake(lambda ticket: 0.9 if len(ticket) == 29 else 1.0 if len(ticket) == 33 else 0.0), refine=False)
    assert [step.holds for step in found.passes] == [True, True, False]
    assert len(found.good) == 29


@pytest.mark.parametrize(("error", "holds"), [(0.55, True), (0.56, False)])
def test_a_metric_that_falls_may_rise_to_its_bound(error: float, holds: bool) -> None:
    # 0.5 / 0.9 = 0.5556
    fake = Fake(lambda ticket: 0.5 if len(ticket) == 33 else error if len(ticket) == 29 else 9.0)
    found = run(fake, task=stub("mean_squared_error"), refine=False)
    assert [step.holds for step in found.passes][:2] == [True, holds]


def test_a_search_that_leaves_nothing_says_so_where_nobody_listens() -> None:
    with pytest.warns(NoTicketWarning, match="no ticket of .* was found on .*: with nothing of the model left"):
        found = run(Fake(made_up_scores(0, "never falls")))
    assert not len(found.good)
    assert not found.found


def test_a_search_whose_first_cut_does_not_hold_says_so_where_nobody_listens() -> None:
    with pytest.warns(NoTicketWarning, match=r"no ticket of .* scores 0.100, and the threshold is 0.900"):
        found = run(Fake(lambda ticket: 1.0 if len(ticket) == 33 else 0.1))
    assert len(found.good) == found.good.total
    assert not found.found


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["falls", "random", "never falls"]))
def test_least_useful_first_is_every_site_once_in_the_order_of_removal(seed: int, kind: str) -> None:
    found = run(Fake(made_up_scores(seed, kind), seed))
    weak = least(found.good, seed)
    for name, everything, survivors in (
        ("heads", [[layer, head] for layer in range(3) for head in range(10)], weak["heads"]),
        ("mlps", [0, 1, 2], weak["mlps"]),
    ):
        order = found.least_useful_first(name)
        assert sorted(order) == everything
        assert order[len(order) - len(survivors) :] == survivors
        removed = [site for step in found.passes if step.holds for site in step.removed.get(name, [])]
        assert order[: len(removed)] == removed


@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.1, 0.25, 0.6]))
@settings(max_examples=15)
def test_the_search_for_weights_removes_the_smallest_of_those_that_remain(seed: int, share: float) -> None:
    model = MODELS[2, 2]
    flat = np.concatenate([p.detach().float().abs().flatten().numpy() for _, p in ANATOMIES[2, 2].prunable(model)])
    order = np.argsort(flat, kind="stable")
    score = made_up_scores(seed, "falls")
    found = run(Fake(score, seed), (2, 2), "weights", weights_step=share, threshold=0.8)
    remaining, floor, good = len(flat), 0.8 * found.full_score, len(flat)
    for step in found.passes[1:]:
        removed = max(1, math.floor(share * remaining))
        remaining -= removed
        assert step.phase == "magnitude"
        assert step.removed == {"weights": removed}
        assert step.weights == remaining
        assert step.holds == (step.score >= floor)
        assert step.importance is None
        good = remaining if step.holds else good
    assert [step.holds for step in found.passes[:-1]] == [True] * (len(found.passes) - 1)
    kept = torch.cat([mask.flatten() for mask in found.good.masks.values()]).numpy()
    assert kept.sum() == good
    assert set(np.flatnonzero(kept)) == set(order[len(order) - good :])


def test_a_search_for_weights_that_never_fails_ends_with_one_weight_at_most() -> None:
    found = run(Fake(made_up_scores(0, "never falls")), (2, 2), "weights", weights_step=0.9)
    assert len(found.good) == 1


def test_magnitude_pruning_with_retraining_cuts_by_retrained_magnitudes() -> None:
    model = MODELS[2, 2]
    anatomy = ANATOMIES[2, 2]
    asked: list[Ticket] = []
    retrained: list[nn.Module] = []

    def retrain(ticket: Ticket) -> Subnetwork:
        asked.append(ticket)
        # Other weights altogether, pruned ones zero as training leaves them.
        part = masked(classifier(seed=10 + len(asked), layers=2, heads=2, hidden=40), ticket)
        retrained.append(part.model)
        return part

    fake = Fake(lambda ticket: 1.0 if len(ticket) > 0.6 * ticket.total else 0.0)
    with made_up(fake):
        found = search_ticket(model, stub(), "weights", options=SearchOptions(weights_step=0.2), retrain=retrain)
    assert [step.holds for step in found.passes] == [True, True, True, False]
    assert found.good == asked[1]
    assert found.trained is not None
    assert found.trained.model is retrained[1]
    # What is left of each matrix, for random tickets with the same profile.
    for step, ticket in zip(found.passes[1:], asked, strict=True):
        assert step.matrices == [int(ticket.masks[matrix.name].sum()) for matrix in anatomy.matrices]
    previous = Ticket.full(anatomy, "weights")
    for by, ticket in zip([model, *retrained], asked, strict=False):
        alive = torch.cat([mask.flatten() for mask in previous.masks.values()]).numpy()
        values = np.concatenate([p.detach().float().abs().flatten().numpy() for _, p in anatomy.prunable(by)])
        living = np.flatnonzero(alive)
        weakest = living[np.argsort(values[living], kind="stable")][: math.floor(0.2 * len(living))]
        expected = alive.copy()
        expected[weakest] = False
        assert torch.cat([mask.flatten() for mask in ticket.masks.values()]).numpy().tolist() == expected.tolist()
        assert ticket <= previous
        previous = ticket
    # And what is scored is the retrained network, not the one that the search began with.
    scored = [subnetwork.model for subnetwork, _, _ in fake.asked[1:]]
    name = anatomy.matrices[0].parameter
    for part, by in zip(scored, retrained, strict=True):
        assert torch.equal(part.get_parameter(name), by.get_parameter(name))


def test_a_search_for_sites_scores_and_ranks_what_was_trained_between_its_cuts() -> None:
    asked: list[Ticket] = []
    parts: list[Subnetwork] = []

    def retrain(ticket: Ticket) -> Subnetwork:
        asked.append(ticket)
        parts.append(unrealised(MODELS[2, 2], ticket))
        return parts[-1]

    fake = Fake(made_up_scores(0, "falls"))
    with made_up(fake):
        found = search_ticket(MODELS[2, 2], stub(), retrain=retrain)
    assert len(asked) == len(found.passes) - 1 > 0
    assert all(scored is part for (scored, _, _), part in zip(fake.asked[1:], parts, strict=True))
    held = [ticket for ticket, step in zip(asked, found.passes[1:], strict=True) if step.holds]
    assert found.good == (held[-1] if held else Ticket.full(ANATOMIES[2, 2], "heads+mlps"))
    assert (found.trained is None) == (not held)


def test_ways_that_begin_with_the_full_model_do_not_train_between_their_cuts() -> None:
    def retrain(_: Ticket) -> Subnetwork:
        pytest.fail("trained")

    options = SearchOptions(sparsities=(0.5,))
    with made_up(Fake(lambda ticket: 1.0)):
        found = search_ticket(MODELS[2, 2], stub(), "random-weights", options=options, retrain=retrain)
    assert found.trained is None


def test_a_full_evaluation_that_is_known_is_not_made_again() -> None:
    fake = Fake(made_up_scores(1, "falls"))
    full = fake(unrealised(MODELS[2, 2], Ticket.full(ANATOMIES[2, 2], "heads+mlps")), stub())
    without = Evaluation(full.score, full.predictions, full.losses, None, 0.0)
    with made_up(fake) as patch:
        patch.setattr("tombola.pruning.search.loop.shrunk", unrealised)
        passes = []
        for given_full in (full, without, None):
            fake.asked.clear()
            found = search_ticket(MODELS[2, 2], stub(), evaluation=EvaluationOptions("search"), full=given_full)
            passes.append(len(fake.asked) - len(found.passes))
            assert {options.split for _, options, _ in fake.asked} == {"search"}
            assert all(more["importance"] for _, _, more in fake.asked)
            assert found.full_score == full.score
    # Without its importance the evaluation is of no use.
    assert passes == [-1, 0, 0]


def test_the_ticket_tells_where_it_is_from() -> None:
    found = run(Fake(made_up_scores(3, "falls")))
    assert found.good.provenance == {
        "ticket": "good",
        "method": "heads+mlps",
        "task": "made-up",
        "metric": "accuracy",
        "split": "dev",
        "stage": "pruned",
        "threshold": 0.9,
        "full_score": found.full_score,
        "score": found.last.score,
        "importance": {"text": "dev"},
    }
    assert found.last.score >= 0.9 * found.full_score


@pytest.mark.parametrize("method", ["heads+mlps", "weights"])
@pytest.mark.parametrize("kind", ["falls", "never falls"])
def test_a_saved_search_is_loaded_again(method: str, kind: str, tmp_path: Path) -> None:
    found = run(Fake(made_up_scores(5, kind)), (2, 2), method, weights_step=0.5)
    found.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "good",
        "good.safetensors",
        "predictions.safetensors",
        "search.jsonl",
    ]
    loaded = Search.load(tmp_path)
    assert loaded.passes == found.passes
    assert loaded.good == found.good
    assert loaded.good.provenance == found.good.provenance
    assert loaded.kind == method
    if method == "heads+mlps":
        for name in ("heads", "mlps"):
            assert loaded.least_useful_first(name) == found.least_useful_first(name)


@pytest.mark.parametrize("content", ["", '{"iteration": 0}\n', "{", '{"iteration": 0, "other": 1}\n'])
def test_a_damaged_search_is_one_clear_line(content: str, tmp_path: Path) -> None:
    run(Fake(made_up_scores(5, "falls")), (2, 2)).save(tmp_path)
    (tmp_path / "search.jsonl").write_text(content)
    with pytest.raises(TombolaError, match=r"search\.jsonl") as caught:
        Search.load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_masked_and_shrunk_searches_find_the_same(dtype: torch.dtype, trained: nn.Module, task: Exact) -> None:
    model = trained.to(dtype)
    options = SearchOptions(threshold=0.7)
    # What a retraining gives is taken as it is: here the untrained ticket, whose pruned sites are gated only.
    runs = [
        search_ticket(model, task, options=options, retrain=way) for way in (functools.partial(masked, model), None)
    ]
    logs = [[(s.phase, s.removed, s.score, s.holds) for s in found.passes] for found in runs]
    assert logs[0] == logs[1]
    assert runs[0].good == runs[1].good
    # The task is learnt, and the search had something to refuse.
    assert runs[0].full_score > 0.9
    assert {step.phase for step in runs[0].passes} >= {"full", "joint", "heads"}
    assert not all(step.holds for step in runs[0].passes)
    assert 0 < len(runs[0].good) < LAYERS * HEADS + LAYERS


def test_the_searched_model_is_not_changed(trained: nn.Module, task: Exact) -> None:
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    for method in ("heads+mlps", "weights"):
        found = search_ticket(trained, task, method, options=SearchOptions(weights_step=0.5))
        assert len(found.good) < found.good.total
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())


def test_a_search_of_weights_stops_after_its_cuts() -> None:
    options = SearchOptions(weights_step=0.05, weights_cuts=3, threshold=0.01)
    found = search_ticket(classifier(), synthetic(), "weights", options=options)
    total = found.passes[0].weights
    # The paper's figures are powers of 0.95; whole weights go, rounded down.
    assert [one.weights / total for one in found.passes] == pytest.approx([0.95**cut for cut in range(4)], abs=1e-3)
    assert found.passes[-1].holds


@pytest.mark.parametrize("importance", ["per-example", "accumulated"])
def test_norms_over_all_heads_choose_by_masked_models(importance: Literal["per-example", "accumulated"]) -> None:
    model, task = classifier(), synthetic()
    options = SearchOptions(
        heads_step=0.25, threshold=0.05, refine=False, normalise_over="all", importance=importance, mlps_step=0
    )
    found = search_ticket(model, task, "heads", options=options)
    ticket = Ticket.full(dissect(model), "heads")
    evaluation = EvaluationOptions(importance=importance)
    for one in found.passes[1:]:
        values = evaluate(masked(model, ticket), task, evaluation, importance=True).importance
        assert values is not None
        norms = values["heads"].nan_to_num().norm(dim=1) if values.head_norms is None else values.head_norms
        share = (values["heads"] / norms[:, None]).nan_to_num(torch.inf)
        removed = share.flatten().argsort(stable=True)[: LAYERS * HEADS // 4].tolist()
        assert one.removed["heads"] == [[site // HEADS, site % HEADS] for site in removed]
        ticket = ticket.without(one.removed)
    assert len(found.passes) > 2


def test_norms_over_all_heads_are_not_for_models_trained_between_cuts() -> None:
    with pytest.raises(TombolaError, match="normalise_over all needs masked heads"):
        search_ticket(
            classifier(),
            synthetic(),
            options=SearchOptions(normalise_over="all"),
            retrain=lambda ticket: shrunk(classifier(), ticket),
        )
