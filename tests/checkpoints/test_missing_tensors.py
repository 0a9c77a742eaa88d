"""What a checkpoint lacks would be random: it is named, whatever opens the folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from builders import task_types
from builders.encoders import classifier, rows, tokenizer
from builders.families import ZOO
from builders.unets import unet
from tombola.checkpoints.loading import load_model
from tombola.checkpoints.model_libraries import load_any
from tombola.foundations.errors import TombolaError
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.tasks.fine_tuned.text_to_text import TextToTextTask

TASK = TextTask.from_rows(rows(60, 1), rows(40, 2), tokenizer())
OPENED: dict[str, Callable[[str], Any]] = {
    "a model": load_model,
    "any model": load_any,
    "to fine-tune": lambda source: TASK.load(source, seed=0),
    "fine-tuned": lambda source: TASK.load(source, seed=0, state="trained"),
}


def folder(place: Path, changed: Callable[[dict[str, Tensor]], dict[str, Tensor]], **config: Any) -> str:
    classifier(dtype=torch.float32).save_pretrained(place)
    tokenizer().save_pretrained(place)
    save_file(changed(load_file(place / "model.safetensors")), place / "model.safetensors", {"format": "pt"})
    facts = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**facts, **config}))
    return str(place)


def without_layer(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if ".layer.1." not in name}


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace(".layer.1.", ".layer.one."): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("opened", list(OPENED))
@pytest.mark.parametrize(
    ("changed", "config", "says"),
    [
        (without_layer, {}, r"lacks 16 tensors of a \w+, bert.encoder.layer.1.attention"),
        (renamed, {}, r"lacks 16 tensors of a \w+, bert.encoder.layer.1.attention"),
        (
            dict,
            {"num_hidden_layers": 2},
            r"holds 16 tensors that its configuration has no place for, bert.encoder.layer.2",
        ),
        (
            dict,
            {"intermediate_size": 40},
            r"holds bert.encoder.layer.0.intermediate.dense.bias as \[48\].* asks for \[40\]",
        ),
    ],
)
def test_what_is_missing_or_of_another_shape_is_named(
    changed: Any, config: dict[str, Any], says: str, opened: str, tmp_path: Path
) -> None:
    source = folder(tmp_path / "model", changed, **config)
    with pytest.raises(TombolaError, match=says) as caught:
        OPENED[opened](source)
    assert "\n" not in str(caught.value)


def test_an_output_layer_and_a_pooler_are_made_anew_to_fine_tune_alone(tmp_path: Path) -> None:
    def headless(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: one for name, one in tensors.items() if "classifier" not in name and "pooler" not in name}

    source = folder(tmp_path / "model", headless)
    model = TASK.load(source, seed=0)
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.equal(dict(model.named_parameters())[name], tensor) for name, tensor in stored.items())
    with pytest.raises(TombolaError, match="was not fine-tuned: it has no classifier"):
        TASK.load(source, seed=0, state="trained")
    with pytest.raises(TombolaError, match="lacks 4 tensors"):
        load_model(source)


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("decoder.block.0.layer.0.SelfAttention.k.weight", "decoder.block.0.layer.0.SelfAttention.k.weight"),
        # It is tied.
        ("shared.weight", "decoder.embed_tokens.weight"),
    ],
)
def test_a_part_of_an_encoder_and_decoder_is_no_output_layer(lost: str, named: str, tmp_path: Path) -> None:
    pairs, source = task_types.written_rows(6, 0), str(tmp_path)
    task = TextToTextTask.from_rows(pairs, pairs, task_types.splitting_tokenizer(), max_length=12)
    model = task_types.t5()
    model.config.tie_word_embeddings = False
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    save_file({name: one for name, one in tensors.items() if name != "lm_head.weight"}, file, {"format": "pt"})
    task.load(source, seed=0)
    save_file({name: one for name, one in tensors.items() if name != lost}, file, {"format": "pt"})
    with pytest.raises(TombolaError, match=f"{named} among them, which would be random"):
        task.load(source, seed=0)


def test_denoisers_too(tmp_path: Path) -> None:
    place = tmp_path / "unet"
    unet(dtype=torch.float32).save_pretrained(place)  # type: ignore[operator]
    path = place / "diffusion_pytorch_model.safetensors"
    tensors = {name: one for name, one in load_file(path).items() if not name.startswith("mid_block")}
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(TombolaError, match=r"lacks \d+ tensors of a UNet2DModel, mid_block"):
        load_any(str(place))


@pytest.mark.parametrize("how", OPENED)
def test_a_folder_of_adapters_alone_is_to_be_merged(how: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(TombolaError, match="holds adapters of peft alone; merge them"):
        OPENED[how](str(tmp_path))


@pytest.mark.parametrize("name", ["t5", "vit", "clip"])
def test_layers_without_a_place_are_named_where_names_have_no_prefix(name: str, tmp_path: Path) -> None:
    ZOO[name].make(dtype=torch.float32).save_pretrained(tmp_path)
    facts = json.loads((tmp_path / "config.json").read_text())
    layers = "num_layers" if name == "t5" else "num_hidden_layers"
    (tmp_path / "config.json").write_text(json.dumps({**facts, layers: 1}))
    with pytest.raises(TombolaError, match="tensors that its configuration has no place for"):
        load_model(str(tmp_path))
