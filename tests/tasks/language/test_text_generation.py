"""What a model wrote, against counts by hand and a loop over single texts."""

import functools
import math
import zlib

import numpy as np
import pytest
import torch

from builders import language_models
from builders.encoders import synthetic
from builders.language_models import POSITIONS, task, tokenizer
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import shrunk, whole
from tombola.tasks.capabilities import GeneratesTexts, GenerationSettings
from tombola.tasks.language import text_generation
from tombola.tasks.language.text_generation import NOTHING, DrawToken, distinct, generate_texts, repetition

# In 64 bits transformers' own attention takes a softmax in 32, in which rows of padding overflow.
llama = functools.partial(language_models.llama, attention="sdpa")
PROMPTS = ("w1 w2 w3", "w4", "a b c d")


def test_variety_and_repetition_by_hand() -> None:
    assert distinct([[1, 2, 1, 2], [1, 2]], 1) == 2 / 6
    assert distinct([[1, 2, 1, 2], [1, 2]], 2) == 2 / 4
    assert distinct([[1]], 2) == 0
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)
    assert repetition([7] * 10) == pytest.approx(6 / 7)
    assert repetition([1, 2, 3]) == 0


def test_the_same_seed_writes_the_same() -> None:
    model, words, settings = llama(), tokenizer(), GenerationSettings(max_new_tokens=12, continuations=2)
    one, two = (
        generate_texts(model, model, words, bos_token_id=1, prompts=PROMPTS, settings=settings) for _ in range(2)
    )
    assert one == two
    assert len(one.texts) == 6
    other = generate_texts(
        model, model, words, bos_token_id=1, prompts=PROMPTS, settings=GenerationSettings(seed=1, max_new_tokens=12)
    )
    assert other.texts != one.texts
    # A prompt is continued the same way whatever is asked before it.
    assert (
        generate_texts(model, model, words, bos_token_id=1, prompts=PROMPTS[1:], settings=settings).texts
        == one.texts[2:]
    )


def test_perplexity_is_that_of_the_full_model() -> None:
    model, full, words = llama(seed=1), llama(seed=2), tokenizer()
    found = generate_texts(
        model, full, words, bos_token_id=1, prompts=PROMPTS, settings=GenerationSettings(max_new_tokens=9)
    )
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
    itself = generate_texts(
        model, model, words, bos_token_id=1, prompts=PROMPTS, settings=GenerationSettings(max_new_tokens=9)
    )
    assert itself.texts == found.texts
    assert itself.perplexity is not None
    assert itself.perplexity < math.exp(nats / tokens)


@pytest.mark.parametrize("likely", [3, 1024])
def test_a_continuation_is_what_a_loop_over_one_text_draws(likely: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Fewer than the share takes, and as many as there are.
    monkeypatch.setattr(text_generation, "LIKELY_TOKENS", likely)
    model, words = llama(), tokenizer()
    settings = GenerationSettings(seed=3, max_new_tokens=9, temperature=0.7, top_p=0.8, continuations=2)
    found = generate_texts(model, model, words, bos_token_id=1, prompts=PROMPTS, settings=settings)
    for number, text in enumerate(found.texts):
        prompt = PROMPTS[number // 2]
        chances = np.random.default_rng([3, zlib.crc32(prompt.encode())]).random((2, 9))[number % 2]
        ids = [1, *words(prompt, add_special_tokens=False)["input_ids"]]
        written: list[int] = []
        for chance in chances:
            with torch.no_grad():
                logits = model(torch.tensor([ids + written])).logits[0, -1]
            shares = (logits / 0.7).softmax(-1).tolist()
            ranked = sorted(range(len(shares)), key=lambda one: -shares[one])
            nucleus = next(n for n in range(1, len(ranked) + 1) if sum(shares[one] for one in ranked[:n]) >= 0.8)
            left = chance * sum(shares[one] for one in ranked[:nucleus])
            for token in ranked[:nucleus]:
                left -= shares[token]
                if left < 0:
                    break
            if token == words.eos_token_id:
                break
            written.append(token)
        assert text == words.decode(written)


def test_tokens_come_as_often_as_they_are_probable() -> None:
    logits = torch.tensor([0.5, 0.2, 0.2, 0.1]).log()
    chances = torch.rand(4000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draw = DrawToken(chances, 5, GenerationSettings(max_new_tokens=1, top_p=0.85))
    drawn = draw(torch.zeros(4000, 5, dtype=torch.int64), logits.expand(4000, 4)).argmax(-1)
    # The last one is beyond the share.
    counts = torch.bincount(drawn, minlength=4) / 4000
    torch.testing.assert_close(counts, torch.tensor([5, 2, 2, 0]) / 9, rtol=0, atol=0.025)


def test_a_model_writes_as_far_as_it_can_read() -> None:
    model = llama()
    long = " ".join(["w1"] * (POSITIONS - 4))
    found = generate_texts(
        model, model, tokenizer(), bos_token_id=1, prompts=(long,), settings=GenerationSettings(max_new_tokens=20)
    )
    assert found.length <= 3
    with pytest.raises(TombolaError, match="leaves no room in 48 positions"):
        generate_texts(model, model, tokenizer(), bos_token_id=1, prompts=(f"{long} w1 w1 w1",))


def test_what_is_written_is_as_the_task_begins_texts() -> None:
    model, full, made = llama(seed=1), llama(seed=2), task()
    settings = GenerationSettings(seed=3, max_new_tokens=9)
    found = made.generate_texts(model, full, settings, PROMPTS)
    assert found == generate_texts(model, full, tokenizer(), bos_token_id=1, prompts=PROMPTS, settings=settings)
    assert found != task(bos_token="none").generate_texts(model, full, settings, PROMPTS)
    # A shrunk model, as a study has it, and its own texts under itself.
    ticket = whole(model).ticket.without({"heads": [(0, 1)], "mlps": [1]})
    assert made.generate_texts(shrunk(model, ticket).model, model, settings, PROMPTS).length > 0
    with torch.no_grad():
        model.lm_head.weight[:] = torch.nan
    assert made.generate_texts(model, full, settings, PROMPTS) == NOTHING
    with pytest.raises(TombolaError, match="give the task its source, or the BOS token"):
        task(bos_token="auto").generate_texts(full, full, settings)


def test_only_tasks_of_language_models_write() -> None:
    assert isinstance(task(), GeneratesTexts)
    assert not isinstance(synthetic(train=4, dev=4), GeneratesTexts)


def test_what_cannot_write_is_one_clear_line() -> None:
    model = llama()
    with pytest.raises(TombolaError, match="nothing to continue"):
        generate_texts(model, model, tokenizer(), prompts=())
    with pytest.raises(TombolaError, match="temperature above 0"):
        GenerationSettings(temperature=0)
    with torch.no_grad():
        model.lm_head.weight[:] = torch.nan
    with pytest.raises(TombolaError, match="probabilities are not finite"):
        generate_texts(model, model, tokenizer(), prompts=PROMPTS)
