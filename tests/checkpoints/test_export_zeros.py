"""Zeros baked in: a folder that plain transformers loads, and that computes what the masked model does."""

from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoModelForSequenceClassification

from builders.encoders import some_sites, some_weights
from builders.families import ZOO, computed, sampled, tickets
from tombola.architectures.dissect import dissect
from tombola.checkpoints.checkpoint import save_zeros
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import masked
from tombola.tickets.find_tickets import ticket_folder
from tombola.tickets.ticket import Ticket


@pytest.mark.parametrize("name", sampled())
def test_plain_transformers_loads_what_the_masked_model_is(name: str, tmp_path: Path) -> None:
    model = ZOO[name].make(dtype=torch.float32)
    given = ZOO[name].given(padded=True)
    made = tickets(model)
    for index, ticket in enumerate([made["random 0"], made["random neurons 0"], some_weights(model, 0)]):
        assert save_zeros(model, ticket, tmp_path / str(index)) < 1e-5
        again = getattr(transformers, ZOO[name].model).from_pretrained(tmp_path / str(index))
        assert {key: tensor.shape for key, tensor in again.state_dict().items()} == {
            key: tensor.shape for key, tensor in model.state_dict().items()
        }
        torch.testing.assert_close(computed(again, given), computed(masked(model, ticket), given), atol=1e-5, rtol=1e-5)
        assert Ticket.load(ticket_folder(tmp_path / str(index))) == ticket
        # Engines take every such file beside the configuration for weights.
        assert [file.name for file in (tmp_path / str(index)).glob("*.safetensors")] == ["model.safetensors"]


def test_pruned_weights_are_zeros_and_the_others_as_they_were(tmp_path: Path) -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    ticket = some_weights(model, 0)
    assert save_zeros(model, ticket, tmp_path / "zeros") == 0
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "zeros")
    for name, found in dissect(again).weights_of(again).items():
        mask, before = ticket.masks[name], dissect(model).weights_of(model)[name]
        assert (found[~mask].view(torch.int32) == 0).all()
        assert torch.equal(found[mask], before[mask])


@pytest.mark.parametrize("kind", ["heads+mlps", "weights"])
def test_a_wrong_model_is_never_saved(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    ticket = some_sites(model, 0) if kind == "heads+mlps" else some_weights(model, 0)

    monkeypatch.setattr(
        "tombola.checkpoints.checkpoint.expanded", lambda _: ZOO["bert"].make(dtype=torch.float32, seed=1)
    )
    with pytest.raises(TombolaError, match="differs from the masked"):
        save_zeros(model, ticket, tmp_path / "zeros")
    assert not list(tmp_path.iterdir())
