"""Long texts cut before they are tokenised, where only their first tokens count: those stay exactly the same."""

import copy
import functools
import re
from collections.abc import Iterator

from transformers import BatchEncoding, PreTrainedTokenizerBase

_SHORT = 20_000
"""Characters of a text that is read whole."""
_AT_ONCE = 256
"""Texts that are encoded together."""
_PIECE = 2**20
"""Characters that are tokenised at once, where all of a text counts."""
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


def pieces(text: str) -> Iterator[str]:
    """The pieces of a text, of a MiB each, to be tokenised one after the other; the text itself where it is shorter.

    They part before spaces between letters, or digits, where there are any, so that hardly a token is another one.
    """
    begin = 0
    while len(text) - begin > _PIECE:
        ends = [found.end() for found in _BORDER.finditer(text, begin + _PIECE - _SHORT, begin + _PIECE)]
        end = ends[-1] if ends else begin + _PIECE
        yield text[begin:end]
        begin = end
    yield text[begin:]


@functools.lru_cache(maxsize=1)
def _crosses(tokenizer: PreTrainedTokenizerBase) -> bool:
    """True if a token lies across a border; the vocabulary is as long as a text, and the same for all of them."""
    return any(map(_ACROSS.search, tokenizer.get_vocab()))


def encoded(
    first: list[str], second: list[str] | None, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[dict[str, list[int]]]:
    """Encodings of texts, or of pairs of texts, as the tokenizer truncates them, the longest first, a row for each.

    Of two long texts, the one with more characters is taken for the one with more tokens, which keeps one more where
    an odd number is left to both. What is long and need not be read whole is not.
    """
    # It keeps the truncation that it was last asked for, and is saved with it.
    tokenizer = copy.deepcopy(tokenizer)
    rows = list[dict[str, list[int]]]()
    right = tokenizer.truncation_side == "right"
    for begin in range(0, len(first), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        if second is None:
            one = [beginning(text, tokenizer, max_length) if right else text for text in first[part]]
            found = tokenizer(one, truncation=True, max_length=max_length)
        else:
            both = zip(first[part], second[part], strict=True)
            pairs = [_beginnings(*pair, tokenizer, max_length) if right else pair for pair in both]
            others = [one for one, _ in pairs], [other for _, other in pairs]
            if tokenizer.is_fast:
                rows += _truncated(tokenizer(*others, verbose=False), max_length, right)
                continue
            found = tokenizer(*others, truncation=True, max_length=max_length)
        rows += [{name: found[name][row] for name in found} for row in range(len(found["input_ids"]))]
    return rows


def _beginnings(one: str, other: str, tokenizer: PreTrainedTokenizerBase, tokens: int) -> tuple[str, str]:
    """Two texts, each cut as `beginning` does to what truncation to so many tokens leaves of it."""
    if max(len(one), len(other)) <= _SHORT:
        return one, other
    shorter, longer = sorted((one, other), key=len)
    shorter = beginning(shorter, tokenizer, tokens)
    kept = len(tokenizer(shorter, add_special_tokens=False, verbose=False)["input_ids"])
    longer = beginning(longer, tokenizer, max(tokens, kept + 1))
    return (shorter, longer) if len(one) <= len(other) else (longer, shorter)


def _truncated(found: BatchEncoding, max_length: int, right: bool) -> Iterator[dict[str, list[int]]]:
    """Pairs cut to so many tokens on the right, or left, as a fast tokenizer does.

    It encodes each remainder of a text too, and then every two of a pair: of pages cut to a few tokens, millions.
    """
    for row, encoding in enumerate(found.encodings or ()):
        of = encoding.sequence_ids
        places = [[at for at, one in enumerate(of) if one == which] for which in (0, 1)]
        first, second = map(len, places)
        most = max_length - (len(of) - first - second)
        less = min(first, second, most // 2)
        left = (less, most - less) if first <= second else (most - less, less)
        cut = set[int]()
        for place, number in zip(places, left, strict=True) if first + second > most else ():
            cut |= {*(place[number:] if right else place[: len(place) - number])}
        yield {name: [one for at, one in enumerate(found[name][row]) if at not in cut] for name in found}
