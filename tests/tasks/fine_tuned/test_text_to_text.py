"""Sequence to sequence: losses and tokens against T5's own, and exact matches against its greedy generation."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from builders.task_types import splitting_tokenizer, t5, written_rows
from tombola.analysis.forward_passes import SampleOptions, sampled
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.metrics.rouge import ROUGE, words
from tombola.metrics.scores import NOTHING
from tombola.pruning.evaluation import EvaluationOptions, evaluate, score
from tombola.pruning.weight_criteria import WeightCut
from tombola.pruning.weight_pruning import prune_weights
from tombola.subnetworks.subnetwork import masked, shrunk, whole
from tombola.tasks.fine_tuned.text_to_text import TextToTextTask
from tombola.tickets.ticket import Ticket
from tombola.training.loop import train
from tombola.training.recipe import Recipe

DEV = written_rows(30, 2)


def build(rows: Any = None, dev: Any = None, **options: Any) -> TextToTextTask:
    return TextToTextTask.from_rows(rows or written_rows(60, 1), dev or DEV, splitting_tokenizer(), **options)


def plain(model: nn.Module, row: dict[str, Any]) -> Any:
    """T5's own output for one pair, with its loss."""
    tokenizer = splitting_tokenizer()
    labels = tokenizer(row["target"], return_tensors="pt")["input_ids"]
    return model(input_ids=tokenizer(row["source"], return_tensors="pt")["input_ids"], labels=labels)


@functools.cache
def learnt() -> Any:
    """A model that is right for some."""
    model = t5(scale=0.1)
    train(model, build(written_rows(300, 1)), Recipe(epochs=8, batch_size=16, learning_rate=1e-2), seed=0)
    return model.eval()


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_padding_changes_no_token_and_no_loss(batch_size: int) -> None:
    task, model = build(), t5()
    found = score(model, task, options=EvaluationOptions(batch_size=batch_size))
    with torch.no_grad():
        outputs = [plain(model, row) for row in DEV]
    tokens = [[token for token in row if token != NOTHING] for row in found.predictions.tolist()]
    assert tokens == [one.logits[0].argmax(-1).tolist() for one in outputs]
    np.testing.assert_allclose(found.losses, [float(one.loss) for one in outputs], atol=1e-5)


def test_an_exact_match_is_what_greedy_generation_writes() -> None:
    """A model that is right for some: generation goes wrong where the first token of teacher forcing does."""
    task, model = build(written_rows(300, 1)), learnt()
    found, tokenizer = score(model, task), splitting_tokenizer()
    right = []
    for row in DEV:
        ids = tokenizer(row["source"], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            written = model.generate(ids, do_sample=False, num_beams=1, max_new_tokens=8)[0].tolist()
        right.append(written[1:] == tokenizer(row["target"])["input_ids"])
    matches = (found.predictions == task.references("dev")).all(1).tolist()
    assert matches == right
    assert 0.3 < np.mean(right) < 1
    assert task.more["exact_match"][1].score(found.predictions, task.references("dev")) == pytest.approx(np.mean(right))
    assert found.score > task.metric.chance(task.references("dev"))


@pytest.mark.slow
def test_rouge_is_of_what_greedy_generation_writes_also_of_tickets() -> None:
    task, model = build(score="rougeL", max_length=8), learnt()
    found, tokenizer = score(model, task, options=EvaluationOptions(batch_size=7)), splitting_tokenizer()
    values, exact = [], []
    for row in DEV:
        ids = tokenizer(row["source"], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            written = model.generate(ids, do_sample=False, num_beams=1, max_new_tokens=8)[0, 1:].tolist()
        text = str(tokenizer.decode(written, skip_special_tokens=True))
        values.append(ROUGE["rougeL"](words(text), words(row["target"])))
        exact.append(written == tokenizer(row["target"])["input_ids"])
    assert found.score == pytest.approx(np.mean(values))
    assert 0 < np.mean(exact) < 1
    assert task.more["exact_match"][1].score(found.predictions, task.references("dev")) == pytest.approx(np.mean(exact))
    # Losses, and so importance, are those of teacher forcing; a ticket writes alike masked and shrunk.
    plain_task = build(max_length=8)
    options = EvaluationOptions(batch_size=16)
    ours, theirs = (evaluate(whole(model), one, options, importance=True) for one in (task, plain_task))
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-6)
    assert ours.importance is not None
    assert theirs.importance is not None
    torch.testing.assert_close(ours.importance["heads"], theirs.importance["heads"])
    assert np.array_equal(ours.predictions, found.predictions)
    anatomy = dissect(model)
    heads, mlps = torch.ones(anatomy.heads, dtype=torch.bool), torch.ones(anatomy.mlps, dtype=torch.bool)
    # One attention without any head, and one MLP less.
    heads[:, 0] = heads[-1] = mlps[0] = False
    ticket = Ticket("heads+mlps", anatomy.signature, {"heads": heads, "mlps": mlps})
    small, gated = (evaluate(of(model, ticket), task, options).predictions for of in (shrunk, masked))
    assert np.array_equal(small, gated)
    assert not np.array_equal(small, found.predictions)
    guess = task.metric.score(task.guess("dev"), task.references("dev"))
    assert guess <= task.metric.chance(task.references("dev")) < 1
    with pytest.raises(TombolaError, match="token_accuracy is of tokens after true beginnings, and ROUGE of whole"):
        build(score="rougeL", search="token_accuracy")
    with pytest.raises(TombolaError, match="unknown metric of texts that are written 'rouge'; did you mean"):
        build(score="rouge")


def test_importance_is_the_gradient_of_each_pairs_own_loss() -> None:
    task, model = build(), t5()
    found = evaluate(whole(model), task, EvaluationOptions(batch_size=16), importance=True).importance
    assert found is not None
    row = next(index for index, one in enumerate(dissect(model).attentions) if "EncDec" in one.outputs[0])
    output, sizes = model.get_submodule(dissect(model).attentions[row].outputs[0]), []
    for pair in DEV:
        factor = torch.ones(1, requires_grad=True)

        def scaled(_: nn.Module, inputs: tuple[torch.Tensor, ...], factor: torch.Tensor = factor) -> torch.Tensor:
            x = inputs[0]
            return torch.cat([x[..., :8], x[..., 8:16] * factor, x[..., 16:]], -1)

        hook = output.register_forward_pre_hook(scaled)
        sizes.append(float(torch.autograd.grad(plain(model, pair).loss, factor)[0].abs()))
        hook.remove()
    assert float(found["heads"][row, 1]) == pytest.approx(np.mean(sizes), rel=1e-3)


def test_wanda_and_samples_take_both_sides() -> None:
    # Sources and targets of one length: padding of one side is no padding of the other.
    rows = [{"source": "word1 word2 word3", "target": "fine0"}, {"source": "word1", "target": "fine0 fine1 fine2"}] * 9
    task, model = build(rows, rows), t5()
    ticket = prune_weights(model, WeightCut("wanda", 0.5), calibration=task.calibration_text(8, 16, 0)).ticket
    assert ticket.sparsity(dissect(model)) == pytest.approx(0.5)
    expected = score(model, task).predictions
    for batch in sampled(task, SampleOptions(sample=7, batch_size=1)):
        assert np.array_equal(task.output(model, batch).predictions.numpy(), expected[batch.indices])


def test_rows_that_do_not_fit_are_one_clear_line() -> None:
    with pytest.raises(TombolaError, match=r"dev row 0 .* has '' where a text should be"):
        build(dev=[{"source": "word1", "target": ""}])
    with pytest.raises(TombolaError, match=r"no column 'goal' for the target; name one of: source, target"):
        build(label_column="goal")
    with pytest.warns(UserWarning, match=r"1 of 1 targets of the dev split of your-data are cut to 5 tokens"):
        build(dev=[{"source": "word1", "target": "fine1 " * 9}], max_length=5).references("dev")
