"""The sites of UNet2DModel: gates against blocks whose channels were deleted by hand, and what is made of tickets."""

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from builders.denoisers import KINDS, computed
from builders.unets import denoised, noisy, unet
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import count_parameters
from tombola.foundations.errors import TombolaError
from tombola.pruning.controls import layer_matched, random
from tombola.pruning.importance import FirstOrder, gate_gradients
from tombola.subnetworks.gates import attach
from tombola.subnetworks.subnetwork import Subnetwork, expanded, masked, shrunk, whole
from tombola.tickets.kinds import TicketKind
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TOLERANCE = 1e-10
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scale and shift": {"resnet_time_scale_shift": "scale_shift"},
    "resampling by residual blocks": {"downsample_type": "resnet", "upsample_type": "resnet"},
    "one head": {"attention_head_dim": None},
    "two layers a block": {"layers_per_block": 2},
    # Attention at two widths: 2 heads and 4.
    "unequal heads": {"down_block_types": ("AttnDownBlock2D",) * 2, "up_block_types": ("AttnUpBlock2D",) * 2},
}


def deleted(linear: Any, gone: Sequence[int], *, axis: int) -> None:
    linear.weight = nn.Parameter(torch.from_numpy(np.delete(linear.weight.detach().numpy(), gone, axis=axis)))
    if axis == 0 and linear.bias is not None:
        linear.bias = nn.Parameter(torch.from_numpy(np.delete(linear.bias.detach().numpy(), gone)))


def delete_heads(model: nn.Module, path: str, heads: Sequence[int], size: int) -> None:
    """Written out, not asked of the anatomy."""
    attention = cast(Any, model.get_submodule(path))
    gone = [unit for head in heads for unit in range(head * size, (head + 1) * size)]
    for linear in (attention.to_q, attention.to_k, attention.to_v):
        deleted(linear, gone, axis=0)
    deleted(attention.to_out[0], gone, axis=1)
    attention.heads -= len(heads)


def delete_groups(model: nn.Module, path: str, groups: Sequence[int], size: int) -> None:
    block = cast(Any, model.get_submodule(path))
    gone = [channel for group in groups for channel in range(group * size, (group + 1) * size)]
    deleted(block.conv1, gone, axis=0)
    deleted(block.time_emb_proj, gone, axis=0)
    norm = nn.GroupNorm(block.norm2.num_groups - len(groups), block.norm2.num_channels - len(gone), block.norm2.eps)
    for name in ("weight", "bias"):
        found = np.delete(getattr(block.norm2, name).detach().numpy(), gone)
        setattr(norm, name, nn.Parameter(torch.from_numpy(found)))
    block.norm2 = norm
    deleted(block.conv2, gone, axis=1)


def gated(subnetwork: Subnetwork) -> Tensor:
    with contextlib.ExitStack() as stack:
        if subnetwork.gated:
            gates = stack.enter_context(
                attach(subnetwork.model, subnetwork.anatomy, subnetwork.present, subnetwork.ticket)
            )
            gates.open(3, CPU, grad=False)
        return denoised(subnetwork.model)


def drawn(model: nn.Module, seed: int, kind: TicketKind = "heads+channels") -> Ticket:
    generator = torch.Generator().manual_seed(seed)
    every = Ticket.full(dissect(model), kind)
    removed = {kind: (torch.rand(mask.shape, generator=generator) < 0.4) & mask for kind, mask in every.masks.items()}
    return every.without({kind: mask.nonzero().tolist() for kind, mask in removed.items()})


def corners(model: nn.Module) -> dict[str, Ticket]:
    every = Ticket.full(dissect(model), "heads+channels")
    return {
        "everything": every,
        "nothing": ~every,
        "no head": Ticket(
            every.kind, every.architecture, {**every.masks, "heads": every.heads & False}, sizes=every.sizes
        ),
        "first block emptied": every.without({"channels": [[0, group] for group in range(every.channels.shape[1])]}),
        **{f"random {seed}": drawn(model, seed) for seed in range(3)},
    }


def test_the_anatomy_is_that_of_the_configuration() -> None:
    model = unet()
    anatomy = dissect(model)
    assert anatomy.model_type == "UNet2DModel"
    assert anatomy.heads == (4, 4)
    assert [row.name for row in anatomy.attentions] == [
        "down_blocks.1.attentions.0",
        "mid_block.attentions.0",
        "up_blocks.0.attentions.0",
        "up_blocks.0.attentions.1",
    ]
    assert [(row.name, row.groups, row.size) for row in anatomy.residuals] == [
        ("down_blocks.0.resnets.0", 4, 2),
        ("down_blocks.1.resnets.0", 4, 4),
        ("mid_block.resnets.0", 4, 4),
        ("mid_block.resnets.1", 4, 4),
        ("up_blocks.0.resnets.0", 4, 4),
        ("up_blocks.0.resnets.1", 4, 4),
        ("up_blocks.1.resnets.0", 4, 2),
        ("up_blocks.1.resnets.1", 4, 2),
    ]
    assert anatomy.feed_forwards == ()


@pytest.mark.parametrize("variant", VARIANTS)
def test_prunable_are_all_maps_but_the_first_the_last_and_those_of_the_timestep(variant: str) -> None:
    model = unet(**VARIANTS[variant])
    anatomy = dissect(model)
    found = {matrix.parameter: matrix.shape for matrix in anatomy.matrices}
    outside = ("conv_in.", "conv_out.", "time_embedding.")
    expected = {
        f"{name}.weight": tuple(module.get_parameter("weight").shape)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and not f"{name}.".startswith(outside)
    }
    assert len(anatomy.matrices) == len(found)
    assert len({matrix.name for matrix in anatomy.matrices}) == len(found)
    assert found == expected


def test_layers_are_in_the_order_of_data() -> None:
    names = list(
        dict.fromkeys(matrix.parameter.split(".conv")[0].split(".to_")[0] for matrix in dissect(unet()).matrices)
    )
    places = {name: index for index, name in enumerate(names)}
    order = ["down_blocks.0.resnets.0", "down_blocks.1.resnets.0", "down_blocks.1.attentions.0", "mid_block.resnets.0"]
    order += ["mid_block.attentions.0", "mid_block.resnets.1", "up_blocks.0.resnets.0", "up_blocks.0.attentions.0"]
    order += ["up_blocks.0.resnets.1"]
    assert [places[name] for name in order] == sorted(places[name] for name in order)


def test_a_head_gate_at_zero_is_the_head_deleted() -> None:
    model = unet()
    ticket = Ticket.full(dissect(model), "heads").without({"heads": [[0, 1], [3, 0], [3, 2]]})
    cut = copy.deepcopy(model)
    delete_heads(cut, "down_blocks.1.attentions.0", [1], 4)
    delete_heads(cut, "up_blocks.0.attentions.1", [0, 2], 4)
    expected = denoised(cut)
    assert float((denoised(model) - expected).abs().max()) > 1e-3
    for found in (masked(model, ticket), shrunk(model, ticket)):
        torch.testing.assert_close(gated(found), expected, rtol=0, atol=TOLERANCE)


def test_a_head_of_a_plain_attention_in_a_unet_of_texts_is_the_head_deleted() -> None:
    kind = KINDS["unet of texts with plain attentions"]
    model = kind.make()
    ticket = Ticket.full(dissect(model), "heads").without({"heads": [[0, 1], [10, 0]]})
    cut = copy.deepcopy(model)
    delete_heads(cut, "down_blocks.0.attentions.0", [1], 4)
    delete_heads(cut, "up_blocks.1.attentions.1", [0], 4)
    expected = computed(cut, kind)
    assert float((computed(model, kind) - expected).abs().max()) > 1e-3
    for found in (masked(model, ticket), shrunk(model, ticket)):
        torch.testing.assert_close(computed(found, kind), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("variant", ["plain", "scale and shift"])
def test_a_gate_of_a_group_at_zero_is_the_group_deleted(variant: str) -> None:
    model = unet(**VARIANTS[variant])
    ticket = Ticket.full(dissect(model), "channels").without({"channels": [[0, 1], [2, 0], [2, 3]]})
    cut = copy.deepcopy(model)
    if variant == "scale and shift":
        for path in ("down_blocks.0.resnets.0", "mid_block.resnets.0"):
            block = cast(Any, cut.get_submodule(path))
            # The rows of the shift first, which stand behind those of the scale.
            size, groups = (2, [1]) if path.startswith("down") else (4, [0, 3])
            rows = [c for g in groups for c in range(g * size, (g + 1) * size)]
            deleted(block.time_emb_proj, [4 * size + row for row in rows], axis=0)
    delete_groups(cut, "down_blocks.0.resnets.0", [1], 2)
    delete_groups(cut, "mid_block.resnets.0", [0, 3], 4)
    expected = denoised(cut)
    assert float((denoised(model) - expected).abs().max()) > 1e-3
    for found in (masked(model, ticket), shrunk(model, ticket)):
        torch.testing.assert_close(gated(found), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("variant", VARIANTS)
def test_masked_shrunk_and_expanded_compute_the_same(variant: str) -> None:
    model = unet(**VARIANTS[variant])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    anatomy = dissect(model)
    seen = []
    for name, ticket in corners(model).items():
        part = shrunk(model, ticket)
        found = gated(part)
        torch.testing.assert_close(gated(masked(model, ticket)), found, rtol=0, atol=TOLERANCE, msg=name)
        back = expanded(part)
        assert {key: tensor.shape for key, tensor in back.state_dict().items()} == {
            key: tensor.shape for key, tensor in before.items()
        }
        torch.testing.assert_close(denoised(back), found, rtol=0, atol=TOLERANCE, msg=name)
        zeros = sum(int((parameter == 0).sum()) for _, parameter in anatomy.prunable(back))
        assert zeros == anatomy.weights - ticket.survivors(anatomy)["weights"], name
        seen.append(found)
    assert min(float((a - b).abs().max()) for i, a in enumerate(seen) for b in seen[:i]) > 1e-5
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_shrunk_network_has_the_parameters_of_the_survivors_only() -> None:
    model = unet()
    ticket = Ticket.full(dissect(model), "heads+channels").without({"heads": [[0, 1]], "channels": [[1, 0]]})
    gone = count_parameters(model) - count_parameters(shrunk(model, ticket).model)
    # A head of 4 units: rows with biases of three maps, columns of a fourth. A group of 4 channels of 16, from 8
    # channels in and a timestep of 32: convolutions with bias, a norm, and the map of the timestep with bias.
    assert gone == 4 * (3 * (16 + 1) + 16) + 4 * (8 * 9 + 1 + 32 + 1 + 2 + 16 * 9)


def test_every_example_has_gates_of_its_own() -> None:
    model = unet()
    anatomy = dissect(model)
    torch.manual_seed(0)
    with torch.no_grad(), attach(model, anatomy, Ticket.full(anatomy, "heads+channels")) as gates:
        for gate in gates.open(3, CPU, grad=False):
            gate.copy_(torch.rand_like(gate) * 2)
        found = denoised(model)
    images, timesteps = noisy()
    for example in range(3):
        scaled = copy.deepcopy(model)
        with torch.no_grad():
            for index, row in enumerate(anatomy.attentions):
                gate = gates.opened["heads", index][example].double().repeat_interleave(4)
                scaled.get_parameter(f"{row.name}.to_out.0.weight").mul_(gate)
            for index, residual in enumerate(anatomy.residuals):
                gate = gates.opened["channels", index][example].double().repeat_interleave(residual.size)
                scaled.get_parameter(f"{residual.name}.conv2.weight").mul_(gate[:, None, None])
            one = scaled(images[example : example + 1], timesteps[example : example + 1]).sample
        torch.testing.assert_close(found[example : example + 1], one, rtol=0, atol=TOLERANCE)


def test_importance_is_the_mean_of_each_examples_own_gradient() -> None:
    model = unet()
    anatomy = dissect(model)
    everything = Ticket.full(anatomy, "channels")
    images, timesteps = noisy()

    def losses(batch: slice) -> Tensor:
        return cast(Tensor, model(images[batch], timesteps[batch]).sample.square().flatten(1).mean(1))

    with attach(model, anatomy, everything) as gates:
        gates.open(3, CPU, grad=True)
        first_order = FirstOrder()
        first_order.add(gate_gradients(gates, losses(slice(0, 3))))
    found = first_order.result()["channels"]
    # By differences: a gate of one example a little above and below one.
    for row, group in ((0, 1), (5, 3)):
        expected = 0.0
        for example in range(3):
            values = []
            for shift in (1e-3, -1e-3):
                with attach(model, anatomy, everything) as gates, torch.no_grad():
                    gates.open(1, CPU, grad=False)
                    gates.opened["channels", row][0, group] += shift
                    values.append(float(losses(slice(example, example + 1))))
            expected += abs(values[0] - values[1]) / 2e-3 / 3
        assert float(found[row, group]) == pytest.approx(expected, rel=1e-3)


def test_an_emptied_block_stays_empty_in_training() -> None:
    model = unet(torch.float32)
    ticket = corners(model)["nothing"]
    part = shrunk(model, ticket)
    trained = copy.deepcopy(part.model).train()
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-2)
    images, timesteps = noisy(dtype=torch.float32)
    for _ in range(3):
        optimizer.zero_grad()
        trained(images, timesteps).sample.square().mean().backward()
        optimizer.step()
    back = expanded(Subnetwork(trained, part.anatomy, ticket, ticket))
    torch.testing.assert_close(denoised(back.eval()), denoised(trained.eval()), rtol=0, atol=1e-5)
    anatomy = dissect(model)
    assert (
        sum(int((p == 0).sum()) for _, p in anatomy.prunable(back))
        >= anatomy.weights - ticket.survivors(anatomy)["weights"]
    )


def test_unequal_rows_of_heads_have_masks_of_their_own_sizes() -> None:
    model = unet(**VARIANTS["unequal heads"])
    anatomy = dissect(model)
    every = Ticket.full(anatomy, "heads")
    sizes = [row.heads for row in anatomy.attentions]
    assert set(sizes) == {2, 4}
    assert every.total == len(every) == sum(sizes)
    assert len(~every) == 0
    assert [len(row) for row in every.rows("heads")] == sizes
    good = drawn(model, 1, "heads")
    for seed in range(20):
        for control in (random(good, seed), layer_matched(good, seed)):
            assert len(control) == len(good)
            assert control <= every
        assert layer_matched(good, seed).heads.sum(1).tolist() == good.heads.sum(1).tolist()
    # All heads have their turn.
    assert len({tuple(site) for seed in range(60) for site in random(good, seed).heads.nonzero().tolist()}) == sum(
        sizes
    )


def test_unequal_tickets_are_saved(tmp_path: Any) -> None:
    model = unet(**VARIANTS["unequal heads"])
    ticket = drawn(model, 1)
    ticket.save(tmp_path / "good")
    found = Ticket.load(tmp_path / "good")
    assert found == ticket
    assert dict(found.sizes) == dict(ticket.sizes)
    found.check(dissect(model))


@pytest.mark.parametrize(("kind", "said"), [("mlps", "no MLPs to prune"), ("heads+neurons", "no neurons to prune")])
def test_what_a_model_does_not_have_cannot_be_pruned(kind: TicketKind, said: str) -> None:
    with pytest.raises(TombolaError, match=f"this UNet2DModel has {said}; it has heads and channels"):
        whole(unet(), kind)


def test_fused_projections_are_refused() -> None:
    model = unet()
    for module in model.modules():
        if hasattr(module, "fuse_projections"):
            cast(Callable[[], None], module.fuse_projections)()
    with pytest.raises(TombolaError, match="unfuse_qkv_projections"):
        dissect(model)


def test_a_shrunk_network_is_another_architecture() -> None:
    model = unet()
    ticket = drawn(model, 0)
    with pytest.raises(TombolaError):
        ticket.check(dissect(shrunk(model, ticket).model))
