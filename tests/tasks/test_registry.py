"""A language task from names: what is refused is refused in one line; a quick one is small."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from builders.encoders import randomise
from builders.language_models import TEXTS, checkpoint, tokenizer
from tombola.foundations.errors import TombolaError
from tombola.tasks.language.abilities.grammar import PARADIGMS
from tombola.tasks.language.task import LanguageTask


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text("\n\n".join(TEXTS), encoding="utf-8")
    return file


def questions(folder: Path, words: int) -> Path:
    file = folder / "q.jsonl"
    rows = [{"query": "w1 " * words + ":", "choices": ["w3", "w4"], "gold": 0}] * 2
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", ["grammar", "language-modelling"])
def test_an_empty_calibration_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n\n", encoding="utf-8")
    with pytest.raises(TombolaError, match=r"empty\.txt holds no text; give a file with text in it$"):
        LanguageTask.open(str(checkpoint()), [name], text_file=empty)
    with pytest.raises(TombolaError, match=r"gone\.txt does not exist"):
        LanguageTask.open(str(checkpoint()), [name], text_file=tmp_path / "gone.txt")


def test_a_prompt_longer_than_the_context_names_its_line(tmp_path: Path, text: Path) -> None:
    made = LanguageTask.open(
        str(checkpoint()), [f"reasoning={questions(tmp_path, 60)}"], text_file=text, bos_token="bos"
    )
    with pytest.raises(TombolaError, match=r"reasoning, .*q\.jsonl, line 1: 62 tokens do not fit .* 48 positions"):
        made.load(str(checkpoint()), seed=0)


def test_unknown_names_are_one_clear_line(text: Path) -> None:
    with pytest.raises(
        TombolaError, match=r"unknown ability 'gramar'; did you mean grammar\? known: grammar, "
    ) as caught:
        LanguageTask.open(str(checkpoint()), ["gramar"], text_file=text)
    assert "\n" not in str(caught.value)
    with pytest.raises(TombolaError, match="unknown ability 'humour'; known: grammar"):
        LanguageTask.open(str(checkpoint()), ["grammar"], text_file=text, retain="humour")


def test_a_model_that_is_not_causal_is_one_clear_line(tmp_path: Path, text: Path) -> None:
    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(vocab_size=62, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    )
    randomise(bert, 0.3)
    bert.save_pretrained(tmp_path / "bert")
    tokenizer().save_pretrained(tmp_path / "bert")
    made = LanguageTask.open(str(tmp_path / "bert"), ["grammar"], text_file=text, bos_token="bos")
    with pytest.raises(TombolaError, match="bert is no causal language model: it has no cls"):
        made.load(str(tmp_path / "bert"), seed=0)
    with pytest.raises(TombolaError, match="nowhere"):
        LanguageTask.open(str(tmp_path / "nowhere"), ["grammar"], text_file=text)
    small = GPT2LMHeadModel(GPT2Config(vocab_size=62, n_embd=8, n_layer=1, n_head=2, n_positions=8))
    with pytest.raises(TombolaError, match="texts of 48 tokens do not fit into this model's 8 positions"):
        LanguageTask.open(str(checkpoint()), ["grammar"], text_file=text, bos_token="bos").settle(small)


def test_a_quick_task_is_small_and_even(tmp_path: Path, text: Path) -> None:
    made = LanguageTask.open(
        str(checkpoint()), ["grammar", "language-modelling"], text_file=text, rows=2 * len(PARADIGMS), bos_token="bos"
    )
    grammar, modelling = made.abilities
    assert Counter(example.group for example in grammar.examples) == dict.fromkeys(PARADIGMS, 2)
    # One more than goes round: one paradigm has it.
    (odd,) = LanguageTask.open(
        str(checkpoint()), ["grammar"], text_file=text, rows=2 * len(PARADIGMS) + 1, bos_token="bos"
    ).abilities
    assert sorted(Counter(example.group for example in odd.examples).values()) == [2] * (len(PARADIGMS) - 1) + [3]
    assert len(modelling.examples) == 4
    # A book in one piece is as long as the rows allow, and no longer.
    text.write_text(" ".join(TEXTS * 40), encoding="utf-8")
    (book,) = LanguageTask.open(
        str(checkpoint()), ["language-modelling"], text_file=text, rows=5, bos_token="bos"
    ).abilities
    assert [len(example.choices[0].split()) for example in book.examples] == [5 * 64]
