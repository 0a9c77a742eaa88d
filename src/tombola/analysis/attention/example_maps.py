"""Example maps of attention with their tokens: the clearest short one of each head and class, seen in a stream."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tombola.analysis.attention.attention_maps import WEIGHTINGS
from tombola.analysis.attention.pattern_classes import CLASSES, Structure
from tombola.foundations.errors import printable

SHORTEST, LONGEST = 6, 24
"""Tokens of an input that is shown: enough to have a pattern, few enough to be read."""

_METASPACE = "▁"
"""Space of SentencePiece."""


@dataclass(frozen=True)
class ExampleMap:
    """Attention map of a real input.

    Attributes:
        weighting: `raw` or `norm`.
        pattern: its class.
        row, head, use: of the head, and which use of its layer.
        input: which example of the split.
        clarity: how clearly it is of its class, see `Structure`.
        tokens: of the input, without padding; their places where there is no tokenizer.
        map: [tokens, tokens], rows (queries) sum to 1, three decimals.
    """

    weighting: str
    pattern: str
    row: int
    head: int
    use: int
    input: int
    clarity: float
    tokens: list[str]
    map: list[list[float]]


class BestExampleMaps:
    """Keeps, for each weighting, head and class, the clearest map of the inputs of 6 to 24 tokens so far.

    In the end each class shows the heads that have the largest share of it, by their clearest map. That is a map as
    typical of the class as the head has, not of the head; its share says how often it looks so. Tokens read as the
    tokenizer says.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase | None) -> None:
        self._tokenizer = tokenizer
        # Weighting, row, head and class → the clearest so far.
        self._found: dict[tuple[int, int, int, int], ExampleMap] = {}

    def offer(
        self,
        place: tuple[int, int, int],
        first_head: int,
        structure: Structure,
        maps: Tensor,
        inputs: NDArray[np.int64],
        ids: Tensor | None,
    ) -> None:
        """Look at the maps of some examples of one length.

        Args:
            place: weighting, row and use.
            first_head: number of the first head of the maps.
            structure: of the maps.
            maps: [examples, heads, tokens, tokens].
            inputs: which examples they are.
            ids: [examples, tokens], if the inputs are tokens.
        """
        if not SHORTEST <= maps.shape[-1] <= LONGEST:
            return
        weighting, row, use = place
        for label in range(len(CLASSES)):
            clearest, example = structure.clarity.where(structure.labels == label, -1.0).max(0)
            for offset, (clarity, index) in enumerate(zip(clearest.tolist(), example.tolist(), strict=True)):
                key = (weighting, row, first_head + offset, label)
                # Of equals the one with the lower number, whatever the order of batches.
                rank = (clarity, -int(inputs[index]), -use)
                known = self._found.get(key)
                if clarity >= 0 and (known is None or rank > (known.clarity, -known.input, -known.use)):
                    self._found[key] = ExampleMap(
                        weighting=WEIGHTINGS[weighting],
                        pattern=CLASSES[label],
                        row=row,
                        head=first_head + offset,
                        use=use,
                        input=int(inputs[index]),
                        clarity=clarity,
                        tokens=self._read(None if ids is None else ids[index], maps.shape[-1]),
                        map=[[round(value, 3) for value in line] for line in maps[index, offset].tolist()],
                    )

    def chosen(self, shares: Tensor, heads: int) -> tuple[ExampleMap, ...]:
        """The pictures of as many heads of each weighting and class.

        `shares` are [weightings, rows, heads, classes], NaN for heads that are not shown.
        """
        pictures: list[ExampleMap] = []
        for place in itertools.product(range(len(WEIGHTINGS)), range(len(CLASSES))):
            known = [(key, float(shares[key])) for key in self._found if (key[0], key[3]) == place]
            ranked = sorted((-share, key) for key, share in known if not math.isnan(share))
            pictures += (self._found[key] for _, key in ranked[:heads])
        return tuple(replace(one, clarity=round(one.clarity, 6)) for one in pictures)

    def _read(self, ids: Tensor | None, tokens: int) -> list[str]:
        if ids is None or self._tokenizer is None:
            return [str(place) for place in range(tokens)] if ids is None else [str(int(one)) for one in ids]
        return readable_tokens(self._tokenizer, ids.tolist())


def readable_tokens(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """Tokens as they read: ` movie` of a byte-level tokenizer's `Ġmovie`, `\\n` of its `Ċ`, and `##ing` as it is.

    A space before a token says that a word begins; a part of a character alone reads as the replacement character.
    """
    return [printable(_readable(tokenizer, one)) for one in ids]


def _readable(tokenizer: PreTrainedTokenizerBase, one: int) -> str:
    token = str(tokenizer.convert_ids_to_tokens(one))
    if one in tokenizer.all_special_ids:
        return token
    if _METASPACE in token:
        # Decoding drops it at the beginning of a text.
        return token.replace(_METASPACE, " ")
    return str(tokenizer.decode([one], clean_up_tokenization_spaces=False)) or token
