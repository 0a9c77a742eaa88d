"""Token classification: scores, losses and importance against plain loops of transformers, at any batch size."""

from typing import Any

import datasets
import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast

from builders.task_types import TAGS, bert, splitting_tokenizer, tagged_rows
from tombola.analysis.forward_passes import SampleOptions, sampled
from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import NOTHING
from tombola.pruning.evaluation import EvaluationOptions, evaluate, score
from tombola.subnetworks.subnetwork import whole
from tombola.tasks.fine_tuned.token_classification import TokenClassificationTask
from tombola.training.loop import train
from tombola.training.recipe import Recipe

LABELS: Any = {"id2label": dict(enumerate(TAGS)), "label2id": {name: i for i, name in enumerate(TAGS)}}


def named(rows: list[dict[str, Any]]) -> datasets.Dataset:
    """Names of tags by id, as a hub data set has them."""
    features = datasets.Features(
        tokens=datasets.List(datasets.Value("string")), ner_tags=datasets.List(datasets.ClassLabel(names=[*TAGS]))
    )
    return datasets.Dataset.from_list(rows, features=features)


def build(train: Any = None, dev: Any = None, **options: Any) -> TokenClassificationTask:
    splits = named(train or tagged_rows(60, 1)), named(dev or DEV)
    return TokenClassificationTask.from_rows(*splits, splitting_tokenizer(), **options)


DEV = tagged_rows(40, 2)


def plain(model: nn.Module, rows: list[dict[str, Any]]) -> tuple[list[list[int]], list[float]]:
    """Tags of every word, and the mean loss of a sentence, one sentence at a time, without any padding."""
    tokenizer, predicted, losses = splitting_tokenizer(), [], []
    for row in rows:
        encoding = tokenizer([row["tokens"]], is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(input_ids=encoding["input_ids"]).logits[0]
        words = encoding.word_ids(0)
        first = [words.index(word) for word in range(len(row["tokens"]))]
        gold = torch.tensor([TAGS.index(tag) for tag in row["ner_tags"]])
        predicted.append(logits[first].argmax(-1).tolist())
        losses.append(float(nn.functional.cross_entropy(logits[first], gold)))
    return predicted, losses


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_padding_changes_no_tag_loss_or_score(batch_size: int) -> None:
    task, model = build(), bert(**LABELS)
    predicted, losses = plain(model, DEV)
    found = score(model, task, options=EvaluationOptions(batch_size=batch_size))
    assert [[tag for tag in row if tag != NOTHING] for row in found.predictions.tolist()] == predicted
    assert found.predictions.shape == (len(DEV), task.width)
    np.testing.assert_allclose(found.losses, losses, atol=1e-5)
    right = sum(
        TAGS[a] == b for row, of in zip(predicted, DEV, strict=True) for a, b in zip(row, of["ner_tags"], strict=True)
    )
    words = sum(len(row["tokens"]) for row in DEV)
    assert task.more["token_accuracy"][1].score(found.predictions, task.references("dev")) == pytest.approx(
        right / words
    )
    assert task.metric.name == "entity_f1"


def test_importance_is_the_gradient_of_each_sentences_own_loss() -> None:
    """Against autograd through a factor on one head's slice, a sentence at a time."""
    task, model = build(), bert(**LABELS)
    found = evaluate(whole(model), task, EvaluationOptions(batch_size=16), importance=True).importance
    assert found is not None
    tokenizer, sizes = splitting_tokenizer(), []
    dense = model.get_submodule("bert.encoder.layer.1.attention.output.dense")
    for row in DEV:
        factor = torch.ones(1, requires_grad=True)

        def scaled(_: nn.Module, inputs: tuple[torch.Tensor, ...], factor: torch.Tensor = factor) -> torch.Tensor:
            x = inputs[0]
            return torch.cat([x[..., :16], x[..., 16:24] * factor, x[..., 24:]], -1)

        hook = dense.register_forward_pre_hook(scaled)
        encoding = tokenizer([row["tokens"]], is_split_into_words=True, return_tensors="pt")
        words = encoding.word_ids(0)
        first = [words.index(word) for word in range(len(row["tokens"]))]
        gold = torch.tensor([TAGS.index(tag) for tag in row["ner_tags"]])
        loss = nn.functional.cross_entropy(model(input_ids=encoding["input_ids"]).logits[0][first], gold)
        sizes.append(float(torch.autograd.grad(loss, factor)[0].abs()))
        hook.remove()
    assert float(found["heads"][1, 2]) == pytest.approx(np.mean(sizes), rel=1e-3)


def test_training_learns_the_tags() -> None:
    task = build(tagged_rows(200, 1))
    model = bert(scale=0.05, **LABELS)
    train(model, task, Recipe(epochs=4, batch_size=16, learning_rate=5e-3), seed=0)
    assert score(model, task).score > 0.9
    assert task.metric.score(task.guess("dev"), task.references("dev")) < 0.3


def test_words_that_are_cut_off_are_not_judged_and_are_counted() -> None:
    long = [{"tokens": ["word0"] * 20 + ["fine0"], "ner_tags": ["O"] * 20 + ["B-GOOD"]}, *DEV]
    task = build(dev=long, max_length=12)
    with pytest.warns(UserWarning, match=r"11 of \d+ words of the dev split of your-data are not judged: .* token 12 "):
        references = task.references("dev")
    assert references.shape == (len(long), task.width)
    assert (references[0] != NOTHING).sum() == 10


def test_a_sample_of_a_batch_keeps_tags_beside_their_words() -> None:
    """Padding that no row of the sample needs goes, of the targets too."""
    task, model = build(dev=[*DEV, *tagged_rows(1, 3, longest=24)]), bert(**LABELS)
    predicted, _ = plain(model, DEV)
    for batch in sampled(task, SampleOptions(sample=9, batch_size=4)):
        output = task.output(model, batch)
        for index, row in zip(batch.indices, output.predictions.tolist(), strict=True):
            if index < len(DEV):
                assert [tag for tag in row if tag != NOTHING] == predicted[index]


def test_a_model_whose_tags_are_in_another_order_is_read_in_its_own(tmp_path: Any) -> None:
    task, model = build(), bert(**LABELS)
    order = [2, 0, 4, 1, 3]
    moved = bert(
        id2label={i: TAGS[old] for i, old in enumerate(order)}, label2id={TAGS[o]: i for i, o in enumerate(order)}
    )
    moved.classifier.load_state_dict({name: value[order] for name, value in model.classifier.state_dict().items()})
    expected, found = score(model, task), score(moved, task)
    assert (found.predictions == expected.predictions).all()
    np.testing.assert_allclose(found.losses, expected.losses, atol=1e-6)
    task.save(moved, tmp_path)
    again = task.load(str(tmp_path), seed=0, state="trained")
    assert (score(again, task).predictions == expected.predictions).all()
    with pytest.raises(TombolaError, match="the model lacks the label 'O'"):
        task.output(bert(id2label=dict(enumerate("abcde")), label2id={}), next(task.batches("dev", 4)))


def test_rows_that_do_not_fit_are_one_clear_line() -> None:
    def refused(row: dict[str, Any]) -> str:
        with pytest.raises(TombolaError) as caught:
            TokenClassificationTask.from_rows([*DEV, row], DEV, splitting_tokenizer())
        return str(caught.value)

    assert "row 40 (the first is 0) has 2 words and 1 tags" in refused({"tokens": ["a", "b"], "ner_tags": ["O"]})
    assert "has no list in its column 'tokens'" in refused({"tokens": "a b", "ner_tags": ["O"]})
    assert "has None among its words" in refused({"tokens": [None], "ner_tags": ["O"]})
    assert "has 0.5 among its tags" in refused({"tokens": ["a"], "ner_tags": [0.5]})
    # Training need not have all of them, as it may have few.
    rare = TokenClassificationTask.from_rows(DEV, [{"tokens": ["a"], "ner_tags": ["B-X"]}], splitting_tokenizer())
    assert "B-X" in rare.classes
    with pytest.raises(TombolaError, match=r"dev row 0 .* has the tag 5, and there are 5 of them"):
        TokenClassificationTask.from_rows(named(DEV), [{"tokens": ["a"], "ner_tags": [5]}], splitting_tokenizer())
    with pytest.raises(TombolaError, match="no column 'tokens' or 'words' for the words; name one of: text"):
        TokenClassificationTask.from_rows([{"text": "a"}], DEV, splitting_tokenizer())
    parts = [{"words": ["word1", "fine0"], "pos_tags": ["NOUN", "VERB"]}] * 4
    task = TokenClassificationTask.from_rows(parts, parts, splitting_tokenizer())
    assert task.metric.name == "token_accuracy"
    with pytest.raises(TombolaError, match="entity_f1 needs tags in IOB"):
        TokenClassificationTask.from_rows(parts, parts, splitting_tokenizer(), score="entity_f1")


def test_bytes_keep_the_space_before_a_word_and_words_their_first_token() -> None:
    """GPT-2's tokens of words by themselves are those of words without any space between them."""
    core = Tokenizer(models.BPE({"a": 0, "b": 1, "Ġ": 2, "Ġb": 3, "ab": 4, "<pad>": 5}, [("Ġ", "b"), ("a", "b")]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", model_max_length=9)
    rows = [{"tokens": ["ab", "b", "é", "bb"], "ner_tags": ["O", "B-X", "O", "I-X"]}]
    with pytest.warns(UserWarning, match="1 of 4 words"):
        (example,) = TokenClassificationTask.from_rows(rows, rows, made).encoded("dev")
    # What is no byte of the vocabulary has no token at all.
    assert made.convert_ids_to_tokens(example["input_ids"]) == ["ab", "Ġb", "Ġ", "Ġb", "b"]
    assert example["labels"] == [2, 0, NOTHING, 1, NOTHING]


def test_tags_weigh_alike_and_those_in_another_order_are_told() -> None:
    balanced, model = build(class_weights="balanced"), bert(**LABELS)
    tags = np.array([TAGS.index(tag) for row in tagged_rows(60, 1) for tag in row["ner_tags"]])
    weights = torch.tensor(compute_class_weight("balanced", classes=np.arange(len(TAGS)), y=tags)).float()
    found = score(model, balanced).losses
    for row, loss in zip(DEV, found, strict=True):
        encoding = splitting_tokenizer()([row["tokens"]], is_split_into_words=True, return_tensors="pt")
        first = [encoding.word_ids(0).index(word) for word in range(len(row["tokens"]))]
        with torch.no_grad():
            logits = model(input_ids=encoding["input_ids"]).logits[0][first]
        gold = torch.tensor([TAGS.index(tag) for tag in row["ner_tags"]])
        losses = nn.functional.cross_entropy(logits, gold, reduction="none", weight=weights)
        assert loss == pytest.approx(float(losses.mean()), rel=1e-4)
    with pytest.raises(TombolaError, match="unknown metric of tags 'roc_auc'; known: token_accuracy, entity_f1"):
        build(score="roc_auc")
    for task in (build(), build(score="token_accuracy")):
        right = task.references("dev")
        there = right != NOTHING
        assert task.misread(right, "dev") is None
        turned = np.where(there, (right + 1) % len(TAGS), NOTHING)
        assert "(0: I-BAD, 1: O, 2: B-GOOD, 3: I-GOOD, 4: B-BAD)" in str(task.misread(turned, "dev"))
        drawn = np.random.default_rng(0).integers(0, len(TAGS), size=(50, *right.shape))
        assert [task.misread(np.where(there, one, NOTHING), "dev") for one in drawn] == [None] * 50
