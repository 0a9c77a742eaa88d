"""A ticket is a set of survivors: its algebra against Python's sets, its file against damage."""

import json
import math
import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from builders.encoders import FAMILIES, HEADS, LAYERS, classifier, sites, some_sites, some_weights
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import masked, shrunk
from tombola.tickets.kinds import TICKET_KINDS
from tombola.tickets.ticket import Ticket

MODEL = classifier()
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "heads+mlps": {"heads": (3, 4), "mlps": (3,)},
    "weights": {"0.query": (3, 5), "0.mlp_in": (2, 4)},
}


@st.composite
def tickets(draw: st.DrawFn, count: int) -> list[Ticket]:
    kind: Any = draw(st.sampled_from(list(SHAPES)))
    made = []
    for _ in range(count):
        masks = {}
        for name, shape in SHAPES[kind].items():
            size = math.prod(shape)
            masks[name] = torch.tensor(draw(st.lists(st.booleans(), min_size=size, max_size=size))).reshape(shape)
        made.append(Ticket(kind, "toy", masks))
    return made


def members(ticket: Ticket) -> frozenset[tuple[str, int]]:
    return frozenset(
        (name, i) for name, mask in ticket.masks.items() for i, kept in enumerate(mask.flatten().tolist()) if kept
    )


@given(tickets(count=2))
def test_operators_are_those_of_sets(pair: list[Ticket]) -> None:
    a, b = pair
    everything = members(a | ~a)
    assert len(everything) == a.total
    assert members(a & b) == members(a) & members(b)
    assert members(a | b) == members(a) | members(b)
    assert members(~a) == everything - members(a)
    assert len(a) == len(members(a)) == sum(a.counts().values())
    assert (a <= b) == (members(a) <= members(b))
    assert (a == b) == (members(a) == members(b))
    union = members(a) | members(b)
    assert a.overlap(b) == (len(members(a) & members(b)) / len(union) if union else 1.0)


@given(tickets(count=3))
def test_the_laws_of_set_algebra_hold(three: list[Ticket]) -> None:
    a, b, c = three
    assert a & b == b & a
    assert (a | b) | c == a | (b | c)
    assert a & (b | c) == (a & b) | (a & c)
    assert ~(a & b) == ~a | ~b
    assert a | (a & b) == a == ~~a
    assert a & b <= a <= a | b
    assert hash(a & b) == hash(b & a)


def test_equality_knows_pruning_architecture_and_masks_but_not_provenance() -> None:
    masks = {"heads": torch.ones(2, 2, dtype=torch.bool), "mlps": torch.ones(2, dtype=torch.bool)}
    ticket = Ticket("heads+mlps", "toy", masks)
    told = ticket.with_provenance(seed=3).with_provenance(task="cola")
    assert told == ticket
    assert hash(told) == hash(ticket)
    assert told.provenance == {"seed": 3, "task": "cola"}
    assert ticket.provenance == {}
    assert Ticket("heads+mlps", "other", masks) != ticket
    assert Ticket("weights", "toy", masks) != ticket
    assert Ticket("heads+mlps", "toy", {"heads": masks["heads"]}) != ticket
    # As many survivors, others.
    other = {name: mask.clone() for name, mask in masks.items()}
    other["heads"][0, 0] = False
    another = {name: mask.clone() for name, mask in masks.items()}
    another["heads"][1, 1] = False
    a, b = Ticket("heads+mlps", "toy", other), Ticket("heads+mlps", "toy", another)
    assert a != b
    assert len({a, b, ticket, told}) == 3
    assert ticket != "a ticket"


def test_a_ticket_takes_no_new_masks_or_facts() -> None:
    ticket = some_sites(MODEL, 0)
    with pytest.raises(TypeError):
        ticket.masks["heads"] = torch.ones(1, dtype=torch.bool)  # type: ignore[index]
    with pytest.raises(TypeError):
        ticket.provenance["a"] = 1  # type: ignore[index]
    with pytest.raises(AttributeError):
        ticket.kind = "weights"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "masks"),
    [
        ("layers", {"heads": torch.ones(2, dtype=torch.bool)}),
        ("weights", {"0.query": torch.ones(2)}),
        ("weights", {}),
    ],
)
def test_what_is_no_ticket_is_refused(kind: Any, masks: Any) -> None:
    with pytest.raises(TombolaError):
        Ticket(kind, "toy", masks)


def test_tickets_of_different_kinds_or_models_do_not_combine() -> None:
    a, b = some_sites(MODEL, 0), some_weights(MODEL, 0)
    c = some_sites(classifier("roberta"), 0)
    for left, right in ((a, b), (b, a), (a, c)):
        for combine in (operator.and_, operator.or_, operator.le, Ticket.overlap):
            with pytest.raises(TombolaError, match="combined"):
                combine(left, right)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(4))
def test_survivors_and_sparsity_count_the_weights_that_are_left(family: str, seed: int) -> None:
    model = classifier(family)
    anatomy = dissect(model)

    def left(module: torch.nn.Module) -> int:
        return sum(int(p.count_nonzero()) for name, p in module.named_parameters() if p.ndim == 2 and ".layer." in name)

    assert left(model) == anatomy.weights
    by_site, by_weight = some_sites(model, seed), some_weights(model, seed, share=0.2 * (seed + 1))
    assert by_site.survivors(anatomy) == {
        "heads": sum(map(sum, by_site.heads.tolist())),
        "mlps": sum(by_site.mlps.tolist()),
        "neurons": 48 * sum(by_site.mlps.tolist()),
        "channels": 0,
        "weights": left(shrunk(model, by_site).model),
    }
    weights = left(masked(model, by_weight).model)
    assert by_weight.survivors(anatomy) == {"heads": 12, "mlps": 3, "neurons": 144, "channels": 0, "weights": weights}
    by_neuron = Ticket("neurons", anatomy.signature, {"neurons": torch.rand(3, 8).lt(0.4).cumprod(0).bool()})
    assert by_neuron.survivors(anatomy) == {
        "heads": 12,
        "mlps": sum(map(any, by_neuron.neurons.tolist())),
        "neurons": 6 * sum(map(sum, by_neuron.neurons.tolist())),
        "channels": 0,
        "weights": left(shrunk(model, by_neuron).model),
    }
    parts = [(by_site, shrunk(model, by_site)), (by_neuron, shrunk(model, by_neuron))]
    for ticket, part in (*parts, (by_weight, masked(model, by_weight))):
        assert ticket.sparsity(anatomy) == pytest.approx(1 - left(part.model) / anatomy.weights)


def test_blocks_that_do_not_divide_the_neurons_are_refused_with_those_that_do() -> None:
    anatomy = dissect(MODEL)
    with pytest.raises(
        TombolaError, match="48 neurons of an MLP cannot be divided into blocks of 32; blocks of 24 or 48 can"
    ):
        Ticket.full(anatomy, "heads+neurons")
    five = Ticket("neurons", anatomy.signature, {"neurons": torch.ones(3, 5, dtype=torch.bool)})
    with pytest.raises(TombolaError, match="damaged: its masks do not have the shapes"):
        five.check(anatomy)


def test_everything_has_every_survivor() -> None:
    anatomy = dissect(MODEL)
    totals = {"heads+mlps": 15, "heads+neurons": 24, "heads": 12, "mlps": 3, "neurons": 12, "weights": anatomy.weights}
    # A BERT has no channels.
    assert totals.keys() == {kind for kind in TICKET_KINDS if "channels" not in kind}
    for kind in TICKET_KINDS:
        if kind not in totals:
            with pytest.raises(
                TombolaError, match="this bert has no channels to prune; it has heads, MLPs and neurons"
            ):
                Ticket.full(anatomy, kind, block=12)
            continue
        ticket, total = Ticket.full(anatomy, kind, block=12), totals[kind]
        assert len(ticket) == ticket.total == total
        assert ticket.sparsity(anatomy) == 0
        # 4 x 32 x 32 weights of heads in a layer, 2 x 32 x 48 of the MLP.
        assert (~ticket).sparsity(anatomy) == pytest.approx(
            {"heads": 4 / 7, "mlps": 3 / 7, "neurons": 3 / 7}.get(kind, 1)
        )
        ticket.check(anatomy)


@pytest.mark.parametrize("make", [some_sites, some_weights])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_saved_ticket_is_loaded_again(make: Any, share: float, tmp_path: Path) -> None:
    ticket = make(MODEL, 0, share).with_provenance(seed=1, score=0.5, nested={"a": [1, None]})
    ticket.save(tmp_path / "deep" / "good")
    loaded = Ticket.load(tmp_path / "deep" / "good")
    assert loaded == ticket
    assert loaded.provenance == ticket.provenance
    assert {name: mask.shape for name, mask in loaded.masks.items()} == {n: m.shape for n, m in ticket.masks.items()}
    assert sorted(path.name for path in (tmp_path / "deep" / "good").iterdir()) == ["masks.safetensors", "ticket.json"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["good"]


@given(pair=tickets(count=1))
def test_any_ticket_is_loaded_as_it_was(pair: list[Ticket], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("ticket")
    pair[0].save(folder)
    assert Ticket.load(folder) == pair[0]


def test_masks_of_weights_take_one_bit_each(tmp_path: Path) -> None:
    ticket = some_weights(MODEL, 0)
    ticket.save(tmp_path / "t")
    path = tmp_path / "t" / "masks.safetensors"
    with safe_open(path, "np") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    assert sum(array.nbytes for array in stored.values()) == ticket.total // 8
    # The header costs about 90 bytes for each of 18 matrices.
    assert path.stat().st_size < ticket.total // 8 + 18 * 100
    for name, mask in ticket.masks.items():
        bits = [(byte >> (7 - i)) & 1 for byte in stored[name].tolist() for i in range(8)]
        assert bits[: mask.numel()] == mask.flatten().int().tolist()


def damage(folder: Path, how: str) -> None:
    masks, head = folder / "masks.safetensors", folder / "ticket.json"
    facts = json.loads(head.read_text())
    content = masks.read_bytes()
    match how:
        case "truncated masks":
            masks.write_bytes(content[: len(content) // 2])
        case "empty masks":
            masks.write_bytes(b"")
        case "garbled header":
            masks.write_bytes(b"\xff" * 40 + content[40:])
        case "a flipped bit":
            masks.write_bytes(content[:-1] + bytes([content[-1] ^ 0x80]))
        case "a mask too short":
            arrays = load_file(masks)
            arrays["heads"] = arrays["heads"][:-1]
            save_file(arrays, masks)
            facts["survivors"]["heads"] = int(np.unpackbits(arrays["heads"].numpy()).sum())
            head.write_text(json.dumps(facts))
        case "a mask of another type":
            save_file({name: array.float() for name, array in load_file(masks).items()}, masks)
        case "no masks":
            masks.unlink()
        case "no json":
            head.unlink()
        case "half a json":
            head.write_text(head.read_text()[:50])
        case "not utf-8":
            head.write_bytes(b"\xff\xfe{")
        case "a json list":
            head.write_text("[]")
        case _:
            key, value = {
                "no survivors": ("survivors", None),
                "other survivors": ("survivors", {"heads": 1, "mlps": 1}),
                "a mask that is not there": ("shapes", {**facts["shapes"], "more": [2]}),
                "a negative shape": ("shapes", {"heads": [-1, 4], "mlps": [3]}),
                "no shapes": ("shapes", {}),
                "a shape of words": ("shapes", {"heads": "a", "mlps": [3]}),
                "unknown kind": ("kind", "layers"),
                "a newer format": ("format", 2),
                "larger shapes": ("shapes", {"heads": [6, 4], "mlps": [3]}),
            }[how]
            head.write_text(json.dumps(facts | {key: value}))


@pytest.mark.parametrize(
    "how",
    [
        "truncated masks",
        "empty masks",
        "garbled header",
        "a flipped bit",
        "a mask too short",
        "a mask of another type",
        "no masks",
        "no json",
        "half a json",
        "not utf-8",
        "a json list",
        "no survivors",
        "other survivors",
        "a mask that is not there",
        "a negative shape",
        "no shapes",
        "a shape of words",
        "unknown kind",
        "a newer format",
        "larger shapes",
    ],
)
def test_a_damaged_ticket_is_refused_in_one_line(how: str, tmp_path: Path) -> None:
    heads = torch.ones(LAYERS, HEADS)
    heads[0, 1] = 0
    sites(MODEL, heads, [1, 0, 1]).save(tmp_path / "t")
    Ticket.load(tmp_path / "t")
    damage(tmp_path / "t", how)
    with pytest.raises(TombolaError) as caught:
        Ticket.load(tmp_path / "t")
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path / "t") in message
    if how in ("no masks", "no json"):
        assert {"no masks": "masks.safetensors", "no json": "ticket.json"}[how] in message


def test_where_there_is_no_folder_there_is_no_ticket(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(TombolaError) as caught:
            Ticket.load(folder)
        assert "\n" not in str(caught.value)


def test_a_ticket_for_another_model_is_refused() -> None:
    ticket = some_sites(MODEL, 0)
    ticket.check(dissect(classifier(seed=5)))
    with pytest.raises(TombolaError, match=r"another model.*bert-3x4-.*roberta-3x4-"):
        ticket.check(dissect(classifier("roberta")))


def test_saving_refuses_a_folder_that_is_taken_and_leaves_it(tmp_path: Path) -> None:
    some_sites(MODEL, 0).save(tmp_path / "t")
    before = {path.name: path.read_bytes() for path in (tmp_path / "t").iterdir()}
    with pytest.raises(TombolaError, match="exists"):
        some_sites(MODEL, 1).save(tmp_path / "t")
    assert {path.name: path.read_bytes() for path in (tmp_path / "t").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_a_save_that_fails_leaves_nothing(tmp_path: Path) -> None:
    # The masks are written by then, and JSON cannot hold the provenance.
    for fact in (math.nan, object()):
        with pytest.raises((TypeError, ValueError)):
            some_sites(MODEL, 0).with_provenance(fact=fact).save(tmp_path / "t")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("site", [(0, 4), (0, -1), (3, 0), (0,), 0])
def test_a_site_that_there_is_not_is_pruned_from_no_ticket(site: object) -> None:
    ticket = Ticket("heads", "tiny", {"heads": torch.ones(3, 4, dtype=torch.bool)}, sizes={"heads": (4, 4, 2)})
    assert len(ticket.without({"heads": [[2, 1], (0, 3)]})) == 8
    with pytest.raises(TombolaError, match="among the heads of this ticket"):
        ticket.without({"heads": [site]})
    with pytest.raises(TombolaError, match="among the heads of this ticket"):
        ticket.without({"heads": [(2, 2)]})
