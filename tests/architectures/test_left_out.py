"""Every parameter of every family belongs to a row or a matrix, or is named with the reason why it does not."""

import pytest
from torch import nn

from builders.denoisers import KINDS, TEXTS_AND_IMAGES
from builders.families import ZOO, sampled
from builders.unets import made
from tombola.architectures.dissect import dissect
from tombola.study.study_facts import ArchitectureFacts


def unaccounted(model: nn.Module) -> set[str]:
    """Parameters of which dissection says nothing."""
    anatomy = dissect(model)
    taken = {matrix.module for matrix in anatomy.matrices}
    blocks = tuple(f"{one.name}." for one in anatomy.without_sites)
    named = {one.name for one in anatomy.left_out}
    # Of what is taken, biases go the way of their matrix.
    return {
        name
        for name, _ in model.named_parameters()
        if name.rpartition(".")[0] not in taken | named and not name.startswith(blocks)
    }


@pytest.mark.parametrize("name", [*sampled(ZOO), *KINDS])
def test_all_of_a_known_model_is_taken_or_named(name: str) -> None:
    model = ZOO[name].make() if name in ZOO else KINDS[name].make()
    anatomy = dissect(model)
    assert unaccounted(model) == set()
    assert all(one.reason for one in anatomy.left_out)
    assert len({one.name for one in anatomy.left_out}) == len(anatomy.left_out)
    # No attention, MLP or residual block is left without sites.
    assert anatomy.without_sites == ()


def test_attentions_whose_heads_cannot_go_are_named() -> None:
    model = made("UNet2DConditionModel", TEXTS_AND_IMAGES)
    anatomy = dissect(model)
    assert unaccounted(model) == set()
    assert {one.name: one.reason.partition(":")[0] for one in anatomy.without_sites} == {
        "down_blocks.0.attentions.0": "Attention",
        "down_blocks.0.downsamplers.0": "ResnetBlock2D",
        "mid_block.attentions.0": "Attention",
        "up_blocks.0.upsamplers.0": "ResnetBlock2D",
        "up_blocks.1.attentions.0": "Attention",
        "up_blocks.1.attentions.1": "Attention",
    }
    (resampler,) = [one for one in anatomy.without_sites if one.name == "down_blocks.0.downsamplers.0"]
    assert resampler.reason.endswith("its weights can be pruned")
    # A study keeps them for its report.
    assert list(ArchitectureFacts.of(anatomy).without_sites) == [one.name for one in anatomy.without_sites]
