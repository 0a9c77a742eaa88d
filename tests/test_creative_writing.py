"""What a model wrote, against counts by hand and a loop over single texts."""

import json
import math

import pytest
import torch

from causal import llama, task, tokenizer
from tombola.creative_writing import Sampling, distinct, profile, repetition, write
from tombola.errors import TombolaError
from tombola.subnetwork import shrunk, whole

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


def test_a_profile_is_json_and_says_what_writing_says() -> None:
    model, full, made = llama(seed=1), llama(seed=2), task()
    found = profile(model, made, full, prompts=PROMPTS, seed=3, tokens=9)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    expected = write(model, full, tokenizer(), start=1, prompts=PROMPTS, sampling=Sampling(seed=3, tokens=9))
    assert (found["distinct_2"], found["perplexity"]) == (expected.distinct[1], expected.perplexity)
    assert found["texts"] == list(expected.texts)
    # With the start token of the task.
    assert found != profile(model, task(start="none"), full, prompts=PROMPTS, seed=3, tokens=9)
    # A shrunk model, as a study has it, and its own texts under itself.
    ticket = whole(model).ticket.without({"heads": [(0, 1)], "mlps": [1]})
    smaller = shrunk(model, ticket).model
    assert profile(smaller, made, model, prompts=PROMPTS, tokens=9)["length"] > 0  # type: ignore[operator]
    with torch.no_grad():
        model.lm_head.weight[:] = torch.nan
    broken = profile(model, made, full, prompts=PROMPTS, tokens=9)
    assert (broken["length"], broken["distinct_1"], broken["perplexity"], broken["texts"]) == (0, 0, None, [])
    with pytest.raises(TombolaError, match="give the task its source, or the start token"):
        profile(full, task(start="auto"), full)


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
