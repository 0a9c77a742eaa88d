"""A shrunk model is a model like any other: read by tasks, ranked, cut again, saved, and never mixed with the whole."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from builders.encoders import HEAD_SIZE, HEADS, classifier, inputs, logits, synthetic, tokenizer
from builders.families import ZOO, computed, tickets
from builders.unets import denoised, unet
from tombola.architectures.dissect import dissect
from tombola.checkpoints.checkpoint import load, save, save_shrunk, save_zeros
from tombola.checkpoints.loading import load_model, outline
from tombola.checkpoints.model_libraries import load_any
from tombola.foundations.errors import TombolaError
from tombola.pruning import controls
from tombola.pruning.magnitude import keep_largest
from tombola.pruning.one_shot import one_shot
from tombola.subnetworks.subnetwork import expanded, masked, shrunk, without_removal
from tombola.tickets.ticket import Ticket
from tombola.training.loop import retrain
from tombola.training.recipe import Recipe


def without_heads(model: nn.Module, gone: list[tuple[int, int]]) -> Ticket:
    return Ticket.full(dissect(model), "heads+mlps").without({"heads": gone})


def deleted_by_hand(model: Any, gone: list[tuple[int, int]]) -> Tensor:
    """Logits of a BERT whose output projections do not read some heads."""
    with torch.no_grad():
        for layer, head in gone:
            units = slice(head * HEAD_SIZE, (head + 1) * HEAD_SIZE)
            model.bert.encoder.layer[layer].attention.output.dense.weight[:, units] = 0
    return logits(model, inputs())


def test_two_cuts_are_the_heads_of_both_deleted_by_hand(tmp_path: Path) -> None:
    model = classifier("bert").float()
    save_shrunk(model, without_heads(model, [(0, 0), (0, 2), *((1, head) for head in range(HEADS))]), tmp_path / "one")
    first = load(tmp_path / "one")
    assert dissect(first).sizes("heads") == (2, 0, 4)
    # Of layer 0 heads 1 and 3 are left, and are numbered anew.
    further = without_heads(first, [(0, 1), (2, 3)])
    save_shrunk(first, further, tmp_path / "two")
    second = load(tmp_path / "two")
    gone = [(0, 0), (0, 2), (0, 3), *((1, head) for head in range(HEADS)), (2, 3)]
    expected = deleted_by_hand(classifier("bert").float(), gone)
    assert torch.allclose(logits(second, inputs()), expected, atol=1e-5)
    assert torch.allclose(logits(masked(first, further), inputs()), expected, atol=1e-5)
    assert Ticket.load(tmp_path / "two") == further
    assert Ticket.load(tmp_path / "two" / "before" / "1").architecture == dissect(model).signature
    # In the shapes of the whole model, zeros stand for both cuts; back by one, for the second alone.
    save_zeros(first, further, tmp_path / "zeros")
    zeros = load_any(str(tmp_path / "zeros"))
    assert dissect(zeros).signature == dissect(model).signature
    assert torch.allclose(logits(zeros, inputs()), expected, atol=1e-5)
    assert dissect(expanded(shrunk(first, further))).signature == dissect(first).signature


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "phi3", "t5"])
def test_what_reads_models_reads_what_is_left(name: str, tmp_path: Path) -> None:
    model, given = ZOO[name].make(dtype=torch.float32), ZOO[name].given(padded=True)
    # Groups of queries lose unequally many heads, and T5's layers borrow other heads of the first one's table.
    ticket = tickets(model)["uneven groups"]
    save_shrunk(model, ticket, tmp_path / "small", force=True)
    read = load_model(str(tmp_path / "small"))
    assert type(read) is type(model)
    assert torch.allclose(computed(read, given), computed(masked(model, ticket), given), atol=1e-5)
    found = dissect(read)
    assert found.signature == dissect(load(tmp_path / "small")).signature == outline(str(tmp_path / "small")).signature
    assert found.weights == ticket.survivors(dissect(model))["weights"]
    assert sum(found.sizes("heads")) == ticket.survivors(dissect(model))["heads"]
    read.save_pretrained(tmp_path / "again")
    assert torch.equal(computed(load(tmp_path / "again"), given), computed(read, given))


def test_a_task_scores_ranks_and_retrains_it(tmp_path: Path) -> None:
    task, model = synthetic(), classifier("bert").float()
    save_shrunk(model, without_heads(model, [(0, 0), (2, 1)]), tmp_path / "small")
    tokenizer().save_pretrained(tmp_path / "small")
    small = task.load(str(tmp_path / "small"), seed=0, state="trained")
    found = one_shot(small, task, {"heads": 0.5, "mlps": 2 / 3})
    assert found.counts() == {"heads": 5, "mlps": 2}
    assert found.total == 10 + 3
    assert [len(row) for row in found.rows("heads")] == [3, 4, 3]
    for drawn in (controls.random(found, 0), controls.layer_matched(found, 0)):
        assert drawn.counts() == found.counts()
    part = retrain(small, found, task, Recipe(epochs=1))
    task.save(expanded(part), tmp_path / "again")
    again = task.load(str(tmp_path / "again"), seed=0, state="trained")
    assert dissect(again).signature == found.architecture
    assert torch.allclose(logits(again, inputs()), logits(part, inputs()), atol=1e-5)
    # Its shapes hold for a new start, too.
    assert dissect(task.load(str(tmp_path / "small"), seed=0, state="init")).signature == found.architecture
    with pytest.raises(TombolaError, match="found on a shrunk model: give that one"):
        shrunk(model, found)


def test_what_was_pruned_in_a_sparse_model_stays_zero_when_heads_go(tmp_path: Path) -> None:
    model, given = ZOO["bert"].make(dtype=torch.float32), ZOO["bert"].given(padded=True)
    small = shrunk(model, without_heads(model, [(0, 1)])).model
    anatomy = dissect(small)
    sparse = Ticket("weights", anatomy.signature, keep_largest(anatomy.weights_of(small), anatomy.weights // 2))
    save_shrunk(small, sparse, tmp_path / "sparse")
    loaded = load(tmp_path / "sparse")
    assert torch.allclose(computed(loaded, given), computed(masked(small, sparse), given), atol=1e-6)
    further = without_heads(loaded, [(1, 0), (1, 1)])
    save_shrunk(loaded, further, tmp_path / "further")
    again: Any = load(tmp_path / "further")
    assert torch.allclose(
        computed(again, given), computed(masked(masked(small, sparse).model, further), given), atol=1e-6
    )
    weights = dissect(again).weights_of(again)
    zero = {name: parameter == 0 for name, parameter in weights.items()}
    optimizer = torch.optim.AdamW(again.parameters(), lr=1e-2)
    again(**given).logits.square().sum().backward()
    optimizer.step()
    for name, parameter in dissect(again).weights_of(again).items():
        assert not parameter[zero[name]].any()
        assert zero[name].any()
    save(again, tmp_path / "trained")
    assert torch.allclose(computed(load(tmp_path / "trained"), given), computed(again, given), atol=1e-6)


def test_one_that_was_never_on_disk_is_saved_as_one_that_was(tmp_path: Path) -> None:
    model, given = ZOO["bert"].make(dtype=torch.float32), ZOO["bert"].given(padded=True)
    small: Any = shrunk(model, without_heads(model, [(0, 1), (1, 2)])).model
    small.save_pretrained(tmp_path / "own")
    save(small, tmp_path / "ours")
    for folder in ("own", "ours"):
        assert torch.allclose(computed(load(tmp_path / folder), given), computed(small, given), atol=1e-6)
    whole: Any = without_removal(small)
    whole.save_pretrained(tmp_path / "whole")
    assert not (tmp_path / "whole" / "tombola.json").exists()
    assert torch.allclose(computed(load_model(str(tmp_path / "whole")), given), computed(small, given), atol=1e-6)


def test_channels_that_went_twice(tmp_path: Path) -> None:
    model = unet(torch.float32)
    first = Ticket.full(dissect(model), "heads+channels").without({"heads": [(0, 1)], "channels": [(0, 0), (1, 1)]})
    save_shrunk(model, first, tmp_path / "one", force=True)
    small = load_any(str(tmp_path / "one"))
    assert dissect(small).sizes("channels")[:2] == tuple(size - 1 for size in dissect(model).sizes("channels")[:2])
    further = Ticket.full(dissect(small), "channels").without({"channels": [(0, 0)]})
    save_shrunk(small, further, tmp_path / "two", force=True)
    both = first.without({"channels": [(0, 1)]})
    assert torch.allclose(denoised(load_any(str(tmp_path / "two"))), denoised(shrunk(model, both).model), atol=1e-5)
