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
_MOST = 2**22
"""Characters that are read at most, or not many more, for a text's first or last tokens: what needs more is a word."""
_BORDER = re.compile(r"[A-Za-z0-9](?= [A-Za-z0-9])")
_ACROSS = re.compile(r"[A-Za-z0-9][ \u2581\u0120]")


def beginning(text: str, tokenizer: PreTrainedTokenizerBase, tokens: int) -> str:
    """The beginning of a text, whose first tokens, so many, are those of the whole; the text itself where it is short.

    It ends with a letter before a space and another letter. Where no token of the vocabulary lies across such a border,
    words, merges of bytes and the best sequence of pieces are found on each side of it as if the other were not there.
    A hundred megabytes took 23.7 GB as tokens, to keep 128. Of a tokenizer with such tokens, or one in Python, which
    may do anything, or where long parts have no such border, as in Chinese, it is long enough for twice the tokens, and
    one of twice its length has the same first ones. What `_MOST` characters have no tokens for is cut there.
    """
    size, parts = _least(text, tokens), _parts(text, tokenizer)
    while size < len(text):
        ends = _borders(text, size - size // 4, size) if parts else []
        if ends and len(_ids(text[: ends[-1]], tokenizer)) >= tokens:
            return text[: ends[-1]]
        if size >= _MOST:
            return text[:size]
        if not parts or (not ends and size >= 4 * _SHORT):
            found, more = (_ids(text[:end], tokenizer) for end in (size, 2 * size))
            if len(found) >= 2 * tokens and found[:tokens] == more[:tokens]:
                return text[:size]
        size *= 4
    return text


def ending(text: str, tokenizer: PreTrainedTokenizerBase, tokens: int) -> str:
    """The end of a text, whose last tokens, so many, are those of the whole; the text itself where it is short.

    As `beginning`. The first word of the end counts for nothing: a tokenizer may set a mark before a text.
    """
    size, parts = _least(text, tokens), _parts(text, tokenizer)
    while size < len(text):
        ends = _borders(text, len(text) - size, len(text) - size + size // 4) if parts else []
        if len(ends) > 1:
            tail, word = text[ends[0] :], text[ends[0] : ends[1]]
            if len(_ids(tail, tokenizer)) - len(_ids(word, tokenizer)) >= tokens:
                return tail
        if size >= _MOST:
            return text[-size:]
        if not parts or (len(ends) < 2 and size >= 4 * _SHORT):
            found, more = (_ids(text[-begin:], tokenizer) for begin in (size, 2 * size))
            if len(found) >= 2 * tokens and found[-tokens:] == more[-tokens:]:
                return text[-size:]
        size *= 4
    return text


def cut(text: str, tokenizer: PreTrainedTokenizerBase, tokens: int) -> str:
    """Part of a text that truncation to so many tokens reads: its `beginning`, or `ending`, as the tokenizer cuts."""
    return (beginning if tokenizer.truncation_side == "right" else ending)(text, tokenizer, tokens)


def _least(text: str, tokens: int) -> int:
    """Characters that are tried first; all of them where the text is short."""
    return min(len(text), max(_SHORT, 16 * tokens))


def _parts(text: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    """True if a tokenizer is known to read each side of a border by itself."""
    return len(text) > _SHORT and bool(getattr(tokenizer, "is_fast", False)) and not _crosses(tokenizer)


def _borders(text: str, begin: int, end: int) -> list[int]:
    return [found.end() for found in _BORDER.finditer(text, begin, end)]


def _ids(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return found


def pieces(text: str) -> Iterator[str]:
    """The pieces of a text, of a MiB each, to be tokenised one after the other; the text itself where it is shorter.

    They part before spaces between letters, or digits, where there are any, so that hardly a token is another one.
    """
    begin = 0
    while len(text) - begin > _PIECE:
        ends = _borders(text, begin + _PIECE - _SHORT, begin + _PIECE)
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
            one = [cut(text, tokenizer, max_length) for text in first[part]]
            found = tokenizer(one, truncation=True, max_length=max_length)
        else:
            both = zip(first[part], second[part], strict=True)
            pairs = [_cut_pair(*pair, tokenizer, max_length) for pair in both]
            others = [one for one, _ in pairs], [other for _, other in pairs]
            if tokenizer.is_fast:
                rows += _truncated(tokenizer(*others, verbose=False), max_length, right)
                continue
            found = tokenizer(*others, truncation=True, max_length=max_length)
        rows += [{name: found[name][row] for name in found} for row in range(len(found["input_ids"]))]
    return rows


def _cut_pair(one: str, other: str, tokenizer: PreTrainedTokenizerBase, tokens: int) -> tuple[str, str]:
    """Two texts, each cut to what truncation to so many tokens leaves of it."""
    if max(len(one), len(other)) <= _SHORT:
        return one, other
    shorter, longer = sorted((one, other), key=len)
    shorter = cut(shorter, tokenizer, tokens)
    longer = cut(longer, tokenizer, max(tokens, len(_ids(shorter, tokenizer)) + 1))
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
