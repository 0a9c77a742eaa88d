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
from tombola.analysis.forward_passes import SampleOptions, sampled
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


def long_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows whose contexts are of 12 to 70 words, some without an answer."""
    draw, made = np.random.default_rng(seed), []
    for row in question_rows(count, seed, answerless=True):
        before, after = (" ".join(f"word{n}" for n in draw.integers(0, 30, size=draw.integers(5, 30))) for _ in "ab")
        context = f"{before} {row['context']} {after}"
        starts = [start + len(before) + 1 for start in row["answers"]["answer_start"]]
        made.append({**row, "context": context, "answers": {"text": row["answers"]["text"], "answer_start": starts}})
    return made


LONG = long_rows(24, 5)


def in_windows(model: nn.Module, row: dict[str, Any], size: int, stride: int) -> tuple[str, torch.Tensor]:
    """The answer by loops over windows and spans, and the mean over windows of transformers' own loss."""
    tokenizer = splitting_tokenizer()
    question = tokenizer(row["question"], add_special_tokens=False)["input_ids"]
    context = tokenizer(row["context"], add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = context["input_ids"], context["offset_mapping"]
    room = size - len(question) - 3
    starts = [0]
    while starts[-1] + room < len(ids):
        starts.append(starts[-1] + room - stride)
    texts, begins = row["answers"]["text"], row["answers"]["answer_start"]
    best, none, losses = (-np.inf, ""), np.inf, []
    for start in starts:
        part, places = ids[start : start + room], offsets[start : start + room]
        begin, end = int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)
        made = [begin, *question, end, *part, end]
        first = len(question) + 2
        ends = [place[0] for place in places], [place[1] for place in places]
        target = (0, 0)
        if texts and begins[0] in ends[0] and begins[0] + len(texts[0]) in ends[1]:
            target = (first + ends[0].index(begins[0]), first + ends[1].index(begins[0] + len(texts[0])))
        found = model(
            input_ids=torch.tensor([made]),
            start_positions=torch.tensor([target[0]]),
            end_positions=torch.tensor([target[1]]),
        )
        losses.append(found.loss)
        a, b = found.start_logits[0].tolist(), found.end_logits[0].tolist()
        none = min(none, a[0] + b[0])
        for one in range(len(part)):
            for other in range(one, min(one + 30, len(part))):
                value = a[first + one] + b[first + other]
                if value > best[0]:
                    best = value, row["context"][places[one][0] : places[other][1]]
    return "" if none > best[0] else best[1], torch.stack(losses).mean()


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_long_context_is_read_in_windows_and_the_best_of_them_answers(batch_size: int) -> None:
    """Against loops over windows, without any padding; 8 tokens of 24 are shared, a third."""
    task, model = build(LONG, LONG, max_length=24), bert(BertForQuestionAnswering)
    # So that nothing is sometimes the better answer.
    model.qa_outputs.register_forward_hook(lambda _, __, logits: torch.cat((logits[:, :1] + 0.8, logits[:, 1:]), 1))
    found = score(model, task, options=EvaluationOptions(batch_size=batch_size))
    with torch.no_grad():
        answers, losses = zip(*(in_windows(model, row, 24, 8) for row in LONG), strict=True)
    texts = [row["context"][begin:end] for row, (_, begin, end) in zip(LONG, found.predictions.tolist(), strict=True)]
    assert texts == [*answers]
    np.testing.assert_allclose(found.losses, torch.stack(losses), atol=1e-5)
    assert 0 < texts.count("") < len(texts)
    # Of importance, calibration and samples a question is one example, each of its windows one text.
    evaluated = evaluate(whole(model), task, EvaluationOptions(batch_size=batch_size), importance=True)
    assert evaluated.importance is not None
    factor = torch.ones(1, requires_grad=True)
    dense = model.get_submodule("bert.encoder.layer.1.attention.output.dense")
    hook = dense.register_forward_pre_hook(
        lambda _, inputs: (torch.cat([inputs[0][..., :16], inputs[0][..., 16:24] * factor, inputs[0][..., 24:]], -1),)
    )
    sizes = [float(torch.autograd.grad(in_windows(model, row, 24, 8)[1], factor)[0].abs()) for row in LONG]
    hook.remove()
    assert float(evaluated.importance["heads"][1, 2]) == pytest.approx(np.mean(sizes), rel=1e-3)
    calibrating = [batch.calibration_inputs["input_ids"] for batch in task.batches("dev", batch_size)]
    assert sum(map(len, calibrating)) == sum(len(example["windows"]) for example in task.encoded("dev"))
    for batch in sampled(task, SampleOptions(sample=7, batch_size=3)):
        assert np.array_equal(task.output(model, batch).predictions.numpy(), found.predictions[batch.indices])
    ticket = some_sites(model, 1)
    small, gated = (evaluate(of(model, ticket), task).predictions for of in (shrunk, masked))
    assert np.array_equal(small, gated)


def test_windows_that_hold_no_answer_and_strides_that_do_not_fit_are_said() -> None:
    answer = " ".join(["fine1"] * 12)
    context = f"{'word1 ' * 14}{answer} {'word1 ' * 14}".strip()
    late = {"question": "word2 ?", "context": context, "answers": {"text": [answer], "answer_start": [84]}}
    with pytest.warns(UserWarning, match="answers to 1 of 31 questions of the dev split of your-data are whole in no"):
        build(dev=[*DEV, late], max_length=24, doc_stride=1).encoded("dev")
    task = build(dev=[*DEV, late], max_length=24, doc_stride=12)
    assert any(map(any, task.encoded("dev")[-1]["ends"]))
    assert "long contexts are several windows" in task.unfit["attention"]
    assert not build().unfit
    with pytest.raises(TombolaError, match="doc_stride must be under 21, the tokens of question and text in a window"):
        build(max_length=24, doc_stride=21)
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


def test_a_context_of_hundreds_of_windows_passes_in_parts() -> None:
    dev, seen = question_rows(3, 1), list[int]()
    words = [f"word{number % 30}" for number in range(1500)]
    dev[1] = {**dev[1], "context": " ".join([*words, "fine1"]), "answers": {"text": ["fine1"], "answer_start": [0]}}
    dev[1]["answers"]["answer_start"] = [dev[1]["context"].index("fine1")]
    train = question_rows(8, 0)
    task = QuestionAnsweringTask.from_rows(train, dev, splitting_tokenizer(), max_length=11, doc_stride=2)
    model = bert(BertForQuestionAnswering)
    model.register_forward_pre_hook(lambda _, __, given: seen.append(len(given["input_ids"])), with_kwargs=True)
    found = [score(model, task, options=EvaluationOptions(batch_size=size), importance=True) for size in (1, 3)]
    np.testing.assert_allclose(found[0].losses, found[1].losses, rtol=1e-4)
    assert found[0].predictions.tolist() == found[1].predictions.tolist()
    assert 200 < max(seen) <= 256
    assert sum(seen) > 1000
    for column in ("question", "context"):
        dev[2] = {**question_rows(3, 1)[2], column: "word1 " * 200_000}
        with pytest.raises(TombolaError, match=r"row 2 .* has a text of 1,200,000 characters, and 1,048,576 are read"):
            QuestionAnsweringTask.from_rows(train, dev, splitting_tokenizer())
