"""Scores, importance, masks and trained weights of every task type, whatever the batch size and the padding side."""

import copy
import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import PreTrainedModel

from builders.encoders import randomise, rows, sites
from builders.families import ZOO
from builders.task_types import choice_rows, question_rows, splitting_tokenizer, tagged_rows, written_rows
from tombola.analysis.attention.attention_probabilities import attention_patterns
from tombola.analysis.forward_passes import SampleOptions
from tombola.analysis.locality.gate_hessian import interactions
from tombola.analysis.locality.representations import representations
from tombola.pruning.evaluation import EvaluationOptions, on_device, score
from tombola.pruning.weight_criteria import WeightCut
from tombola.pruning.weight_pruning import prune_weights
from tombola.subnetworks.subnetwork import masked, whole
from tombola.tasks.fine_tuned.fine_tuned_task import FineTunedTask
from tombola.tasks.fine_tuned.multiple_choice import MultipleChoiceTask
from tombola.tasks.fine_tuned.question_answering import QuestionAnsweringTask
from tombola.tasks.fine_tuned.text_classification import TextTask
from tombola.tasks.fine_tuned.text_to_text import TextToTextTask
from tombola.tasks.fine_tuned.token_classification import TokenClassificationTask
from tombola.training.loop import train
from tombola.training.recipe import Recipe

SIZES, SIDES = (1, 7, 64), ("right", "left")
RUNS = (("right", 64), ("left", 1), ("left", 7), ("left", 64))
"""Sides and sizes, besides texts alone."""


@dataclass(frozen=True)
class Kind:
    """Task type: its class, its rows by count and seed, its options, and how many classes its models have."""

    task: Any
    rows: Callable[[int, int], list[dict[str, Any]]]
    options: Mapping[str, Any]
    labels: int = 2


def values(count: int, seed: int) -> list[dict[str, Any]]:
    """Pairs of texts with a value each, as of STS-B."""
    others = rows(count, seed + 9)
    return [
        {"sentence1": one["text"], "sentence2": other["text"], "score": len(one["text"]) % 6 / 5}
        for one, other in zip(rows(count, seed), others, strict=True)
    ]


KINDS: Mapping[str, Kind] = {
    "sentences": Kind(TextTask, rows, {}),
    "values": Kind(
        TextTask,
        values,
        {"regression": True, "text_column": "sentence1", "text_pair_column": "sentence2", "label_column": "score"},
        labels=1,
    ),
    "choices": Kind(MultipleChoiceTask, choice_rows, {}),
    "questions": Kind(QuestionAnsweringTask, question_rows, {}),
    "questions in windows": Kind(QuestionAnsweringTask, question_rows, {"max_length": 11, "doc_stride": 2}),
    "words": Kind(TokenClassificationTask, tagged_rows, {}, labels=5),
    "targets": Kind(TextToTextTask, written_rows, {}),
}
ENCODERS = ("bert", "roberta", "electra", "distilbert", "albert", "deberta", "modernbert")
DECODERS = ("gpt2", "opt", "llama")
GRID = [
    *((kind, family) for kind in KINDS if kind != "targets" for family in ENCODERS),
    *(("sentences", family) for family in (*DECODERS, "t5")),
    *(("values", family) for family in (*DECODERS, "t5")),
    *(("words", family) for family in ("gpt2", "llama")),
    *(("questions", family) for family in DECODERS),
    ("questions in windows", "gpt2"),
    *(("targets", family) for family in ("t5", "t5 of version 1.1")),
]
FEW = {("choices", "roberta"), ("words", "gpt2"), ("questions in windows", "bert")}
"""Those that every run of the tests meets; others are met there by the tests of their own task types."""


def sampled(grid: list[tuple[str, str]]) -> list[Any]:
    return [one if one in FEW else pytest.param(*one, marks=pytest.mark.exhaustive) for one in grid]


@functools.cache
def build(kind: str, side: str = "right") -> FineTunedTask[Any]:
    of, tokenizer = KINDS[kind], splitting_tokenizer()
    tokenizer.padding_side, tokenizer.eos_token = side, tokenizer.sep_token
    # Tokenizers of pairs tell the parts apart, and some make no mask unless asked.
    tokenizer.model_input_names = ["input_ids"] if side == "left" else ["input_ids", "attention_mask"]
    task = of.task.from_rows(of.rows(24, 1), of.rows(20, 2), tokenizer, **of.options)
    assert isinstance(task, FineTunedTask)
    return task


@functools.cache
def made(kind: str, family: str) -> PreTrainedModel:
    auto: Any = KINDS[kind].task.auto
    torch.manual_seed(0)
    options: Any = {**ZOO[family].options}
    if kind not in ("choices", "targets"):
        options |= {"num_labels": KINDS[kind].labels}
    # What a decoder's classifier is told of padding is not what the tokenizer pads with.
    options |= {"pad_token_id": 9} if family in DECODERS else {"eos_token_id": 3} if family.startswith("t5") else {}
    model = auto.from_config(getattr(transformers, ZOO[family].config)(**options), attn_implementation="eager")
    assert isinstance(model, PreTrainedModel)
    randomise(model, 0.2)
    # Eager attention in windows has no number in fp64 for a row of padding alone, as its softmax is in fp32.
    model = model.float() if family == "modernbert" else model.double()
    model.eval()
    return model


def model_of(kind: str, family: str) -> PreTrainedModel:
    return copy.deepcopy(made(kind, family))


@pytest.mark.parametrize(("kind", "family"), sampled(GRID))
def test_scores_and_importance_are_those_of_texts_alone(kind: str, family: str) -> None:
    model = model_of(kind, family)
    alone = score(model, build(kind), options=EvaluationOptions(batch_size=1), importance=True)
    assert alone.importance is not None
    for side, size in RUNS:
        options = EvaluationOptions(batch_size=size)
        found = score(model, build(kind, side), options=options, importance=size > 1)
        np.testing.assert_allclose(found.losses, alone.losses, rtol=1e-3, atol=1e-4, err_msg=f"{side} {size}")
        if KINDS[kind].labels == 1:
            np.testing.assert_allclose(found.predictions, alone.predictions, rtol=1e-3, atol=1e-4)
        else:
            assert found.predictions.tolist() == alone.predictions.tolist(), (side, size)
        assert found.score == pytest.approx(alone.score, abs=1e-5)
        ranked = {} if found.importance is None else found.importance.sites
        for sort, wanted in ranked.items():
            torch.testing.assert_close(wanted, alone.importance.sites[sort], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("criterion", ["wanda", "sparsegpt"])
@pytest.mark.parametrize(("kind", "family"), sampled(GRID))
def test_calibration_on_texts_prunes_the_same_weights(kind: str, family: str, criterion: Any) -> None:
    model = model_of(kind, family)
    first: Any = None
    for side, size in (("right", 7), *RUNS):
        batches = list(build(kind, side).batches("dev", size))
        masks = prune_weights(model, WeightCut(criterion, 0.5), calibration=batches).ticket.masks
        first = first or masks
        other = sum(int((masks[name] != first[name]).sum()) for name in masks)
        # Of weights whose scores are equal but for rounding.
        assert other <= (50 if family == "modernbert" else 2), (side, size)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("kind", "family"), GRID)
def test_training_does_not_know_of_the_side(kind: str, family: str) -> None:
    trained = []
    for side in SIDES:
        model = model_of(kind, family)
        train(model, build(kind, side), Recipe(epochs=1, learning_rate=1e-3, batch_size=16), seed=3)
        trained.append(model.state_dict())
    for name, tensor in trained[0].items():
        assert torch.equal(tensor, trained[1][name]), name


@pytest.mark.exhaustive
@pytest.mark.parametrize(("kind", "family"), [one for one in GRID if one[1] not in ("t5", "t5 of version 1.1")])
def test_analyses_are_the_same(kind: str, family: str) -> None:
    model, first = model_of(kind, family), dict[str, Any]()
    unfit = build(kind).unfit
    for side in SIDES:
        for size in SIZES:
            task, found = build(kind, side), dict[str, Any]()
            options = SampleOptions(batch_size=size, sample=20)
            if "attention" not in unfit:
                found["attention"] = attention_patterns(model, task, options).means
            if "representations" not in unfit and kind in ("sentences", "values"):
                full = whole(model)
                emptied = [[0] + [1] * (full.anatomy.heads[1] - 1)] * full.anatomy.heads[0]
                other = functools.partial(masked, model, sites(model, emptied, [1] * full.anatomy.mlps))
                found["representations"] = representations(
                    full,
                    {"other": other},
                    task,
                    SampleOptions(batch_size=size),
                    training=20,
                    resamples=20,
                )
            found["interactions"] = interactions(model, task, options, pairs=4, subsets=2)
            if not first:
                first = found
            if "attention" in found:
                for weighting, features in first["attention"].items():
                    for feature, wanted in features.items():
                        torch.testing.assert_close(found["attention"][weighting][feature], wanted, equal_nan=True)
            if "representations" in found:
                for one, wanted in first["representations"].models.items():
                    for layer, other in zip(found["representations"].models[one], wanted, strict=True):
                        assert layer.cka == pytest.approx(other.cka, abs=1e-5)
            for name in ("gradients", "hessians", "alone"):
                np.testing.assert_allclose(
                    getattr(found["interactions"], name), getattr(first["interactions"], name), rtol=1e-3, atol=1e-6
                )


def masked_words(size: int, left: bool) -> list[dict[str, torch.Tensor]]:
    """Batches for a model of masked words, of texts of 3 to 12 tokens, padded to 12."""
    ids = torch.randint(5, 60, (24, 12), generator=torch.Generator().manual_seed(0))
    lengths = torch.arange(24) % 10 + 3
    mask = (torch.arange(12)[None] < lengths[:, None]).long()
    ids = ids * mask
    labels = ids.where(torch.arange(12)[None] == 1, -100)
    given = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    if left:
        order = mask.argsort(dim=1, stable=True)
        given = {name: tensor.gather(1, order) for name, tensor in given.items()}
    return [{name: tensor[begin : begin + size] for name, tensor in given.items()} for begin in range(0, 24, size)]


@pytest.mark.parametrize("criterion", ["wanda", "sparsegpt"])
@pytest.mark.parametrize(
    "family",
    [
        one if one == "roberta" else pytest.param(one, marks=pytest.mark.exhaustive)
        for one in (*ENCODERS, "t5", "t5 of version 1.1")
    ],
)
def test_models_of_masked_words_are_calibrated_alike(family: str, criterion: Any) -> None:
    kind = ZOO[family].model.replace("ForSequenceClassification", "ForMaskedLM")
    torch.manual_seed(0)
    model = getattr(transformers, kind)(getattr(transformers, ZOO[family].config)(**ZOO[family].options))
    randomise(model, 0.2)
    exact = torch.float32 if family == "modernbert" else torch.float64
    model, first = model.to(exact).eval(), dict[str, torch.Tensor]()
    for left in (False, True):
        for size in SIZES:
            batches = masked_words(size, left)
            if family.startswith("t5"):
                # Of the shape of what the encoder reads, in an order of its own.
                written = torch.randint(5, 60, (24, 12), generator=torch.Generator().manual_seed(1)).split(size)
                batches = [
                    {"input_ids": one["input_ids"], "attention_mask": one["attention_mask"], "decoder_input_ids": ids}
                    for one, ids in zip(batches, written, strict=True)
                ]
            masks = prune_weights(model, WeightCut(criterion, 0.5), calibration=batches).ticket.masks
            first = first or {**masks}
            other = sum(int((masks[name] != first[name]).sum()) for name in masks)
            assert other <= (50 if family == "modernbert" else 2), (left, size)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("kind", ["sentences", "choices"])
def test_own_batches_that_are_padded_left_are_read_as_those_padded_right(kind: str, family: str) -> None:
    task, model = build(kind), model_of(kind, family)
    (batch,) = list(task.batches("dev", 40))
    order = batch.inputs["attention_mask"].argsort(dim=-1, stable=True)
    left = dataclasses.replace(batch, inputs={name: one.gather(-1, order) for name, one in batch.inputs.items()})
    wanted, found = (task.output(model, on_device(one, model)).losses for one in (batch, left))
    torch.testing.assert_close(found, wanted)
