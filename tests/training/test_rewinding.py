"""Where a ticket is rewound to, and that the weights are those of then."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel

from builders.encoders import Exact
from tombola.foundations.errors import TombolaError
from tombola.training.loop import train
from tombola.training.recipe import Recipe, Rewinding


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pretrained", Rewinding("pretrained")),
        ("init", Rewinding("init")),
        ("step-1", Rewinding("step", 1)),
        ("step-120", Rewinding("step", 120)),
    ],
)
def test_a_place_is_read_and_written_alike(text: str, expected: Rewinding) -> None:
    assert Rewinding.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["", "step", "step-", "step-0", "step--1", "step-1.5", "step-x", "Init", "step-1-2"])
def test_what_is_no_place_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(TombolaError, match="step-K") as caught:
        Rewinding.parse(text)
    assert "\n" not in str(caught.value)


def test_pretrained_is_where_the_full_model_began(checkpoint: Path, task: Exact, tmp_path: Path) -> None:
    began = task.load(str(checkpoint), seed=4)
    rewound = Rewinding("pretrained").load(task, str(checkpoint), seed=4, full=tmp_path)
    assert same(rewound, began)
    assert not same(rewound, Rewinding("pretrained").load(task, str(checkpoint), seed=5, full=tmp_path))


def test_init_is_random_throughout_and_the_seeds(checkpoint: Path, task: Exact, tmp_path: Path) -> None:
    places = [Rewinding("init").load(task, str(checkpoint), seed=seed, full=tmp_path) for seed in (0, 0, 1)]
    assert same(places[0], places[1])
    before = AutoModel.from_pretrained(checkpoint).state_dict()
    for name in (n for n, t in before.items() if t.ndim == 2 and t.is_floating_point()):
        # Embeddings too; the row of the padding is zero everywhere.
        assert not torch.equal(places[0].state_dict()[f"bert.{name}"], before[name])
        assert not torch.equal(places[0].state_dict()[f"bert.{name}"], places[2].state_dict()[f"bert.{name}"])


def test_step_k_is_the_full_models_weights_of_then(checkpoint: Path, task: Exact, tmp_path: Path) -> None:
    place, seen = Rewinding("step", 3), []

    def save(model: nn.Module) -> None:
        place.save_step(model, tmp_path)
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

    model = task.load(str(checkpoint), seed=0)
    train(model, task, Recipe(epochs=1, learning_rate=3e-3), at_step=(3, save))
    assert [path.name for path in tmp_path.iterdir()] == ["step-3.safetensors"]
    rewound = place.load(task, str(checkpoint), seed=0, full=tmp_path)
    state = rewound.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in seen[0].items())
    assert not same(rewound, model)
    assert not same(rewound, task.load(str(checkpoint), seed=0))


def test_kept_weights_are_a_copy_of_their_own(checkpoint: Path, task: Exact, tmp_path: Path) -> None:
    model = task.load(str(checkpoint), seed=0)
    # Tied, which the format has no name for.
    model.get_submodule("bert.encoder.layer.0.intermediate.dense").weight = model.get_parameter(
        "bert.encoder.layer.1.intermediate.dense.weight"
    )
    Rewinding("step", 1).save_step(model, tmp_path)
    stored = load_file(tmp_path / "step-1.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("damage", ["missing", "garbled", "truncated", "of another model", "empty"])
def test_weights_that_cannot_be_read_are_one_clear_line(
    damage: str, checkpoint: Path, task: Exact, tmp_path: Path
) -> None:
    place = Rewinding("step", 2)
    place.save_step(task.load(str(checkpoint), seed=0), tmp_path)
    path = place.step_file(tmp_path)
    content = path.read_bytes()
    match damage:
        case "missing":
            path.unlink()
        case "garbled":
            path.write_bytes(b"\xff" * 100)
        case "truncated":
            path.write_bytes(content[:-100])
        case "of another model":
            place.save_step(nn.Linear(2, 2), tmp_path)
        case _:
            path.write_bytes(b"")
    with pytest.raises(TombolaError, match=r"step-2\.safetensors") as caught:
        place.load(task, str(checkpoint), seed=0, full=tmp_path)
    assert "\n" not in str(caught.value)
