"""The language task against loops over single sequences; the house's own search, controls and training on it."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, T5Config

from builders.encoders import randomise
from builders.language_models import POSITIONS, TEXTS, abilities, checkpoint, llama, task, tokenizer
from tombola import controls
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions, evaluate, score
from tombola.pruning.one_shot import one_shot
from tombola.pruning.search.loop import search_ticket
from tombola.pruning.search.options import SearchOptions
from tombola.pruning.weight_criteria import WeightCut
from tombola.pruning.weight_pruning import prune_weights
from tombola.subnetworks.subnetwork import masked, shrunk, whole
from tombola.tasks.base import Batch
from tombola.tasks.language import packing
from tombola.tasks.language import task as language_task
from tombola.tasks.language.abilities.ability import Ability, Example
from tombola.tasks.language.abilities.chance_corrected import measure
from tombola.tasks.language.abilities.language_modelling import guess_bits
from tombola.tasks.language.item import Item
from tombola.tasks.language.log_likelihood import Reading, predictions
from tombola.tasks.language.packing import pack
from tombola.tasks.language.task import LanguageTask, LanguageTaskOptions, Samples
from tombola.tickets.ticket import Ticket
from tombola.training.loop import retrain, train
from tombola.training.recipe import Recipe

BOS = 1


def log_probability(model: nn.Module, context: str, rest: str) -> tuple[float, int, bool]:
    """Sum over the tokens of `rest` after `<s>` and `context`, their number, and whether each is the most probable."""
    words = tokenizer()
    given = [BOS, *words(context, add_special_tokens=False)["input_ids"]] if context else [BOS]
    ids = [*given, *words(rest, add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        logs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    places = range(len(given), len(ids))
    total = sum(float(logs[i - 1, ids[i]]) for i in places)
    return total, len(places), all(int(logs[i - 1].argmax()) == ids[i] for i in places)


def expected(model: nn.Module, ability: Ability, example: Example) -> tuple[float, float | None]:
    """Prediction, and the loss where nothing shared was left out, by hand."""
    found = [log_probability(model, example.context, choice) for choice in example.choices]
    total, tokens, exact = found[example.gold]
    loss = -total / tokens
    if ability.rule == "exact":
        return float(exact), loss
    if ability.rule == "text":
        # The BOS token is given, so that every byte counts.
        return -total / math.log(2) / len(example.choices[0].encode()), loss
    values = [one[0] for one in found]
    if ability.per_character:
        values = [v / len(choice.strip()) for v, choice in zip(values, example.choices, strict=True)]
    if example.free:
        likings = np.zeros(len(values))
        for context in example.free:
            odds = np.exp([log_probability(model, context, choice)[0] for choice in example.choices])
            likings += odds / odds.sum()
        odds = np.exp(values) / np.exp(values).sum() / likings
        values = list(odds)
    return float(int(np.argmax(values)) == example.gold), None if not example.context else loss


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_every_ability_is_what_a_loop_over_single_sequences_says(attention: str, batch_size: int) -> None:
    model, made = llama(attention=attention), task()
    made.settle(model)
    found = evaluate(whole(model), made, EvaluationOptions(batch_size=batch_size))
    examples = [(ability, example) for ability in made.abilities for example in ability.examples]
    assert len(found.predictions) == made.size("dev") == len(examples)
    for prediction, loss, (ability, example) in zip(found.predictions, found.losses, examples, strict=True):
        verdict, nats = expected(model, ability, example)
        assert prediction == pytest.approx(verdict, abs=1e-6), ability.name
        if nats is not None:
            assert loss == pytest.approx(nats, abs=1e-5), ability.name
    # A model of random weights is right and wrong on each sort, or nothing was tested.
    for number, ability in enumerate(made.abilities):
        own = found.predictions[np.floor(made.references("dev")) == number]
        assert ability.rule != "choice" or 0 < own.mean() < 1


def test_trees_and_rows_give_the_same_verdicts_losses_and_importance() -> None:
    model = llama()
    trees, rows = task(), task()
    for made, reading in ((trees, Reading(trees=True, sparing=True)), (rows, Reading())):
        made.settle(model)
        assert made.readings == {("llama", "eager"): Reading(trees=True, sparing=True)}
        made.readings = dict.fromkeys(made.readings, reading)
    assert next(iter(trees.batches("dev", 5))).inputs["input_ids"].shape[0] == 5
    assert max(b.inputs["input_ids"].shape[0] for b in rows.batches("dev", 5)) > 5
    for made in (trees, rows):
        # Importance on the pairs and questions themselves, whose rows are several in the one and one in the other.
        made.importance_split = "dev"
    one, two = (
        evaluate(whole(model), made, EvaluationOptions(batch_size=6), importance=True) for made in (trees, rows)
    )
    np.testing.assert_allclose(one.predictions, two.predictions, atol=1e-6)
    np.testing.assert_allclose(one.losses, two.losses, atol=1e-5)
    assert one.importance is not None
    assert two.importance is not None
    for kind in ("heads", "mlps"):
        torch.testing.assert_close(one.importance[kind], two.importance[kind], rtol=1e-5, atol=1e-8)


def test_rows_are_shared_where_no_gates_are() -> None:
    model, made = llama(), task()
    made.settle(model)
    packed, plain = list(made.packed_batches("dev", 16)), list(made.batches("dev", 16))
    for batches in (packed, plain):
        assert sorted(np.concatenate([batch.indices for batch in batches]).tolist()) == list(range(made.size("dev")))
        assert max(len(batch.indices) for batch in batches) <= 16
    tokens, separate_rows = (sum(batch.inputs["input_ids"].numel() for batch in batches) for batches in (packed, plain))
    assert tokens < 0.8 * separate_rows
    with torch.no_grad():
        for batches in (packed, plain):
            losses = np.zeros(made.size("dev"))
            for batch in batches:
                losses[batch.indices] = made.output(model, batch).losses
            np.testing.assert_allclose(losses, evaluate(whole(model), made).losses, atol=1e-5)
    # Gates find the row of each example.
    masked_one = evaluate(masked(model, Ticket.full(dissect(model), "heads+mlps")), made)
    np.testing.assert_allclose(masked_one.losses, evaluate(whole(model), made).losses, atol=1e-5)


def test_the_loss_of_text_is_transformers_own() -> None:
    model, made = llama(), task()
    made.settle(model)
    found = evaluate(whole(model), made, EvaluationOptions("train"))
    ids = torch.tensor([item.sequences[0] for item in made.items("train")])
    assert ids.shape == (8, 17)
    own = [float(model(row[None], labels=row[None]).loss) for row in ids]
    np.testing.assert_allclose(found.losses, own, atol=1e-5)
    # Perplexity of the texts to be judged: that of all their tokens together.
    nats, tokens = 0.0, 0
    for example in made.abilities[-1].examples:
        row = torch.tensor([[BOS, *tokenizer()(example.choices[0], add_special_tokens=False)["input_ids"]]])
        nats += float(model(row, labels=row).loss) * (row.shape[1] - 1)
        tokens += row.shape[1] - 1
    assert made.perplexity(evaluate(whole(model), made).losses) == {"text": pytest.approx(math.exp(nats / tokens))}
    # Samples are the texts one after another, each after the BOS token, and nothing else.
    words = tokenizer()
    stream = [token for text in TEXTS for token in (BOS, *words(text, add_special_tokens=False)["input_ids"])]
    joined = [token for row in ids.tolist() for token in row[:-1]]
    assert joined == stream[: len(joined)]


def test_importance_is_that_of_the_importance_split() -> None:
    # Eager attention rounds its softmax to fp32, which a small difference would show.
    model, made = llama(attention="sdpa"), task()
    made.settle(model)
    found = evaluate(whole(model), made, EvaluationOptions(batch_size=4), importance=True)
    direct = evaluate(whole(model), made, EvaluationOptions("importance", batch_size=3), importance=True)
    assert found.importance is not None
    assert direct.importance is not None
    assert len(found.predictions) == made.size("dev")
    for kind in ("heads", "mlps"):
        torch.testing.assert_close(found.importance[kind], direct.importance[kind])
    # Of one block, against the derivative by a difference.
    layer, head, size = 1, 2, 8
    item = made.items("importance")[0]

    def loss(gate: float) -> float:
        columns = slice(head * size, (head + 1) * size)
        weight = model.model.layers[layer].self_attn.o_proj.weight
        kept = weight.detach().clone()
        with torch.no_grad():
            weight[:, columns] *= gate
            batch = Batch(np.array([0]), pack([item], trees=True), torch.tensor([0]))
            found = float(made.output(model, batch).losses)
            weight.copy_(kept)
        return found

    first = task(importance=Samples(1, 8))
    first.settle(model)
    assert first.items("importance") == [item]
    alone = evaluate(whole(model), first, EvaluationOptions("importance"), importance=True).importance
    assert alone is not None
    assert alone["heads"][layer, head] == pytest.approx(abs(loss(1 + 1e-5) - loss(1 - 1e-5)) / 2e-5, rel=1e-3)


def test_one_shot_and_the_search_measure_on_it_without_layer_norms() -> None:
    model, made = llama(), task()
    made.settle(model)
    importance = evaluate(whole(model), made, EvaluationOptions("importance"), importance=True).importance
    assert importance is not None
    plain, layered = (importance.normalised(layers).least_first("heads")[:6] for layers in (False, True))
    assert plain != layered
    kept = one_shot(model, made, {"heads": 0.5})
    assert kept.provenance["split"] == "importance"
    assert sorted(plain) == (~kept).masks["heads"].nonzero().tolist()
    other = one_shot(model, made, {"heads": 0.5}, normalise_layers=True)
    assert sorted(layered) == (~other).masks["heads"].nonzero().tolist()
    options = SearchOptions(threshold=0.01, heads_step=0.5, mlps_step=0, refine=False)
    first = search_ticket(model, made, options=options).passes[1]
    assert first.removed["heads"] == plain
    again = search_ticket(model, made, options=replace(options, normalise_layers=True)).passes[1]
    assert again.removed["heads"] == layered


def trained_model() -> tuple[nn.Module, LanguageTask]:
    """A model that has learned the examples of its task by heart, so that a search has something to lose."""
    answers = tuple(
        f"{example.context} {example.choices[example.gold]}".strip()
        for ability in abilities()
        for example in ability.examples
    )
    made = task(answers, train=Samples(30, 12))
    model = made.load(str(checkpoint()), seed=0)
    train(model, made, Recipe(epochs=30, learning_rate=5e-3, batch_size=8), seed=0)
    return model, made


@pytest.mark.slow
def test_search_controls_and_retraining_run_on_it_unchanged() -> None:
    model, made = trained_model()
    full = evaluate(whole(model), made)
    assert full.score > 0.2
    found = search_ticket(model, made, options=SearchOptions(threshold=0.5, heads_step=0.2))
    assert found.full_score == pytest.approx(full.score)
    assert len(found.passes) > 2
    assert found.last.score >= 0.5 * full.score
    assert len(found.good) < 15
    # Masked, shrunk, and in another batch size: the same answers.
    one, two = (
        evaluate(part, made, EvaluationOptions(batch_size=size))
        for part, size in ((masked(model, found.good), 3), (shrunk(model, found.good), 50))
    )
    np.testing.assert_allclose(one.predictions, two.predictions, atol=1e-5)
    for control in (
        controls.random(found.good, 0),
        controls.layer_matched(found.good, 0),
        controls.bad(found, model),
    ):
        assert control.counts() == found.good.counts()
        assert math.isfinite(score(model, made, control).score)
    again = retrain(model, found.good, made, Recipe(epochs=2, learning_rate=1e-3, batch_size=8))
    assert (
        evaluate(again, made, EvaluationOptions("train")).losses.mean()
        < evaluate(shrunk(model, found.good), made, EvaluationOptions("train")).losses.mean()
    )
    weights = search_ticket(model, made, "weights", options=SearchOptions(threshold=0.9, weights_step=0.2))
    assert weights.good.kind == "weights"
    assert weights.last.score >= 0.9 * full.score


def test_the_score_can_be_one_ability_alone() -> None:
    model = llama()
    everything, one = task(), task(retain="questions")
    for made in (everything, one):
        made.settle(model)
    found = evaluate(whole(model), everything)
    measured = {m.ability: m for m in measure(everything.abilities, found.predictions, everything.references("dev"))}
    assert found.score == pytest.approx(np.mean([m.corrected for m in measured.values()]))
    assert evaluate(whole(model), one).score == pytest.approx(measured["questions"].corrected)
    alone = {
        name: metric.score(found.predictions, everything.references(split))
        for name, (split, metric) in everything.more.items()
    }
    assert alone == pytest.approx({name: m.raw for name, m in measured.items()})
    assert {name for name, (_, metric) in everything.more.items() if not metric.higher_is_better} == {"text"}
    few = everything.scored_on(["pairs", "text"])
    assert evaluate(whole(model), few).score == pytest.approx(
        (measured["pairs"].corrected + measured["text"].corrected) / 2
    )
    assert (everything.counted, few.counted) == (("pairs", "labels", "questions", "endings", "text"), ("pairs", "text"))
    guess = everything.metric.score(everything.guess("dev"), everything.references("dev"))
    assert guess == pytest.approx(0)
    with pytest.raises(TombolaError, match="unknown ability 'humour'; known: pairs, labels"):
        everything.scored_on(["humour"])


def verdicts(totals: list[list[float]], gold: list[int], rule: str = "choice") -> list[float]:
    """Verdicts on log-probabilities of one group."""
    items = [Item(rule, ((1, 2),) * len(row), (1,) * len(row), len(row), 0, (1.0,) * len(row)) for row in totals]  # type: ignore[arg-type]
    inputs = pack(items, trees=False)
    wide = max(map(len, totals))
    padded = torch.tensor([[[*row, *[0.0] * (wide - len(row))]] for row in totals], dtype=torch.float64)
    exact = torch.ones(len(items), dtype=torch.bool)
    return predictions(padded, exact, inputs, torch.tensor(gold)).tolist()


def test_ties_count_half_and_nan_is_no_answer() -> None:
    nan = math.nan
    found = verdicts(
        [[-1, -2], [-2, -1], [-1, -1], [-3, -1, -1], [-1, -1, -1], [nan, -1], [-1, nan]], [0, 0, 0, 2, 1, 0, 0]
    )
    assert found[:4] == [1.0, 0.0, 0.5, 0.5]
    assert found[4] == pytest.approx(1 / 3)
    assert all(math.isnan(one) for one in found[5:])
    # Missing choices of a question with fewer never win, though their sum is 0.
    assert verdicts([[-5, -9], [-1, -2, -3]], [0, 0]) == [1.0, 1.0]
    assert math.isnan(verdicts([[nan]], [0], "exact")[0])


def predicted(model: nn.Module, made: LanguageTask, split: str = "dev") -> NDArray[np.float64]:
    """Predictions of a split, whatever the losses are."""
    found = np.empty(made.size(split))
    with torch.no_grad():
        for batch in made.batches(split, 16):
            found[batch.indices] = made.output(model, batch).predictions.numpy()
    return found


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_model_has_understood_nothing(value: float) -> None:
    model, made = llama(), task()
    made.settle(model)
    assert made.tolerates_nan
    sound = predicted(model, made)
    with torch.no_grad():
        model.lm_head.weight[:] = value
    found = predicted(model, made)
    assert np.isnan(found).all()
    # Wrong in all that is right or wrong, as good as a guess of text; an argmax would make every pair right.
    references = made.references("dev")
    measured = measure(made.abilities, found, references, resamples=50)
    assert [m.raw for m in measured[:4]] == [0.0] * 4
    assert measured[4].corrected == pytest.approx(0)
    assert not any(m.learned for m in measured)
    expected = np.mean([m.corrected for m in measured])
    assert made.metric.score(found, references) == pytest.approx(expected)
    assert math.isfinite(expected)
    assert made.metric.score(found, references) < made.metric.score(sound, references)


def test_nothing_is_searched_on_the_examples_that_judge() -> None:
    model, made = llama(), task(held_out=0.5)
    everything = task()
    for one in (made, everything):
        one.settle(model)
    assert [len(a.examples) for a in made.abilities] == [6] * 5
    whole_set = [set(a.examples) for a in everything.abilities]
    parts = [[set(a.examples) for a in made.examples[split]] for split in ("dev", "search")]
    for judging, searching, both in zip(*parts, whole_set, strict=True):
        assert not judging & searching
        assert judging | searching == both
    # The two splits together say what the undivided one says.
    np.testing.assert_allclose(
        sorted([*predicted(model, made), *predicted(model, made, "search")]), sorted(predicted(model, everything))
    )
    references = made.references("search")
    assert Counter(np.floor(references).astype(int).tolist()) == dict.fromkeys(range(5), 6)
    assert made.metric.score(made.guess("search"), references) == pytest.approx(0, abs=0.02)
    score_there = evaluate(whole(model), made, EvaluationOptions("search")).score
    assert score_there == pytest.approx(made.metric.score(predicted(model, made, "search"), references))
    other = task(held_out=0.5, seed=1)
    assert [a.examples for a in other.abilities] != [a.examples for a in made.abilities]
    counting = made.scored_on(["pairs"])
    assert counting.size("search") == made.size("search")
    options = SearchOptions(threshold=0.01, heads_step=0.5, mlps_step=0, refine=False)
    assert search_ticket(
        model, made, evaluation=EvaluationOptions("search"), options=options
    ).full_score == pytest.approx(score_there)
    with pytest.raises(TombolaError, match="has no split 'search'; it has train, importance, dev"):
        everything.size("search")
    with pytest.raises(TombolaError, match=r"pairs has 12 examples, of which a share of 0\.01 cannot be held out"):
        task(held_out=0.01)
    with pytest.raises(TombolaError, match="must lie between 0 and 1, not 1"):
        task(held_out=1)


def test_calibration_text_is_drawn_from_the_text_and_prunes() -> None:
    model, made = llama(dtype=torch.float32), task()
    made.settle(model)
    drawn = made.calibration_text(5, 16, seed=3)
    assert [tuple(one.shape) for one in drawn] == [(1, 16)] * 5
    words = tokenizer()
    stream = [token for text in TEXTS for token in (BOS, *words(text, add_special_tokens=False)["input_ids"])]
    for one in drawn:
        assert any(stream[at : at + 16] == one[0].tolist() for at in range(len(stream)))
    again, other = made.calibration_text(5, 16, seed=3), made.calibration_text(5, 16, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(drawn, other, strict=True))
    # Longer than the model's context, or than the text, there is none.
    assert made.calibration_text(2, 2048)[0].shape == (1, POSITIONS)
    short = LanguageTask(abilities(), ["w1 w2"], tokenizer(), LanguageTaskOptions(bos_token="bos", positions=POSITIONS))
    assert short.calibration_text(1, 16)[0].tolist() == [[1, 7, 8]]
    with pytest.raises(TombolaError, match="load the model through the task, call settle"):
        task(bos_token="auto").calibration_text(1, 4)
    pruned = prune_weights(model, WeightCut("wanda", 0.5), calibration=drawn)
    # Samples of training text are plain text too, and give what their ids give.
    blocks = list(made.batches("train", 1))
    ids = [batch.inputs["input_ids"] for batch in blocks]
    assert all("ends" not in batch.inputs for batch in blocks)
    first, second = (prune_weights(model, WeightCut("wanda", 0.5), calibration=given).ticket for given in (blocks, ids))
    assert first == second
    assert first != pruned.ticket
    assert [*blocks[0].calibration_inputs] == ["input_ids"]
    for batch_size in (1, 8):
        with pytest.raises(TombolaError, match=r"choices share rows; calibrate on its calibration_text\(\)"):
            prune_weights(model, WeightCut("wanda", 0.5), calibration=made.batches("dev", batch_size))


def test_texts_can_be_judged_by_their_beginnings() -> None:
    # 12 texts of 5 to 16 words: 6 words of each at most.
    made = task(text_tokens=72)
    texts = [example.choices[0] for example in made.abilities[4].examples]
    assert [len(text.split()) for text in texts] == [5] + [6] * 11
    uncut = [example.choices[0] for example in task().abilities[4].examples]
    assert all(full.startswith(text) for full, text in zip(uncut, texts, strict=True))
    # What guessing costs is that of the texts that are judged.
    assert made.abilities[4].guess == guess_bits(tokenizer(), TEXTS, texts)
    assert made.abilities[:4] == task().abilities[:4]
    with pytest.raises(TombolaError, match="by one token or more, not 0"):
        task(text_tokens=0)


def test_bad_input_is_refused_in_one_line(tmp_path: Path) -> None:
    model = llama()
    with pytest.raises(TombolaError, match=r"pairs, example 1: \d+ tokens do not fit into the model's 5 positions"):
        task(positions=5).settle(model)
    with pytest.raises(TombolaError, match="texts of 64 tokens do not fit into this model's 48 positions"):
        task(positions=64).settle(model)
    with pytest.raises(TombolaError, match="load the model through the task, call settle"):
        task(bos_token="auto").size("dev")
    with pytest.raises(TombolaError, match=r"no BOS token '<x>'; choose auto, none, <s>, </s>, <unk>"):
        task(bos_token="<x>")
    with pytest.raises(TombolaError, match="no text to calibrate and train on"):
        LanguageTask(abilities(), [" "], tokenizer())
    with pytest.raises(TombolaError, match="each under a name of its own"):
        LanguageTask((abilities()[0],) * 2, TEXTS, tokenizer())
    with pytest.raises(TombolaError, match="has no split 'test'"):
        task().size("test")
    with pytest.raises(TombolaError, match="one block or more"):
        Samples(0, 5)
    small = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=2, n_positions=POSITIONS))
    with pytest.raises(TombolaError, match=r"the tokenizer knows 62 tokens, the model 20"):
        task().settle(small)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    bert = BertModel(BertConfig(vocab_size=62, max_position_embeddings=POSITIONS, **sizes))
    randomise(bert, 0.3)
    bert.save_pretrained(tmp_path / "bert")
    tokenizer().save_pretrained(tmp_path / "bert")
    with pytest.raises(TombolaError, match=r"bert is no causal language model: it has no cls\."):
        task().load(str(tmp_path / "bert"), seed=0)
    T5Config(vocab_size=62).save_pretrained(tmp_path / "t5")
    with pytest.raises(TombolaError, match=r"t5 is a t5, which is no causal language model"):
        task().load(str(tmp_path / "t5"), seed=0)


def test_a_model_is_loaded_saved_and_loaded_again(tmp_path: Path) -> None:
    made = task()
    model = made.load(str(checkpoint()), seed=3)
    made.save(model, tmp_path)
    again = made.load(str(tmp_path), seed=0, state="trained")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    fresh, same, other = (made.load(str(tmp_path), seed=seed, state="init") for seed in (1, 1, 2))
    first = [next(iter(one.parameters())) for one in (model, fresh, same, other)]
    assert torch.equal(first[1], first[2])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[3])
    facts = made.facts()
    assert facts["bos_token"] == "<s>"
    assert facts["bos_token_chosen"] == "given"


def test_the_bos_token_is_that_after_which_text_surprises_least() -> None:
    model, made = llama(), task(bos_token="auto")
    made.settle(model)
    assert made.bos_token is not None
    words = tokenizer()
    options = {"none": [], "<s>": [1], "</s>": [2], "<unk>": [0]}
    nats = {}
    for name, bos in options.items():
        found = []
        for text in TEXTS:
            ids = words(text, add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logs = model(torch.tensor([[*bos, *ids]])).logits[0].log_softmax(-1)
            # The first word of all is nobody's to predict after nothing.
            found += [-float(logs[len(bos) + i - 1, ids[i]]) for i in range(1, len(ids))]
        nats[name] = np.mean(found)
    assert dict(made.bos_token.nats) == pytest.approx(nats, abs=1e-6)
    assert made.bos_token.name == min(nats, key=lambda name: nats[name])
    assert made.bos_token.chosen == "by held-out text"
    fresh = task(bos_token="auto")
    fresh.load(str(checkpoint()), seed=0, state="init")
    assert fresh.bos_token is not None
    assert (fresh.bos_token.name, fresh.bos_token.chosen) == ("<s>", "the tokenizer's")


def test_batches_hold_every_example_once_and_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    made = task()
    made.settle(llama())
    monkeypatch.setitem(packing.CELLS, "dev", 60)
    batches = list(made.batches("dev", 8))
    assert sorted(i for b in batches for i in b.indices) == list(range(made.size("dev")))
    assert max(b.inputs["input_ids"].numel() for b in batches if len(b.indices) > 1) <= 60
    assert max(len(b.indices) for b in batches) <= 8
    orders = [[i for b in made.batches("train", 3, shuffle=seed) for i in b.indices] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert Counter(orders[2]) == Counter(range(8))
    assert [len(b.indices) for b in made.batches("train", 3, shuffle=0)] == [3, 3, 2]


def test_who_knows_only_how_frequent_tokens_are_has_no_understanding_of_text() -> None:
    words, counts = tokenizer(), Counter[str]()
    for text in TEXTS:
        counts.update(text.split())
    ability = next(one for one in task().abilities if one.name == "text")
    with_full_model = [choice for example in ability.examples for choice in example.choices]
    whole_count = sum(counts.values()) + len(words)
    bits = -sum(math.log2((counts[word] + 1) / whole_count) for text in with_full_model for word in text.split())
    expected_bits = bits / sum(len(text.encode()) for text in with_full_model)
    assert ability.chance == pytest.approx(expected_bits)
    assert ability.chance < 8
    made = task()
    model = llama()
    made.settle(model)
    references = made.references("dev")
    guessed = np.where(np.floor(references) == 4, expected_bits, made.guess("dev"))
    found = measure(made.abilities, guessed, references)
    assert found[4].corrected == pytest.approx(0)
    assert not found[4].learned
    assert made.metric.score(made.guess("dev"), references) == pytest.approx(0)


def test_a_model_that_says_the_same_of_every_token_foresees_none() -> None:
    model, made = llama(), task()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    made.settle(model)
    found = evaluate(whole(model), made)
    exact = np.floor(made.references("dev")) == 3
    assert exact.sum() == 12
    assert not found.predictions[exact].any()


def test_plain_texts_and_trees_never_share_a_batch() -> None:
    made = task()
    made.settle(llama())
    kinds = ["ends" in batch.inputs for batch in made.batches("dev", 64)]
    assert set(kinds) == {True, False}
    texts = {int(index) for index in np.flatnonzero(np.floor(made.references("dev")) == 4)}
    for batch in made.batches("dev", 64):
        if texts & set(batch.indices.tolist()):
            assert "ends" not in batch.inputs


def test_a_task_that_counts_fewer_abilities_is_whole_before_anything_is_encoded() -> None:
    made = task()
    other = made.scored_on(["pairs"])
    assert other.size("dev") == made.size("dev")
    assert made.references("dev").tolist() == other.references("dev").tolist()
    assert len(made.guess("dev")) == made.size("dev")


def test_one_decision_says_what_the_full_model_has() -> None:
    made = task()
    full = made.guess("dev")
    numbers = np.floor(made.references("dev"))
    full[numbers == 0] = 1.0
    # Three of twelve: the bootstrap cannot tell, and each of its seeds says something else.
    full[np.flatnonzero(numbers == 3)[:3]] = 1.0

    def have(by: LanguageTask) -> set[frozenset[str]]:
        found = [by.retained("dev", full, full, seed=seed, resamples=100) for seed in range(30)]
        return {frozenset(one.full.ability for one in kept if one.full.learned) for kept in found}

    with_full_model = made.with_full_model(full)
    assert with_full_model.learned is not None
    assert len(have(made)) == 2
    assert have(with_full_model) == {frozenset(with_full_model.learned)}
    assert "counted" not in made.facts()
    assert with_full_model.facts()["counted"] == list(with_full_model.learned)


def test_what_one_process_found_out_another_need_not(monkeypatch: pytest.MonkeyPatch) -> None:
    made, again = (task(bos_token="auto", source=str(checkpoint())) for _ in range(2))
    made.load(str(checkpoint()), seed=0)
    assert not again.shared_state()
    again.load_shared_state(json.loads(json.dumps(made.shared_state())))

    def refuse(*_: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(language_task, "choose_bos_token", refuse)
    again.load(str(checkpoint()), seed=0)
    assert again.bos_token == made.bos_token
    assert again.size("dev") == made.size("dev")
