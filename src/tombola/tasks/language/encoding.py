"""Tokenisation: examples into items, texts into windows and blocks.

Context and continuation are tokenised together, as the model would meet them, and compared with the context alone token
by token: so no boundary of a token changes, and a token that straddles the border belongs to the continuation.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from tombola.foundations.errors import TombolaError
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.item import Item
from tombola.tasks.language.lm_eval_encoding import harness_items
from tombola.tasks.language.prefix_tree import Tokens, shared_prefix_length


class Encoder:
    """Tokenisation for one model.

    Args:
        tokenizer: of the model.
        bos_token_id: the token before everything; None for nothing.
        positions: tokens that the model can read at once.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, bos_token_id: int | None, positions: int) -> None:
        self._tokenizer = tokenizer
        self._bos: Tokens = () if bos_token_id is None else (bos_token_id,)
        self._positions = positions

    def items(self, ability: Ability) -> list[Item]:
        """The items of an ability: one for each example; of a text longer than the model's context several.

        Raises:
            TombolaError: an example is longer than the context.
        """
        if ability.harness:
            return harness_items(ability, self._tokenizer, self._positions)
        if ability.rule == "text":
            return [item for example in ability.examples for item in self.windows(example.choices[0])]
        strings = {text: None for example in ability.examples for text in _strings(example)}
        tokens = dict(zip(strings, self.tokens(strings), strict=True))
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

    def blocks(self, texts: Iterable[str], length: int, count: int) -> list[Item]:
        """Blocks of `length` tokens to read, from texts one after another with the BOS token before each.

        Whole blocks only, unless the texts do not fill one.
        """
        ids: list[int] = []
        sizes: list[float] = []
        for text in texts:
            tokens, bytes_of = self._sized(text)
            ids += (*self._bos, *tokens)
            sizes += (*[0] * len(self._bos), *bytes_of)
            if len(ids) > length * count:
                break
        whole = max(1, min(count, (len(ids) - 1) // length))
        found = []
        for begin in range(0, whole * length, length):
            # One more than is read: the last is only predicted.
            end = begin + length + 1
            found.append(Item("text", (tuple(ids[begin:end]),), (1,), 1, 0, (max(1.0, sum(sizes[begin + 1 : end])),)))
        return found

    def stream(self, texts: Iterable[str]) -> list[int]:
        """The tokens of texts one after another, with the BOS token before each."""
        return [token for tokens in self.tokens(texts) for token in (*self._bos, *tokens)]

    def _item(self, ability: Ability, example: Example, tokens: dict[str, Tokens]) -> Item:
        sequences, given = [], []
        for context in (example.context, *example.free):
            for choice in example.choices:
                whole = tokens[context + choice]
                sequences.append((*self._bos, *whole))
                given.append(len(self._bos) + (shared_prefix_length([tokens[context], whole]) if context else 0))
        if len(sequences) > 1 and not example.context and not ability.per_character:
            # What all sentences begin with adds the same to each.
            given = [shared_prefix_length(sequences)] * len(sequences)
        divisors = tuple(
            float(max(1, len(choice.strip()))) if ability.per_character else 1.0 for choice in example.choices
        )
        return Item(ability.rule, tuple(sequences), tuple(given), len(example.choices), example.gold, divisors)

    def _sized(self, text: str) -> tuple[Tokens, list[float]]:
        """Tokens, and how many of the text's bytes each stands for."""
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


def _strings(example: Example) -> Sequence[str]:
    contexts = (example.context, *example.free)
    return [*(context + choice for context in contexts for choice in example.choices), *contexts]
