"""Log-probabilities of trees against a plain loop over single sequences, for every family of decoders."""

import dataclasses
import random
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertLMHeadModel,
    MptConfig,
    MptForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from builders.encoders import randomise
from builders.families import DECODERS, ZOO
from builders.language_models import POSITIONS, llama, task
from tombola.foundations.errors import TombolaError
from tombola.tasks.language.item import Item
from tombola.tasks.language.log_likelihood import Reading, causal, choose, read, sums
from tombola.tasks.language.packing import PackedRow, pack, packed_row_of, renumbered

EXACT = ("gpt2", "gpt_neox", "opt", "llama", "qwen2", "qwen3", "gemma", "phi", "phi3")
WINDOWS = ("mistral", "gemma2", "gemma3")


def items(count: int = 5, seed: int = 0) -> list[Item]:
    """Pairs, choices of unequal number and length, calibrated labels, and a text."""
    draw = random.Random(seed)

    def tokens(length: int) -> tuple[int, ...]:
        return tuple(draw.randrange(2, 60) for _ in range(length))

    found = []
    for number in range(count):
        context, free = tokens(6 + number), tokens(3)
        choices = [tokens(1 + k) for k in range(2 + number % 2)]
        sequences = [(*before, *choice) for before in (context, (*context[:2], *free)) for choice in choices]
        given = [len(context)] * len(choices) + [5] * len(choices)
        found.append(Item("choice", tuple(sequences), tuple(given), len(choices), 0, (1.0,) * len(choices)))
    return [*found, Item("text", (tokens(9),), (1,), 1, 0, (20.0,))]


def looped(model: PreTrainedModel, item: Item) -> list[float]:
    """One sequence at a time, one token at a time."""
    found = []
    for sequence, given in zip(item.sequences, item.given, strict=True):
        with torch.no_grad():
            logs = model(torch.tensor([sequence])).logits[0].double().log_softmax(-1)
        found.append(sum(float(logs[i - 1, sequence[i]]) for i in range(given, len(sequence))))
    return found


def flat(
    model: PreTrainedModel, batch: list[Item], reading: Reading, packed_rows: list[PackedRow] | None = None
) -> list[list[float]]:
    inputs = pack(batch, trees=reading.trees, packed_rows=packed_rows)
    with torch.no_grad():
        totals = sums(read(model, inputs, reading)[0], inputs)
    return [totals[n, : item.groups, : item.choices].flatten().tolist() for n, item in enumerate(batch)]


def test_every_decoder_of_the_table_is_tried() -> None:
    assert {*EXACT, *WINDOWS} == set(DECODERS)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", EXACT)
def test_a_tree_says_what_separate_sequences_say(family: str, attention: str) -> None:
    model, batch = ZOO[family].make(attention), items()
    assert choose(model, batch) == Reading(trees=True, sparing=True)
    for reading in (Reading(), Reading(trees=True), Reading(sparing=True), Reading(trees=True, sparing=True)):
        for found, item in zip(flat(model, batch, reading), batch, strict=True):
            # Eager attention takes its softmax in fp32, whatever the model's precision.
            assert found == pytest.approx(looped(model, item), abs=1e-5 if attention == "eager" else 1e-10)


@pytest.mark.parametrize("family", EXACT)
def test_items_that_share_a_row_are_what_they_are_alone(family: str) -> None:
    model, batch = ZOO[family].make("sdpa"), items()
    for packed_rows in (
        [packed_row_of(batch, range(6))],
        [packed_row_of(batch, (0, 2)), packed_row_of(batch, (1,)), packed_row_of(batch, (3, 4, 5))],
    ):
        # Of the second, items are no longer one after another in the batch.
        order = [number for packed in packed_rows for number in packed.items]
        of_batch = [batch[number] for number in order]
        for found, item in zip(
            flat(model, of_batch, Reading(True, True), renumbered(packed_rows)), of_batch, strict=True
        ):
            assert found == pytest.approx(looped(model, item), abs=1e-10)


@pytest.mark.parametrize("family", WINDOWS)
def test_a_model_with_a_window_is_read_row_by_row(family: str) -> None:
    model, batch = ZOO[family].make("eager"), items()
    reading = choose(model, batch)
    assert not reading.trees
    for found, item in zip(flat(model, batch, reading), batch, strict=True):
        assert found == pytest.approx(looped(model, item), abs=1e-5)


def test_a_window_that_is_not_overstepped_is_none() -> None:
    kind = ZOO["mistral"]
    model = dataclasses.replace(kind, options={**kind.options, "sliding_window": 30}).make("sdpa")
    assert choose(model, items()).trees


def test_a_window_is_looked_for_with_the_longest_item() -> None:
    model, batch = ZOO["mistral"].make("sdpa"), items()
    short = Item("choice", ((2, 3, 4), (2, 3, 5, 6)), (2, 2), 2, 0, (1.0, 1.0))
    assert choose(model, [short]).trees
    for order in ([short, *batch], [*batch, short]):
        assert not choose(model, order).trees


def test_items_of_one_sequence_are_tried_in_one_row_too() -> None:
    # MPT takes positions from where a token stands in its row, whatever it is told.
    sizes: dict[str, Any] = {"d_model": 16, "n_heads": 2, "n_layers": 1, "expansion_ratio": 2, "max_seq_len": 64}
    torch.manual_seed(0)
    model = MptForCausalLM(MptConfig(vocab_size=60, **sizes)).eval()
    randomise(model, 0.5)
    prompt = tuple(range(2, 12))
    batch = [Item("exact", ((*prompt, *range(n, n + 20)),), (11,), 1, 0, (1.0,)) for n in range(20, 26)]
    assert not choose(model, batch).trees
    assert choose(llama(), batch) == Reading(trees=True, sparing=True)


def test_rows_of_several_items_stay_within_a_window() -> None:
    kind = ZOO["mistral"]
    options = {**kind.options, "sliding_window": 30, "max_position_embeddings": POSITIONS}
    model = dataclasses.replace(kind, options=options).make("sdpa")
    made = task()
    made.settle(model)
    (reading,) = made.readings.values()
    assert (reading.trees, reading.window) == (True, 30)
    rows = [batch.inputs["input_ids"].shape[1] for batch in made.packed_batches("dev", 64) if "ends" in batch.inputs]
    assert max(rows) <= 30
    free = task()
    free.settle(llama())
    assert max(batch.inputs["input_ids"].shape[1] for batch in free.packed_batches("dev", 64)) > 30


def test_gradients_come_through_slabs_of_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = llama(), items()
    inputs = pack(batch, trees=True)
    reading = Reading(trees=True, sparing=True)
    gradients = []
    for slab in (2**26, 62):
        monkeypatch.setattr("tombola.tasks.language.log_likelihood.LOGITS_AT_ONCE", slab)
        model.zero_grad()
        sums(read(model, inputs, reading)[0], inputs).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    assert len(gradients[0]) == len(list(model.parameters()))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_not_causal_is_refused() -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    bert = BertLMHeadModel(BertConfig(vocab_size=30, **sizes)).eval()
    with pytest.raises(TombolaError, match="BertLMHeadModel is not causal: what it says of a token depends on later"):
        causal(bert)
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    with pytest.raises(TombolaError, match="T5ForConditionalGeneration is no causal language model"):
        causal(t5)
    broken = llama()
    with torch.no_grad():
        broken.lm_head.weight[0] = torch.nan
    with pytest.raises(TombolaError, match="not finite"):
        causal(broken)
    causal(llama())
