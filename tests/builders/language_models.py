"""A tiny random Llama with a tokenizer and a language task, made without the hub."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from builders import shared_folder
from builders.encoders import randomise
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.task import LanguageTask, LanguageTaskOptions, Samples

WORDS = ("<unk>", "<s>", "</s>", "?", ".", ":", *(f"w{number}" for number in range(40)), *"abcdefghijklmnop")
POSITIONS = 48


def tokenizer() -> PreTrainedTokenizerFast:
    """Words by spaces; `<s>` begins and `</s>` ends, but nothing is put there by itself."""
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", model_max_length=POSITIONS
    )


def llama(seed: int = 0, attention: str = "eager", dtype: torch.dtype = torch.float64) -> LlamaForCausalLM:
    """Three layers of four heads, two of them to a key/value head, with random norms."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        pad_token_id=None,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    config._attn_implementation = attention
    model = LlamaForCausalLM(config)
    randomise(model, 0.25)
    model.eval().to(dtype)
    return model


@functools.cache
def checkpoint() -> Path:
    """The shared folder of the tiny Llama and its tokenizer."""

    def make(folder: Path) -> None:
        llama(dtype=torch.float32).save_pretrained(folder)
        tokenizer().save_pretrained(folder)

    return shared_folder.once("tiny-llama", make)


def sentence(seed: int, length: int) -> str:
    """So many words, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return " ".join(f"w{number}" for number in torch.randint(40, (length,), generator=generator).tolist())


TEXTS = tuple(sentence(seed, 4 + seed % 9) for seed in range(40))


def abilities(count: int = 12) -> tuple[Ability, ...]:
    """One of each sort, of random words."""
    pairs = tuple(
        Example((f"{sentence(i, 3)} a {sentence(100 + i, 2)}", f"{sentence(i, 3)} b {sentence(200 + i, 3)}"))
        for i in range(count)
    )
    labels = tuple(
        Example((" a", " b c"), i % 2, f"{sentence(i, 5)} :", ("? :", "w1 w2 :"), where=f"row {i}")
        for i in range(count)
    )
    questions = tuple(
        Example(tuple(f" {sentence(10 * i + k, 1 + k)}" for k in range(2 + i % 3)), i % 2, f"{sentence(i, 4)} :")
        for i in range(count)
    )
    endings = tuple(Example((f" {sentence(i, 2)}",), 0, sentence(50 + i, 6)) for i in range(count))
    texts = tuple(Example((sentence(300 + i, 5 + i),)) for i in range(count))
    return (
        Ability("pairs", "Pairs", "choice", pairs, "random words"),
        Ability("labels", "Labels", "choice", labels, "random words"),
        Ability("questions", "Questions", "choice", questions, "random words", per_character=True),
        Ability("endings", "Endings", "exact", endings, "random words"),
        Ability("text", "Text", "text", texts, "random words"),
    )


def task(text: Sequence[str] = TEXTS, **options: Any) -> LanguageTask:
    """The language task of the tiny Llama, with texts to calibrate and train on."""
    settings: dict[str, Any] = {
        "positions": POSITIONS,
        "bos_token": "bos",
        "train": Samples(8, 16),
        "importance": Samples(6, 8),
    }
    return LanguageTask(abilities(), text, tokenizer(), LanguageTaskOptions(**(settings | options)))
