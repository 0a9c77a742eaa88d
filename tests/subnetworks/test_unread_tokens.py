"""The last MLP runs on the first token alone where nothing reads the others, and the model computes the same."""

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification

from builders.encoders import HIDDEN, LAYERS, VOCABULARY, classifier, inputs, logits, some_sites, synthetic
from tombola.architectures.dissect import dissect
from tombola.pruning.evaluation import evaluate
from tombola.subnetworks.subnetwork import shrunk, whole
from tombola.subnetworks.unread_tokens import first_token_alone


def tokens(model: nn.Module) -> int:
    """Tokens that the last MLP gives for texts of 9, and no hook that stays."""
    seen: list[Tensor] = []
    path = dissect(model).feed_forwards[-1].output
    with model.get_submodule(path).register_forward_hook(lambda *given: seen.append(given[-1])):
        logits(model, inputs())
    return seen[0].shape[1]


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
def test_outputs_and_gradients_are_those_of_all_tokens(family: str) -> None:
    model, given = classifier(family), inputs()
    expected = model(**given).logits
    wanted = torch.autograd.grad(expected.sum(), [*model.parameters()], allow_unused=True)
    with first_token_alone(model, lambda: logits(model, given)):
        assert tokens(model) == 1
        found = model(**given).logits
        gradients = torch.autograd.grad(found.sum(), [*model.parameters()], allow_unused=True)
    assert tokens(model) == 9
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for one, other in zip(gradients, wanted, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_other_tokens_are_left_where_something_reads_them() -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    }
    torch.manual_seed(0)
    # It uses one layer twice; a decoder reads the last token, whichever that is.
    albert = AlbertForSequenceClassification(AlbertConfig(vocab_size=VOCABULARY, embedding_size=16, **sizes)).eval()
    decoder = GPT2ForSequenceClassification(
        GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, pad_token_id=0, bos_token_id=1, eos_token_id=1
        )
    ).eval()
    for model in (albert, decoder):
        with first_token_alone(model, lambda model=model: logits(model, inputs())):  # type: ignore[misc]
            assert tokens(model) == 9


@pytest.mark.parametrize("importance", [False, True])
def test_an_evaluation_is_the_one_of_all_tokens(importance: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = synthetic(train=20, dev=20), classifier(layers=LAYERS, hidden=HIDDEN)
    part = shrunk(model, some_sites(model, 1))
    for one in (whole(model), part):
        found = evaluate(one, task, importance=importance)
        with monkeypatch.context() as patch:
            patch.setattr(type(task), "brief_passes", lambda *_: contextlib.nullcontext())
            expected = evaluate(one, task, importance=importance)
        torch.testing.assert_close(torch.tensor(found.losses), torch.tensor(expected.losses), rtol=1e-6, atol=1e-7)
        if importance:
            assert found.importance is not None
            assert expected.importance is not None
            for kind, values in found.importance.sites.items():
                torch.testing.assert_close(values, expected.importance.sites[kind], equal_nan=True)
