"""Heads that transformers 4 pruned, named in the configuration and gone from the file: the same logits as there."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from builders.encoders import synthetic, tokenizer
from builders.families import ZOO, computed
from tombola.architectures.dissect import dissect
from tombola.checkpoints.checkpoint import load, save_shrunk
from tombola.checkpoints.loading import load_model, outline
from tombola.foundations.errors import TombolaError
from tombola.pruning import controls
from tombola.pruning.one_shot import one_shot
from tombola.pruning.streamed_pruning import prune_checkpoint
from tombola.pruning.weight_criteria import WeightCut
from tombola.subnetworks.subnetwork import masked, without_removal
from tombola.tickets.ticket import Ticket

HEADS, SIZE = 4, 8
GONE = {0: [1, 2], 1: [3]}
OLD_API = ["bert", "roberta", "electra", "distilbert", "vit", "gpt2"]


def kept_units(heads: list[int]) -> Tensor:
    units = [head * SIZE + unit for head in range(HEADS) if head not in heads for unit in range(SIZE)]
    return torch.tensor(units, dtype=torch.long)


def as_transformers_4_saved(name: str, folder: Path, gone: dict[int, list[int]] = GONE) -> nn.Module:
    """Write a model whose heads are deleted from its tensors by hand; the whole one, with zeros, is returned."""
    model = ZOO[name].make(dtype=torch.float32)
    model.save_pretrained(folder)
    stored = load_file(folder / "model.safetensors")
    anatomy = dissect(model)
    modules = dict(model.named_modules())
    for layer, heads in gone.items():
        stay, row = kept_units(heads), anatomy.attentions[layer]
        lost = torch.tensor(sorted({*range(HEADS * SIZE)} - {*stay.tolist()}), dtype=torch.long)
        for _, projection in row.inputs:
            path, module = f"{row.name}.{projection.path}", modules[f"{row.name}.{projection.path}"]
            parts = len(projection.parts)
            units, axis = torch.cat([part * HEADS * SIZE + stay for part in range(parts)]), int(parts == 3)
            for suffix, dim in (("weight", axis), ("bias", 0)):
                change(stored, f"{path}.{suffix}", units, dim)
            others = torch.cat([part * HEADS * SIZE + lost for part in range(parts)])
            with torch.no_grad():
                module.weight.index_fill_(axis, others, 0.0)
                module.bias.index_fill_(0, others, 0.0)
        (output,) = row.outputs
        axis = 0 if isinstance(modules[output], Conv1D) else 1
        change(stored, f"{output}.weight", stay, axis)
        with torch.no_grad():
            modules[output].weight.index_fill_(axis, lost, 0.0)
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    facts = json.loads((folder / "config.json").read_text())
    facts["pruned_heads"] = {str(layer): heads for layer, heads in gone.items()}
    (folder / "config.json").write_text(json.dumps(facts))
    return model


def change(stored: dict[str, Tensor], name: str, stay: Tensor, axis: int) -> None:
    # ViT's file has the names of transformers 4.
    old = name.replace("vit.layers", "vit.encoder.layer").replace(".attention.o_proj", ".attention.output.dense")
    for new, word in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value")):
        old = old.replace(f".attention.{new}", f".attention.attention.{word}")
    name = name if name in stored else old
    stored[name] = stored[name].index_select(axis, stay).contiguous()


@pytest.mark.parametrize("name", OLD_API)
def test_a_model_without_them_is_loaded_as_it_was(name: str, tmp_path: Path) -> None:
    expected = as_transformers_4_saved(name, tmp_path / "old")
    with pytest.warns(UserWarning, match="transformers 4 pruned 3 heads"):
        model = load_model(str(tmp_path / "old"))
    given = ZOO[name].given(padded=True)
    assert torch.allclose(computed(model, given), computed(expected, given), atol=1e-6)
    assert type(model) is type(expected)
    assert dissect(model).sizes("heads") == (2, 3)
    own = expected.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in without_removal(model).state_dict().items())
    # What is made of it is a model like any other.
    model.save_pretrained(tmp_path / "again")
    again = load_model(str(tmp_path / "again"))
    assert torch.equal(computed(again, given), computed(model, given))
    assert dissect(again).signature == dissect(model).signature == outline(str(tmp_path / "old")).signature


def test_heads_that_are_not_there_are_neither_counted_nor_ranked_nor_drawn(tmp_path: Path) -> None:
    as_transformers_4_saved("roberta", tmp_path / "old")
    tokenizer().save_pretrained(tmp_path / "old")
    task = synthetic()
    with pytest.warns(UserWarning, match="transformers 4"):
        model = task.load(str(tmp_path / "old"), seed=0, state="trained")
    anatomy = dissect(model)
    entire = Ticket.full(anatomy, "heads")
    assert entire.survivors(anatomy)["heads"] == len(entire) == entire.total == 5
    assert anatomy.weights == dissect(task.load(str(tmp_path / "old"), seed=0, state="init")).weights
    found = one_shot(model, task, {"heads": 3 / 5})
    assert found.counts() == {"heads": 3}
    drawn = [controls.random(found, seed) for seed in range(8)]
    assert all(one.counts() == {"heads": 3} and [len(row) for row in one.rows("heads")] == [2, 3] for one in drawn)
    assert len(set(drawn)) > 1


def test_it_is_trained_and_shrunk_as_any_other(tmp_path: Path) -> None:
    as_transformers_4_saved("bert", tmp_path / "old")
    with pytest.warns(UserWarning, match="transformers 4"):
        model = load_model(str(tmp_path / "old"))
    given = ZOO["bert"].given(padded=True)
    model(**given).logits.square().sum().backward()
    row = dissect(model).attentions[0]
    for path in (f"{row.name}.{projection.path}" for _, projection in row.inputs):
        gradient = model.get_parameter(f"{path}.weight").grad
        assert gradient is not None
        assert len(gradient) == 2 * SIZE
        assert gradient.any()
    ticket = Ticket.full(dissect(model), "heads").without({"heads": [(0, 1)]})
    save_shrunk(model, ticket, tmp_path / "small", force=True)
    assert dissect(load(tmp_path / "small")).sizes("heads") == (1, 3)
    assert torch.allclose(computed(load(tmp_path / "small"), given), computed(masked(model, ticket), given), atol=1e-6)


def test_one_that_was_saved_with_all_heads_since_has_them(tmp_path: Path) -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    model.config.pruned_heads = {0: [1]}
    model.save_pretrained(tmp_path / "whole")
    again = load_model(str(tmp_path / "whole"))
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert not hasattr(again.config, "pruned_heads")


def test_a_layer_may_have_lost_all(tmp_path: Path) -> None:
    expected = as_transformers_4_saved("bert", tmp_path / "old", {1: [0, 1, 2, 3]})
    with pytest.warns(UserWarning, match="pruned 4 heads"):
        model = load_model(str(tmp_path / "old"))
    given = ZOO["bert"].given(padded=True)
    assert torch.allclose(computed(model, given), computed(expected, given), atol=1e-6)
    assert dissect(model).sizes("heads") == (4, 0)


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        ({"0": [1, 4]}, r"calls heads 1, 4 of layer 0 pruned, which a bert of 2 layers does not have"),
        ({"2": [1]}, r"calls heads 1 of layer 2 pruned"),
        ([1], r"names no heads of layers"),
        ({"0": "x"}, r"names no heads of layers"),
        # Of which the file knows nothing.
        (
            {"0": [1]},
            r"holds bert.encoder.layer.0.attention.output.dense.weight as \[32, 16\].* asks for \[32, 24\]",
        ),
    ],
)
def test_heads_that_cannot_be_are_one_line(gone: Any, says: str, tmp_path: Path) -> None:
    as_transformers_4_saved("bert", tmp_path / "old")
    facts = json.loads((tmp_path / "old" / "config.json").read_text())
    (tmp_path / "old" / "config.json").write_text(json.dumps({**facts, "pruned_heads": gone}))
    with pytest.raises(TombolaError, match=says) as caught:
        load_model(str(tmp_path / "old"))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_is_pruned_on_disk_is_to_be_saved_again_first(tmp_path: Path) -> None:
    as_transformers_4_saved("gpt2", tmp_path / "old")
    tokenizer().save_pretrained(tmp_path / "old")
    with pytest.raises(TombolaError, match=r"c_attn.weight as \[32, 48\].* \[32, 96\];.* prune it in memory"):
        prune_checkpoint(tmp_path / "old", tmp_path / "new", WeightCut("magnitude", 0.5))
