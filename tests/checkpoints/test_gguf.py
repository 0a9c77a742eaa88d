"""Models in GGUF files: what is read is what was written, as a plain folder, made once."""

import math
import os
import shutil
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from builders.families import computed, tickets
from builders.gguf_files import LAYERS, write
from tombola import dissect, load, masked, save_shrunk, shrunk
from tombola.checkpoints import assets, gguf, loading
from tombola.checkpoints.assets import Asset, cache
from tombola.checkpoints.loading import load_model, locate, tokenizer_of
from tombola.foundations.errors import TombolaError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "cache"))


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
    part = tmp_path / "part" / "x-00001-of-00003.gguf"
    part.parent.mkdir()
    shutil.copy(made[0] / "tiny.gguf", part)
    with pytest.raises(TombolaError, match=r"^[^\n]*in parts \(x-00001-of-00003\.gguf\); make one of them: [^\n]*$"):
        locate(str(part.parent))
    for content in (b"", b"GGUF and no more", (folder / "a.gguf").read_bytes()[:-1000]):
        broken = tmp_path / "broken"
        broken.mkdir(exist_ok=True)
        (broken / "x.gguf").write_bytes(content)
        with pytest.raises(TombolaError, match=r"^cannot read the GGUF file [^\n]*broken[^\n]*$"):
            load_model(str(broken))
    assert [path for path in (cache() / "dequantised").iterdir() if path.suffix != ".lock"] == []


# What is said of 32 blocks is worked out for each of them, which takes seconds.
@pytest.mark.parametrize(
    ("blocks", "stored"), [pytest.param(None, LAYERS, marks=pytest.mark.exhaustive), (LAYERS, LAYERS - 1)]
)
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


def test_metadata_that_ask_for_too_many_layers_are_refused_before_they_are_made(tmp_path: Path) -> None:
    write(tmp_path / "tiny.gguf", blocks=10**9)
    started = time.process_time()
    with pytest.raises(TombolaError, match=r"num_hidden_layers is 1000000000, and 1,000 layers are read at most"):
        gguf.dequantised(tmp_path / "tiny.gguf")
    assert time.process_time() - started < 20
