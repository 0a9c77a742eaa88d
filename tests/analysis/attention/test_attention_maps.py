"""The stream of attention maps against `output_attentions=True`, and value norms against the definition."""

import weakref
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from builders.encoders import classifier, inputs
from builders.families import ZOO, sampled
from tombola import TombolaError, dissect
from tombola.analysis.attention.attention_maps import AttentionMaps, attention_hooks

STREAMED = (*(name for name, kind in ZOO.items() if kind.sort != "t5"), "t5's encoder")


def streamed(model: nn.Module, given: Mapping[str, Tensor]) -> list[AttentionMaps]:
    found: list[AttentionMaps] = []
    with torch.no_grad(), attention_hooks(model, dissect(model), found.append):
        model(**given)
    return found


def kept_by_transformers(model: PreTrainedModel, given: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    with torch.no_grad():
        found: tuple[Tensor, ...] = model(**given, output_attentions=True).attentions
    return found


@pytest.mark.parametrize("name", sampled(STREAMED))
def test_the_maps_are_those_that_transformers_keeps(name: str) -> None:
    kind = ZOO[name]
    model = kind.make()
    given = kind.given(padded=True)
    expected = kept_by_transformers(model, given)
    with torch.no_grad():
        before = model(**given)[0]
    found = streamed(model, given)
    assert len(found) == len(expected)
    for maps, weights in zip(found, expected, strict=True):
        assert torch.equal(maps.weights, weights)
    with torch.no_grad():
        assert torch.equal(model(**given)[0], before), "the hooks are still there"


@pytest.mark.parametrize("name", sampled(STREAMED))
def test_value_norms_by_the_definition(name: str) -> None:
    """Brute force: what a head adds to the output if the only token it attends to is x."""
    kind = ZOO[name]
    model = kind.make()
    given = kind.given(padded=False)
    anatomy = dissect(model)
    values: list[Tensor] = []
    number = len(anatomy.attentions) - 1
    row = anatomy.attentions[number]

    def keep(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        values.append(args[0])

    maps = next(each for each in reversed(streamed(model, given)) if each.row == number)
    output = model.get_submodule(row.outputs[0])
    weight = output.weight
    assert isinstance(weight, Tensor)
    matrix = weight if isinstance(output, Conv1D) else weight.T
    # The head whose attention can be inverted best; that of a head with a window hardly can.
    head = int(torch.linalg.cond(maps.weights).amax(0).argmin())
    mine = slice(head * row.size, (head + 1) * row.size)
    handle = output.register_forward_pre_hook(keep)
    with torch.no_grad():
        model(**given)
    handle.remove()
    mixed = values[-1][..., mine]
    # Σ_j α_ij v_j = mixed_i gives v, whatever made it.
    single = torch.linalg.solve(maps.weights[:, head], mixed)
    expected = (single @ matrix[mine]).norm(dim=-1)
    torch.testing.assert_close(maps.norms[:, head], expected, rtol=1e-6, atol=1e-9)


def test_shared_layers_give_a_map_for_each_use() -> None:
    model = ZOO["albert"].make()
    assert [maps.row for maps in streamed(model, inputs())] == [0, 0, 0]


@pytest.mark.parametrize("name", ["bert", "modernbert", "llama", "gpt2"])
def test_a_model_with_another_attention_is_switched_there_and_back(name: str) -> None:
    kind = ZOO[name]
    given = kind.given(padded=True)
    fused = kind.make("sdpa")
    expected = streamed(kind.make(), given)
    found = streamed(fused, given)
    assert fused.config._attn_implementation == "sdpa"
    mask = given["attention_mask"].bool()[:, None, :, None]
    for maps, other in zip(found, expected, strict=True):
        torch.testing.assert_close(maps.weights * mask, other.weights * mask)


def test_no_map_outlives_its_layer() -> None:
    model = classifier()
    alive: list[int] = []

    def count(maps: AttentionMaps) -> None:
        alive.append(1)
        weakref.finalize(maps.weights, alive.pop)

    def none_alive(_: nn.Module, args: object) -> None:
        assert not alive, "the layer holds its map while its MLP runs"

    for row in dissect(model).feed_forwards:
        model.get_submodule(row.output).register_forward_pre_hook(none_alive)
    with torch.no_grad(), attention_hooks(model, dissect(model), count):
        model(**inputs())
    assert not alive


def test_a_model_without_maps_is_refused() -> None:
    model = classifier()
    module = model.get_submodule(dissect(model).attentions[0].module)
    module.register_forward_hook(lambda _, args, output: (output[0], None))
    with pytest.raises(TombolaError, match="gives no attention maps"):
        streamed(model, inputs())


def test_encoder_and_decoder_are_refused() -> None:
    kind = ZOO["t5"]
    with pytest.raises(TombolaError, match="encoder and a decoder"):
        streamed(kind.make(), kind.given(padded=False))
