"""What a model wrote, against counts by hand and a loop over single texts."""

import math

import pytest
import torch

from causal import llama, tokenizer
from tombola.creative_writing import Sampling, distinct, repetition, write
from tombola.errors import TombolaError

PROMPTS = ("w1 w2 w3", "w4", "a b c d")


def test_variety_and_repetition_by_hand() -> None:
    assert distinct([[1, 2, 1, 2], [1, 2]], 1) == 2 / 6
    assert distinct([[1, 2, 1, 2], [1, 2]], 2) == 2 / 4
    assert distinct([[1]], 2) == 0
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)
    assert repetition([7] * 10) == pytest.approx(6 / 7)
    assert repetition([1, 2, 3]) == 0


def test_the_same_seed_writes_the_same() -> None:
    model, words, sampling = llama(), tokenizer(), Sampling(tokens=12, each=2)
    one, two = (write(model, model, words, start=1, prompts=PROMPTS, sampling=sampling) for _ in range(2))
    assert one == two
    assert len(one.texts) == 6
    other = write(model, model, words, start=1, prompts=PROMPTS, sampling=Sampling(seed=1, tokens=12))
    assert other.texts != one.texts
    # A prompt is continued the same way whatever is asked before it.
    assert write(model, model, words, start=1, prompts=PROMPTS[1:], sampling=sampling).texts == one.texts[2:]


def test_perplexity_is_that_of_the_full_model() -> None:
    model, full, words = llama(seed=1), llama(seed=2), tokenizer()
    found = write(model, full, words, start=1, prompts=PROMPTS, sampling=Sampling(tokens=9))
    nats, tokens = 0.0, 0
    for number, text in enumerate(found.texts):
        context = [1, *words(PROMPTS[number // 2], add_special_tokens=False)["input_ids"]]
        rest = words(text, add_special_tokens=False)["input_ids"]
        if rest:
            with torch.no_grad():
                logs = full(torch.tensor([[*context, *rest]])).logits[0].log_softmax(-1)
            nats -= sum(float(logs[len(context) + i - 1, token]) for i, token in enumerate(rest))
            tokens += len(rest)
    assert found.perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-6)
    assert found.length == pytest.approx(tokens / 6)
    itself = write(model, model, words, start=1, prompts=PROMPTS, sampling=Sampling(tokens=9))
    assert itself.texts == found.texts
    assert itself.perplexity < found.perplexity


def test_what_cannot_write_is_one_clear_line() -> None:
    model = llama()
    with pytest.raises(TombolaError, match="nothing to continue"):
        write(model, model, tokenizer(), prompts=())
    with pytest.raises(TombolaError, match="positive temperature"):
        Sampling(temperature=0)
    with torch.no_grad():
        model.lm_head.weight[:] = torch.nan
    with pytest.raises(TombolaError, match="probabilities are not finite"):
        write(model, model, tokenizer(), prompts=PROMPTS)
