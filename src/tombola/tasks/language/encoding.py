"""Tokenisation: examples into items, texts into windows and samples.

Context and continuation are tokenised together, as the model would meet them, and compared with the context alone token
by token: so no boundary of a token changes, and a token that straddles the border belongs to the continuation. All
choices after one context are scored from the same token on, the first that is another than the context's in any of
them: what that adds to those whose border lies later is the same for each.

Tasks of lm-evaluation-harness are tokenised as the harness does it, so that they have its numbers here. It differs in
three things. What the tokenizer adds of itself before a text stays. The BOS token is the tokenizer's, and is only put
where nothing comes before a choice. What is longer than the model's context is cut on the left. In one thing it is not
followed: it counts the border in tokens of the context alone, and so loses the first token of a choice that is one with
the context's last (`: C`), or reads the context's in two ways.
"""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tombola.foundations.errors import TombolaError, one_line
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.item import Item, Tokens, shared_prefix_length
from tombola.tasks.long_texts import beginning, pieces


class Encoder:
    """Tokenisation for one model, which reads so many `positions` at once, with the BOS token, if any, before all."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, bos_token_id: int | None, positions: int) -> None:
        self._tokenizer, self._positions = tokenizer, positions
        self._bos: Tokens = () if bos_token_id is None else (bos_token_id,)

    def items(self, ability: Ability) -> list[Item]:
        """An item for each example, of a text longer than the context several.

        Raises:
            TombolaError: what is no text is longer than the context, or no text has a token to predict.
        """
        if ability.harness:
            return HarnessEncoder(self._tokenizer, self._positions).items(ability)
        if ability.rule == "text":
            return _not_empty(ability, (item for one in ability.examples for item in self.windows(one.choices[0])))
        strings = dict.fromkeys(
            text
            for example in ability.examples
            for context in (example.context, *example.free)
            for text in (context, *(context + choice for choice in example.choices))
        )
        # What is cut is too long, which only its first tokens tell.
        heads = [beginning(text, self._tokenizer, self._positions + 2) for text in strings]
        tokens = dict(zip(strings, self.tokens(heads), strict=True))
        items = [self._item(ability, example, tokens) for example in ability.examples]
        for number, (item, example) in enumerate(zip(items, ability.examples, strict=True), start=1):
            if item.positions > self._positions:
                where = example.where or f"example {number}"
                raise TombolaError(
                    f"{ability.name}, {where}: {item.positions} tokens do not fit into the model's "
                    f"{self._positions} positions; shorten or drop the example, or give another model"
                )
        return items

    def tokens(self, texts: Iterable[str]) -> list[Tokens]:
        """The tokens of texts, without special ones."""
        with one_line("the tokenizer cannot read the texts", "give a model with its own tokenizer"):
            found = self._tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
            return [tuple(ids) for ids in found]

    def windows(self, text: str) -> Iterator[Item]:
        """A text, cut into windows as long as the context; each begins with the last token of the one before it."""
        tokens, sizes = self._sized(text)
        tokens, sizes = (*self._bos, *tokens), [0.0] * len(self._bos) + sizes
        # A text of one token, and nothing before it, leaves nothing to predict.
        for begin in range(0, len(tokens) - 1, self._positions):
            end = begin + self._positions + 1
            # Its first token is not predicted, so that its bytes do not count.
            yield Item("text", (tokens[begin:end],), (1,), 1, 0, (float(sum(sizes[begin + 1 : end])),))

    def samples(self, texts: Iterable[str], length: int, count: int) -> list[Item]:
        """Samples of `length` tokens to read, from texts one after another with the BOS token before each.

        Whole samples only, unless the texts do not fill one.
        """
        ids: list[int] = []
        sizes: list[float] = []
        for text in texts:
            # The last token of what is cut would have the bytes of the rest.
            tokens, bytes_of = self._sized(beginning(text, self._tokenizer, length * count + 3 - len(ids)))
            ids += (*self._bos, *tokens)
            sizes += (*[0] * len(self._bos), *bytes_of)
            if len(ids) > length * count:
                break
        whole = max(1, min(count, (len(ids) - 1) // length))
        # One more than is read: the last is only predicted.
        spans = [(begin, begin + length + 1) for begin in range(0, whole * length, length)]
        return [
            Item("text", (tuple(ids[begin:end]),), (1,), 1, 0, (max(1.0, sum(sizes[begin + 1 : end])),))
            for begin, end in spans
        ]

    def stream(self, texts: Iterable[str]) -> NDArray[np.int64]:
        """The tokens of texts one after another, with the BOS token before each: [tokens]."""
        parts = [np.array([], dtype=np.int64)]
        for text in texts:
            parts.append(np.array(self._bos, dtype=np.int64))
            parts += [np.array(self.tokens([piece])[0], dtype=np.int64) for piece in pieces(text)]
        return np.concatenate(parts)

    def _item(self, ability: Ability, example: Example, tokens: dict[str, Tokens]) -> Item:
        sequences, given = [], []
        for context in (example.context, *example.free):
            wholes = [tokens[context + choice] for choice in example.choices]
            border = shared_prefix_length([tokens[context], *wholes]) if context else 0
            sequences += [(*self._bos, *whole) for whole in wholes]
            given += [len(self._bos) + border] * len(wholes)
        if len(sequences) > 1 and not example.context and not ability.per_character:
            # What all sentences begin with adds the same to each.
            given = [shared_prefix_length(sequences)] * len(sequences)
        divisors = tuple(
            float(max(1, len(choice.strip()))) if ability.per_character else 1.0 for choice in example.choices
        )
        return Item(ability.rule, tuple(sequences), tuple(given), len(example.choices), example.gold, divisors)

    def _sized(self, text: str) -> tuple[Tokens, list[float]]:
        """Tokens, and how many of the text's bytes each stands for."""
        found = [self._sized_piece(piece) for piece in pieces(text)]
        chain = itertools.chain.from_iterable
        return tuple(chain(tokens for tokens, _ in found)), [*chain(sizes for _, sizes in found)]

    def _sized_piece(self, text: str) -> tuple[Tokens, list[float]]:
        if not getattr(self._tokenizer, "is_fast", False):
            (tokens,) = self.tokens([text])
            return tokens, [len(text.encode()) / max(1, len(tokens))] * len(tokens)
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ends = np.array([end for _, end in found["offset_mapping"]], dtype=np.int64)
        if not len(ends):
            return (), []
        # Bytes up to each character; a token ends where the furthest so far does, and the last at the text's end.
        bytes_to = np.concatenate([[0], np.cumsum([len(character.encode()) for character in text])])
        reached = bytes_to[np.maximum.accumulate(ends)]
        reached[-1] = bytes_to[-1]
        return tuple(found["input_ids"]), np.diff(reached, prepend=0).astype(float).tolist()


class HarnessEncoder:
    """Tokenisation as lm-evaluation-harness does it, which needs a bos or eos token, for so many `positions`."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, positions: int) -> None:
        bos = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if bos is None:
            raise TombolaError(
                "lm-evaluation-harness begins with the tokenizer's bos or eos token, and it has neither; give one"
            )
        self._tokenizer, self._positions, self._bos_token_id = tokenizer, positions, int(bos)
        self._beginning = str(tokenizer.decode(self._bos_token_id))
        self._known: dict[str, Tokens] = {}

    def items(self, ability: Ability) -> list[Item]:
        """The items of a task of the harness; a TombolaError where a choice is empty, or longer than the context."""
        if ability.rule == "text":
            return _not_empty(ability, (item for example in ability.examples for item in self._windows(example)))
        return [self._item(ability, example) for example in ability.examples]

    def _item(self, ability: Ability, example: Example) -> Item:
        contexts = example.contexts or (example.context,) * len(example.choices)
        split = [self._split(*pair) for pair in zip(contexts, example.choices, strict=True)]
        borders: dict[Tokens, int] = {}
        for known, whole in split:
            borders[known] = min(borders.get(known, len(known)), shared_prefix_length([known, whole]))
        # Where not even the first token is the context's own, it needs one before it.
        pairs = [(whole[: borders[known]] or (self._bos_token_id,), whole[borders[known] :]) for known, whole in split]
        for _, rest in pairs:
            if not 0 < len(rest) <= self._positions:
                raise TombolaError(
                    f"{example.where}: a choice of {len(rest)} tokens cannot be scored with "
                    f"{self._positions} positions; leave the task out, or give another model"
                )
        # The last token is only predicted, so that one more than the model reads has room.
        cut = [(context + rest)[-self._positions - 1 :] for context, rest in pairs]
        given = tuple(len(tokens) - len(rest) for tokens, (_, rest) in zip(cut, pairs, strict=True))
        divisors = example.sizes or (1.0,) * len(example.choices)
        return Item(ability.rule, tuple(cut), given, len(example.choices), example.gold, divisors)

    def _windows(self, example: Example) -> Iterator[Item]:
        """A text in windows of as many tokens as there are positions; the last looks back as far as it can."""
        tokens, each = self._encode(example.choices[0]), self._positions
        size = example.sizes[0] if example.sizes else float(len(example.choices[0].encode()))
        for begin in range(0, len(tokens), each):
            end = min(begin + each, len(tokens))
            before = (self._bos_token_id,) if begin == 0 else tokens[max(0, end - each - 1) : begin]
            share = (end - begin) / len(tokens)
            yield Item("text", ((*before, *tokens[begin:end]),), (len(before),), 1, 0, (size * share,))

    def _split(self, context: str, choice: str) -> tuple[Tokens, Tokens]:
        """Tokens of a context, and of it with a choice."""
        if not context:
            rest = tuple(self._tokenizer.encode(choice, add_special_tokens=False))
            own = rest[:1] == (self._bos_token_id,)
            return (self._bos_token_id,), rest if own else (self._bos_token_id, *rest)
        # Spaces at the end of a context belong to what follows, as tokenizers join them to it.
        kept = context.rstrip()
        return self._encode(kept), self._encode(context + choice)

    def _encode(self, text: str) -> Tokens:
        if text not in self._known:
            options = {"add_special_tokens": False} if text.startswith(self._beginning) else {}
            self._known[text] = tuple(self._tokenizer.encode(text, **options))
        return self._known[text]


def _not_empty(ability: Ability, items: Iterable[Item]) -> list[Item]:
    found = list(items)
    if not found:
        where = ability.examples[0].where or ability.source
        raise TombolaError(f"no text of {ability.name} has a token to predict ({where}); give texts, or a BOS token")
    return found
