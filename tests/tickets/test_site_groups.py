"""Sites that go together have one gate: held against scaling their weights together, example by example."""

import copy

import pytest
import torch
from torch import Tensor, nn

from builders.language_models import llama, task
from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.pruning.evaluation import EvaluationOptions, evaluate
from tombola.subnetworks.subnetwork import whole
from tombola.tickets.kinds import TicketKind
from tombola.tickets.pruning_methods import METHODS, Grouping, in_words, pruning_method
from tombola.tickets.site_groups import count, site_groups
from tombola.tickets.ticket import Ticket

STEP = 1e-2
KINDS: dict[Grouping, TicketKind] = {"kv-groups": "heads", "layers": "heads+mlps"}


def losses(model: nn.Module) -> Tensor:
    found = evaluate(whole(model), made, EvaluationOptions("importance", batch_size=1))
    return torch.from_numpy(found.losses).double()


made = task()


def scaled(model: nn.Module, anatomy: Anatomy, grouping: Grouping, group: int, factor: float) -> nn.Module:
    """A copy in which all that belongs to a group is scaled where its gate is."""
    copied = copy.deepcopy(model)
    of_sites = site_groups(anatomy, grouping)
    with torch.no_grad():
        for row, attention in enumerate(anatomy.attentions):
            weight = copied.get_submodule(attention.outputs[0]).weight
            assert isinstance(weight, Tensor)
            for head in (of_sites["heads"][row] == group).nonzero().flatten().tolist():
                weight[:, head * attention.size : (head + 1) * attention.size] *= factor
        for number, mlp in enumerate(anatomy.feed_forwards):
            if "mlps" in of_sites and int(of_sites["mlps"][number]) == group:
                weight = copied.get_submodule(mlp.gate).weight
                assert isinstance(weight, Tensor)
                weight *= factor
    return copied


@pytest.mark.parametrize("grouping", ["kv-groups", "layers"])
def test_a_group_has_the_derivative_of_scaling_it_whole(grouping: Grouping) -> None:
    model = llama()
    made.settle(model)
    anatomy = dissect(model)
    found = evaluate(
        whole(model, KINDS[grouping]),
        made,
        EvaluationOptions("importance", batch_size=3),
        importance=True,
        groups=site_groups(anatomy, grouping),
    ).importance
    assert found is not None
    of_sites = site_groups(anatomy, grouping)
    number = count(of_sites)
    assert number == {"kv-groups": 6, "layers": 3}[grouping]
    for group in range(number):
        up, down = (losses(scaled(model, anatomy, grouping, group, 1 + sign * STEP)) for sign in (1, -1))
        expected = float(((up - down) / (2 * STEP)).abs().mean())
        for kind, unit_of in of_sites.items():
            # The losses are kept in fp32, which the difference of two feels.
            assert found[kind][unit_of == group].tolist() == pytest.approx(
                [expected] * int((unit_of == group).sum()), rel=0.02, abs=1e-4
            )


def test_every_site_is_in_a_group_of_its_own_layer() -> None:
    anatomy = dissect(llama())
    assert site_groups(anatomy, "kv-groups")["heads"].tolist() == [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5]]
    assert site_groups(anatomy, "layers")["mlps"].tolist() == [0, 1, 2]


def test_the_table_of_ways_names_what_it_finds() -> None:
    anatomy = dissect(llama())
    for name, one in METHODS.items():
        assert one.name == name
        assert ":" not in name
        if "channels" not in one.sites:
            assert Ticket.full(anatomy, one.kind, 8).sites == one.sites
    assert pruning_method("wanda-2:4") is METHODS["wanda-2of4"]
    assert in_words("heads+mlps") == "heads and MLPs"
    assert in_words("mlps") == "MLPs"
