"""What survives: super-survivors and their controls against sets, densities against counting."""

import math
import statistics

import pytest
import torch

from builders.unets import unet
from tombola.analysis.agreement.survival import (
    Density,
    densities,
    mean_densities,
    site_survival,
    super_survivor_controls,
    super_survivors,
)
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.tickets.ticket import Ticket


def tickets(count: int, share: float = 0.7, **provenance: object) -> list[Ticket]:
    generator = torch.Generator().manual_seed(3)
    return [
        Ticket(
            "heads+mlps",
            "toy",
            {kind: torch.rand(shape, generator=generator) < share for kind, shape in (("heads", (4, 5)), ("mlps", 4))},
            {"seed": seed, **provenance},
        )
        for seed in range(count)
    ]


def members(mask: torch.Tensor) -> set[int]:
    return set(mask.flatten().nonzero().flatten().tolist())


def test_super_survivors_survive_everywhere_and_remember_where_they_are_from() -> None:
    several = tickets(3, task="cola", model="bert")
    found = super_survivors(several)
    for kind in ("heads", "mlps"):
        assert members(found.masks[kind]) == set.intersection(*(members(one.masks[kind]) for one in several))
    assert found.provenance == {"task": "cola", "model": "bert", "seeds": [0, 1, 2], "ticket": "super-survivors"}
    survival = site_survival(several)
    assert survival is not None
    assert {kind: one.everywhere for kind, one in survival.sites.items()} == found.counts()
    assert super_survivors(several[:1]) == several[0]
    with pytest.raises(TombolaError, match="no tickets"):
        super_survivors([])
    other = Ticket("heads", "toy", {"heads": torch.ones(4, 5).bool()})
    with pytest.raises(TombolaError, match="cannot be combined"):
        super_survivors([several[0], other])


@pytest.mark.parametrize("seed", range(5))
def test_controls_of_super_survivors_are_as_large(seed: int) -> None:
    several = tickets(4, share=0.8, task="cola")
    survivors = super_survivors(several)
    controls = super_survivor_controls(several, seed)
    assert list(controls) == ["random", "layer-matched", "bad"]
    for name, control in controls.items():
        assert control.counts() == survivors.counts()
        assert control.architecture == "toy"
        assert control.provenance["ticket"] == name
        assert control.provenance["control_of"] == "super-survivors"
        assert control.provenance["task"] == "cola"
    layer_matched = controls["layer-matched"].heads
    assert layer_matched.sum(1).tolist() == survivors.heads.sum(1).tolist()
    for kind in ("heads", "mlps"):
        times = torch.stack([one.masks[kind] for one in several]).sum(0)
        kept, gone = times[controls["bad"].masks[kind]], times[~controls["bad"].masks[kind]]
        assert not len(kept) or not len(gone) or int(kept.max()) <= int(gone.min())
    assert super_survivor_controls(several, seed) == controls


def test_controls_of_super_survivors_are_independent_draws() -> None:
    # With two seeds nearly all sites survive in neither, so that the bad ticket is drawn as freely as the random one.
    heads = torch.zeros(12, 12, dtype=torch.bool)
    heads[:2] = True
    several = [Ticket("heads", "toy", {"heads": heads}) for _ in range(2)]
    shared: dict[tuple[str, str], list[int]] = {}
    for seed in range(200):
        drawn = super_survivor_controls(several, seed)
        for one, other in (("random", "bad"), ("random", "layer-matched"), ("bad", "layer-matched")):
            shared.setdefault((one, other), []).append(len(drawn[one] & drawn[other]))
    # 24 of 144 sites each: hypergeometric. Bad ones avoid the 24 survivors, which the layer-matched ones are.
    expected = 24 * 24 / 144
    deviation = math.sqrt(24 * (24 / 144) * (120 / 144) * (120 / 143) / 200)
    assert abs(statistics.mean(shared["random", "bad"]) - expected) < 4 * deviation
    assert abs(statistics.mean(shared["random", "layer-matched"]) - expected) < 4 * deviation
    assert shared["bad", "layer-matched"] == [0] * 200


def test_bad_tickets_are_as_large_where_rows_differ_in_length() -> None:
    # Attention of 2 heads at 8 channels and of 4 at 16: half of the first row of the mask is no site.
    model = unet(down_block_types=("AttnDownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D",) * 2)
    anatomy = dissect(model)
    everything = Ticket.full(anatomy, "heads")
    assert everything.total < everything.masks["heads"].numel()
    found = [everything.without({"heads": [[row, row % 2] for row in range(seed, 4)]}) for seed in range(2)]
    survivors = super_survivors(found)
    for control in super_survivor_controls(found, 0, anatomy).values():
        assert len(control) == len(survivors)
        control.check(anatomy)


def test_ties_between_bad_sites_are_broken_by_the_seed() -> None:
    several = [one & ~one | one for one in tickets(2, share=0.5)]
    found = {repr(super_survivor_controls(several, seed)["bad"].heads.tolist()) for seed in range(20)}
    assert len(found) > 1


def test_weights_have_no_such_controls() -> None:
    one = Ticket("weights", "toy", {"0.query": torch.ones(2, 2).bool()})
    assert super_survivors([one, one]) == one
    with pytest.raises(TombolaError, match="not of weights"):
        super_survivor_controls([one], 0)


def test_survival_over_tickets() -> None:
    several = tickets(5)
    survival = site_survival(several)
    assert survival is not None
    heads = survival.sites["heads"]
    counts = [int(one.heads.sum()) for one in several]
    assert heads.mean == pytest.approx(statistics.mean(counts))
    for row in range(4):
        for head in range(5):
            fates = [int(one.heads[row, head]) for one in several]
            assert heads.rows[row][head] == statistics.mean(fates)
    alone = site_survival(several[:1])
    assert alone is not None
    assert alone.sites["heads"].overlap is None


def test_two_empty_tickets_have_no_overlap_to_speak_of() -> None:
    empty = Ticket("heads", "toy", {"heads": torch.zeros(2, 2).bool()})
    found = site_survival([empty, empty])
    assert found is not None
    assert found.sites["heads"].overlap is None


def test_densities_count_the_surviving_weights() -> None:
    mask = torch.tensor([[1, 0, 0], [1, 1, 0]]).bool()
    found = [
        densities(Ticket("weights", "toy", {"0.query": one, "11.mlp_in": ~one})) for one in (mask, mask | True, mask)
    ]
    assert found[0] == (Density("query", 0, 0.5), Density("mlp_in", 11, 0.5))
    query, mlp_in = mean_densities(found)
    assert (query.share, mlp_in.share) == pytest.approx((2 / 3, 1 / 3))
    deviation = statistics.stdev([0.5, 1, 0.5])
    assert (query.deviation, mlp_in.deviation) == pytest.approx((deviation, deviation))
    assert mean_densities(found[:1]) == found[0]


def test_random_sites_can_be_drawn_outside_super_and_bad_ones() -> None:
    several = tickets(4, share=0.6)
    survivors = super_survivors(several)
    for seed in range(30):
        drawn = super_survivor_controls(several, seed, outside=True)
        for kind in ("heads", "mlps"):
            mask, taken = drawn["random"].masks[kind], survivors.masks[kind] | drawn["bad"].masks[kind]
            assert int(mask.sum()) == survivors.counts()[kind]
            # All that is free goes first.
            free = int((~taken).sum())
            assert int((mask & ~taken).sum()) == min(free, survivors.counts()[kind])
    everywhere = super_survivor_controls(several, 0)
    assert everywhere["bad"] == super_survivor_controls(several, 0, outside=True)["bad"]
