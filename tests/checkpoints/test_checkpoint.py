"""A shrunk model on disk: smaller, the same after loading, and refused where it would be wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from builders.encoders import some_weights, tokenizer
from builders.families import ZOO, computed, sampled, tickets
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import count_parameters
from tombola.checkpoints.checkpoint import load, save_shrunk, save_zeros
from tombola.checkpoints.model_card import bytes_on_disk, dense_bytes
from tombola.checkpoints.shrunk_folder import TENSORS
from tombola.foundations.errors import TombolaError
from tombola.pruning.magnitude import keep_largest
from tombola.subnetworks.subnetwork import masked, shrunk
from tombola.tickets.ticket import Ticket


def given_to(name: str, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(ZOO[name].given(padded=True))


@pytest.mark.parametrize("name", sampled())
def test_what_is_loaded_computes_what_the_masked_model_does(name: str, tmp_path: Path) -> None:
    model = ZOO[name].make(dtype=torch.float32).eval()
    for index, (_, ticket) in enumerate(tickets(model).items()):
        if index % 3:
            continue
        folder = tmp_path / str(index)
        assert save_shrunk(model, ticket, folder) < 1e-5
        again = load(folder)
        given = given_to(name, model)
        torch.testing.assert_close(computed(again, given), computed(masked(model, ticket), given), atol=1e-5, rtol=1e-5)
        assert count_parameters(again) == count_parameters(shrunk(model, ticket).model) < count_parameters(model)
        assert not again.training
        assert all(not parameter.is_meta for parameter in again.parameters())


@pytest.fixture
def bert() -> PreTrainedModel:
    return ZOO["bert"].make(dtype=torch.float32)


def bytes_of(model: torch.nn.Module) -> int:
    return sum(parameter.nbytes for parameter in model.parameters())


def test_the_file_is_smaller_and_the_folder_holds_the_ticket(bert: PreTrainedModel, tmp_path: Path) -> None:
    ticket = tickets(bert)["single heads"]
    save_shrunk(bert, ticket, tmp_path / "small")
    assert Ticket.load(tmp_path / "small") == ticket
    tensors = (tmp_path / "small" / TENSORS).stat().st_size
    assert bytes_of(shrunk(bert, ticket).model) <= tensors < bytes_of(shrunk(bert, ticket).model) + 10_000
    assert tensors < bytes_of(bert)


def test_tied_parameters_stay_one(tmp_path: Path) -> None:
    model = ZOO["gpt2"].make(dtype=torch.float32).eval()
    save_shrunk(model, tickets(model)["random 0"], tmp_path / "small")
    again = load(tmp_path / "small")
    assert again.get_output_embeddings().weight is again.get_input_embeddings().weight


def test_a_wrong_model_is_never_saved(bert: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = ZOO["bert"].make(dtype=torch.float32, seed=1).eval()
    monkeypatch.setattr(
        "tombola.checkpoints.checkpoint.load", lambda folder: shrunk(wrong, tickets(wrong)["random 0"]).model
    )
    with pytest.raises(TombolaError, match="differs from the masked model"):
        save_shrunk(bert, tickets(bert)["random 0"], tmp_path / "small")
    assert not list(tmp_path.iterdir())


def test_bad_input_is_one_line_and_writes_nothing(bert: PreTrainedModel, tmp_path: Path) -> None:
    other = ZOO["gpt2"].make(dtype=torch.float32)
    for ticket in (tickets(other)["random 0"], some_weights(other, 0)):
        with pytest.raises(TombolaError, match="another model"):
            save_shrunk(bert, ticket, tmp_path / "small")
    assert not list(tmp_path.iterdir())
    folder = tmp_path / "small"
    save_shrunk(bert, tickets(bert)["random 0"], folder)
    with pytest.raises(TombolaError, match="exists already"):
        save_shrunk(bert, tickets(bert)["random 0"], folder)
    with pytest.raises(TombolaError, match="which was shrunk since; give the one"):
        save_shrunk(load(folder), tickets(bert)["random 0"], tmp_path / "twice")
    with pytest.raises(TombolaError, match="holds no shrunk model"):
        load(tmp_path)


@pytest.mark.parametrize("kind", ["heads+mlps", "weights"])
def test_damage_of_any_file_is_found(bert: PreTrainedModel, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "small"
    save_shrunk(bert, some_weights(bert, 0) if kind == "weights" else tickets(bert)["random 0"], folder)
    spoilt: dict[str, Callable[[bytes], bytes]] = {
        "a part is missing": lambda content: content[:-100],
        "empty": lambda _: b"",
        "one bit of a value is another": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        "a header of the same length names other shapes": lambda content: content.replace(b"32", b"23", 1),
        "a header that is none": lambda content: content[:8] + b"x" * (len(content) - 8),
    }
    for file in (TENSORS, "masks.safetensors"):
        whole = (folder / file).read_bytes()
        for how, spoil in spoilt.items():
            if spoil(whole) == whole:
                continue
            (folder / file).write_bytes(spoil(whole))
            with pytest.raises(TombolaError, match=r"is damaged") as refused:
                load(folder)
            assert "\n" not in str(refused.value), how
        (folder / file).write_bytes(whole)
    for file, content in (("config.json", "{}"), ("config.json", "["), ("tombola.json", "[]")):
        before = (folder / file).read_text()
        (folder / file).write_text(content)
        with pytest.raises(TombolaError):
            load(folder)
        (folder / file).write_text(before)
    facts = json.loads((folder / "tombola.json").read_text())
    changes: tuple[dict[str, object], ...] = (
        {"shared": []},
        {"sha256": None},
        {"format": 2},
        {"class": "os"},
        {"class": None},
        {"library": []},
        # A list of as many places took all memory.
        {"tickets": 2**40},
    )
    for change in changes:
        (folder / "tombola.json").write_text(json.dumps(facts | change))
        with pytest.raises(TombolaError):
            load(folder)


@pytest.mark.parametrize("name", sampled())
def test_a_sparse_model_equals_the_masked_one_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = ZOO[name].make(dtype=torch.float32)
    ticket = some_weights(model, 1, 0.4)
    assert save_shrunk(model, ticket, tmp_path / "sparse") == 0
    again, whole = load(tmp_path / "sparse"), masked(model, ticket).model
    found, expected = again.state_dict(), whole.state_dict()
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(found[key].view(torch.int32), tensor.view(torch.int32)), key
    # The mask by NumPy: +0.0 where a weight was pruned, and the model's own bits elsewhere.
    for matrix in dissect(model).matrices:
        weight = model.get_parameter(matrix.parameter).detach().numpy()
        made = np.where(ticket.masks[matrix.name].numpy(), weight, np.float32(0))
        assert made.tobytes() == again.get_parameter(matrix.parameter).detach().numpy().tobytes()
    again.set_attn_implementation("eager")
    assert torch.equal(computed(again, given_to(name, model)), computed(whole, given_to(name, model)))
    if model.get_output_embeddings() is not None and model.config.tie_word_embeddings:
        assert again.get_output_embeddings().weight is again.get_input_embeddings().weight


@pytest.mark.parametrize(("share", "most"), [(0.5, 0.6), (0.1, 0.2)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_sparse_file_is_smaller(share: float, most: float, dtype: torch.dtype, tmp_path: Path) -> None:
    # Embeddings are never pruned: a model of few.
    config = BertConfig(
        vocab_size=64,
        hidden_size=256,
        num_attention_heads=4,
        num_hidden_layers=3,
        intermediate_size=1024,
        max_position_embeddings=32,
    )
    model = BertForSequenceClassification(config)
    model = model.half() if dtype == torch.float16 else model.bfloat16()
    model.save_pretrained(tmp_path / "dense")
    anatomy = dissect(model)
    kept = keep_largest(anatomy.weights_of(model), round(share * anatomy.weights))
    assert save_shrunk(model, Ticket("weights", anatomy.signature, kept), tmp_path / "sparse") == 0
    dense = (tmp_path / "dense" / "model.safetensors").stat().st_size
    assert bytes_on_disk(tmp_path / "sparse") <= most * dense
    assert dense_bytes(model) <= dense < dense_bytes(model) + 10_000
    assert load(tmp_path / "sparse").dtype == dtype


def test_infinite_weights_and_negative_zeros_keep_their_bits(bert: PreTrainedModel, tmp_path: Path) -> None:
    matrix = dissect(bert).matrices[0]
    with torch.no_grad():
        weight = bert.get_parameter(matrix.parameter)
        weight[0, :8] = torch.tensor([-0.0, -0.0, torch.inf, torch.inf, torch.nan, torch.nan, -1, -1])
    ticket = Ticket.full(dissect(bert), "weights")
    mask = ticket.masks[matrix.name].clone()
    mask[0, 1:8:2] = False
    ticket = replace(ticket, masks={**ticket.masks, matrix.name: mask})
    assert save_shrunk(bert, ticket, tmp_path / "sparse", force=True) == 0
    found = load(tmp_path / "sparse").get_parameter(matrix.parameter)[0, :8].detach().numpy()
    kept = weight[0, :8:2].detach().numpy()
    assert found[::2].tobytes() == kept.tobytes()
    assert found[1::2].tobytes() == bytes(16)


def test_a_wrong_sparse_model_is_never_saved(
    bert: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = masked(bert, some_weights(bert, 1)).model
    monkeypatch.setattr("tombola.checkpoints.checkpoint.load", lambda folder: wrong)
    with pytest.raises(TombolaError, match=r"differs from the masked one in bert\.encoder"):
        save_shrunk(bert, some_weights(bert, 0), tmp_path / "sparse")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["bert", "llama", "gpt2"])
def test_a_model_of_16_bits_is_proved_too(name: str, tmp_path: Path) -> None:
    ZOO[name].make(dtype=torch.float32).save_pretrained(tmp_path / "model")
    model = getattr(transformers, ZOO[name].model).from_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    ticket = tickets(model)["uneven groups"]
    assert save_shrunk(model, ticket, tmp_path / "small") < 1e-5
    assert load(tmp_path / "small").dtype == torch.bfloat16
    assert save_zeros(model, ticket, tmp_path / "zeros") < 1e-5


def test_a_classifier_with_encoder_and_decoder_is_proved_too(tmp_path: Path) -> None:
    config = transformers.T5Config(
        vocab_size=64,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        eos_token_id=1,
        pad_token_id=0,
    )
    config.decoder_start_token_id = 0
    model = transformers.T5ForSequenceClassification(config).eval()
    ticket = Ticket.full(dissect(model), "heads+mlps").without({"heads": [[0, 1]], "mlps": [3]})
    save_shrunk(model, ticket, tmp_path / "small")
    ids = torch.tensor([[5, 6, 7, 1], [8, 9, 10, 1]])
    small = load(tmp_path / "small")
    part = shrunk(model, ticket).model
    torch.testing.assert_close(small(input_ids=ids).logits, part(input_ids=ids).logits)


def test_how_it_generates_is_kept(tmp_path: Path) -> None:
    model = ZOO["gpt2"].make(dtype=torch.float32)
    assert model.generation_config is not None
    model.generation_config.max_new_tokens = 5
    model.generation_config.eos_token_id = [2, 3]
    model.generation_config.repetition_penalty = 1.3
    save_shrunk(model, tickets(model)["random 0"], tmp_path / "small")
    again = load(tmp_path / "small").generation_config
    assert again is not None
    assert (again.max_new_tokens, again.eos_token_id, again.repetition_penalty) == (5, [2, 3], 1.3)


def test_code_beside_the_model_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    save_shrunk(model, tickets(model)["random 0"], tmp_path / "small")
    path = tmp_path / "small" / "config.json"
    evil = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.EvilConfig"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | evil))
    (tmp_path / "small" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass EvilConfig: pass\n")
    # A terminal on which somebody says yes to everything.
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(TombolaError, match="is damaged"):
        load(tmp_path / "small")
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_itself_stands_beside_the_model(bert: PreTrainedModel, tmp_path: Path) -> None:
    save_shrunk(bert, tickets(bert)["single heads"], tmp_path / "small", tokenizer=tokenizer())
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "small").get_vocab() == tokenizer().get_vocab()
