"""Models in GGUF files: what is read is what was written, as a plain folder, made once."""

import math
import os
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize, quantize
from torch import Tensor
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from builders.families import computed, tickets
from tombola import dissect, load, masked, save_shrunk, shrunk
from tombola.checkpoints import assets, gguf, loading
from tombola.checkpoints.assets import Asset, cache
from tombola.checkpoints.loading import load_model, locate, tokenizer_of
from tombola.foundations.errors import TombolaError

TOKENS = ["<unk>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "ab"]
SIZE, HEADS, KV_HEADS, MLP, LAYERS = 64, 4, 2, 96, 2
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "cache"))


def write(file: Path, *, blocks: int | None = LAYERS, stored: int = LAYERS) -> LlamaForCausalLM:
    """A tiny Llama as llama.cpp stores it, its matrices in 4 bits, and the same model in transformers."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=SIZE,
        intermediate_size=MLP,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    model.eval()
    writer = GGUFWriter(file, "llama")
    if blocks is not None:
        writer.add_block_count(blocks)
    writer.add_context_length(64)
    writer.add_embedding_length(SIZE)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(["a b"])
    for name, what in (("bos", 1), ("eos", 2), ("unk", 0)):
        getattr(writer, f"add_{name}_token_id")(what)

    def add(name: str, tensor: Tensor, heads: int = 0) -> None:
        """With its matrix rounded to 4 bits; llama.cpp pairs a head's rotary units otherwise than transformers."""
        values: Any = tensor.detach().numpy()
        if heads:
            values = values.reshape(heads, 2, -1, SIZE).swapaxes(1, 2).reshape(values.shape)
        if values.ndim == 1:
            writer.add_tensor(name, values)
            return
        packed = quantize(values.astype(np.float32), GGMLQuantizationType.Q4_1)
        writer.add_tensor(name, packed, raw_dtype=GGMLQuantizationType.Q4_1)
        rounded = dequantize(packed, GGMLQuantizationType.Q4_1)
        if heads:
            rounded = rounded.reshape(heads, -1, 2, SIZE).swapaxes(1, 2).reshape(values.shape)
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(rounded.copy()))

    add("token_embd.weight", model.model.embed_tokens.weight)
    add("output.weight", model.lm_head.weight)
    add("output_norm.weight", model.model.norm.weight)
    for index, layer in enumerate(model.model.layers[:stored]):
        for ours, theirs in NAMES.items():
            heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(theirs, 0)
            add(f"blk.{index}.{theirs}.weight", layer.get_parameter(f"{ours}.weight"), heads)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LlamaForCausalLM]:
    folder = tmp_path_factory.mktemp("gguf")
    return folder, write(folder / "tiny.gguf")


def test_a_folder_with_a_gguf_file_is_a_model_like_any_other(
    made: tuple[Path, LlamaForCausalLM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, original = made
    model = load_model(str(folder))
    assert isinstance(model, LlamaForCausalLM)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    given = {"input_ids": torch.tensor([[3, 4, 5, 6, 7, 8]]), "attention_mask": torch.ones(1, 6, dtype=torch.long)}
    torch.testing.assert_close(computed(model.eval(), given), computed(original, given), atol=1e-5, rtol=1e-5)
    # It can be saved, shrunk and read again, with its tokenizer.
    model.save_pretrained(tmp_path / "saved")
    ticket = tickets(model)["random 0"]
    save_shrunk(model, ticket, tmp_path / "small", tokenizer=str(folder))
    small = load(tmp_path / "small")
    torch.testing.assert_close(computed(small, given), computed(masked(model, ticket), given), atol=1e-5, rtol=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "small")
    assert tokenizer("cab")["input_ids"] == tokenizer_of(str(folder))("cab")["input_ids"] != []
    assert {parameter.dtype for parameter in load_model(str(folder), torch.bfloat16).parameters()} == {torch.bfloat16}
    # The slow reading happens once.
    monkeypatch.setattr(gguf, "read_gguf", lambda *_: pytest.fail("read again"))
    assert Path(locate(str(folder))).parent == cache() / "dequantised"


def test_a_changed_file_is_read_again(made: tuple[Path, LlamaForCausalLM], tmp_path: Path) -> None:
    shutil.copy(made[0] / "tiny.gguf", tmp_path)
    file = tmp_path / "tiny.gguf"
    first = locate(str(tmp_path))
    os.utime(file, ns=(0, 0))
    assert locate(str(tmp_path)) != first


def test_an_asset_may_be_a_gguf_file(
    made: tuple[Path, LlamaForCausalLM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = Asset("tiny", "tiny", "1.0", "tiny.whl", "0" * 64, "tiny/tiny.gguf", "a test")
    monkeypatch.setattr(assets, "ASSETS", {"tiny": asset})
    monkeypatch.setattr(loading, "MODELS", ("tiny",))
    shutil.copytree(made[0], cache() / "tiny-1.0-00000000")
    assert dissect(load_model("tiny")).signature == dissect(made[1]).signature
    assert tokenizer_of("tiny")("ab")["input_ids"]


def test_a_configuration_goes_before_a_gguf_file(made: tuple[Path, LlamaForCausalLM], tmp_path: Path) -> None:
    made[1].save_pretrained(tmp_path / "both")
    (tmp_path / "both" / "tiny.gguf").write_bytes(b"whatever")
    assert locate(str(tmp_path / "both")) == str(tmp_path / "both")


def test_bad_files_are_one_line_and_leave_nothing(made: tuple[Path, LlamaForCausalLM], tmp_path: Path) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    shutil.copy(made[0] / "tiny.gguf", folder / "a.gguf")
    (folder / "b.gguf").write_bytes(b"")
    with pytest.raises(TombolaError, match=r"holds 2 GGUF files \(a.gguf, b.gguf\)"):
        locate(str(folder))
    for content in (b"", b"GGUF and no more", (folder / "a.gguf").read_bytes()[:-1000]):
        broken = tmp_path / "broken"
        broken.mkdir(exist_ok=True)
        (broken / "x.gguf").write_bytes(content)
        with pytest.raises(TombolaError, match=r"^cannot read the GGUF file [^\n]*broken[^\n]*$"):
            load_model(str(broken))
    assert [path for path in (cache() / "dequantised").iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize(("blocks", "stored"), [(None, LAYERS), (LAYERS, LAYERS - 1)])
def test_a_file_without_all_its_tensors_is_one_line(blocks: int | None, stored: int, tmp_path: Path) -> None:
    """Without its count of blocks a file was read as 32, 30 of them random."""
    write(tmp_path / "tiny.gguf", blocks=blocks, stored=stored)
    with pytest.raises(TombolaError, match=r"lacks \d+ tensors of a LlamaForCausalLM of .*would be random") as caught:
        load_model(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_one_line(made: tuple[Path, LlamaForCausalLM], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(TombolaError, match=r"^cannot write the dequantised model [^\n]*set TOMBOLA_CACHE[^\n]*$"):
        locate(str(made[0]))


@pytest.mark.exhaustive
def test_smollm2_speaks_english(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # In the user's cache, or a hundred megabytes would come anew.
    monkeypatch.delenv("TOMBOLA_CACHE")
    model, tokenizer = load_model("smollm2"), tokenizer_of("smollm2")
    anatomy = dissect(model)
    assert anatomy.heads == (30, 9)
    assert anatomy.mlps == 30
    assert {row.kv_heads for row in anatomy.attentions} == {3}
    assert anatomy.weights == 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)

    def perplexity(text: str) -> float:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            return math.exp(model(input_ids=ids, labels=ids).loss)

    sentence = "The children went to the beach because the weather was warm and the sea was calm."
    words = sentence.removesuffix(".").split()
    shuffled = " ".join(np.random.default_rng(0).permutation(words)) + "."
    assert 3 * perplexity(sentence) < perplexity(shuffled)
    given = tokenizer("The capital of France is", return_tensors="pt")
    assert "Paris" in tokenizer.decode(cast(Any, model).generate(**given, max_new_tokens=5, do_sample=False)[0])
    ticket = tickets(model)["uneven groups"]
    save_shrunk(model, ticket, tmp_path / "small", tokenizer="smollm2")
    again = AutoTokenizer.from_pretrained(tmp_path / "small")
    assert again("Hello, world")["input_ids"] == tokenizer("Hello, world")["input_ids"]
    torch.testing.assert_close(
        computed(load(tmp_path / "small").eval(), given), computed(shrunk(model.eval(), ticket), given)
    )
