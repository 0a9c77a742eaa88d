"""A training that is killed goes on where it was, with the same weights bit by bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from builders.encoders import Exact, classifier, some_weights, synthetic
from builders.killed import Kill, KilledError
from tombola.training import kept_training
from tombola.training.kept_training import TrainingFolder
from tombola.training.loop import retrain, train
from tombola.training.lora import LowRank
from tombola.training.recipe import Recipe

RECIPE = Recipe(epochs=2, learning_rate=3e-3, batch_size=16, weight_decay=0.3, warmup_ratio=0.25, max_grad_norm=0.5)
STEPS = 8


@pytest.fixture(autouse=True)
def _always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_training, "INTERVAL", 0.0)


@pytest.fixture
def small() -> Exact:
    return synthetic(train=60, dev=40)


def trained(small: Exact, keep: TrainingFolder | None, kill: int = 0, *, seed: int = 5, **recipe: float) -> nn.Module:
    """A model with dropout, trained or killed after so many steps; `small` has the order of the steps of this call."""
    model, small.order = classifier(dropout=0.3), []
    options = {} if not kill else {"progress": Kill(kill)}
    train(model, small, replace(RECIPE, **recipe), seed=seed, keep=keep, **options)  # type: ignore[arg-type]
    return model


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs: dict[str, Tensor] = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def test_a_killed_training_goes_on_bit_by_bit(small: Exact, tmp_path: Path) -> None:
    undisturbed, keep = trained(small, None), TrainingFolder(tmp_path / ".training", "data")
    order = small.order
    for kill in (3, 5):
        with pytest.raises(KilledError):
            # The progress of steps that are done is told anew.
            trained(small, keep, kill)
    assert same(trained(small, keep), undisturbed)
    assert small.order == order[5:]
    assert [path.name for path in keep.path.iterdir()] == ["state.safetensors"]
    keep.remove()
    assert not keep.path.exists()


def test_what_is_kept_of_another_training_is_left_alone(small: Exact, tmp_path: Path) -> None:
    keep = TrainingFolder(tmp_path / ".training", "data")
    with pytest.raises(KilledError):
        trained(small, keep, 3)
    for other in (TrainingFolder(keep.path, "other data"), keep):
        changed = {"seed": 6} if other is keep else {}
        expected = trained(small, None, **changed)
        assert same(trained(small, other, **changed), expected)
        assert len(small.order) == STEPS


def test_a_damaged_state_is_said_and_training_begins_anew(small: Exact, tmp_path: Path) -> None:
    keep = TrainingFolder(tmp_path / ".training")
    with pytest.raises(KilledError):
        trained(small, keep, 3)
    (keep.path / "state.safetensors").write_bytes(b"\x08" + bytes(7) + b"nonsense")
    with pytest.warns(UserWarning, match=r"damaged.*begins anew"):
        trained(small, keep)
    assert len(small.order) == STEPS


@pytest.mark.parametrize("low_rank", [None, LowRank(2, 1e-2)], ids=("all weights", "adapters"))
def test_a_ticket_goes_on_under_its_mask(low_rank: LowRank | None, small: Exact, tmp_path: Path) -> None:
    model = classifier(dropout=0.3)
    ticket, keep = some_weights(model, 0), TrainingFolder(tmp_path / ".training")
    expected = retrain(model, ticket, small, RECIPE, low_rank=low_rank)
    with pytest.raises(KilledError):
        retrain(model, ticket, small, RECIPE, low_rank=low_rank, keep=keep, progress=Kill(3))
    small.order = []
    found = retrain(model, ticket, small, RECIPE, low_rank=low_rank, keep=keep)
    assert len(small.order) == STEPS - 3
    assert same(found.model, expected.model)


def test_a_callback_is_not_called_again(small: Exact, tmp_path: Path) -> None:
    keep, calls = TrainingFolder(tmp_path / ".training"), list[str]()
    for kill in (5, 0):
        at_step = (2, lambda _: calls.append("called"))
        if kill:
            with pytest.raises(KilledError):
                train(classifier(), small, RECIPE, at_step=at_step, keep=keep, progress=Kill(kill))
        else:
            train(classifier(), small, RECIPE, at_step=at_step, keep=keep)
    assert calls == ["called"]
