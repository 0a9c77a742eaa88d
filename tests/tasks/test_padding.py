"""Padding changes nothing: a text scores alike alone and beside longer ones, whatever side and token pad."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import PreTrainedModel
from typing_extensions import override

from builders.encoders import FAMILIES, classifier, randomise, rows, tokenizer
from builders.families import DECODERS, ZOO
from tombola.analysis.attention.attention_probabilities import attention_patterns
from tombola.analysis.forward_passes import SampleOptions
from tombola.pruning.evaluation import EvaluationOptions, score
from tombola.pruning.weight_criteria import WeightCut
from tombola.pruning.weight_pruning import prune_weights
from tombola.tasks.base import Batch
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.tasks.padding import known_padding, padded_left, padded_right

CLASSIFIERS = [
    name
    for name in DECODERS
    if getattr(transformers, ZOO[name].config) in transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
]

FEW = ("gpt2", "llama")
"""Those that every run of the tests meets."""


def build(side: str = "right", pad: str | None = "[PAD]") -> TextTask:
    padding = tokenizer()
    padding.padding_side, padding.pad_token = side, pad
    padding.eos_token = padding.sep_token
    return TextTask.from_rows(rows(60, 1), rows(40, 2), padding)


def decoder(name: str, pad: int | None) -> PreTrainedModel:
    torch.manual_seed(0)
    config: Any = getattr(transformers, ZOO[name].config)(**ZOO[name].options)
    config.pad_token_id = pad
    model = transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    assert isinstance(model, PreTrainedModel)
    randomise(model, 0.2)
    model.eval()
    return model


def losses(model: torch.nn.Module, task: TextTask, batch_size: int) -> Any:
    return score(model, task, options=EvaluationOptions(batch_size=batch_size)).losses


@pytest.mark.parametrize("pad", ["[PAD]", None])
@pytest.mark.parametrize("own", [None, 9])
@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.exhaustive) for name in CLASSIFIERS]
)
def test_decoders_read_the_last_token_whatever_their_configuration_says_of_padding(
    name: str, own: int | None, pad: str | None
) -> None:
    task, model = build(pad=pad), decoder(name, own)
    alone = losses(decoder(name, None), task, 1)
    for size in (1, 40):
        np.testing.assert_allclose(losses(model, task, size), alone, rtol=1e-3, atol=1e-4)
    config: Any = model.config
    assert config.pad_token_id == own


@pytest.mark.parametrize("name", [*FAMILIES, "gpt2"])
def test_a_tokenizer_that_pads_left_gives_the_scores_and_importance_of_one_that_pads_right(name: str) -> None:
    model = classifier(name) if name in FAMILIES else decoder(name, 0).double()
    found = [score(model, build(side), importance=True) for side in ("left", "right")]
    alone = losses(model, build("left"), 1)
    for one in found:
        np.testing.assert_allclose(one.losses, alone, rtol=1e-4)
    assert found[0].importance is not None
    assert found[1].importance is not None
    for kind, values in found[0].importance.sites.items():
        torch.testing.assert_close(values, found[1].importance[kind])


def left(batch: Batch) -> Batch:
    """The batch with its padding on the other side, the order of real tokens kept."""
    mask = batch.inputs["attention_mask"]
    order = mask.argsort(dim=1, stable=True)
    moved = {name: tensor.gather(1, order) for name, tensor in batch.inputs.items()}
    assert padded_left(moved)
    return dataclasses.replace(batch, inputs=moved)


class PadsLeft(TextTask):
    """A task of one's own whose batches come padded left."""

    @override
    def batches(self, split: str, batch_size: int, *, shuffle: int | None = None) -> Iterator[Batch]:
        return map(left, super().batches(split, batch_size, shuffle=shuffle))


def test_batches_of_ones_own_that_are_padded_left_have_the_positions_of_their_tokens() -> None:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=40, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    model = transformers.GPT2ForSequenceClassification(config).eval()
    randomise(model, 0.25)
    own = PadsLeft.from_rows(rows(60, 1), rows(40, 2), tokenizer())
    np.testing.assert_allclose(losses(model, own, 40), losses(model, build(), 1), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_calibration_that_is_padded_left_prunes_what_the_same_padded_right_does(name: str) -> None:
    batches = list(build().batches("train", 20))
    cut = WeightCut("wanda", 0.5)
    masks = [
        prune_weights(classifier(name, dtype=torch.float32), cut, calibration=one).ticket.masks
        for one in (batches, [left(batch) for batch in batches])
    ]
    assert all(torch.equal(masks[0][matrix], masks[1][matrix]) for matrix in masks[0])


def test_attention_features_do_not_depend_on_the_side() -> None:
    model = classifier()
    found = [attention_patterns(model, build(side), SampleOptions(batch_size=8)) for side in ("left", "right")]
    for weighting, features in found[0].means.items():
        for feature, values in features.items():
            torch.testing.assert_close(values, found[1].means[weighting][feature], equal_nan=True)


def test_padding_is_moved_and_nothing_else() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]])
    ids = torch.tensor([[9, 9, 1, 2], [3, 4, 5, 9], [6, 7, 8, 9]])
    moved = padded_right({"input_ids": ids, "attention_mask": mask, "other": mask[:, :2]})
    assert moved["input_ids"].tolist() == [[1, 2, 9, 9], [3, 4, 5, 9], [6, 7, 8, 9]]
    assert moved["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert moved["other"].tolist() == mask[:, :2].tolist()
    assert padded_right(moved) is moved


@pytest.mark.parametrize("own", [None, 0, 3, 9, -1])
@pytest.mark.parametrize("name", FEW)
def test_a_decoder_reads_each_text_as_it_does_alone_where_texts_end_with_what_pads(
    name: str, own: int | None, tmp_path: Path
) -> None:
    task, model = build(pad="[SEP]"), decoder(name, own)
    with torch.no_grad():
        plain = [
            model(torch.tensor([task.tokenizer(text)["input_ids"]])).logits.argmax().item()
            for text in task.corpus.splits["dev"].first
        ]
    for size in (1, 40):
        found = score(model, task, options=EvaluationOptions(batch_size=size))
        assert found.predictions.tolist() == plain
        np.testing.assert_allclose(found.losses, losses(model, task, 7), rtol=1e-3, atol=1e-4)
    model.save_pretrained(tmp_path)
    again = task.load(str(tmp_path), seed=0, state="trained")
    assert score(again, task).predictions.tolist() == plain


@pytest.mark.parametrize(("kind", "pads"), [("Roberta", 0), ("Bert", 1)])
def test_padding_becomes_that_of_a_model_whose_positions_start_at_0(kind: str, pads: int) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = getattr(transformers, f"{kind}Config")(vocab_size=8, pad_token_id=1, **sizes)
    # The table of positions of a BERT has no row for padding.
    model = getattr(transformers, f"{kind}Model")(config)
    given = {"input_ids": torch.tensor([[5, 6, 0]]), "attention_mask": torch.tensor([[1, 1, 0]])}
    with known_padding(model, given) as known:
        assert known["input_ids"].tolist() == [[5, 6, pads]]
    assert model.config.pad_token_id == 1
