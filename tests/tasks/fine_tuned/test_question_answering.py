"""Extractive question answering: answers and losses against plain loops of transformers, at any batch size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertForQuestionAnswering

from builders.encoders import some_sites
from builders.task_types import bert, question_rows, splitting_tokenizer
from tombola.checkpoints.export_onnx import save_onnx
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import EvaluationOptions, evaluate, score
from tombola.subnetworks.equivalence import largest_difference
from tombola.subnetworks.subnetwork import masked, shrunk, whole
from tombola.tasks.fine_tuned.question_answering import QuestionAnsweringTask
from tombola.training.loop import train
from tombola.training.recipe import Recipe

DEV = question_rows(30, 2)


def build(rows: Any = None, dev: Any = None, **options: Any) -> QuestionAnsweringTask:
    return QuestionAnsweringTask.from_rows(
        rows or question_rows(60, 1), dev or DEV, splitting_tokenizer(), **{"max_length": 32, **options}
    )


def plain(model: nn.Module, row: dict[str, Any]) -> tuple[str, torch.Tensor]:
    """The answer by a loop over all spans, and transformers' own loss, of one question without padding."""
    encoding = splitting_tokenizer()(row["question"], row["context"], return_offsets_mapping=True, return_tensors="pt")
    offsets, of = encoding.pop("offset_mapping")[0].tolist(), encoding.sequence_ids(0)
    inside = [index for index, one in enumerate(of) if one == 1]
    begin = row["answers"]["answer_start"][0]
    end = begin + len(row["answers"]["text"][0])
    first = next(index for index in inside if offsets[index][0] == begin)
    last = next(index for index in inside if offsets[index][1] == end)
    found = model(
        input_ids=encoding["input_ids"], start_positions=torch.tensor([first]), end_positions=torch.tensor([last])
    )
    spans = [(a, b) for a in inside for b in inside if a <= b]
    best = max(spans, key=lambda pair: float(found.start_logits[0, pair[0]] + found.end_logits[0, pair[1]]))
    return row["context"][offsets[best[0]][0] : offsets[best[1]][1]], found.loss


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_padding_changes_no_answer_and_no_loss(batch_size: int) -> None:
    task, model = build(), bert(BertForQuestionAnswering)
    found = score(model, task, options=EvaluationOptions(batch_size=batch_size))
    with torch.no_grad():
        answers, losses = zip(*(plain(model, row) for row in DEV), strict=True)
    texts = [row["context"][begin:end] for row, (_, begin, end) in zip(DEV, found.predictions.tolist(), strict=True)]
    assert texts == [*answers]
    np.testing.assert_allclose(found.losses, torch.stack(losses), atol=1e-5)
    right = np.mean([text == row["answers"]["text"][0] for text, row in zip(texts, DEV, strict=True)])
    assert task.more["exact_match"][1].score(found.predictions, task.references("dev")) == pytest.approx(right)
    assert task.metric.score(task.references("dev"), task.references("dev")) == 1


def test_importance_is_the_gradient_of_each_questions_own_loss() -> None:
    task, model = build(), bert(BertForQuestionAnswering)
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
        sizes.append(float(torch.autograd.grad(plain(model, row)[1], factor)[0].abs()))
        hook.remove()
    assert float(found["heads"][1, 2]) == pytest.approx(np.mean(sizes), rel=1e-3)
    ticket = some_sites(model, 1)
    assert largest_difference(masked(model, ticket), shrunk(model, ticket)) < 1e-5


def test_training_learns_to_answer_and_to_give_none() -> None:
    task = build(question_rows(240, 1, answerless=True), question_rows(60, 2, answerless=True))
    model = bert(BertForQuestionAnswering, scale=0.05)
    train(model, task, Recipe(epochs=6, batch_size=16, learning_rate=5e-3), seed=0)
    found = score(model, task)
    assert found.score > 0.9
    empty = [begin == end for _, begin, end in found.predictions.tolist()]
    assert np.mean([none == (number % 4 == 0) for number, none in enumerate(empty)]) > 0.9


def test_an_answer_that_is_cut_off_has_no_loss_and_is_counted() -> None:
    context = "word1 " * 30 + "fine1"
    answers = {"text": ["fine1"], "answer_start": [len(context) - 5]}
    late = {"question": "word2 ?", "context": context, "answers": answers}
    task, model = build(dev=[*DEV, late], max_length=24), bert(BertForQuestionAnswering)
    with pytest.warns(UserWarning, match="the answers to 1 of 31 questions of the dev split of your-data lie behind"):
        found = score(model, task)
    assert found.losses[-1] == 0
    assert task.more["exact_match"][1].score(found.predictions[-1:], task.references("dev")[-1:]) == 0
    with pytest.raises(TombolaError, match=r"question 1 of the split dev .* has 33 tokens without its text"):
        build(dev=[{**DEV[0], "question": "word1 " * 30}], max_length=24).encoded("dev")


def test_a_graph_of_two_outputs_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = bert(BertForQuestionAnswering)
    with pytest.raises(TombolaError, match="a graph has one output, and this BertForQuestionAnswering gives start_log"):
        save_onnx(model, some_sites(model, 1), tmp_path / "graph")


def test_rows_that_do_not_fit_are_one_clear_line() -> None:
    def refused(change: dict[str, Any]) -> str:
        with pytest.raises(TombolaError) as caught:
            build(dev=[{**DEV[0], **change}])
        return str(caught.value)

    place = "dev row 0 (the first is 0)"
    assert f"{place}: the answer 'x' does not stand at character 3" in refused(
        {"answers": {"text": ["x"], "answer_start": [3]}}
    )
    assert "has no answers as SQuAD has them" in refused({"answers": "fine1"})
    assert "has None where a text should be" in refused({"question": None})
    listed = [{"text": DEV[0]["answers"]["text"][0], "answer_start": DEV[0]["answers"]["answer_start"][0]}]
    as_list = build(dev=[{**DEV[0], "answers": listed}])
    assert as_list.references("dev").tolist() == build(dev=DEV[:1]).references("dev").tolist()
