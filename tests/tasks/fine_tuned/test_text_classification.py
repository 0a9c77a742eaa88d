"""Batches, losses and scores of texts; models of every origin."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sk
from sklearn.utils.class_weight import compute_class_weight
from tokenizers import processors
from torch import nn
from transformers import (
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2Model,
    PreTrainedModel,
)

from builders.encoders import classifier, config, rows, synthetic, tokenizer
from tombola.checkpoints.loading import tokenizer_of
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions, evaluate, score
from tombola.pruning.search.loop import search_ticket
from tombola.pruning.search.options import SearchOptions
from tombola.subnetworks.subnetwork import whole
from tombola.tasks.base import Batch
from tombola.tasks.data.corpus import Corpus, Texts
from tombola.tasks.fine_tuned.class_order import order_of
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedOptions
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.training.loop import train
from tombola.training.recipe import Recipe


def build(train: Any = None, dev: Any = None, **options: Any) -> TextTask:
    return TextTask.from_rows(train or rows(120, 1), dev or rows(40, 2), tokenizer(), **options)


def order(batches: Iterator[Batch]) -> list[list[int]]:
    return [batch.indices.tolist() for batch in batches]


@pytest.mark.parametrize("shuffle", [None, 0, 7])
@pytest.mark.parametrize("size", [1, 7, 32, 1000])
def test_every_example_comes_exactly_once(shuffle: int | None, size: int) -> None:
    task = build()
    found = order(task.batches("train", size, shuffle=shuffle))
    assert sorted(index for batch in found for index in batch) == list(range(120))
    assert sorted(map(len, found)) == sorted([size] * (120 // size) + [120 % size] * (120 % size > 0))


def test_more_examples_than_a_bucket_holds_come_once_too() -> None:
    task = build(rows(230, 1))
    found = order(task.batches("train", 2, shuffle=1))
    assert sorted(index for batch in found for index in batch) == list(range(230))
    assert all(len(batch) == 2 for batch in found)


def test_an_order_is_its_seeds() -> None:
    task = build()
    state = torch.get_rng_state()
    orders = [order(task.batches("train", 8, shuffle=seed)) for seed in (0, 0, 1, 2)]
    assert orders[0] == orders[1]
    assert len({str(found) for found in orders}) == 3
    fixed = [order(build().batches("train", 8)) for _ in range(2)]
    assert fixed[0] == fixed[1]
    assert torch.equal(torch.get_rng_state(), state)
    # The batches do not come from short to long.
    lengths = [batch.inputs["input_ids"].shape[1] for batch in task.batches("train", 8, shuffle=0)]
    assert lengths != sorted(lengths)


def test_a_text_without_tokens_is_read_as_the_token_that_texts_begin_with() -> None:
    """GPT-2's tokenizer adds nothing of itself: a batch of blank texts had no tokens at all."""
    bare = tokenizer()
    bare.backend_tokenizer.post_processor = processors.Sequence([])
    bare.eos_token = "[SEP]"
    # Own data with blank texts is refused; a few of GLUE's are blank.
    made = Corpus.from_rows(rows(32, 1), rows(10, 2), ("text", None, "label"), regression=False, name="blank")
    texts = made.splits["train"]
    blank = replace(texts, first=(*texts.first[:30], " ", ""))
    corpus = replace(made, splits={**made.splits, "train": blank})
    task = TextTask(corpus, bare)
    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=64, bos_token_id=3, eos_token_id=3, pad_token_id=0)
    model = GPT2ForSequenceClassification(config).eval()
    alone, beside = (
        next(batch for batch in task.batches("train", size) if 30 in batch.indices.tolist()) for size in (1, 32)
    )
    assert alone.inputs["input_ids"].tolist() == [[bare.eos_token_id]]
    losses = task.output(model, beside).losses[beside.indices.tolist().index(30)]
    torch.testing.assert_close(task.output(model, alone).losses[0], losses)
    bare.eos_token = None
    with pytest.raises(TombolaError, match=r"the text of row 31 of the split train .* has no tokens"):
        next(TextTask(corpus, bare).batches("train", 4))


def test_batches_of_similar_length_waste_little_padding() -> None:
    task = build(rows(400, 1, longest=24))
    lengths = np.array([len(row["text"].split()) + 2 for row in rows(400, 1, longest=24)])

    def share_wasted(groups: list[list[int]]) -> float:
        padded = sum(len(group) * lengths[group].max() for group in groups)
        return float(1 - lengths.sum() / padded)

    drawn = np.random.default_rng(0).permutation(400)
    at_random = share_wasted([drawn[i : i + 16].tolist() for i in range(0, 400, 16)])
    assert at_random > 0.25
    for shuffle in (None, 0):
        batches = list(task.batches("train", 16, shuffle=shuffle))
        mask = torch.cat([batch.inputs["attention_mask"].flatten() for batch in batches])
        wasted = 1 - float(mask.double().mean())
        assert wasted == pytest.approx(share_wasted([batch.indices.tolist() for batch in batches]))
        assert wasted < 0.2 * at_random


def test_a_batch_holds_the_rows_that_its_indices_say() -> None:
    train, task = rows(120, 1), build()
    for batch in task.batches("train", 16, shuffle=3):
        for place, index in enumerate(batch.indices):
            kept = batch.inputs["attention_mask"][place].bool()
            words = task.tokenizer.convert_ids_to_tokens(batch.inputs["input_ids"][place][kept].tolist())
            assert words == ["[CLS]", *train[index]["text"].split(), "[SEP]"]
            assert ("bad", "good")[int(batch.targets[place])] == train[index]["label"]


def test_long_texts_are_cut() -> None:
    made = [{"text": "word1 " * 100, "label": "a"}, {"text": "word2", "label": "b"}]
    task = build(made, made, max_length=10)
    assert max(batch.inputs["input_ids"].shape[1] for batch in task.batches("train", 1)) == 10
    # No longer than the tokenizer says that its model takes.
    task = build(made, made, max_length=1000)
    assert max(batch.inputs["input_ids"].shape[1] for batch in task.batches("train", 1)) == 32


def test_pairs_are_both_seen() -> None:
    pairs = [{"one": f"word{i}", "two": f"fine{i % 6}", "y": i % 2} for i in range(8)]
    task = build(pairs, pairs, text_column="one", text_pair_column="two", label_column="y")
    batch = next(task.batches("train", 8))
    found = {" ".join(task.tokenizer.convert_ids_to_tokens(row.tolist())) for row in batch.inputs["input_ids"]}
    assert found == {f"[CLS] word{i} [SEP] fine{i % 6} [SEP]" for i in range(8)}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_padding_does_not_change_losses_or_predictions(attention: str) -> None:
    # Float32 is what the task computes losses in.
    task, model = build(), classifier(attention=attention)
    alone, together = (evaluate(whole(model), task, EvaluationOptions(batch_size=size)) for size in (1, 40))
    np.testing.assert_allclose(alone.losses, together.losses, rtol=1e-6)
    assert alone.predictions.tolist() == together.predictions.tolist()


def test_predictions_and_losses_come_in_the_order_of_the_rows() -> None:
    task, model = build(), classifier()
    found = evaluate(whole(model), task, EvaluationOptions(batch_size=7))
    rows_ = rows(40, 2)
    for index in (0, 13, 39):
        ids = task.tokenizer(rows_[index]["text"], return_tensors="pt")
        with torch.no_grad():
            logits = model(**ids).logits[0]
        target = ("bad", "good").index(rows_[index]["label"])
        assert found.losses[index] == pytest.approx(float(-logits.log_softmax(0)[target]), rel=1e-5)
        assert found.predictions[index] == int(logits.argmax())
    right = [("bad", "good").index(row["label"]) for row in rows_]
    assert found.score == np.mean(found.predictions == right)
    assert task.references("dev").tolist() == right


def saved(model: PreTrainedModel, folder: Path) -> str:
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def labelled(names: dict[int, str], **more: Any) -> PreTrainedModel:
    return classifier(id2label=names, label2id={name: i for i, name in names.items()}, **more)


THREE = [{"text": f"word{i} {name}0", "label": name} for i in range(6) for name in ("fine", "poor", "word")]


def test_classes_of_a_model_in_another_order_are_put_in_ours() -> None:
    task = build(THREE, THREE)
    # A cycle, so that an order and its inverse differ.
    ours, theirs = labelled({0: "fine", 1: "poor", 2: "word"}), labelled({0: "POOR", 1: "word", 2: "Fine"})
    head = ours.get_submodule("classifier")
    other = theirs.get_submodule("classifier")
    assert isinstance(head, nn.Linear)
    assert isinstance(other, nn.Linear)
    with torch.no_grad():
        for place, index in enumerate((1, 2, 0)):
            other.weight[place] = head.weight[index]
            other.bias[place] = head.bias[index]
    a, b = (evaluate(whole(model), task) for model in (ours, theirs))
    np.testing.assert_allclose(a.losses, b.losses, rtol=1e-6)
    assert a.predictions.tolist() == b.predictions.tolist()
    theirs.config.id2label = {0: "fine", 1: "poor", 2: "word"}
    assert not np.allclose(evaluate(whole(theirs), task).losses, a.losses, atol=1e-2)


def test_a_model_without_names_has_the_classes_in_our_order() -> None:
    task = build()
    model = classifier()
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert evaluate(whole(model), task).score == evaluate(whole(labelled({0: "bad", 1: "good"})), task).score


@pytest.mark.parametrize(
    ("names", "classes", "order"),
    [
        (("us", "US"), ("US", "us"), [1, 0]),
        (("us", "US"), ("us", "US"), None),
        (("NEGATIVE", "POSITIVE"), ("positive", "negative"), [1, 0]),
        # Names that a library gave may be those of the rows, in the order of the alphabet for example.
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("LABEL_0", "LABEL_2", "LABEL_1"), [0, 2, 1]),
        (("LABEL_0", "LABEL_1"), ("bad", "good"), None),
    ],
)
def test_outputs_are_told_apart_by_their_own_spelling(
    names: tuple[str, ...], classes: tuple[str, ...], order: list[int] | None
) -> None:
    assert order_of(dict(enumerate(names)), classes, "moods") == order


@pytest.mark.parametrize(("names", "classes"), [(("A", "a"), ("A", "B")), (("A", "b"), ("A", "a")), ("aa", "ab")])
def test_outputs_that_cannot_be_told_apart_are_refused(names: tuple[str, ...], classes: tuple[str, ...]) -> None:
    with pytest.raises(TombolaError, match="moods; it knows"):
        order_of(dict(enumerate(names)), classes, "moods")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({0: "bad", 1: "neutral"}, r"lacks the label 'good'.*bad, neutral"),
        ({0: "bad", 1: "good", 2: "neutral"}, "has 3 outputs.*needs 2"),
    ],
)
def test_a_model_of_another_task_is_refused_in_one_line(names: dict[int, str], says: str, tmp_path: Path) -> None:
    task = build()
    model = labelled(names)
    source = saved(model, tmp_path)
    with pytest.raises(TombolaError, match=says) as caught:
        task.load(source, seed=0, state="trained")
    assert "\n" not in str(caught.value)
    with pytest.raises(TombolaError, match=says):
        score(model, task)


def test_a_trained_model_is_loaded_as_it_was_saved(checkpoint: Path, tmp_path: Path) -> None:
    task = build()
    model = task.load(str(checkpoint), seed=0)
    train(model, task, Recipe(epochs=1, learning_rate=1e-3))
    task.save(model, tmp_path)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in tmp_path.iterdir()}
    assert json.loads((tmp_path / "config.json").read_text())["id2label"] == {"0": "bad", "1": "good"}
    again = task.load(str(tmp_path), seed=9, state="trained")
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in again.state_dict().items())
    other = TextTask.from_rows(rows(20, 1), rows(40, 2), tokenizer_of(str(tmp_path)))
    np.testing.assert_array_equal(score(again, other).losses, score(model, task).losses)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("state", ["pretrained", "init", "trained"])
def test_models_are_loaded_in_fp32_whatever_they_were_saved_in(half: torch.dtype, state: Any, tmp_path: Path) -> None:
    source = saved(classifier(dtype=half), tmp_path)
    model = build().load(source, seed=0, state=state)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_loading_is_the_seeds_alone(checkpoint: Path) -> None:
    task = build()
    states = []
    for noise, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        model = task.load(str(checkpoint), seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        states.append(model.state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    differing = {name for name, tensor in states[0].items() if not torch.equal(tensor, states[2][name])}
    assert differing == {"classifier.weight"}
    pretrained = BertModel.from_pretrained(checkpoint).state_dict()
    assert all(torch.equal(states[0][f"bert.{name}"], tensor) for name, tensor in pretrained.items())


def test_an_untrained_checkpoint_is_no_trained_model(checkpoint: Path) -> None:
    with pytest.raises(TombolaError, match=r"was not fine-tuned.*classifier\.bias") as caught:
        build().load(str(checkpoint), seed=0, state="trained")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["nothing", "no weights", "garbled weights", "garbled configuration", "not a model"])
def test_a_folder_that_holds_no_model_is_one_clear_line(what: str, tmp_path: Path) -> None:
    source = saved(classifier(), tmp_path / "m")
    match what:
        case "nothing":
            source = str(tmp_path / "nowhere")
        case "no weights":
            (tmp_path / "m" / "model.safetensors").unlink()
        case "garbled weights":
            (tmp_path / "m" / "model.safetensors").write_bytes(b"\xff" * 50)
        case "garbled configuration":
            (tmp_path / "m" / "config.json").write_text("{")
        case _:
            (tmp_path / "m" / "config.json").write_text('{"model_type": "nonsense"}')
    with pytest.raises(TombolaError) as caught:
        build().load(source, seed=0)
    assert "\n" not in str(caught.value)
    assert source in str(caught.value)


def test_the_baseline_is_the_most_common_training_class() -> None:
    train = [{"text": "word0", "label": name} for name in ("b", "a", "b", "c")]
    dev = [{"text": "word0", "label": name} for name in ("a", "a", "c")]
    found = build(train, dev).guess("dev")
    assert found.tolist() == [1, 1, 1]
    assert found.dtype == np.int64


def test_held_out_rows_are_not_trained_on() -> None:
    everything = {row["text"] for row in rows(120, 1)}
    assert len(everything) == 120
    task = build(search_rows=30)
    held, trained = set(task.corpus.splits["search"].first), set(task.corpus.splits["train"].first)
    assert (len(held), len(trained)) == (task.size("search"), task.size("train")) == (30, 90)
    assert held | trained == everything
    # A sample of training rows is drawn from what is left.
    sampled = build(search_rows=30, train_rows=50)
    assert set(sampled.corpus.splits["search"].first) == held
    assert set(sampled.corpus.splits["train"].first) < trained
    assert sampled.size("train") == 50


def test_samples_are_seeded_and_keep_the_order_of_rows() -> None:
    task, again = build(train_rows=20, dev_rows=10), build(train_rows=20, dev_rows=10)
    texts = [row["text"] for row in rows(120, 1)]
    first = task.corpus.splits["train"].first
    assert first == again.corpus.splits["train"].first
    assert [texts.index(text) for text in first] == sorted(texts.index(text) for text in first)
    assert (task.size("train"), task.size("dev")) == (20, 10)
    assert first != tuple(texts[:20])
    assert build(train_rows=10_000, dev_rows=10_000).size("train") == 120


@pytest.mark.parametrize("asked", [0, 120, 500])
def test_more_held_out_rows_than_there_are_is_one_clear_line(asked: int) -> None:
    with pytest.raises(TombolaError, match="120 training rows"):
        build(search_rows=asked)


def test_an_unknown_split_is_one_clear_line() -> None:
    with pytest.raises(TombolaError, match=r"no split 'test'.*train, dev"):
        build().size("test")


def test_a_second_dev_split_has_its_own_metric() -> None:
    def texts(count: int, seed: int) -> Texts:
        made = rows(count, seed)
        labels = np.array([row["label"] == "good" for row in made], dtype=np.int64)
        return Texts(tuple(row["text"] for row in made), None, labels)

    corpus = Corpus(
        "mnli", {"train": texts(50, 1), "dev": texts(20, 2), "dev_mismatched": texts(30, 3)}, ("bad", "good")
    )
    task = TextTask(corpus, tokenizer(), FineTunedOptions(more={"accuracy": "dev_mismatched"}, dev_rows=15))
    (name, (split, metric)), *others = task.more.items()
    assert others == []
    assert (name, split, metric.name) == ("accuracy_mismatched", "dev_mismatched", "accuracy")
    assert (task.size("dev"), task.size("dev_mismatched")) == (15, 15)
    found = score(classifier(), task, options=EvaluationOptions(split))
    assert found.score == metric.score(found.predictions, task.references(split))
    assert TextTask(corpus, tokenizer(), FineTunedOptions(more={"f1": "dev"})).more["f1"][0] == "dev"


def test_regression_has_squared_errors_values_and_the_mean(checkpoint: Path, tmp_path: Path) -> None:
    made = [{"text": f"word{i % 9} fine{i % 6}", "label": i / 10} for i in range(30)]
    task = build(made, made, regression=True)
    assert task.metric.name == "pearson"
    model = task.load(str(checkpoint), seed=0)
    assert isinstance(model, BertForSequenceClassification)
    assert (model.config.num_labels, model.config.problem_type) == (1, "regression")
    found = score(model, task, importance=True)
    assert found.predictions.dtype == np.float64
    assert found.importance is not None
    with torch.no_grad():
        value = float(model.eval()(**task.tokenizer(made[7]["text"], return_tensors="pt")).logits)
    assert found.predictions[7] == pytest.approx(value, abs=1e-5)
    assert found.losses[7] == pytest.approx((value - 0.7) ** 2, abs=1e-5)
    assert task.guess("dev") == pytest.approx(np.full(30, np.mean([row["label"] for row in made])))
    train(model, task, Recipe(epochs=1, learning_rate=1e-3))
    assert score(model, task).losses.mean() < found.losses.mean()
    task.save(model, tmp_path)
    assert score(task.load(str(tmp_path), seed=0, state="trained"), task).predictions == pytest.approx(
        score(model, task).predictions
    )


def test_a_classifier_does_not_serve_for_regression(tmp_path: Path) -> None:
    made = [{"text": "word0", "label": i / 10} for i in range(4)]
    with pytest.raises(TombolaError, match=r"2 outputs.*needs 1"):
        build(made, made, regression=True).load(saved(classifier(), tmp_path), seed=0, state="trained")


def test_the_facts_are_json() -> None:
    task = build(search_rows=20, name="mine", title="My own")
    assert json.loads(json.dumps(task.facts())) == {
        "name": "mine",
        "title": "My own",
        "metric": "accuracy",
        "higher_is_better": True,
        "classes": ["bad", "good"],
        "rows": {"train": 100, "dev": 40, "search": 20},
        "available": {"train": 120, "dev": 40},
    }


def test_the_untrained_model_is_near_chance_on_the_synthetic_task(checkpoint: Path) -> None:
    # What tests of learning stand on.
    task = synthetic()
    assert abs(score(task.load(str(checkpoint), seed=0), task).score - 0.5) < 0.25
    assert math.isclose(np.mean(task.references("dev") == 0), 0.5, abs_tol=0.15)
    assert config("bert").vocab_size == len(task.tokenizer)


def test_a_metric_that_does_not_fit_the_labels_is_refused() -> None:
    values = [{"text": "good film", "label": 0.5}, {"text": "bad film", "label": 0.1}]
    classes = [{"text": "good", "label": name} for name in ("a", "b", "c")]
    for given, regression, name in ((values, True, "accuracy"), (classes, False, "pearson"), (classes, False, "f1")):
        with pytest.raises(TombolaError, match=f"{name} does not score"):
            TextTask.from_rows(given, given, tokenizer(), regression=regression, score=name)
    assert TextTask.from_rows(classes, classes, tokenizer(), score="matthews_correlation").metric.kind == "classes"


def test_a_length_that_only_special_tokens_fill_is_refused() -> None:
    rows = [{"text": "good", "label": 0}, {"text": "bad", "label": 1}]
    special = tokenizer().num_special_tokens_to_add()
    with pytest.raises(TombolaError, match="max_length must be over"):
        TextTask.from_rows(rows, rows, tokenizer(), max_length=special)


def test_the_search_split_exists_only_where_rows_were_held_out() -> None:
    rows = [{"text": "good", "label": 0}, {"text": "bad", "label": 1}] * 4
    with pytest.raises(TombolaError, match="has no split 'search'"):
        TextTask.from_rows(rows, rows, tokenizer()).size("search")
    assert TextTask.from_rows(rows, rows, tokenizer(), search_rows=3).size("search") == 3


def test_a_decoder_whose_tokenizer_has_no_padding_classifies(tmp_path: Path) -> None:
    bare = tokenizer()
    bare.pad_token = None
    bare.eos_token = bare.sep_token or bare.unk_token
    options: dict[str, Any] = {"vocab_size": len(bare), "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    GPT2Model(GPT2Config(bos_token_id=0, eos_token_id=1, **options)).save_pretrained(tmp_path)
    bare.save_pretrained(tmp_path)
    task = TextTask.from_rows(rows(120, 1), rows(40, 2), bare)
    model = task.load(str(tmp_path), seed=0)
    together, apart = (
        score(model, task, options=EvaluationOptions(batch_size=40)),
        score(model, task, options=EvaluationOptions(batch_size=1)),
    )
    np.testing.assert_allclose(together.losses, apart.losses, rtol=1e-4)
    train(model, task, Recipe(epochs=4, learning_rate=3e-3))
    assert score(model, task).score > together.score


def test_a_search_may_go_by_the_mean_of_both_correlations(checkpoint: Path) -> None:
    train_rows, dev_rows = (
        [{**row, "label": float(row["label"] == "good") + index % 3 / 9} for index, row in enumerate(rows(n, n))]
        for n in (80, 40)
    )
    task = TextTask.from_rows(train_rows, dev_rows, tokenizer(), regression=True, search="pearson_spearman")
    model = task.load(str(checkpoint), seed=0)
    train(model, task, Recipe(epochs=2, learning_rate=3e-3))
    full = score(model, task, importance=True)
    known = task.references("dev")
    both = pearsonr(full.predictions, known)[0], spearmanr(full.predictions, known)[0]
    assert full.score == pytest.approx(both[0])
    options = SearchOptions(threshold=0.5)
    for given in (full, None):
        found = search_ticket(model, task, "heads", options=options, full=given)
        assert found.full_score == pytest.approx(sum(both) / 2)
        assert found.good.provenance["metric"] == "pearson_spearman"
    assert task.facts()["search_metric"] == "pearson_spearman"
    assert "search_metric" not in TextTask.from_rows(train_rows, dev_rows, tokenizer(), regression=True).facts()
    with pytest.raises(TombolaError, match="accuracy does not score values"):
        TextTask.from_rows(train_rows, dev_rows, tokenizer(), regression=True, search="accuracy")


def test_rows_of_pandas_are_those_of_dictionaries() -> None:
    train, dev = rows(40, 1), rows(20, 2)
    found = TextTask.from_rows(pd.DataFrame(train), pd.DataFrame(dev), tokenizer())
    expected = TextTask.from_rows(train, dev, tokenizer())
    assert found.corpus.splits["train"].first == expected.corpus.splits["train"].first
    np.testing.assert_array_equal(found.references("dev"), expected.references("dev"))


def test_splits_by_names_are_no_rows() -> None:
    splits = {"train": rows(40, 1), "validation": rows(20, 2)}
    with pytest.raises(TombolaError, match="not splits by names; give them one by one, as 'train'"):
        TextTask.from_rows(splits, splits, tokenizer())  # type: ignore[arg-type]


def test_a_ranking_is_scored_by_probabilities(checkpoint: Path) -> None:
    task = build(score="roc_auc")
    model = task.load(str(checkpoint), seed=0)
    train(model, task, Recipe(epochs=2, learning_rate=3e-3))
    found = score(model, task)
    dev = rows(40, 2)
    with torch.no_grad():
        alone = [
            torch.softmax(model(**tokenizer()(row["text"], return_tensors="pt")).logits, -1)[0, 1].item() for row in dev
        ]
    labels = [task.corpus.classes.index(row["label"]) for row in dev]  # type: ignore[union-attr]
    np.testing.assert_allclose(found.predictions, alone, atol=1e-5)
    assert found.score == pytest.approx(sk.roc_auc_score(labels, alone))
    assert task.metric.score(task.guess("dev"), task.references("dev")) == 0.5
    assert task.misread(found.predictions, "dev") is None
    assert "run against those of your-data (roc_auc" in str(task.misread(1 - found.predictions, "dev"))
    with pytest.raises(TombolaError, match="roc_auc and accuracy cannot score one model"):
        build(score="roc_auc", search="accuracy")
    with pytest.raises(TombolaError, match="roc_auc does not score values"):
        build(values := [{"text": str(n), "label": n} for n in range(9)], values, score="roc_auc", regression=True)


def test_a_function_is_a_metric_too(checkpoint: Path) -> None:
    task = build(score=sk.balanced_accuracy_score)
    found = score(task.load(str(checkpoint), seed=0), task)
    assert found.score == pytest.approx(sk.balanced_accuracy_score(task.references("dev"), found.predictions))
    assert task.facts()["metric"] == "balanced_accuracy_score"


def test_balanced_classes_weigh_alike(checkpoint: Path) -> None:
    data = [{"text": f"word {n}", "label": "rare" if n % 8 == 0 else "usual"} for n in range(40)]
    plain, balanced = build(data, data), build(data, data, class_weights="balanced")
    model = plain.load(str(checkpoint), seed=0).eval()
    labels = plain.references("train")
    wanted = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels)[labels]
    for ours, theirs in zip(balanced.batches("train", 8), plain.batches("train", 8), strict=True):
        with torch.no_grad():
            losses, unweighted = balanced.output(model, ours).losses, plain.output(model, theirs).losses
        np.testing.assert_allclose(losses, unweighted * torch.from_numpy(wanted[ours.indices]), rtol=1e-5)
    with pytest.raises(TombolaError, match="unknown class_weights 'even'; known: none, balanced"):
        build(class_weights="even")
    values = [{"text": str(n), "label": n} for n in range(9)]
    with pytest.raises(TombolaError, match="class_weights are of classes"):
        build(values, values, regression=True, class_weights="balanced")
