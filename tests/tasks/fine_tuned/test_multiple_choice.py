"""Multiple choice: scores, losses and importance against plain loops of transformers, at any batch size."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertForMultipleChoice

from builders.encoders import some_sites
from builders.task_types import bert, choice_rows, splitting_tokenizer
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions, evaluate, score
from tombola.pruning.weight_criteria import WeightCut
from tombola.pruning.weight_pruning import prune_weights
from tombola.subnetworks.equivalence import largest_difference
from tombola.subnetworks.subnetwork import masked, shrunk, whole
from tombola.tasks.fine_tuned.multiple_choice import MultipleChoiceTask
from tombola.training.loop import train
from tombola.training.recipe import Recipe

DEV = choice_rows(30, 2)


def build(rows: int = 60, dev: Any = None, **options: Any) -> MultipleChoiceTask:
    return MultipleChoiceTask.from_rows(choice_rows(rows, 1), dev or DEV, splitting_tokenizer(), **options)


def plain(model: nn.Module, row: dict[str, Any]) -> torch.Tensor:
    """Score of each ending, one by one, without padding: [1, 4]."""
    found = []
    for place in range(4):
        given = splitting_tokenizer()(row["sent1"], f"{row['sent2']} {row[f'ending{place}']}", return_tensors="pt")
        found.append(model(input_ids=given["input_ids"][None], attention_mask=given["attention_mask"][None]).logits)
    return torch.cat(found, 1)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_padding_changes_no_answer_and_no_loss(batch_size: int) -> None:
    model = bert(BertForMultipleChoice)
    found = score(model, build(), options=EvaluationOptions(batch_size=batch_size))
    with torch.no_grad():
        logits = torch.cat([plain(model, row) for row in DEV])
    labels = torch.tensor([row["label"] for row in DEV])
    assert found.predictions.tolist() == logits.argmax(1).tolist()
    np.testing.assert_allclose(found.losses, nn.functional.cross_entropy(logits, labels, reduction="none"), atol=1e-5)
    assert found.score == pytest.approx(float((logits.argmax(1) == labels).double().mean()))


def test_a_head_is_as_important_as_it_is_to_the_questions_own_loss() -> None:
    """The gates of a question hold for all of its answers: against autograd through a factor, and a deleted head."""
    model, task = bert(BertForMultipleChoice), build()
    found = evaluate(whole(model), task, EvaluationOptions(batch_size=16), importance=True).importance
    assert found is not None
    sizes = []
    dense = model.get_submodule("bert.encoder.layer.1.attention.output.dense")
    for row in DEV:
        factor = torch.ones(1, requires_grad=True)

        def scaled(_: nn.Module, inputs: tuple[torch.Tensor, ...], factor: torch.Tensor = factor) -> torch.Tensor:
            x = inputs[0]
            return torch.cat([x[..., :16], x[..., 16:24] * factor, x[..., 24:]], -1)

        hook = dense.register_forward_pre_hook(scaled)
        loss = nn.functional.cross_entropy(plain(model, row), torch.tensor([row["label"]]))
        sizes.append(float(torch.autograd.grad(loss, factor)[0].abs()))
        hook.remove()
    assert float(found["heads"][1, 2]) == pytest.approx(np.mean(sizes), rel=1e-3)


def test_a_pruned_model_is_the_same_masked_and_shrunk() -> None:
    model, task = bert(BertForMultipleChoice), build()
    ticket = some_sites(model, 1)
    assert largest_difference(masked(model, ticket), shrunk(model, ticket)) < 1e-5
    one, other = (evaluate(make(model, ticket), task).losses for make in (masked, shrunk))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_wanda_sees_the_texts_of_all_answers() -> None:
    """Norms of what the first layer's queries multiply, from the embeddings of each text by itself."""
    model, task = bert(BertForMultipleChoice), build()
    batches = task.calibration_text(32, 16, 0)
    ticket = prune_weights(model, WeightCut("wanda", 0.5), calibration=batches).ticket
    examples = [index for batch in batches for index in batch.indices]  # type: ignore[union-attr]
    rows = choice_rows(60, 1)
    squares = torch.zeros(32, dtype=torch.float64)
    with torch.no_grad():
        for index in examples:
            for place in range(4):
                row = rows[index]
                text = (row["sent1"], f"{row['sent2']} {row[f'ending{place}']}")
                ids = splitting_tokenizer()(*text, return_tensors="pt")["input_ids"]
                squares += model.bert.embeddings(input_ids=ids)[0].double().square().sum(0)
    matrix = next(one for one in dissect(model).matrices if one.layer == 0 and one.role == "query")
    scores = model.get_parameter(matrix.parameter).detach().abs() * squares.sqrt()
    expected = torch.zeros_like(scores, dtype=torch.bool)
    expected.scatter_(1, scores.topk(16, dim=1).indices, True)
    assert torch.equal(ticket.masks[matrix.name], expected)


def test_training_learns_to_choose() -> None:
    task, model = build(200), bert(BertForMultipleChoice, scale=0.05)
    train(model, task, Recipe(epochs=4, batch_size=16, learning_rate=5e-3), seed=0)
    assert score(model, task).score > 0.8


def test_answers_come_in_a_list_with_letters_too() -> None:
    rows = [
        {
            "question": "word1",
            "choices": {"label": ["A", "B", "C"], "text": ["fine1", "poor1", "word3"]},
            "answerKey": "B",
        },
        {
            "question": "word2",
            "choices": {"label": ["A", "B", "C"], "text": ["poor1", "fine1", "word3"]},
            "answerKey": "A",
        },
    ]
    task = MultipleChoiceTask.from_rows(rows, rows, splitting_tokenizer())
    assert task.references("dev").tolist() == [1, 0]
    assert task.answers == 3
    plain_list = [{"ctx": "word1", "endings": ["fine1", "poor1"], "label": "1"}] * 2
    assert MultipleChoiceTask.from_rows(plain_list, plain_list, splitting_tokenizer()).references("dev").tolist() == [
        1,
        1,
    ]


@pytest.mark.parametrize("names", [["A", "B", "C"], ["A"], "AB", 2])
def test_answers_have_as_many_names_as_there_are(names: Any) -> None:
    # A name too many would be the place of an answer that there is not.
    rows = [{"question": "word1", "choices": {"label": names, "text": ["fine1", "poor1"]}, "answerKey": "A"}] * 2
    with pytest.raises(TombolaError, match=r"calls its 2 answers .*; give as many names, or none"):
        MultipleChoiceTask.from_rows(rows, rows, splitting_tokenizer())


def test_rows_that_do_not_fit_are_one_clear_line() -> None:
    def refused(change: dict[str, Any]) -> str:
        with pytest.raises(TombolaError) as caught:
            build(dev=[*DEV, {**DEV[0], **change}])
        return str(caught.value)

    assert "dev row 30 (the first is 0): label 4 is none of the 4 answers" in refused({"label": 4})
    assert "has no label (as test splits do)" in refused({"label": -1})
    assert "has None where a text should be" in refused({"ending2": None})
    assert "some rows have 4 answers, others 5" in refused({"ending4": "word1"})
    with pytest.raises(TombolaError, match="f1 does not score 4 classes"):
        build(score="f1")
    two = [{"ctx": "word1", "endings": ["fine1", "poor1"], "label": n % 2} for n in range(4)]
    with pytest.raises(TombolaError, match="roc_auc is of a class, and the places of right answers are none"):
        MultipleChoiceTask.from_rows(two, two, splitting_tokenizer(), score="roc_auc")
    with pytest.raises(TombolaError, match="class_weights are of classes, and the places of right answers are none"):
        build(class_weights="balanced")
