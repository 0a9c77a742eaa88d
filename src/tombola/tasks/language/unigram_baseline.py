"""Unigram baseline of language modelling: the cost of text for one who knows token frequencies and nothing else."""

import math
from collections import Counter
from collections.abc import Iterable

from transformers import PreTrainedTokenizerBase


def guess_bits(tokenizer: PreTrainedTokenizerBase, known: Iterable[str], judged: Iterable[str]) -> float:
    """Bits per byte of `judged` by the frequencies of tokens in `known`, with one added to each (Laplace).

    Raises:
        ValueError: there is no text to judge.
    """
    counts: Counter[int] = Counter()
    for text in known:
        counts.update(_tokens(tokenizer, text))
    whole = sum(counts.values()) + len(tokenizer)
    bits, size = 0.0, 0
    for text in judged:
        bits -= sum(math.log2((counts[token] + 1) / whole) for token in _tokens(tokenizer, text))
        size += len(text.encode())
    if not size:
        raise ValueError("no text to judge")
    return bits / size


def _tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return found
