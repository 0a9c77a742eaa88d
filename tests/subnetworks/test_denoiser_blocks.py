"""Whole blocks of denoisers as units: which sites they have, and that without them what is left is what should be."""

import copy
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from builders.denoisers import KINDS, computed
from builders.unets import UNET
from tombola import controls
from tombola.architectures.denoiser_preset import DenoiserPreset
from tombola.architectures.denoisers import denoiser_inputs
from tombola.architectures.dissect import dissect
from tombola.checkpoints.checkpoint import load, save_shrunk
from tombola.pruning.evaluation import EvaluationOptions, evaluate
from tombola.pruning.search.loop import search_ticket
from tombola.pruning.search.options import SearchOptions
from tombola.subnetworks.subnetwork import masked, shrunk, whole
from tombola.tasks.images.task import Images, ImageTask, ImageTaskOptions
from tombola.tickets.pruning_methods import pruning_method
from tombola.tickets.site_groups import count, fitted, site_groups, site_groups_of
from tombola.tickets.ticket import Ticket

BLOCKS = {
    # Residual blocks and attentions.
    "unet": 8 + 4,
    # Residual blocks and transformer blocks.
    "unet of texts": 8 + 4,
    "unet of texts with unequal heads": 8 + 4,
    "unet of texts with plain attentions": 8 + 4 + 3,
    "dit": 2,
    "pixart": 2,
    "sd3": 3,
    "sd3 with a second attention": 3,
    # Double and single ones.
    "flux": 2 + 2,
}


def without(model: nn.Module, unit: int) -> Ticket:
    """All of a model but one block."""
    anatomy = dissect(model)
    every, units = (
        Ticket.full(anatomy, fitted(pruning_method("layers"), anatomy).kind),
        site_groups(anatomy, "layers"),
    )
    masks = {kind: mask & (units[kind] != unit) for kind, mask in every.masks.items()}
    return Ticket(every.kind, every.architecture, masks, sizes=every.sizes)


@pytest.mark.parametrize("name", KINDS)
def test_every_site_is_in_the_unit_of_its_layer(name: str) -> None:
    kind = KINDS[name]
    anatomy = dissect(kind.make())
    units = site_groups(anatomy, "layers")
    assert count(units) == BLOCKS[name]
    assert site_groups_of(anatomy, "layers") is not None
    found: dict[int, set[int]] = {}
    rows = {"heads": anatomy.attentions, "mlps": anatomy.feed_forwards, "channels": anatomy.residuals}
    for of, of_sites in units.items():
        assert len(of_sites) == len(rows[of])
        for row, unit in zip(cast(Any, rows[of]), of_sites.reshape(len(of_sites), -1), strict=True):
            assert len(set(unit.tolist())) == 1
            found.setdefault(row.layer, set()).add(int(unit[0]))
    assert sorted(unit for ones in found.values() for unit in ones) == list(range(BLOCKS[name]))
    assert set(units) == {of for of, ones in rows.items() if ones}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_block_that_is_cut_is_one_that_is_gated(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    model = kind.make()
    before = computed(model, kind)
    for unit in range(BLOCKS[name]):
        ticket = without(model, unit)
        found = computed(shrunk(model, ticket), kind)
        torch.testing.assert_close(computed(masked(model, ticket), kind), found, rtol=0, atol=1e-10)
        assert float((found - before).abs().max()) > 1e-8
    save_shrunk(model, without(model, 0), tmp_path / "small", force=True)
    # A file's tensors lie at other places in memory, which rounding feels; copies do not.
    again = copy.deepcopy(cast(nn.Module, load(tmp_path / "small")))
    assert torch.equal(computed(again, kind), computed(copy.deepcopy(shrunk(model, without(model, 0)).model), kind))


def test_a_residual_block_without_channels_is_its_shortcut_and_a_bias() -> None:
    kind = KINDS["unet"]
    model = kind.make()
    units = site_groups(dissect(model), "layers")
    by_hand = kind.make()
    # The first block changes the number of channels in the third part, the second does not.
    for number in (0, 5):
        row = dissect(model).residuals[number]
        block = cast(Any, by_hand.get_submodule(row.name))

        def left(module: Any, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
            x = inputs[0] if module.conv_shortcut is None else module.conv_shortcut(inputs[0])
            return cast(Tensor, (x + module.conv2.bias[:, None, None]) / module.output_scale_factor)

        handle = block.register_forward_hook(left)
        expected = computed(by_hand, kind)
        handle.remove()
        found = computed(shrunk(model, without(model, int(units["channels"][number, 0]))), kind)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_a_transformer_block_without_sites_is_its_residual_and_a_bias() -> None:
    kind = KINDS["dit"]
    model, by_hand = kind.make(), kind.make()
    block = cast(Any, by_hand).transformer_blocks[1]
    block.attn1.register_forward_hook(lambda module, _, output: module.to_out[0].bias.expand_as(output))
    block.ff.register_forward_hook(lambda _, __, output: torch.zeros_like(output))
    found = computed(shrunk(model, without(model, 1)), kind)
    torch.testing.assert_close(found, computed(by_hand, kind), rtol=0, atol=1e-10)


class _Pooled:
    name = "quarters"

    def __call__(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 4).flatten(1)


def _task() -> ImageTask:
    def images(seed: int, n: int) -> Images:
        return Images(torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) - 0.5)

    presets = {"tiny": DenoiserPreset("UNet2DModel", UNET)}
    return ImageTask(images(0, 16), images(1, 8), _Pooled(), ImageTaskOptions(steps=2, levels=1, presets=presets))


def test_a_search_removes_whole_blocks(tmp_path: Path) -> None:
    task = _task()
    model = task.load("tiny", seed=0)
    found = search_ticket(
        model,
        task,
        "layers",
        evaluation=EvaluationOptions(batch_size=8),
        options=SearchOptions(threshold=0.2, mlps_step=2),
    )
    assert found.good.kind == "heads+channels"
    assert found.good.provenance["method"] == "layers"
    assert len(found.passes) > 1
    anatomy = dissect(model)
    units = site_groups(anatomy, "layers")

    def whole_units(ticket: Ticket) -> int:
        alive = [{bool(m) for kind in units for m in ticket.masks[kind][units[kind] == unit]} for unit in range(12)]
        assert all(len(ones) == 1 for ones in alive)
        return sum(True in ones for ones in alive)

    assert set(found.passes[1].removed) == {"heads", "channels"}
    kept = whole_units(found.good)
    assert kept == 12 - 2 * (len([step for step in found.passes if step.holds]) - 1)
    assert whole_units(controls.random(found.good, 0, units)) == kept
    found.save(tmp_path)
    assert type(found).load(tmp_path).good == found.good


@pytest.mark.parametrize("method", ["weights", "magnitude-matrix", "random-weights"])
def test_methods_for_weights_run_on_a_model_without_mlps(method: str) -> None:
    task = _task()
    model = task.load("tiny", seed=0)
    options = SearchOptions(threshold=0.2, sparsities=(0.3, 0.6))
    found = search_ticket(model, task, method, evaluation=EvaluationOptions(batch_size=8), options=options)
    assert found.good.kind == "weights"


def test_rows_of_unequal_heads_have_their_own_importance() -> None:
    kind = KINDS["unet of texts with unequal heads"]
    model = kind.make(torch.float32)

    class Denoising(ImageTask):
        def output(self, model: nn.Module, batch: Any) -> Any:
            from tombola.tasks.base import Output

            given = denoiser_inputs(model, len(batch.indices), kind.size)
            losses = model(**given, return_dict=False)[0].square().flatten(1).mean(1)
            return Output(losses, losses.new_zeros(len(losses), 4))

    presets = {"tiny": DenoiserPreset("UNet2DModel", UNET)}
    images = Images(torch.rand(8, 1, 8, 8)), Images(torch.rand(8, 1, 8, 8))
    task = Denoising(*images, _Pooled(), ImageTaskOptions(presets=presets))
    for units in (None, site_groups(dissect(model), "layers")):
        part = whole(model, "heads+mlps+channels")
        found = evaluate(part, task, EvaluationOptions(batch_size=4), importance=True, groups=units).importance
        assert found is not None
        assert (found["heads"].isnan().sum(1)).tolist() == [4 - size for size in (2, 2, 4, 4, 2, 2, 2, 2)]
        assert float(found["heads"].nan_to_num().sum()) > 0
