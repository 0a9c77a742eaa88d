"""Language modelling: how many bits per byte of real text the model needs, and the texts that need no file.

Plot summaries of Rotten Tomatoes need no hub; WikiText from the hub has whole articles of Wikipedia (Merity et al.
2016), on which the field gives perplexities.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tombola.foundations.errors import TombolaError, one_line
from tombola.foundations.parsing import read_text
from tombola.tasks.data import rotten_tomatoes
from tombola.tasks.data.own_data import hub_splits
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.long_texts import pieces

PLOTS = 200
"""Plot summaries that judge, about 30,000 tokens; the other 880 train."""

COUNTED = 2**22
"""Characters of texts by whose tokens a guess is made: a book's frequencies are those of its first four megabytes."""


@dataclass(frozen=True)
class Text:
    """Texts to calibrate and train on, and others that judge; `source` is for people."""

    train: tuple[str, ...]
    dev: tuple[str, ...]
    source: str


def plots() -> Text:
    """Plot summaries, then review sentences of the training split, which fill up what the summaries leave.

    14 summaries of the corpus are missing values, and one film's may be there twice; both are left out.
    """
    found = {" ".join(text.split()): None for category, text in rotten_tomatoes.rows() if category == "plot"}
    found.pop("", None)
    dev, train = rotten_tomatoes.hold_out(list(found), PLOTS)
    sentences = rotten_tomatoes.load().splits["train"].first
    return Text((*train, *sentences), dev, "plot summaries (rotten-tomatoes)")


HUB = "Salesforce/wikitext"
WIKITEXT = dict.fromkeys(("wikitext", "wikitext-2"), "wikitext-2-raw-v1") | {"wikitext-103": "wikitext-103-raw-v1"}
"""Names of the data set here → on the hub."""
# The title of an article is a line of its own between single equals signs; those of sections have more of them.
_TITLE = re.compile(r" ?= [^=].*[^=] = ?\n?")


def wikitext(name: str = "wikitext") -> Text:
    """Articles of a key of `WIKITEXT`: those of the test split judge, the others train; raises as `hub_splits`."""
    configuration = WIKITEXT[name]
    instead = "give a text file, as language-modelling=FILE, or take the plot summaries, which need no hub"
    splits = hub_splits(HUB, configuration, instead)
    with one_line(f"{HUB} ({configuration}) is not as expected", instead):
        train, dev = (_articles(splits[split]["text"]) for split in ("train", "test"))
    return Text(train, dev, f"{HUB} ({configuration})")


def _articles(lines: Iterable[str]) -> tuple[str, ...]:
    """The articles of its lines, as they are, but for what is empty around them."""
    found: list[list[str]] = [[]]
    for line in lines:
        if _TITLE.fullmatch(line):
            found.append([])
        found[-1].append(line if line.endswith("\n") else f"{line}\n")
    return tuple(text for part in found if (text := "".join(part).strip()))


def language_modelling(path: Path | None = None) -> Ability:
    """Texts to be predicted, each from its beginning: those that `training_text` holds out."""
    text = training_text(path)
    examples = [Example((one,), where=f"{text.source}, text {number}") for number, one in enumerate(text.dev, start=1)]
    return Ability("language-modelling", "Language modelling", "text", tuple(examples), text.source)


def training_text(path: Path | None) -> Text:
    """The text of a file, the last tenth of its texts held out (of a single one, its last tenth).

    The path `wikitext` is the hub's data set, unless there is such a file; None is plot summaries.

    Raises:
        TombolaError: the file cannot be read or has no text, or the asset or the hub cannot be reached.
    """
    if path is None:
        return plots()
    if str(path) in WIKITEXT and not path.exists():
        return wikitext(str(path))
    found = paragraphs(path)
    if len(found) == 1:
        (text,), cut = found, len(found[0])
        # Not by a list of its words, which takes twenty times the memory of a text.
        for _ in range(max(1, (text.count(" ") + 1) // 10)):
            cut = text.rfind(" ", 0, cut)
        if cut < 0:
            raise TombolaError(f"{path} holds a single word; give a file with more text in it")
        found = [text[:cut], text[cut + 1 :]]
    held = max(1, len(found) // 10)
    return Text(tuple(found[:-held]), tuple(found[-held:]), str(path))


def paragraphs(path: Path) -> list[str]:
    """Texts of a file, parted by empty lines, one where there is none; a TombolaError if it has none or is no UTF-8."""
    content = read_text(path, "give a text file in UTF-8").replace("\r\n", "\n")
    found = [text for part in content.split("\n\n") if (text := part.strip())]
    if not found:
        raise TombolaError(f"{path} holds no text; give a file with text in it")
    return found


def bounded(ability: Ability, tokenizer: PreTrainedTokenizerBase, tokens: int) -> Ability:
    """An ability of texts, with so many tokens in all: of each text the same number, from its beginning.

    Any other ability stays as it is. At least one token must be left.
    """
    if tokens < 1:
        raise TombolaError(f"texts are judged by one token or more, not {tokens}")
    if ability.rule != "text":
        return ability
    found, each = [], math.ceil(tokens / len(ability.examples))
    for example in ability.examples:
        text = _beginning(example.choices[0], tokenizer, each)
        share = len(text) / max(1, len(example.choices[0]))
        found.append(replace(example, choices=(text,), sizes=tuple(size * share for size in example.sizes)))
    return replace(ability, examples=tuple(found))


def _beginning(text: str, tokenizer: PreTrainedTokenizerBase, tokens: int) -> str:
    # A token is no longer than some characters, so that a book need not be read for its first page.
    head = text[: tokens * 32]
    if not getattr(tokenizer, "is_fast", False):
        ids = tokenizer(head, add_special_tokens=False, verbose=False)["input_ids"]
        # Such a tokenizer does not say where its tokens end; their share of the characters is near it.
        return head if len(ids) <= tokens else head[: math.ceil(len(head) * tokens / len(ids))]
    ends = tokenizer(head, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    if not ends or (len(ends) <= tokens and len(head) == len(text)):
        return text
    return head[: ends[:tokens][-1][1]]


def guess_bits(tokenizer: PreTrainedTokenizerBase, known: Iterable[str], judged: Iterable[str]) -> float:
    """Bits per byte of `judged` by the frequencies of tokens in `known`, with one added to each (Laplace).

    Of either, its first `COUNTED` characters count.
    """

    def tokens(text: str) -> Iterator[int]:
        for piece in pieces(text):
            yield from tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"]

    counts = Counter(token for text in _first(known) for token in tokens(text))
    whole = sum(counts.values()) + len(tokenizer)
    bits, size = 0.0, 0
    for text in _first(judged):
        bits -= sum(math.log2((counts[token] + 1) / whole) for token in tokens(text))
        size += len(text.encode())
    return bits / size


def _first(texts: Iterable[str]) -> Iterator[str]:
    left = COUNTED
    for text in texts:
        yield text[:left]
        left -= len(text)
        if left <= 0:
            return
