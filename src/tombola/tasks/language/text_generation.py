"""Text generation: continuations of fixed prompts, sampled with a fixed seed, and measured in four ways.

Variety: the share of different n-grams among all (distinct-n, Li et al. 2016). Repetition: the share of 4-grams of a
text that were in it before. Length: tokens until the model ends its text. Surprise: the perplexity of the text under
the full model, which sees through fluent-looking noise; a model that repeats itself has a low one, so that neither says
much without the other.

Every continuation has random numbers of its own, which depend on the seed and its prompt alone. A pruned model draws
with those of the full one, so that two models differ by what they think and not by luck.
"""

import math
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from typing_extensions import override

from tombola.architectures.parameters import device_of, evaluating
from tombola.foundations.errors import TombolaError
from tombola.tasks.capabilities import PROMPTS, GeneratedTexts, GenerationSettings
from tombola.tasks.language.item import Item
from tombola.tasks.language.log_likelihood import positions_of, read_plainly, sums

_ROWS = 32
"""Continuations that are written side by side: they share the reading of the weights, which is most of the time."""
LIKELY_TOKENS = 4096
"""Tokens that nearly always hold the share that is drawn from; to sort all of a vocabulary takes ten times as long."""


class NotFiniteError(TombolaError):
    """The model gives no probabilities to draw from."""


NOTHING = GeneratedTexts((), (0.0, 0.0, 0.0), 0.0, 0.0, 0.0, None)
"""Result of a model that gives no probabilities to draw from."""


def generate_texts(
    model: nn.Module,
    full: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    *,
    bos_token_id: int | None = None,
    prompts: Sequence[str] = PROMPTS,
    settings: GenerationSettings | None = None,
) -> GeneratedTexts:
    """Let a model continue prompts, after the BOS token if there is one, and measure what it wrote.

    Args:
        model: the one that writes: whole, or shrunk. A masked one writes as the whole one, as gates know no sampling.
        full: the full model, which says how surprising the texts are.
        tokenizer, bos_token_id: of both.

    Raises:
        TombolaError: there are no prompts, the model cannot read one and go on, or it gives no probabilities to draw
            from.
    """
    if not prompts:
        raise TombolaError("there is nothing to continue; give at least one prompt")
    settings = settings or GenerationSettings()
    bos = [] if bos_token_id is None else [bos_token_id]
    begun = [[*bos, *tokenizer(prompt, add_special_tokens=False)["input_ids"]] for prompt in prompts]
    positions, longest = positions_of(getattr(model, "config", None)), max(map(len, begun))
    if positions is not None and longest >= positions:
        raise TombolaError(f"a prompt of {longest} tokens leaves no room in {positions} positions; shorten it")
    contexts = [ids for ids in begun for _ in range(settings.continuations)]
    uniforms = np.concatenate([_uniform_numbers(prompt, settings) for prompt in prompts])
    written: list[list[int]] = []
    for first in range(0, len(contexts), _ROWS):
        rows = slice(first, first + _ROWS)
        written += _continue(model, contexts[rows], uniforms[rows], tokenizer, settings, positions)
    end = tokenizer.eos_token_id
    bare = [[token for token in tokens if token != end] for tokens in written]
    return GeneratedTexts(
        texts=tuple(str(tokenizer.decode(tokens)) for tokens in bare),
        distinct=(distinct(bare, 1), distinct(bare, 2), distinct(bare, 3)),
        repetition=float(np.mean([repetition(tokens) for tokens in bare])),
        length=float(np.mean([len(tokens) for tokens in bare])),
        ended=float(np.mean([end in tokens for tokens in written])),
        perplexity=_perplexity(full, contexts, bare),
    )


def distinct(texts: Iterable[Sequence[int]], n: int, *, none: float = 0.0) -> float:
    """Share of different n-grams among those of all texts; `none` where there are none."""
    grams = [tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)]
    return len(set(grams)) / len(grams) if grams else none


def repetition(text: Sequence[int]) -> float:
    """Share of a text's 4-grams that were in it before; 0 where it is too short to have any."""
    return 1 - distinct([text], 4, none=1.0)


def _uniform_numbers(prompt: str, settings: GenerationSettings) -> NDArray[np.float64]:
    """Numbers from 0 to 1, [continuations, tokens], for one prompt: the same whatever is asked beside it."""
    drawn = np.random.default_rng([settings.seed, zlib.crc32(prompt.encode())])
    return drawn.random((settings.continuations, settings.max_new_tokens))


class DrawToken(LogitsProcessor):
    """Leaves one token of each row: where its number from 0 to 1, of `uniforms` [rows, tokens], falls among them."""

    def __init__(self, uniforms: Tensor, first: int, settings: GenerationSettings) -> None:
        self._uniforms, self._first, self._settings = uniforms, first, settings

    @override
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        # Not on a GPU, whose cumulative sums differ from one time to the next.
        tempered = scores.cpu().to(torch.promote_types(scores.dtype, torch.float32)) / self._settings.temperature
        every = tempered.softmax(-1).double()
        if not every.isfinite().all():
            raise NotFiniteError("the model's probabilities are not finite, so that it cannot write")
        probabilities, order = every.topk(min(LIKELY_TOKENS, every.shape[-1]))
        if bool((probabilities.sum(-1) < self._settings.top_p).any()):
            probabilities, order = every.sort(descending=True)
        before = probabilities.cumsum(-1) - probabilities
        # The fewest that make up the share, the most probable always among them.
        kept = probabilities.where(before < self._settings.top_p, 0.0)
        ends = kept.cumsum(-1)
        points = self._uniforms[:, input_ids.shape[1] - self._first, None] * ends[:, -1:]
        # Rounding may put a point beyond the last one.
        last = (kept > 0).sum(-1, keepdim=True) - 1
        chosen = order.gather(-1, torch.searchsorted(ends, points, right=True).minimum(last))
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen.to(scores.device), 0.0)


def _continue(
    model: nn.Module,
    contexts: Sequence[Sequence[int]],
    uniforms: NDArray[np.float64],
    tokenizer: PreTrainedTokenizerBase,
    settings: GenerationSettings,
    positions: int | None,
) -> list[list[int]]:
    """A continuation of each context, up to and with the end token; shorter where the model has no room for more."""
    assert isinstance(model, PreTrainedModel)
    device, end = device_of(model), tokenizer.eos_token_id
    width = max(map(len, contexts))
    pad = 0 if end is None else int(end)
    rows = torch.tensor([[pad] * (width - len(ids)) + list(ids) for ids in contexts], device=device)
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in contexts], device=device)
    room = settings.max_new_tokens if positions is None else min(settings.max_new_tokens, positions - width)
    # Whatever else the model's own configuration asks for, such as a penalty on repetition, would hide how it writes.
    plain = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
    config = GenerationConfig(**plain, max_new_tokens=room, eos_token_id=end, pad_token_id=pad)
    draw = LogitsProcessorList([DrawToken(torch.tensor(uniforms), width, settings)])
    generate: Any = model.generate
    with evaluating(model):
        made = generate(rows, attention_mask=mask, generation_config=config, logits_processor=draw)
    return [row[: row.index(end) + 1] if end in row else row for row in made[:, width:].tolist()]


def _perplexity(full: nn.Module, contexts: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]) -> float | None:
    pairs = [(context, text) for context, text in zip(contexts, texts, strict=True) if text]
    if not pairs:
        return None
    items = [Item("text", ((*context, *text),), (len(context),), 1, 0, (1.0,)) for context, text in pairs]
    total = 0.0
    for logs, inputs in read_plainly(full, items, 8):
        total += float(sums(logs, inputs).double().sum())
    found = float(np.exp(-total / sum(item.scored for item in items)))
    return found if math.isfinite(found) else None
