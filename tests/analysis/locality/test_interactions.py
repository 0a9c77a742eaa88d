"""Second derivatives against scaled weights, deletions against smaller networks, shares against enumeration."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import t
from torch import nn
from transformers import PreTrainedConfig

from builders.encoders import Exact, classifier, rows, sites, some_weights, synthetic, tokenizer
from tombola.analysis.forward_passes import SampleOptions
from tombola.analysis.locality.gate_hessian import interactions
from tombola.analysis.locality.interactions import Deletions, Interactions, explained, mean_hessian
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import score
from tombola.tickets.ticket import Ticket

STEP = 1e-3


@pytest.fixture(scope="module")
def task() -> Exact:
    return synthetic(train=4, dev=6)


def small(attention: str = "eager") -> nn.Module:
    return classifier("bert", attention=attention, layers=2, heads=2, hidden=16)


def loss(model: nn.Module, task: Exact, ticket: Ticket | None = None) -> float:
    return float(score(model, task, ticket).losses.mean())


def scaled(model: nn.Module, site: tuple[str, int, int], by: float) -> None:
    """Do by hand to the weights what a gate would do."""
    kind, row, head = site
    layer = f"bert.encoder.layer.{row}"
    with torch.no_grad():
        if kind == "mlps":
            model.get_parameter(f"{layer}.output.dense.weight").mul_(by)
            model.get_parameter(f"{layer}.output.dense.bias").mul_(by)
        else:
            weight = model.get_parameter(f"{layer}.attention.output.dense.weight")
            size = weight.shape[1] // 2
            weight[:, head * size : (head + 1) * size] *= by


def precise_loss(model: nn.Module, task: Exact) -> float:
    with torch.no_grad():
        parts = [task.output(model, batch).losses.double() for batch in task.batches("dev", 3)]
    return float(torch.cat(parts).mean())


def test_the_hessian_is_that_of_finite_differences(task: Exact) -> None:
    model = small()
    found = interactions(model, task, SampleOptions(batch_size=3, sample=None), pairs=0, subsets=0)
    assert [site[:2] for site in found.sites] == [*[("heads", 0)] * 2, *[("heads", 1)] * 2, ("mlps", 0), ("mlps", 1)]
    n = len(found.sites)
    for one, other in itertools.combinations_with_replacement(range(n), 2):
        corners = {}
        for first, second in itertools.product((1, -1), repeat=2):
            moved = small()
            if one == other:
                # d²L/dξ² from three points: (1, -1) and (-1, 1) are the middle.
                scaled(moved, found.sites[one], 1 + STEP * (first + second) / 2)
            else:
                scaled(moved, found.sites[one], 1 + STEP * first)
                scaled(moved, found.sites[other], 1 + STEP * second)
            corners[first, second] = precise_loss(moved, task)
        difference = corners[1, 1] - corners[1, -1] - corners[-1, 1] + corners[-1, -1]
        expected = difference / (STEP**2 if one == other else 4 * STEP**2)
        assert found.hessian[one, other] == pytest.approx(expected, rel=1e-3, abs=1e-6)
        assert found.hessian[other, one] == found.hessian[one, other]


def test_errors_are_those_over_single_examples(task: Exact) -> None:
    model = small()
    found = interactions(model, task, SampleOptions(batch_size=4, sample=None), pairs=0, subsets=0)
    single = []
    for row in rows(6, 2):
        alone = Exact.from_rows(rows(4, 1), [row], tokenizer(), name="one")
        single.append(interactions(model, alone, SampleOptions(sample=None), pairs=0, subsets=0))
    hessians = np.stack([one.hessian for one in single])
    assert found.examples == 6
    assert found.loss == pytest.approx(np.mean([one.loss for one in single]), rel=1e-6)
    np.testing.assert_allclose(found.hessian, hessians.mean(0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.errors, hessians.std(0, ddof=1) / 6**0.5, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.gradient, np.mean([one.gradient for one in single], axis=0), rtol=1e-4, atol=1e-7)
    assert np.isinf(single[0].errors).all()


def test_deletions_are_real_ones(task: Exact) -> None:
    model = small()
    found = interactions(model, task, SampleOptions(sample=None, seed=3), pairs=5, subsets=3, deleted=0.5)
    everything = Ticket.full(dissect(model), "heads+mlps")
    base = loss(model, task)

    def cost(numbers: tuple[int, ...]) -> float:
        heads = [found.sites[at][1:] for at in numbers if found.sites[at][0] == "heads"]
        mlps = [found.sites[at][1] for at in numbers if found.sites[at][0] == "mlps"]
        return loss(model, task, everything.without({"heads": heads, "mlps": mlps})) - base

    assert len(found.pairs.sites) == 5
    assert all(len(set(one)) == 2 for one in found.pairs.sites)
    assert all(len(set(one)) == 3 for one in found.subsets.sites)
    for deletions in (found.pairs, found.subsets):
        for at, numbers in enumerate(deletions.sites):
            assert deletions.cost[at] == pytest.approx(cost(numbers), abs=1e-6)
            assert deletions.apart[at] == pytest.approx(sum(cost((one,)) for one in numbers), abs=1e-6)
            # Around 1 a deletion is a step of -1.
            step = np.zeros(len(found.sites))
            step[list(numbers)] = -1
            expected = found.gradient @ step + step @ found.hessian @ step / 2
            assert deletions.predicted[at] == pytest.approx(expected)
    assert found.alone == pytest.approx([cost((one,)) for one in range(6)], abs=1e-6)


def test_under_a_ticket_only_survivors_interact(task: Exact) -> None:
    model = small()
    ticket = sites(model, [[True, False], [True, True]], [False, True])
    found = interactions(model, task, SampleOptions(sample=None), ticket=ticket, pairs=0, subsets=0)
    assert found.sites == (("heads", 0, 0), ("heads", 1, 0), ("heads", 1, 1), ("mlps", 1, 0))
    assert found.loss == pytest.approx(loss(model, task, ticket), rel=1e-6)
    lone = sites(model, [[True, False], [False, False]], [False, False])
    with pytest.raises(TombolaError, match="one site has nobody to interact with"):
        interactions(model, task, ticket=lone)
    with pytest.raises(TombolaError, match=r"between heads and MLPs; this ticket is of weights"):
        interactions(model, task, ticket=some_weights(model, 0))
    with pytest.raises(TombolaError, match="a sample of 0"):
        interactions(model, task, SampleOptions(sample=0))


def test_the_implementation_of_attention_comes_back(task: Exact) -> None:
    model = small("sdpa")
    plain = interactions(small(), task, SampleOptions(sample=4), pairs=0, subsets=0)
    found = interactions(model, task, SampleOptions(sample=4), pairs=0, subsets=0)
    assert isinstance(model.config, PreTrainedConfig)
    assert model.config._attn_implementation == "sdpa"
    np.testing.assert_allclose(found.hessian, plain.hessian, rtol=1e-5, atol=1e-9)
    assert all(parameter.requires_grad for parameter in model.parameters())


def made_up(seed: int = 0, n: int = 5) -> Interactions:
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(n, n))
    nothing = Deletions((), np.array([]), np.array([]), np.array([]))
    return Interactions(
        architecture="made-up",
        sites=tuple(("heads", 0, head) for head in range(n)),
        examples=50,
        loss=0.5,
        gradients=np.stack([rng.normal(size=n)] * 2),
        hessians=np.stack([half + half.T] * 2),
        errors=np.full((n, n), 0.5),
        alone=rng.normal(size=n),
        pairs=nothing,
        subsets=nothing,
    )


@pytest.mark.parametrize("deleted", [0.1, 0.5, 0.8])
def test_the_share_of_single_sites_is_that_of_all_deletions(deleted: float) -> None:
    found = made_up()
    n = len(found.sites)
    masks = np.array(list(itertools.product((0, 1), repeat=n)))
    chances = np.prod(np.where(masks, deleted, 1 - deleted), axis=1)
    costs = np.array([-mask @ found.gradient + mask @ found.hessian @ mask / 2 for mask in masks])
    # The best sum over single sites, by least squares weighted with the chance of each deletion.
    design = np.column_stack([np.ones(len(masks)), masks]) * np.sqrt(chances)[:, None]
    weights, *_ = np.linalg.lstsq(design, costs * np.sqrt(chances), rcond=None)
    best = np.column_stack([np.ones(len(masks)), masks]) @ weights
    mean = chances @ costs
    expected = (chances @ (best - mean) ** 2) / (chances @ (costs - mean) ** 2)
    assert found.share_of_single_sites(deleted) == pytest.approx(expected)


def test_nothing_in_pairs_is_all_in_single_sites() -> None:
    found = dataclasses.replace(made_up(), hessians=np.zeros((2, 5, 5)))
    assert found.share_of_single_sites() == 1
    assert dataclasses.replace(found, gradients=np.zeros((2, 5))).share_of_single_sites() is None
    assert dataclasses.replace(made_up(), examples=1).share_of_single_sites() is None
    with pytest.raises(TombolaError, match="between 0 and 1"):
        found.share_of_single_sites(1.0)


def test_noise_of_the_estimates_is_no_share_of_pairs() -> None:
    n, rng, shares, naive = 40, np.random.default_rng(1), [], []
    truth = rng.normal(size=n)
    for _ in range(20):
        noise = rng.normal(scale=1.5, size=(2, n, n))
        found = dataclasses.replace(
            made_up(n=n), gradients=np.stack([truth, truth]), hessians=(noise + noise.transpose(0, 2, 1)) / 2
        )
        shares.append(found.share_of_single_sites())
        same = dataclasses.replace(found, hessians=np.stack([found.hessian] * 2))
        naive.append(same.share_of_single_sites())
    assert np.mean([share or 0.0 for share in shares]) > 0.93
    assert np.mean([share or 0.0 for share in naive]) < 0.85


def test_halves_are_of_every_second_example(task: Exact) -> None:
    model = small()
    found = interactions(model, task, SampleOptions(batch_size=4, sample=None), pairs=0, subsets=0)
    assert found.hessians.shape == (2, 6, 6)
    np.testing.assert_allclose(found.hessians.mean(0), found.hessian)
    assert not np.allclose(found.hessians[0], found.hessians[1])
    single = []
    for batch in task.batches("dev", 4):
        for at in batch.indices:
            alone = Exact.from_rows(rows(4, 1), [rows(6, 2)[at]], tokenizer(), name="one")
            single.append(interactions(model, alone, SampleOptions(sample=None), pairs=0, subsets=0).hessian)
    np.testing.assert_allclose(found.hessians[0], np.mean(single[::2], axis=0), rtol=1e-4, atol=1e-7)


def test_significance_is_benjamini_and_hochbergs() -> None:
    found = made_up(seed=4)
    upper = np.triu_indices(5, 1)
    p = np.array([2 * t.sf(abs(value) / 0.5, found.examples - 1) for value in found.hessian[upper]])
    order = np.argsort(p)
    passed = [rank for rank, at in enumerate(order, start=1) if p[at] <= 0.05 * rank / len(p)]
    expected = np.zeros(len(p), dtype=bool)
    expected[order[: max(passed, default=0)]] = True
    assert 0 < expected.sum() < len(p)
    assert found.significant()[upper].tolist() == expected.tolist()
    assert (found.significant() == found.significant().T).all()


def test_what_is_explained_is_the_squared_correlation() -> None:
    deletions = Deletions(((0, 1),) * 4, np.array([1.0, 2.0, 3.0, 5.0]), np.zeros(4), np.zeros(4))
    assert explained(deletions, [2.0, 4.0, 6.0, 10.0]) == pytest.approx(1)
    assert explained(deletions, [1.0, 1.0, 1.0, 1.0]) is None
    assert explained(deletions, [-2.0, -4.0, -6.0, -10.0]) == 0


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = made_up()
    found = dataclasses.replace(found, pairs=Deletions(((0, 1),), np.array([0.5]), np.array([0.4]), np.array([0.3])))
    found.write(tmp_path / "interactions.json")
    again = Interactions.read(tmp_path / "interactions.json")
    assert (again.sites, again.examples, again.loss, again.pairs.sites) == (
        found.sites,
        found.examples,
        found.loss,
        found.pairs.sites,
    )
    np.testing.assert_allclose(again.hessian, found.hessian, rtol=1e-6)
    dataclasses.replace(found, errors=np.full((5, 5), np.inf)).write(tmp_path / "one.json")
    assert np.isinf(Interactions.read(tmp_path / "one.json").errors).all()
    np.testing.assert_allclose(again.pairs.cost, found.pairs.cost)
    text = (tmp_path / "interactions.json").read_text()
    (tmp_path / "interactions.json").write_text(text.replace('"alone": [', '"alone": [1.0,'))
    with pytest.raises(TombolaError, match=r"is damaged .*; delete it and start again"):
        Interactions.read(tmp_path / "interactions.json")


def test_the_interval_of_several_seeds_does_not_shrink_with_what_they_share() -> None:
    one = made_up()
    over_examples = t.ppf(0.975, one.examples - 1) * one.errors
    for several in ([one], [one, one, one]):
        mean, reach = mean_hessian(several)
        np.testing.assert_allclose(mean, one.hessian)
        np.testing.assert_allclose(reach, over_examples)
    # Two seeds that are 2 apart have a standard error of 1, with one degree of freedom.
    mean, reach = mean_hessian([one, dataclasses.replace(one, hessians=one.hessians + 2)])
    np.testing.assert_allclose(mean, one.hessian + 1)
    np.testing.assert_allclose(reach, np.hypot(over_examples, t.ppf(0.975, 1)))
