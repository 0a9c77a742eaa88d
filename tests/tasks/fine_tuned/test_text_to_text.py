"""Sequence to sequence: losses and tokens against T5's own, and exact matches against its greedy generation."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from builders.task_types import splitting_tokenizer, t5, written_rows
from tombola.analysis.forward_passes import SampleOptions, sampled
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import NOTHING
from tombola.pruning.evaluation import EvaluationOptions, evaluate, score
from tombola.pruning.weight_criteria import WeightCut
from tombola.pruning.weight_pruning import prune_weights
from tombola.subnetworks.subnetwork import whole
from tombola.tasks.fine_tuned.text_to_text import TextToTextTask
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
    task, model = build(written_rows(300, 1)), t5(scale=0.1)
    train(model, task, Recipe(epochs=8, batch_size=16, learning_rate=1e-2), seed=0)
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
