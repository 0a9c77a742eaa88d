"""BOS token: the one that a model saw before every document of its pre-training.

It is worth points. SmolLM2 judges 77 % of BLiMP's pairs well after `<|endoftext|>`, 73 % after nothing and 71 % after
what its tokenizer, made for chatting, calls the beginning. Since tokenizers do not know, the model is asked: the BOS
token is the one after which held-out text is the least surprising to it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import nn
from transformers import PreTrainedTokenizerBase

from tombola.foundations.errors import TombolaError
from tombola.foundations.json_dataclasses import read
from tombola.tasks.language.encoding import Encoder
from tombola.tasks.language.item import Item, Tokens
from tombola.tasks.language.log_likelihood import read_plainly
from tombola.tasks.long_texts import beginning

TEXTS, TOKENS = 64, 24
"""Texts that are asked of, and tokens of each: it is felt most just after it."""
NONE = "none"
BOS_TOKEN_FILE = "bos_token.json"
"""File beside a saved model that tells its BOS token, so that whoever loads it reads as before."""
_KNOWN = ("<|endoftext|>", "<|begin_of_text|>", "<bos>", "<s>", "</s>")


@dataclass(frozen=True)
class BosToken:
    """The BOS token and what it rests on.

    Attributes:
        token_id, name: its id, and as the tokenizer writes it; None and `none` for nothing.
        chosen: `given`, or `by held-out text`, or `the tokenizer's`.
        nats: candidate → mean nats per token of held-out text after it, empty where nothing was compared.
    """

    token_id: int | None
    name: str
    chosen: str
    nats: Mapping[str, float]

    def facts(self) -> Mapping[str, object]:
        """JSON values, as `of` takes them."""
        return {
            "name": self.name,
            "chosen": self.chosen,
            "nats": {name: nats if math.isfinite(nats) else None for name, nats in self.nats.items()},
        }

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, facts: Mapping[str, object], where: str) -> Self:
        """The BOS token that facts tell; a TombolaError if they are damaged, or the tokenizer has no such token."""
        mend = "delete it, and the BOS token is found again"
        name, chosen = (read(str, facts.get(one), where, mend, one) for one in ("name", "chosen"))
        nats = read(dict[str, float | None], facts.get("nats"), where, mend, "nats")
        known = {one: math.inf if value is None else value for one, value in nats.items()}
        return cls(named(tokenizer, name).token_id, name, chosen, known)


def named(tokenizer: PreTrainedTokenizerBase, name: str) -> BosToken:
    """BOS token `none`, `bos`, `eos`, or as the tokenizer writes it; a TombolaError where it has no such token."""
    if name == NONE:
        return BosToken(None, NONE, "given", {})
    text = {"bos": tokenizer.bos_token, "eos": tokenizer.eos_token}.get(name, name)
    token = tokenizer.get_vocab().get(text)
    if token is None:
        raise TombolaError(f"the tokenizer has no BOS token {name!r}; choose auto, {', '.join(candidates(tokenizer))}")
    return BosToken(token, str(text), "given", {})


def conventional(tokenizer: PreTrainedTokenizerBase) -> BosToken:
    """Conventional BOS token: the tokenizer's beginning or else its end token; for a model that knows nothing yet."""
    text = tokenizer.bos_token or tokenizer.eos_token
    token = tokenizer.get_vocab().get(text)
    return BosToken(token, NONE if token is None else str(text), "the tokenizer's", {})


def candidates(tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    """Name → id of what may be meant for it: nothing, the tokenizer's named tokens, those that go by a usual name."""
    vocabulary = tokenizer.get_vocab()
    named_tokens = (getattr(tokenizer, f"{kind}_token", None) for kind in ("bos", "eos", "unk", "pad", "cls", "sep"))
    return {NONE: None} | {str(text): vocabulary[text] for text in (*named_tokens, *_KNOWN) if text in vocabulary}


def choose(model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> BosToken:
    """The candidate after which the first tokens of texts are the least surprising to the model.

    The first token of all is left out: after nothing, nobody can predict it. A TombolaError if no text has two.
    """
    encoder = Encoder(tokenizer, None, TOKENS)
    heads = [beginning(text, tokenizer, TOKENS) for text in texts[:TEXTS]]
    beginnings = [tokens[:TOKENS] for tokens in encoder.tokens(heads) if len(tokens) > 1]
    if not beginnings:
        raise TombolaError("there is no text to find the BOS token with; name one")
    options = candidates(tokenizer)
    nats = {name: _nats(model, token, beginnings) for name, token in options.items()}
    # NaN is no minimum.
    name = min(nats, key=lambda one: np.nan_to_num(nats[one], nan=np.inf))
    return BosToken(options[name], name, "by held-out text", nats)


def _nats(model: nn.Module, token: int | None, beginnings: Sequence[Tokens]) -> float:
    before = () if token is None else (token,)
    items = [Item("text", ((*before, *tokens),), (len(before) + 1,), 1, 0, (1.0,)) for tokens in beginnings]
    found = [logs.double().cpu().numpy() for logs, _ in read_plainly(model, items, 16)]
    return float(-np.concatenate(found).mean())
