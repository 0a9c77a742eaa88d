"""Creative writing: does a pruned model still write, or does it babble?

Continuations of fixed prompts are sampled with a fixed seed, and measured in four ways. Variety: the share of
different n-grams among all (distinct-n, Li et al. 2016). Repetition: the share of 4-grams of a text that were in it
before. Length: tokens until the model ends its text. Surprise: the perplexity of the text under the full model, which
sees through fluent-looking noise; a model that repeats itself has a low one, so that neither says much without the
other.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tombola.anatomy import device_of
from tombola.errors import TombolaError
from tombola.language.item import Item
from tombola.language.packing import pack
from tombola.language.reading import Reading, read, sums
from tombola.tasks.language import LanguageTask

PROMPTS = (
    "Once upon a time, in a small village by the sea,",
    "The old man opened the letter and read it twice.",
    "It was raining when the train finally arrived.",
    "My grandmother always told me that",
    "The last thing I expected to find in the attic was",
    "In the year 2150, people no longer",
    "The dog looked at the door and waited, because",
    "She had never told anyone about the island, but",
)
"""Beginnings of stories."""


class NotFiniteError(TombolaError):
    """The model gives no probabilities to draw from."""


@dataclass(frozen=True)
class Sampling:
    """How continuations are sampled.

    Attributes:
        seed: of all of them together.
        tokens: of a continuation at most.
        temperature: that logits are divided by.
        top_p: share of the probability that is drawn from, from the most probable tokens on (Holtzman et al. 2020).
        each: continuations of each prompt.
    """

    seed: int = 0
    tokens: int = 64
    temperature: float = 1.0
    top_p: float = 0.95
    each: int = 2

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.each < 1 or not self.temperature > 0 or not 0 < self.top_p <= 1:
            raise TombolaError(f"sampling needs tokens, a positive temperature and a share from 0 to 1, not {self}")


@dataclass(frozen=True)
class Writing:
    """What a model wrote, and how it looks in numbers.

    Attributes:
        texts: the continuations, prompt by prompt.
        distinct: share of different 1-, 2- and 3-grams among all of the texts' tokens.
        repetition: mean share of a text's 4-grams that were in it before.
        length: mean tokens of a text.
        ended: share of the texts that the model ended itself.
        perplexity: of the continuations under the full model; infinite where that cannot be told.
    """

    texts: tuple[str, ...]
    distinct: tuple[float, float, float]
    repetition: float
    length: float
    ended: float
    perplexity: float

    def facts(self) -> dict[str, object]:
        """JSON values for a profile: numbers, and the texts; a perplexity that cannot be told is None."""
        return {
            **{f"distinct_{n}": share for n, share in enumerate(self.distinct, start=1)},
            "repetition": self.repetition,
            "length": self.length,
            "ended": self.ended,
            "perplexity": self.perplexity if math.isfinite(self.perplexity) else None,
            "texts": list(self.texts),
        }


NOTHING = Writing((), (0.0, 0.0, 0.0), 0.0, 0.0, 0.0, math.inf)
"""What a model writes that gives no probabilities to draw from."""


def profile(
    model: nn.Module,
    task: LanguageTask,
    full: nn.Module,
    *,
    prompts: Sequence[str] = PROMPTS,
    seed: int = 0,
    tokens: int = 64,
) -> dict[str, object]:
    """The creative part of a model's profile, as JSON values: see `Writing`.

    Args:
        model: the one that writes: whole, shrunk, or with zeroed weights. It may be broken: then it has written
            nothing, with a perplexity of None.
        task: gives tokenizer and start token, which must be known; see `LanguageTask.find_start`.
        full: the full model, which says how surprising the texts are; it may be `model` itself.
        prompts: what is continued, twice each.
        seed: of all that is drawn; the same for all models that are compared.
        tokens: of a continuation at most.

    Raises:
        TombolaError: there are no prompts, or the start token is not known.
    """
    sampling = Sampling(seed=seed, tokens=tokens)
    try:
        found = write(model, full, task.tokenizer, start=task.find_start().token, prompts=prompts, sampling=sampling)
    except NotFiniteError:
        found = NOTHING
    return {**found.facts(), "prompts": list(prompts), "seed": seed, "tokens": tokens}


def write(
    model: nn.Module,
    full: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    *,
    start: int | None = None,
    prompts: Sequence[str] = PROMPTS,
    sampling: Sampling | None = None,
) -> Writing:
    """Let a model continue prompts, and measure what it wrote.

    Args:
        model: the one that writes: whole, or shrunk. A masked one writes as the whole one, as gates know no sampling.
        full: the full model, which says how surprising the texts are.
        tokenizer: of both.
        start: id of the token before each prompt.
        prompts: what is continued.
        sampling: how.

    Raises:
        TombolaError: there are no prompts, or the model gives no probabilities to draw from.
    """
    if not prompts:
        raise TombolaError("there is nothing to continue; give at least one prompt")
    sampling = sampling or Sampling()
    begun = [_prompt(tokenizer, prompt, start) for prompt in prompts]
    written = [rest for ids in begun for rest in _continued(model, ids, tokenizer, sampling)]
    contexts = [ids for ids in begun for _ in range(sampling.each)]
    end = tokenizer.eos_token_id
    bare = [[token for token in tokens if token != end] for tokens in written]
    return Writing(
        texts=tuple(str(tokenizer.decode(tokens)) for tokens in bare),
        distinct=(distinct(bare, 1), distinct(bare, 2), distinct(bare, 3)),
        repetition=float(np.mean([repetition(tokens) for tokens in bare])),
        length=float(np.mean([len(tokens) for tokens in bare])),
        ended=float(np.mean([end in tokens for tokens in written])),
        perplexity=_perplexity(full, contexts, bare),
    )


def distinct(texts: Iterable[Sequence[int]], n: int) -> float:
    """Share of different n-grams among those of all texts; 0 where there is none."""
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repetition(text: Sequence[int], n: int = 4) -> float:
    """Share of a text's n-grams that were in it before; 0 where it is too short to have any."""
    grams = _grams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _grams(text: Sequence[int], n: int) -> list[tuple[int, ...]]:
    return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]


def _prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, start: int | None) -> list[int]:
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    return [*([] if start is None else [start]), *ids]


def _continued(
    model: nn.Module, ids: Sequence[int], tokenizer: PreTrainedTokenizerBase, sampling: Sampling
) -> list[list[int]]:
    """The continuations of one prompt, up to and with the end token."""
    assert isinstance(model, PreTrainedModel)
    device, end = device_of(model), tokenizer.eos_token_id
    rows = torch.tensor([list(ids)] * sampling.each, device=device)
    options: dict[str, Any] = {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": 0,
        "max_new_tokens": sampling.tokens,
        "eos_token_id": end,
        "pad_token_id": 0 if end is None else end,
    }
    training = model.training
    model.eval()
    # The same numbers for each prompt, whatever came before it.
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(sampling.seed)
        try:
            generate: Any = model.generate
            made = generate(rows, attention_mask=torch.ones_like(rows), **options)
        except RuntimeError as error:
            if "probability" not in str(error):
                raise
            raise NotFiniteError("the model's probabilities are not finite, so that it cannot write") from None
        finally:
            model.train(training)
    return [row[: row.index(end) + 1] if end in row else row for row in made[:, len(ids) :].tolist()]


def _perplexity(full: nn.Module, contexts: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]) -> float:
    pairs = [(context, text) for context, text in zip(contexts, texts, strict=True) if text]
    if not pairs:
        return float("inf")
    items = [Item("text", ((*context, *text),), (len(context),), 1, 0, (1.0,)) for context, text in pairs]
    device, training = device_of(full), full.training
    full.eval()
    total = 0.0
    try:
        with torch.no_grad():
            for begin in range(0, len(items), 8):
                inputs = {k: v.to(device) for k, v in pack(items[begin : begin + 8], trees=False).items()}
                total += float(sums(read(full, inputs, Reading()).log_probabilities, inputs).double().sum())
    finally:
        full.train(training)
    return float(np.exp(-total / sum(item.scored for item in items)))
