"""A shrunk model on disk: smaller, the same after loading, and refused where it would be wrong."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from tombola.anatomy import count_parameters, dissect
from tombola.checkpoint import TENSORS, load, save_shrunk
from tombola.errors import TombolaError
from tombola.subnetwork import masked, shrunk
from tombola.ticket import Ticket
from zoo import ZOO, computed, tickets


def given_to(name: str, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(ZOO[name].given(padded=True))


@pytest.mark.parametrize("name", ZOO)
def test_what_is_loaded_computes_what_the_masked_model_does(name: str, tmp_path: Path) -> None:
    model = ZOO[name].make(dtype=torch.float32).eval()
    for index, (_, ticket) in enumerate(tickets(model).items()):
        if index % 3:
            continue
        folder = tmp_path / str(index)
        gain = save_shrunk(model, ticket, folder)
        again = load(folder)
        given = given_to(name, model)
        torch.testing.assert_close(computed(again, given), computed(masked(model, ticket), given), atol=1e-5, rtol=1e-5)
        assert count_parameters(again) == gain.parameters < gain.parameters_before == count_parameters(model)
        assert not again.training
        assert all(not parameter.is_meta for parameter in again.parameters())


@pytest.fixture
def bert() -> PreTrainedModel:
    return ZOO["bert"].make(dtype=torch.float32)


def test_the_file_is_smaller_and_the_folder_holds_the_ticket(bert: PreTrainedModel, tmp_path: Path) -> None:
    ticket = tickets(bert)["single heads"]
    gain = save_shrunk(bert, ticket, tmp_path / "small")
    assert Ticket.load(tmp_path / "small") == ticket
    tensors = (tmp_path / "small" / TENSORS).stat().st_size
    assert gain.bytes <= tensors < gain.bytes + 10_000
    assert gain.bytes < gain.bytes_before
    assert gain.difference < 1e-5


def test_tied_parameters_stay_one(tmp_path: Path) -> None:
    model = ZOO["gpt2"].make(dtype=torch.float32).eval()
    save_shrunk(model, tickets(model)["random 0"], tmp_path / "small")
    again = load(tmp_path / "small")
    assert again.get_output_embeddings().weight is again.get_input_embeddings().weight


def test_a_wrong_model_is_never_saved(bert: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = ZOO["bert"].make(dtype=torch.float32, seed=1).eval()
    monkeypatch.setattr("tombola.checkpoint.load", lambda folder: shrunk(wrong, tickets(wrong)["random 0"]).model)
    with pytest.raises(TombolaError, match="differs from the masked one"):
        save_shrunk(bert, tickets(bert)["random 0"], tmp_path / "small")
    assert not list(tmp_path.iterdir())


def test_bad_input_is_one_line_and_writes_nothing(bert: PreTrainedModel, tmp_path: Path) -> None:
    weights = Ticket.everything(dissect(bert), "weights")
    other = ZOO["gpt2"].make(dtype=torch.float32)
    for ticket, said in ((weights, "only a ticket of heads and MLPs"), (tickets(other)["random 0"], "another model")):
        with pytest.raises(TombolaError, match=said):
            save_shrunk(bert, ticket, tmp_path / "small")
    assert not list(tmp_path.iterdir())
    folder = tmp_path / "small"
    save_shrunk(bert, tickets(bert)["random 0"], folder)
    with pytest.raises(TombolaError, match="exists already"):
        save_shrunk(bert, tickets(bert)["random 0"], folder)
    with pytest.raises(TombolaError, match="shrunk already"):
        save_shrunk(load(folder), tickets(bert)["random 0"], tmp_path / "twice")
    with pytest.raises(TombolaError, match="holds no shrunk model"):
        load(tmp_path)
    (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:-100])
    with pytest.raises(TombolaError, match=r"is damaged .*shrink it again"):
        load(folder)
