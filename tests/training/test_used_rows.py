"""A vocabulary that is trained row by row has the weights of one that is trained as a whole."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from builders.encoders import Exact, classifier, synthetic
from builders.killed import Kill, KilledError
from tombola.training import kept_training, loop, replica
from tombola.training.kept_training import TrainingFolder
from tombola.training.recipe import Recipe
from tombola.training.used_rows import UsedRows, with_used_rows

TABLE = "bert.embeddings.word_embeddings.weight"
# One text a step, so that rows come when others have moments, and texts in two parts.
RECIPE = Recipe(epochs=2, learning_rate=3e-3, batch_size=2, weight_decay=0.3, gradient_accumulation_steps=2)


@pytest.fixture
def small() -> Exact:
    return synthetic(train=8, dev=4)


def plain() -> nn.Module:
    """A model whose vocabulary is larger than that of all texts."""
    model = classifier(dropout=0.2)
    # Of double precision, as the rest.
    model.set_submodule(TABLE.removesuffix(".weight"), nn.Embedding(200, 32, padding_idx=0).double())
    with torch.no_grad(), torch.random.fork_rng([]):
        torch.manual_seed(0)
        model.get_parameter(TABLE).normal_()
    return model


def test_it_has_the_weights_of_a_table_trained_whole(small: Exact, monkeypatch: pytest.MonkeyPatch) -> None:
    start, kept = plain(), dict[bool, nn.Module]()
    found = {}
    for rows in (True, False):
        if not rows:
            monkeypatch.setattr(replica, "with_used_rows", lambda model: (model, None))
        model = copy.deepcopy(start)
        at_step = (3, lambda one, rows=rows: kept.update({rows: copy.deepcopy(one)}))
        loop.train(model, small, RECIPE, seed=1, at_step=at_step)
        found[rows] = model
    for one, other in ((found[True], found[False]), (kept[True], kept[False])):
        expected = other.state_dict()
        assert one.state_dict().keys() == expected.keys()
        for name, tensor in one.state_dict().items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-9, atol=1e-9, msg=name)
    # Of rows that no text has, decay took its part.
    left = (found[True].get_parameter(TABLE) / start.get_parameter(TABLE))[190:].detach()
    assert 0 < float(left.max()) < 1
    torch.testing.assert_close(left, left[:1, :1].expand_as(left))


def test_it_is_as_large_as_what_was_asked_for() -> None:
    model = plain()
    _, rows = with_used_rows(model)
    assert rows is not None
    for asked, size in (([5, 6, 6], 3), ([7], 6), ([8, 9, 10, 11], 12)):
        rows(torch.tensor(asked))
        assert len(rows.weight) == size
    assert torch.equal(rows(torch.tensor([[6, 0]])), model.get_parameter(TABLE)[[6, 0]][None])


def test_a_training_whose_table_has_grown_goes_on_bit_by_bit(
    small: Exact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_training, "INTERVAL", 0.0)
    whole, killed, keep = plain(), plain(), TrainingFolder(tmp_path / "kept")
    loop.train(whole, small, RECIPE)
    with pytest.raises(KilledError):
        loop.train(copy.deepcopy(killed), small, RECIPE, keep=keep, progress=Kill(3))
    loop.train(killed, small, RECIPE, keep=keep)
    assert all(torch.equal(one, whole.state_dict()[name]) for name, one in killed.state_dict().items())


def test_a_table_that_something_else_reads_or_that_is_frozen_stays() -> None:
    frozen, tied, scaled = plain(), plain(), plain()
    frozen.get_parameter(TABLE).requires_grad_(False)
    tied.register_parameter("output", tied.get_parameter(TABLE))
    table = scaled.get_submodule(TABLE.removesuffix(".weight"))
    assert isinstance(table, nn.Embedding)
    table.max_norm = 1.0
    for model in (frozen, tied, scaled, nn.Linear(2, 2)):
        assert with_used_rows(model) == (model, None)
    assert isinstance(with_used_rows(plain())[1], UsedRows)
