"""Tokens beside attention maps read as text, whatever marks their tokenizer writes."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tombola.analysis.attention.example_maps import readable_tokens


def byte_level() -> PreTrainedTokenizerFast:
    alphabet = {token: number for number, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    parts = [("Ġmovie"[:end], "Ġmovie"[end]) for end in range(1, 6)]
    words = ("<s>", *(first + second for first, second in parts))
    vocabulary = alphabet | {word: len(alphabet) + number for number, word in enumerate(words)}
    core = Tokenizer(models.BPE(vocabulary, parts))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>")


def word_pieces() -> PreTrainedTokenizerFast:
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "movie": 2, "##s": 3}
    core = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", cls_token="[CLS]")


def sentence_pieces() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁movie", -1.0), ("s", -2.0), ("▁", -3.0)], unk_id=0))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")


@pytest.mark.parametrize(
    ("tokenizer", "text", "tokens"),
    [
        (byte_level(), "<s>a movie\n", ["<s>", "a", " movie", "\\n"]),
        # Half of a character is none.
        (byte_level(), "é", ["\ufffd", "\ufffd"]),
        (word_pieces(), "[CLS] movies", ["[CLS]", "movie", "##s"]),
        (sentence_pieces(), "movies", [" movie", "s"]),
    ],
    ids=("bytes", "half a character", "word pieces", "sentence pieces"),
)
def test_tokens_read_as_text(tokenizer: PreTrainedTokenizerFast, text: str, tokens: list[str]) -> None:
    assert readable_tokens(tokenizer, tokenizer(text, add_special_tokens=False)["input_ids"]) == tokens
