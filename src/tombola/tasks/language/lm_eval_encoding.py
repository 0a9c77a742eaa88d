"""Tokenisation as lm-evaluation-harness does it, so that its tasks have its numbers here.

It differs from our own way in four things. What the tokenizer adds of itself before a text stays. The BOS token is
the tokenizer's, and is only put where nothing comes before a choice. The border between context and choice is counted
in tokens of the context alone. What is longer than the model's context is cut on the left.
"""

from collections.abc import Iterator

from transformers import PreTrainedTokenizerBase

from tombola.foundations.errors import TombolaError
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.item import Item
from tombola.tasks.language.prefix_tree import Tokens


def harness_items(ability: Ability, tokenizer: PreTrainedTokenizerBase, positions: int) -> list[Item]:
    """The items of an ability that is a task of the harness.

    Args:
        ability: its examples are in order.
        tokenizer: of the model.
        positions: tokens that the model can read at once.

    Raises:
        TombolaError: a choice is empty, or longer than the context; or the tokenizer has no token to begin with.
    """
    encoder = _HarnessEncoder(tokenizer, positions)
    if ability.rule == "text":
        return [item for example in ability.examples for item in encoder.windows(example)]
    return [encoder.item(ability, example) for example in ability.examples]


class _HarnessEncoder:
    def __init__(self, tokenizer: PreTrainedTokenizerBase, positions: int) -> None:
        bos = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if bos is None:
            raise TombolaError(
                "lm-evaluation-harness begins with the tokenizer's bos or eos token, and it has neither; give one"
            )
        self._tokenizer, self._positions, self._bos_token_id = tokenizer, positions, int(bos)
        self._beginning = str(tokenizer.decode(self._bos_token_id))
        self._known: dict[str, Tokens] = {}

    def item(self, ability: Ability, example: Example) -> Item:
        contexts = example.contexts or (example.context,) * len(example.choices)
        pairs = [self._pair(*pair) for pair in zip(contexts, example.choices, strict=True)]
        for _, rest in pairs:
            if not 0 < len(rest) <= self._positions:
                raise TombolaError(
                    f"{example.where}: a choice of {len(rest)} tokens cannot be scored with "
                    f"{self._positions} positions; leave the task out, or give another model"
                )
        # The last token is only predicted, so that one more than the model reads has room.
        whole = [(context + rest)[-self._positions - 1 :] for context, rest in pairs]
        given = tuple(len(tokens) - len(rest) for tokens, (_, rest) in zip(whole, pairs, strict=True))
        divisors = example.sizes or (1.0,) * len(example.choices)
        return Item(ability.rule, tuple(whole), given, len(example.choices), example.gold, divisors)

    def windows(self, example: Example) -> Iterator[Item]:
        """A text in windows of as many tokens as there are positions; the last looks back as far as it can."""
        tokens, each = self._encode(example.choices[0]), self._positions
        size = example.sizes[0] if example.sizes else float(len(example.choices[0].encode()))
        for begin in range(0, len(tokens), each):
            end = min(begin + each, len(tokens))
            before = (self._bos_token_id,) if begin == 0 else tokens[max(0, end - each - 1) : begin]
            share = (end - begin) / len(tokens)
            yield Item("text", ((*before, *tokens[begin:end]),), (len(before),), 1, 0, (size * share,))

    def _pair(self, context: str, choice: str) -> tuple[Tokens, Tokens]:
        if not context:
            rest = self._encode(choice, bare=True)
            return (rest[:1], rest[1:]) if rest[:1] == (self._bos_token_id,) else ((self._bos_token_id,), rest)
        # Spaces at the end of a context belong to what follows, as tokenizers join them to it.
        kept = context.rstrip()
        choice, context = context[len(kept) :] + choice, kept
        known = self._encode(context)
        return known, self._encode(context + choice)[len(known) :]

    def _encode(self, text: str, bare: bool = False) -> Tokens:
        if bare:
            return tuple(self._tokenizer.encode(text, add_special_tokens=False))
        if text not in self._known:
            options = {"add_special_tokens": False} if text.startswith(self._beginning) else {}
            self._known[text] = tuple(self._tokenizer.encode(text, **options))
        return self._known[text]
