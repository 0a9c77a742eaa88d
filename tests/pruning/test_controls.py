"""Controls have exactly the good ticket's size, are drawn fairly, or are really the least useful."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2
from torch import Tensor

from builders.encoders import classifier, sites, some_sites, some_weights
from builders.language_models import llama
from builders.unets import unet
from tombola.architectures.dissect import dissect
from tombola.pruning.controls import bad, bernoulli, layer_matched, random
from tombola.pruning.search.records import Search, SearchPass
from tombola.tickets.kinds import controls_of
from tombola.tickets.site_groups import site_groups_of
from tombola.tickets.ticket import Ticket

MODEL = classifier()
ANATOMY = dissect(MODEL)
MAKERS = {"heads+mlps": some_sites, "weights": some_weights}

tickets = st.builds(
    lambda make, seed, share: make(MODEL, seed, share),
    st.sampled_from([some_sites, some_weights]),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.01, 0.3, 0.8, 1.0]),
)


@given(tickets, st.integers(0, 2**32))
def test_random_has_exactly_the_size_and_layer_matched_the_profile_too(ticket: Ticket, seed: int) -> None:
    drawn, matched = random(ticket, seed), layer_matched(ticket, seed)
    for control in (drawn, matched):
        control.check(ANATOMY)
        assert control.kind == ticket.kind
        assert {n: m.shape for n, m in control.masks.items()} == {n: m.shape for n, m in ticket.masks.items()}
        assert len(control) == len(ticket)
    assert matched.counts() == ticket.counts()
    if ticket.kind == "heads+mlps":
        assert drawn.counts() == ticket.counts()
        assert torch.equal(matched.heads.sum(1), ticket.heads.sum(1))
        assert torch.equal(matched.mlps, ticket.mlps)


@pytest.mark.parametrize("draw", [random, layer_matched])
@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_draw_is_the_seeds_alone(draw: Any, kind: str) -> None:
    ticket = MAKERS[kind](MODEL, 0)
    torch.manual_seed(1)
    first = draw(ticket, 5)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert draw(ticket, 5) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert len({draw(ticket, seed) for seed in range(5)}) == 5
    assert first != ticket


@pytest.mark.parametrize("kind", list(MAKERS))
def test_draws_of_one_seed_for_two_purposes_are_independent(kind: str) -> None:
    ticket = MAKERS[kind](MODEL, 0)
    share = len(ticket) / ticket.total
    pairs: dict[str, list[float]] = {"task": [], "method": [], "control": []}
    for seed in range(40):
        first = random(ticket.with_provenance(task="mnli", method=kind), seed)
        others = {
            "task": random(ticket.with_provenance(task="cola", method=kind), seed),
            "method": random(ticket.with_provenance(task="mnli", method="another"), seed),
            "control": layer_matched(ticket.with_provenance(task="mnli", method=kind), seed),
        }
        for name, other in others.items():
            # MLPs are few; a layer-matched draw keeps them.
            masks = [(one.masks[n], other.masks[n]) for n, one in ((n, first) for n in ticket.masks if n != "mlps")]
            both = sum(int((one & two).sum()) for one, two in masks)
            pairs[name].append(both / sum(int(one.sum()) for one, _ in masks))
    for name, shares in pairs.items():
        assert abs(np.mean(shares) - share) < 4 * np.std(shares) / math.sqrt(len(shares)) + 0.05, name


def fairness(counts: Tensor, share: float, draws: int) -> float:
    """p-value that each of n places is as likely as any other, where share x n of them are taken at a time."""
    observed = counts.flatten().double()
    expected = draws * share
    n = len(observed)
    statistic = ((observed - expected) ** 2).sum() / (expected * (1 - share)) * (n - 1) / n
    return float(chi2.sf(float(statistic), n - 1))


def test_random_heads_and_mlps_are_uniform_over_the_model() -> None:
    heads = torch.zeros(3, 4)
    heads[0] = 1
    heads[1, 0] = 1
    ticket = sites(MODEL, heads, [1, 0, 0])
    found = [random(ticket, seed) for seed in range(2000)]
    head_counts, mlp_counts = sum(t.heads.long() for t in found), sum(t.mlps.long() for t in found)
    assert isinstance(head_counts, Tensor)
    assert isinstance(mlp_counts, Tensor)
    assert fairness(head_counts, 5 / 12, 2000) > 0.001
    assert fairness(mlp_counts, 1 / 3, 2000) > 0.001
    # Heads and MLPs are drawn apart from one another.
    together = sum(int(t.heads[0, 0] and t.mlps[0]) for t in found) / 2000
    assert together == pytest.approx(5 / 36, abs=4 * math.sqrt(5 / 36 / 2000))


@pytest.mark.slow
def test_layer_matched_heads_are_uniform_in_their_layer() -> None:
    heads = torch.zeros(3, 4)
    heads[0, :3] = 1
    heads[1, 0] = 1
    counts = sum(layer_matched(sites(MODEL, heads, [1, 1, 0]), seed).heads.long() for seed in range(2000))
    assert isinstance(counts, Tensor)
    assert fairness(counts[0], 3 / 4, 2000) > 0.001
    assert fairness(counts[1], 1 / 4, 2000) > 0.001
    assert not counts[2].any()


def test_random_weights_are_uniform_over_all_matrices_and_layer_matched_ones_within() -> None:
    masks = {"0.query": torch.zeros(4, 5, dtype=torch.bool), "0.mlp_in": torch.zeros(10, 4, dtype=torch.bool)}
    masks["0.query"][:3] = True
    ticket = Ticket("weights", "toy", masks)
    joint = [random(ticket, seed) for seed in range(2000)]
    counts = torch.cat([torch.stack([t.masks[name] for t in joint]).sum(0).flatten() for name in masks])
    assert fairness(counts, 15 / 60, 2000) > 0.001
    apart = torch.stack([layer_matched(ticket, seed).masks["0.query"] for seed in range(2000)]).sum(0)
    assert fairness(apart, 15 / 20, 2000) > 0.001


def found(good: Ticket, removed: list[tuple[list[list[int]], list[int], bool]], importance: dict[str, Any]) -> Search:
    """A search that ended with `good`: what each iteration removed and whether it held."""
    steps = [
        SearchPass(i, "joint", {"heads": heads, "mlps": mlps}, 0, 0, 0, 0, 0.0, 0.5, holds, 0.0, importance)
        for i, (heads, mlps, holds) in enumerate([([], [], True), *removed])
    ]
    return Search(good, tuple(steps))


def test_bad_sites_are_those_removed_first() -> None:
    heads = torch.zeros(3, 4)
    heads[0, 1] = heads[1, 3] = heads[2, 0] = 1
    good = sites(MODEL, heads, [0, 1, 0])
    removed: list[tuple[list[list[int]], list[int], bool]] = [
        ([[2, 3], [0, 0], [1, 1], [1, 2]], [2], True),
        ([[0, 2], [0, 3], [1, 0], [2, 1], [2, 2]], [0], True),
        ([[1, 3]], [1], False),
    ]
    importance = {
        "heads": [[None, 0.2, None, None], [None, None, None, 0.1], [1.0, None, None, None]],
        "mlps": [None, 1, None],
    }
    control = bad(found(good, removed, importance), MODEL)
    assert control.heads.nonzero().tolist() == [[0, 0], [1, 1], [2, 3]]
    assert control.mlps.tolist() == [False, False, True]
    assert len(control & good) == 0
    assert control.counts() == good.counts()


def test_bad_sites_are_topped_up_with_the_least_important_survivors() -> None:
    heads = torch.ones(3, 4)
    heads[0, 0] = heads[2, 3] = 0
    good = sites(MODEL, heads, [1, 1, 0])
    scores = [[None, 0.5, 0.6, 0.7], [0.1, 0.8, 0.9, 1.0], [0.4, 0.3, 0.2, None]]
    search = found(good, [([[2, 3], [0, 0]], [2], True)], {"heads": scores, "mlps": [0.0, 1.0, None]})
    control = bad(search, MODEL)
    # The two removed, and eight of ten survivors: all but the two of greatest importance.
    assert (~control.heads).nonzero().tolist() == [[1, 2], [1, 3]]
    assert control.mlps.tolist() == [True, False, True]


def test_bad_sites_at_random_are_any_that_were_removed() -> None:
    heads = torch.zeros(3, 4)
    heads[0, 1] = heads[1, 3] = heads[2, 0] = 1
    good = sites(MODEL, heads, [0, 1, 0])
    gone = (1 - heads).nonzero().tolist()
    importance = {"heads": [[None, 0.2, None, None], [None, None, None, 0.1], [1.0, None, None, None]]}
    search = found(good, [(gone, [2, 0], True)], {**importance, "mlps": [None, 1, None]})
    drawn = [bad(search, MODEL, seed) for seed in range(60)]
    assert all(len(one & good) == 0 and one.counts() == good.counts() for one in drawn)
    assert bool(torch.stack([one.heads for one in drawn]).any(0)[heads == 0].all())
    assert len({str(one.heads.tolist()) for one in drawn}) > 30
    # Where more is kept than was removed, all that was removed, and the least important survivors.
    good = sites(MODEL, torch.ones(3, 4) - torch.eye(3, 4), [1, 1, 0])
    scores = [[None, 0.5, 0.6, 0.7], [0.1, None, 0.9, 1.0], [0.4, 0.3, None, 0.2]]
    search = found(good, [([[1, 1], [0, 0], [2, 2]], [2], True)], {"heads": scores, "mlps": [0.0, 1.0, None]})
    assert bad(search, MODEL, 3).masks["heads"].equal(bad(search, MODEL).masks["heads"])


@pytest.mark.parametrize("mask", [torch.zeros(3, 4), torch.ones(3, 4)])
def test_bad_of_nothing_is_nothing_and_of_everything_everything(mask: Tensor) -> None:
    everything = bool(mask.all())
    good = sites(MODEL, mask, torch.full((3,), everything))
    removed = [] if everything else [([[i, j] for i in range(3) for j in range(4)], [0, 1, 2], True)]
    value = 0.5 if everything else None
    control = bad(found(good, removed, {"heads": [[value] * 4] * 3, "mlps": [value] * 3}), MODEL)
    assert control == good


@pytest.mark.parametrize("share", [0.0, 0.05, 0.4, 0.8, 1.0])
def test_bad_weights_are_those_of_smallest_magnitude(share: float) -> None:
    good = some_weights(MODEL, 0, share)
    control = bad(Search(good, ()), MODEL)
    values = np.concatenate([p.detach().float().abs().flatten().numpy() for _, p in ANATOMY.prunable(MODEL)])
    smallest = set(np.argsort(values, kind="stable")[: len(good)])
    kept = torch.cat([mask.flatten() for mask in control.masks.values()]).numpy()
    assert set(np.flatnonzero(kept)) == smallest
    assert len(control) == len(good)


def test_controls_tell_what_they_are() -> None:
    good = some_sites(MODEL, 0).with_provenance(ticket="good", task="cola", score=0.5)
    assert random(good, 3).provenance == {"ticket": "random", "task": "cola", "seed": 3}
    assert layer_matched(good, 4).provenance == {"ticket": "layer-matched", "task": "cola", "seed": 4}
    weights = some_weights(MODEL, 0).with_provenance(ticket="good", task="cola")
    assert bad(Search(weights, ()), MODEL).provenance == {"ticket": "bad", "task": "cola"}


def test_a_random_draw_of_channels_has_as_many_weights_not_only_as_many_groups() -> None:
    model = unet()
    anatomy = dissect(model)
    everything = Ticket.full(anatomy, "heads+channels")
    masks = {kind: mask.clone() for kind, mask in everything.masks.items()}
    # Wide blocks lose most, so that a uniform draw of as many groups keeps too much.
    masks["channels"][2:7, 1:] = False
    ticket = Ticket("heads+channels", anatomy.signature, masks)
    goal = ticket.survivors(anatomy)["weights"]

    def off(drawn: Ticket) -> float:
        assert drawn.counts() == ticket.counts()
        return abs(drawn.survivors(anatomy)["weights"] / goal - 1)

    fair = [off(random(ticket, seed, anatomy=anatomy)) for seed in range(5)]
    assert max(fair) < 0.05
    assert np.mean([off(random(ticket, seed)) for seed in range(5)]) > 2 * max(fair)
    assert random(ticket, 0, anatomy=anatomy) != random(ticket, 1, anatomy=anatomy)
    # Where all sites of a kind are alike, the first draw is taken.
    heads = some_sites(MODEL, 0)
    assert random(heads, 3, anatomy=ANATOMY) == random(heads, 3)


def test_random_draws_of_heads_that_share_keys_come_near_the_weights() -> None:
    model = llama()
    anatomy = dissect(model)
    # One whole group of two gone in each layer: as many heads of different groups would keep both keys.
    ticket = Ticket.full(anatomy, "heads").without({"heads": [[row, head] for row in range(3) for head in (0, 1)]})
    goal = ticket.survivors(anatomy)["weights"]

    def off(drawn: Ticket) -> int:
        assert drawn.counts() == ticket.counts()
        return abs(drawn.survivors(anatomy)["weights"] - goal)

    assert max(off(layer_matched(ticket, seed, None, anatomy)) for seed in range(10)) == 0
    assert all(
        torch.equal(layer_matched(ticket, seed, None, anatomy).heads.sum(1), ticket.heads.sum(1)) for seed in range(10)
    )
    assert max(off(layer_matched(ticket, seed)) for seed in range(10)) > 0
    assert sum(off(random(ticket, seed, None, anatomy)) for seed in range(10)) < sum(
        off(random(ticket, seed)) for seed in range(10)
    )


def test_controls_of_groups_are_drawn_group_by_group() -> None:
    model = llama()
    anatomy = dissect(model)
    groups = site_groups_of(anatomy, "kv-groups")
    good = Ticket.full(anatomy, "heads").without({"heads": [[0, 0], [0, 1], [2, 2], [2, 3]]})
    for control in (random(good, seed, groups) for seed in range(5)):
        pairs = control.heads.reshape(3, 2, 2)
        assert bool((pairs.any(-1) == pairs.all(-1)).all())
        assert control.survivors(anatomy)["weights"] == good.survivors(anatomy)["weights"]
    layered = [layer_matched(good, seed, groups) for seed in range(5)]
    assert all(torch.equal(one.heads.sum(1), good.heads.sum(1)) for one in layered)
    assert len({tuple(one.heads.flatten().tolist()) for one in layered}) > 1
    blocks = site_groups_of(anatomy, "layers")
    whole = Ticket.full(anatomy, "heads+mlps").without({"heads": [[1, head] for head in range(4)], "mlps": [1]})
    for control in (random(whole, seed, blocks) for seed in range(5)):
        assert torch.equal(control.heads.all(1), control.mlps)
        assert control.counts() == whole.counts()
    assert "layer-matched" not in controls_of("layers")


@pytest.mark.parametrize("kind", list(MAKERS))
def test_bernoulli_draws_each_site_by_itself(kind: str) -> None:
    ticket = MAKERS[kind](MODEL, 0, share=0.3)
    drawn = [bernoulli(ticket, seed) for seed in range(300)]
    assert bernoulli(ticket, 7) == drawn[7]
    assert bernoulli(ticket, 7, draw="retrained") != drawn[7]
    for name, mask in ticket.masks.items():
        share = len(ticket) / ticket.total if kind == "weights" else float(mask.float().mean())
        times = torch.stack([one.masks[name] for one in drawn]).float()
        # Sizes differ as those of so many coins do, and no site is drawn more often than another: five deviations.
        n = mask.numel()
        sizes = times.flatten(1).sum(1)
        assert abs(float(sizes.mean()) - n * share) <= 5 * math.sqrt(n * share * (1 - share) / 300)
        assert float((times.mean(0) - share).abs().max()) < 5.5 * math.sqrt(share * (1 - share) / 300) + 1e-6
        assert len(set(sizes.tolist())) > 1 or share in (0.0, 1.0)


def test_bernoulli_draws_groups_as_a_whole() -> None:
    model = llama()
    groups = site_groups_of(dissect(model), "kv-groups")
    assert groups is not None
    ticket = Ticket.full(dissect(model), "heads")
    kept = torch.arange(int(groups["heads"].max()) + 1) % 2 == 0
    ticket = ticket.without({"heads": (~kept[groups["heads"]]).nonzero().tolist()})
    for seed in range(20):
        mask = bernoulli(ticket, seed, groups).heads
        for group in groups["heads"].unique():
            assert len(mask[groups["heads"] == group].unique()) == 1
