"""Long texts cut before they are tokenised, where only their first tokens count: those stay exactly the same."""

import functools
import re

from transformers import PreTrainedTokenizerBase

_SHORT = 20_000
"""Characters of a text that is read whole."""
_BORDER = re.compile(r"[A-Za-z0-9](?= [A-Za-z0-9])")
_ACROSS = re.compile(r"[A-Za-z0-9][ \u2581\u0120]")


def beginning(text: str, tokenizer: PreTrainedTokenizerBase, tokens: int) -> str:
    """The beginning of a text, whose first tokens, so many, are those of the whole; the text itself where it is short.

    It ends with a letter before a space and another letter. Where no token of the vocabulary lies across such a border,
    words, merges of bytes and the best sequence of pieces are found on each side of it as if the other were not there.
    A hundred megabytes took 23.7 GB as tokens, to keep 128. A slow tokenizer may do anything, and reads the whole.
    """
    size = max(_SHORT, 16 * tokens)
    if len(text) <= size or not getattr(tokenizer, "is_fast", False) or _crosses(tokenizer):
        return text
    while size < len(text):
        ends = [found.end() for found in _BORDER.finditer(text, size - size // 4, size)]
        if ends:
            head = text[: ends[-1]]
            if len(tokenizer(head, add_special_tokens=False, verbose=False)["input_ids"]) >= tokens:
                return head
        size *= 4
    return text


@functools.lru_cache(maxsize=1)
def _crosses(tokenizer: PreTrainedTokenizerBase) -> bool:
    """True if a token lies across a border; the vocabulary is as long as a text, and the same for all of them."""
    return any(map(_ACROSS.search, tokenizer.get_vocab()))


def beginnings(
    first: list[str], second: list[str] | None, tokenizer: PreTrainedTokenizerBase, tokens: int
) -> tuple[list[str], list[str] | None]:
    """Texts, or pairs of texts, each cut as `beginning` does to what truncation to so many tokens leaves of it."""
    if tokenizer.truncation_side != "right":
        return first, second
    if second is None:
        return [beginning(text, tokenizer, tokens) for text in first], None
    # What is cut of a pair goes by which has more tokens: one that is cut keeps more than the other can have.
    return (
        [beginning(one, tokenizer, max(tokens, _most(other))) for one, other in zip(first, second, strict=True)],
        [beginning(other, tokenizer, max(tokens, _most(one))) for one, other in zip(first, second, strict=True)],
    )


def _most(text: str) -> int:
    """Tokens of a text, at most: no token of a fast tokenizer stands for less than a byte, but for a first mark."""
    return 2 * len(text.encode(errors="replace")) + 8
