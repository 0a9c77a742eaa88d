"""ONNX graphs of every family, run by ONNX Runtime on shapes that they were not exported with."""

import importlib.util
import json
from pathlib import Path

import onnxruntime
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoConfig

from builders.encoders import inputs, sites, some_weights
from builders.families import ZOO, computed, tickets
from tombola.checkpoints.export_onnx import save_onnx
from tombola.checkpoints.model_card import bytes_on_disk
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import masked
from tombola.tickets.ticket import Ticket

pytestmark = pytest.mark.slow

QUICK = (("llama", "uneven groups"),)
"""The family and ticket of `make test`; all others are exhaustive. What the commands export is BERT."""

OTHERS = (
    *((name, "random 0") for name in ZOO if name not in ("bert", "gpt2", "llama", "vit")),
    *(("bert", "corners"), ("gpt2", "random neurons 0"), ("vit", "first layer emptied")),
    *(("llama", "nothing"), ("bert", "no MLP"), ("t5", "nothing")),
)


def run(folder: Path, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """Independently of Tombola; zero at padding, as `computed` has it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    assert {found.name for found in session.get_inputs()} - set(given) <= {"token_type_ids"}
    if "token_type_ids" in {found.name for found in session.get_inputs()} - set(given):
        given = given | {"token_type_ids": torch.zeros_like(given["input_ids"])}
    found = torch.from_numpy(session.run(None, {name: tensor.numpy() for name, tensor in given.items()})[0])
    if found.ndim == 3 and "decoder_input_ids" not in given:
        found = found.where(given["attention_mask"].bool()[..., None], 0.0)
    return found


def padded(name: str, batch: int, length: int) -> dict[str, torch.Tensor]:
    kind = ZOO[name]
    if kind.sort == "image":
        return {"pixel_values": torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(1))}
    given = inputs(padded=length > 4, batch=batch, length=length, seed=1)
    if kind.sort == "t5" and kind.model != "T5EncoderModel":
        given["decoder_input_ids"] = inputs(padded=False, batch=batch, length=3, seed=2)["input_ids"]
    return given


@pytest.mark.parametrize(
    ("name", "ticket"), [*QUICK, *(pytest.param(*other, marks=pytest.mark.exhaustive) for other in OTHERS)]
)
def test_onnx_runtime_computes_what_the_masked_model_does(name: str, ticket: str, tmp_path: Path) -> None:
    model = ZOO[name].make(dtype=torch.float32)
    # A layer without heads, one with an odd number of them, and a layer without its MLP.
    corners = sites(model, [[0, 0, 0, 0], [1, 0, 1, 1]], [1, 0]) if ticket == "corners" else None
    made = (corners or tickets(model)[ticket]).with_provenance(task="sst2", score=0.8)
    assert save_onnx(model, made, tmp_path / "onnx") < 1e-5
    for batch, length in ((1, 1), (2, 9), (5, 13)):
        given = padded(name, batch, length)
        found, expected = run(tmp_path / "onnx", given), computed(masked(model, made), given)
        torch.testing.assert_close(found, expected, atol=2e-5 * float(expected.abs().max()), rtol=0)


def test_a_ticket_of_weights_and_the_folder(tmp_path: Path) -> None:
    model = ZOO["bert"].make(dtype=torch.bfloat16)
    ticket = some_weights(model, 0)
    save_onnx(model, ticket, tmp_path / "onnx")
    assert model.dtype == torch.bfloat16
    given = padded("bert", 3, 11) | {"token_type_ids": torch.tensor([[0] * 5 + [1] * 6] * 3)}
    expected = computed(masked(model.float(), ticket), given)
    torch.testing.assert_close(run(tmp_path / "onnx", given), expected, atol=1e-5, rtol=1e-5)
    assert Ticket.load(tmp_path / "onnx" / "ticket") == ticket
    assert AutoConfig.from_pretrained(tmp_path / "onnx").architectures == ["BertForSequenceClassification"]
    assert json.loads((tmp_path / "onnx" / "config.json").read_text())["model_type"] == "bert"
    graph = (tmp_path / "onnx" / "model.onnx").read_bytes()
    assert b"site-packages" not in graph
    assert b".py" not in graph
    card = ModelCard.load(tmp_path / "onnx" / "README.md")
    assert card.data.library_name == "onnx"
    assert 'InferenceSession("model.onnx")' in card.text
    assert f"{bytes_on_disk(tmp_path / 'onnx'):,} bytes" in card.text
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx")
    assert [found.shape for found in session.get_inputs()] == [["batch", "sequence"]] * 3


def test_refusals_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    ticket = tickets(model)["random 0"]
    with pytest.raises(TombolaError, match="another model"):
        save_onnx(ZOO["gpt2"].make(), ticket, tmp_path / "onnx")

    def refused(*_: object, **__: object) -> None:
        raise torch.onnx.OnnxExporterError("a long\nreason")

    with monkeypatch.context() as patch:
        patch.setattr(torch.onnx, "export", refused)
        with pytest.raises(TombolaError, match=r"cannot export this BertFor.* \(a long reason\); take another"):
            save_onnx(model, ticket, tmp_path / "onnx")
    monkeypatch.setattr("tombola.checkpoints.export_onnx.export_graph", lambda *_: "logits")
    with monkeypatch.context() as patch:
        patch.setattr("tombola.checkpoints.export_onnx.run_graph", lambda *_: torch.ones(4, 2))
        with pytest.raises(TombolaError, match="the ONNX graph differs from the masked model"):
            save_onnx(model, ticket, tmp_path / "onnx")
    with pytest.raises(TombolaError, match="ONNX Runtime cannot run this model's graph"):
        save_onnx(model, ticket, tmp_path / "onnx")
    with monkeypatch.context() as patch:
        there = importlib.util.find_spec
        patch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else there(name))
        with pytest.raises(TombolaError, match=r"^ONNX needs onnxscript; pip install 'tombola\[onnx\]'$"):
            save_onnx(model, ticket, tmp_path / "onnx")
    assert not list(tmp_path.iterdir())
