"""Random tickets against exact expectations: enumeration of all tickets, the hypergeometric distribution."""

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import hypergeom

from builders.agreement import agreement_of
from tombola.analysis.agreement.coefficients import STATISTICS, Group
from tombola.analysis.agreement.null_distribution import (
    RandomTicketStatistics,
    measure,
    null_distribution,
    random_sites,
)
from tombola.analysis.agreement.pairwise_overlap import Array, all_pairs
from tombola.analysis.agreement.weight_overlap import PackedMasks, count, random_weights
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.filterwarnings("error")


def rows_with(sizes: list[list[int]], width: int) -> Array:
    """Tickets [tickets, rows, width] with so many survivors in each row."""
    return np.array([[[site < size for site in range(width)] for size in rows] for rows in sizes])


def drawn(masks: Array, *, layer_matched: bool = False, draws: int = 20_000, seed: int = 0) -> RandomTicketStatistics:
    n = len(masks)
    group = Group(np.arange(n), all_pairs(n))
    flat, sizes = masks.reshape(n, -1), (masks.shape[2],) * masks.shape[1]
    batches = random_sites(flat, sizes, [group], layer_matched=layer_matched, draws=draws, seed=(seed,))
    return measure(batches, [group], {(0, 0): group.pairs})


def every_ticket(masks: Array, *, layer_matched: bool) -> Iterator[Array]:
    """All equally likely ways to draw all tickets, bool [tickets, sites]."""
    tickets, rows, width = masks.shape
    if not layer_matched:
        masks, rows, width = masks.reshape(tickets, 1, -1), 1, rows * width
    choices = [
        list(product(*(combinations(range(width), int(masks[t, r].sum())) for r in range(rows))))
        for t in range(tickets)
    ]
    for chosen in product(*choices):
        made = np.zeros((tickets, rows, width), dtype=bool)
        for t, of_ticket in enumerate(chosen):
            for r, sites in enumerate(of_ticket):
                made[t, r, list(sites)] = True
        yield made.reshape(tickets, -1)


@pytest.mark.parametrize("layer_matched", [False, True])
def test_seeds_of_a_task_that_agree_count_as_one_ticket_between_tasks(layer_matched: bool) -> None:
    """Two tasks that have nothing to do with each other, three equal tickets each: a null of six is too narrow."""
    generator, sizes, above = np.random.default_rng(0), (3, 3, 3, 3, 2), {"apart": 0, "together": 0}
    members = (np.arange(3), np.arange(3, 6))
    pairs = np.array([[one, other] for one in members[0] for other in members[1]])
    groups = [Group(np.arange(6), pairs)]
    for trial in range(100):
        one, other = (generator.permuted(np.arange(14) < 7) for _ in range(2))
        masks = np.array([one] * 3 + [other] * 3)
        observed = agreement_of(masks, pairs).jaccard
        for name, together in (("apart", ()), ("together", members)):
            batches = random_sites(
                masks, sizes, groups, layer_matched=layer_matched, draws=200, seed=(trial,), together=together
            )
            (found,) = measure(batches, groups, {(0, 1): pairs}).groups
            null = null_distribution(found["jaccard"], observed)
            assert null is not None
            above[name] += null.where == "above"
    assert above["together"] <= 7 < 15 <= above["apart"]


def test_tickets_drawn_together_keep_what_they_have_in_common() -> None:
    masks = np.array([[1, 1, 0, 0, 1], [1, 0, 1, 0, 0], [1, 1, 0, 0, 1]], dtype=bool)
    group, members = Group(np.arange(3), all_pairs(3)), (np.array([0, 1]), np.array([2]))
    ((shared, _),) = random_sites(masks, (2, 3), [group], layer_matched=True, draws=50, seed=(0,), together=members)
    assert (shared.counts[:, 0, 1] == 1).all()
    # Row one is kept whole by both; of the other's three sites each keeps one.
    assert set(shared.counts[:, 0, 2].tolist()) == {2, 3}
    assert (np.diagonal(shared.counts, axis1=1, axis2=2) == [3, 2, 3]).all()


def test_layer_matched_draws_keep_to_rows_of_unequal_length() -> None:
    # Rows of 2 and 4 sites; two tickets keep 1 and 1, and 1 and 3 of them: they share 1/2 and 3/4 on average.
    masks = np.array([[1, 0, 1, 0, 0, 0], [0, 1, 1, 1, 1, 0]], dtype=bool)
    group = Group(np.arange(2), all_pairs(2))
    batches = random_sites(masks, (2, 4), [group], layer_matched=True, draws=20_000, seed=(0,))
    shared = measure(batches, [group], {(0, 0): group.pairs}).shared[0, 0]
    variance = 1 / 4 + 3 / 16
    assert shared.mean() == pytest.approx(1 / 2 + 3 / 4, abs=5 * (variance / 20_000) ** 0.5)
    assert shared.var() == pytest.approx(variance, rel=0.05)
    assert set(shared) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("layer_matched", [False, True])
@pytest.mark.parametrize(
    ("sizes", "width"), [([[1, 2], [2, 0]], 3), ([[1, 1], [2, 1], [0, 1]], 2), ([[2, 1], [1, 2]], 3)]
)
def test_the_mean_of_every_statistic_is_that_over_all_tickets(
    sizes: list[list[int]], width: int, layer_matched: bool
) -> None:
    masks = rows_with(sizes, width)
    everything = [agreement_of(one) for one in every_ticket(masks, layer_matched=layer_matched)]
    found = drawn(masks, layer_matched=layer_matched)
    for name in STATISTICS:
        exact = [float(value) for one in everything if (value := getattr(one, name)) is not None]
        values = found.groups[0][name]
        known = values[~np.isnan(values)]
        assert len(known) / len(values) == pytest.approx(len(exact) / len(everything), abs=0.015), name
        error = np.std(exact) / np.sqrt(len(known))
        assert known.mean() == pytest.approx(np.mean(exact), abs=5 * error + 1e-9), name


def test_what_two_tickets_share_is_hypergeometric() -> None:
    masks = rows_with([[5, 3, 0], [4, 4, 4]], 6)
    shared = drawn(masks).shared[0, 0]
    law = hypergeom(18, 8, 12)
    for value in range(2, 9):
        assert (shared == value).mean() == pytest.approx(law.pmf(value), abs=0.02)
    jaccards = drawn(masks).groups[0]["jaccard"]
    expected = sum(law.pmf(k) * k / (20 - k) for k in range(2, 9))
    assert jaccards.mean() == pytest.approx(expected, abs=0.003)
    # Layer by layer: 5 and 4 of 6 share 10/3 on average, 3 and 4 share 2, 0 and 4 nothing.
    assert drawn(masks, layer_matched=True).shared[0, 0].mean() == pytest.approx(10 / 3 + 2, abs=0.03)


def test_the_draws_are_independent_of_their_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = rows_with([[2, 1], [1, 3], [3, 3]], 4)
    whole = drawn(masks, draws=50)
    monkeypatch.setattr("tombola.analysis.agreement.null_distribution.BATCH_CELLS", 7 * 3 * 8)
    parts = drawn(masks, draws=50)
    for name in STATISTICS:
        assert np.array_equal(whole.groups[0][name], parts.groups[0][name], equal_nan=True)
    assert not np.array_equal(whole.groups[0]["jaccard"], drawn(masks, draws=50, seed=1).groups[0]["jaccard"])


def test_the_place_of_a_value_in_its_distribution() -> None:
    found = null_distribution(np.array([0.0, 1.0, 1.0, 3.0, np.nan]), 1.0 + 1e-15)
    assert found is not None
    assert (found.mean, found.draws, found.below) == (1.25, 4, 0.5)
    assert (found.low, found.high) == pytest.approx((0.075, 2.85))
    small = null_distribution(np.array([1e-140, 2e-140, 3e-140, 4e-140]), 3.5e-140)
    assert small is not None
    assert small.below == 0.75
    unknown = null_distribution(np.array([1.0]), None)
    assert unknown is not None
    assert unknown.below is None
    assert null_distribution(np.array([np.nan, np.nan]), None) is None


class TestWeights:
    @staticmethod
    def tickets(sizes: tuple[tuple[int, int], ...] = ((30, 10), (25, 40), (60, 5))) -> list[Ticket]:
        generator = torch.Generator().manual_seed(0)
        made = []
        for first, second in sizes:
            masks = {}
            for name, shape, kept in (("0.query", (9, 7), first), ("1.key", (10, 5), second)):
                mask = torch.zeros(shape).bool().flatten()
                mask[torch.randperm(len(mask), generator=generator)[:kept]] = True
                masks[name] = mask.view(shape)
            made.append(Ticket("weights", "toy", masks))
        return made

    @staticmethod
    def group(n: int) -> Group:
        return Group(np.arange(n), all_pairs(n))

    def test_counts_are_those_of_the_set_algebra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Parts that end within a matrix.
        monkeypatch.setattr("tombola.analysis.agreement.weight_overlap.BATCH_COLUMNS", 16)
        tickets = self.tickets()
        found = count([PackedMasks(ticket) for ticket in tickets], [self.group(3), self.group(2)])
        for a, one in enumerate(tickets):
            for b, other in enumerate(tickets):
                assert found.shared.counts[a, b] == len(one & other)
                assert found.counts[:, a, b].tolist() == list((one & other).counts().values())
        assert found.shared.sites == 113
        assert found.everywhere == (len(tickets[0] & tickets[1] & tickets[2]), len(tickets[0] & tickets[1]))

    @pytest.mark.parametrize("layer_matched", [False, True])
    def test_draws_of_counts_are_those_of_masks(self, layer_matched: bool) -> None:
        tickets, group = self.tickets(((30, 10), (25, 40))), self.group(2)
        counts = count([PackedMasks(ticket) for ticket in tickets], [group])
        batches = random_weights(counts, [group], layer_matched=layer_matched, draws=20_000, seed=(0,))
        found = measure(batches, [group], {(0, 0): group.pairs})
        sizes = [(63, 30, 25), (50, 10, 40)] if layer_matched else [(113, 40, 65)]
        laws: list[Any] = [hypergeom(total, one, other) for total, one, other in sizes]
        mean, std = sum(law.mean() for law in laws), np.sqrt(sum(law.var() for law in laws))
        for values in (found.shared[0, 0], found.groups[0]["super_survivors"]):
            assert values.mean() == pytest.approx(mean, abs=5 * std / 20_000**0.5)
            assert values.std() == pytest.approx(std, rel=0.05)
        jaccard = found.groups[0]["jaccard"]
        assert np.allclose(jaccard, found.shared[0, 0] / (105 - found.shared[0, 0]))

    def test_three_tickets_share_what_masks_would(self) -> None:
        tickets, group = self.tickets(), self.group(3)
        counts = count([PackedMasks(ticket) for ticket in tickets], [group])
        batches = random_weights(counts, [group], layer_matched=False, draws=20_000, seed=(0,))
        by_counts = measure(batches, [group], {}).groups[0]
        flat = np.stack([np.concatenate([m.flatten().numpy() for m in t.masks.values()]) for t in tickets])
        by_masks = measure(
            random_sites(flat, flat.shape[1:], [group], layer_matched=False, draws=20_000, seed=(1,)), [group], {}
        ).groups[0]
        for name in STATISTICS:
            error = 5 * by_masks[name].std() * (2 / 20_000) ** 0.5
            assert by_counts[name].mean() == pytest.approx(by_masks[name].mean(), abs=error + 1e-9), name
            assert by_counts[name].std() == pytest.approx(by_masks[name].std(), rel=0.05, abs=1e-9), name
