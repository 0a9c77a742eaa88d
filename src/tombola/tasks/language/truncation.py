"""Fewer tokens of texts: the beginning of each, where a quick look is asked for."""

import math
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from tombola.foundations.errors import TombolaError
from tombola.tasks.language.abilities.ability import Ability, Example


def bounded(ability: Ability, tokenizer: PreTrainedTokenizerBase, tokens: int) -> Ability:
    """An ability of texts, with so many tokens in all: of each text the same number, from its beginning.

    Any other ability stays as it is.

    Raises:
        TombolaError: there is nothing to be left.
    """
    if tokens < 1:
        raise TombolaError(f"texts are judged by one token or more, not {tokens}")
    if ability.rule != "text":
        return ability
    each = math.ceil(tokens / len(ability.examples))
    return replace(
        ability,
        examples=tuple(_cut(example, _beginning(example.choices[0], tokenizer, each)) for example in ability.examples),
    )


def _cut(example: Example, text: str) -> Example:
    share = len(text) / max(1, len(example.choices[0]))
    return replace(example, choices=(text,), sizes=tuple(size * share for size in example.sizes))


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
