"""Patterns taken in a stream against the same taken one example and one layer at a time."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from transformers import PreTrainedModel

from builders.encoders import Exact, classifier, sites, some_sites, some_weights, synthetic, tokenizer
from builders.families import SIZES, ZOO, computed, sampled
from tombola import TombolaError, dissect, shrunk
from tombola.analysis.attention.attention_maps import AttentionMaps, attention_hooks
from tombola.analysis.attention.attention_probabilities import attention_patterns
from tombola.analysis.attention.map_reducer import FEATURES, features
from tombola.analysis.attention.pattern_classes import CLASSES, classify
from tombola.analysis.attention.patterns import AttentionPatterns
from tombola.analysis.forward_passes import SampleOptions
from tombola.subnetworks.subnetwork import masked
from tombola.tasks.base import Batch

STREAMED = (*(name for name, kind in ZOO.items() if kind.sort != "t5"), "t5's encoder")


def batch(given: Mapping[str, Tensor], start: int = 0) -> Batch:
    size = len(next(iter(given.values())))
    return Batch(np.arange(start, start + size), given, torch.zeros(size))


def separate(given: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Each example by itself, without padding and without a mask."""
    found = []
    for index in range(len(next(iter(given.values())))):
        one = {name: tensor[index : index + 1] for name, tensor in given.items()}
        mask = one.pop("attention_mask", None)
        found.append({name: tensor[mask.bool()][None] if mask is not None else tensor for name, tensor in one.items()})
    return found


def brute(model: PreTrainedModel, inputs: list[dict[str, Tensor]], row: int, head: int) -> list[list[Tensor]]:
    """For each weighting the maps of one head, from what transformers keeps, and f(x) from the stream."""
    found: list[list[Tensor]] = [[], []]
    for given in inputs:
        taken: list[AttentionMaps] = []
        with torch.no_grad(), attention_hooks(model, dissect(model), taken.append):
            model(**given)
        with torch.no_grad():
            kept = model(**given, output_attentions=True).attentions
        for maps, weights in zip(taken, kept, strict=True):
            if maps.row == row:
                raw = weights[0, head]
                norm = raw * maps.norms[0, head]
                found[0].append(raw)
                found[1].append(norm / norm.sum(-1, keepdim=True))
    return found


def same(one: AttentionPatterns, other: AttentionPatterns, tolerance: float = 1e-9) -> None:
    for weighting in one.classes:
        assert torch.equal(one.shares(weighting).nan_to_num(-1), other.shares(weighting).nan_to_num(-1))
        for name in FEATURES:
            for mine, yours in ((one.means, other.means), (one.deviations, other.deviations)):
                torch.testing.assert_close(
                    mine[weighting][name], yours[weighting][name], rtol=tolerance, atol=tolerance, equal_nan=True
                )


@pytest.mark.parametrize("name", sampled(STREAMED))
def test_the_stream_equals_one_by_one(name: str) -> None:
    kind = ZOO[name]
    model = kind.make()
    given = kind.given(padded=True)
    found = attention_patterns(model, [batch(given)])
    rows, heads = dissect(model).heads
    row, head = rows - 1, heads - 1
    for weighting, maps in zip(("raw", "norm"), brute(model, separate(given), row, head), strict=True):
        values = torch.stack([features(one, torch.zeros(len(one)).bool()) for one in maps])
        labels = [int(classify(one).labels) for one in maps]
        for index, feature in enumerate(FEATURES):
            if feature == "separator":
                assert found.means[weighting][feature].isnan().all()
                continue
            mean, deviation = found.means[weighting][feature], found.deviations[weighting][feature]
            torch.testing.assert_close(mean[row, head], values[:, index].mean(), rtol=1e-7, atol=1e-9)
            torch.testing.assert_close(deviation[row, head], values[:, index].std(), rtol=1e-5, atol=1e-7)
        assert found.labels(weighting)[row][..., head].flatten().tolist() == labels


@pytest.mark.parametrize("name", sampled(name for name in STREAMED if ZOO[name].sort != "image"))
def test_more_padding_changes_nothing(name: str) -> None:
    kind = ZOO[name]
    # With 64 bits transformers makes NaN of a padded query whose window holds only padding.
    windowed = "sliding_window" in kind.options
    model = kind.make(dtype=torch.float32 if windowed else torch.float64)
    given = kind.given(padded=True)
    more = {key: nn.functional.pad(tensor, (0, 9)) for key, tensor in given.items()}
    # Some families compute positions and softmax in 32 bits, whatever the model's precision.
    same(
        attention_patterns(model, [batch(given)]), attention_patterns(model, [batch(more)]), 1e-4 if windowed else 1e-6
    )


def test_padding_on_the_left() -> None:
    kind = ZOO["llama"]
    # With 64 bits transformers makes NaN of a padded query that sees nothing.
    model = kind.make(dtype=torch.float32)
    # Rotary positions are relative, so the two are the same maps.
    right, left = kind.given(padded=True), kind.given(padded=True)
    for index, count in enumerate(right["attention_mask"].sum(1).tolist()):
        left = {key: tensor.clone() for key, tensor in left.items()}
        for key in left:
            left[key][index] = right[key][index].roll(right[key].shape[1] - count)
    same(attention_patterns(model, [batch(right)]), attention_patterns(model, [batch(left)]), 1e-4)


def test_each_use_of_a_shared_layer_counts() -> None:
    kind = ZOO["albert"]
    model = kind.make()
    given = kind.given(padded=False)
    found = attention_patterns(model, [batch(given)])
    assert found.labels("raw")[0].shape == (3, 3, 4)
    assert found.by_input("raw").shape == (3, 1, 4, 5)
    with torch.no_grad():
        kept = torch.stack(model(**given, output_attentions=True).attentions)
    values = features(kept, torch.zeros(kept.shape[-1]).bool())
    expected = values[..., FEATURES.index("entropy")].mean((0, 1))
    torch.testing.assert_close(found.means["raw"]["entropy"][0], expected)
    labels = classify(kept).labels
    assert torch.equal(found.labels("raw")[0], labels.transpose(0, 1))
    assert {picture.use for picture in found.example_maps} <= {0, 1, 2}


def test_batches_of_any_size_and_order_give_the_same(task: Exact) -> None:
    model = classifier()
    model.config.id2label = {0: "bad", 1: "good"}
    one = attention_patterns(model, task, SampleOptions(batch_size=64, sample=500))
    other = attention_patterns(model, task, SampleOptions(batch_size=7, sample=500))
    same(one, other)
    assert one.inputs == other.inputs == tuple(range(task.size("dev")))
    for weighting in ("raw", "norm"):
        for mine, yours in zip(one.labels(weighting), other.labels(weighting), strict=True):
            assert torch.equal(mine, yours)
    assert [(each.weighting, each.row, each.head, each.input) for each in one.example_maps] == [
        (each.weighting, each.row, each.head, each.input) for each in other.example_maps
    ]


def test_separators_are_those_of_the_tokenizer(task: Exact) -> None:
    model = classifier()
    model.config.id2label = {0: "bad", 1: "good"}
    found = attention_patterns(model, task)
    expected = []
    for part in task.batches("dev", 1):
        with torch.no_grad():
            maps = model(**part.inputs, output_attentions=True).attentions[1][0, 2]
        expected.append(float(maps[:, part.inputs["input_ids"][0] == 3].sum(1).mean()))
    assert float(found.means["raw"]["separator"][1, 2]) == pytest.approx(np.mean(expected))
    assert float(found.deviations["raw"]["separator"][1, 2]) == pytest.approx(np.std(expected, ddof=1))


def test_a_sample_is_random_and_repeatable(task: Exact) -> None:
    model = classifier()
    model.config.id2label = {0: "bad", 1: "good"}
    found = attention_patterns(model, task, SampleOptions(batch_size=4, sample=10))
    assert len(found.inputs) == 10
    assert found.inputs == attention_patterns(model, task, SampleOptions(batch_size=64, sample=10)).inputs
    assert found.inputs != attention_patterns(model, task, SampleOptions(sample=10, seed=1)).inputs
    every = attention_patterns(model, task, SampleOptions(sample=None))
    for mine, yours in zip(found.labels("raw"), every.labels("raw"), strict=True):
        assert torch.equal(mine, yours[list(found.inputs)])


@pytest.mark.parametrize("name", ["bert", "deberta", "modernbert", "llama"])
def test_under_a_ticket_the_model_runs_masked(name: str) -> None:
    kind = ZOO[name]
    model = kind.make()
    given = kind.given(padded=False)
    before = computed(model, given)
    ticket = some_sites(model, seed=1)
    found = attention_patterns(model, [batch(given)], ticket=ticket)
    assert torch.equal(found.shares("raw").isnan().any(-1), ~ticket.heads)
    assert torch.equal(found.means["norm"]["distance"].isnan(), ~ticket.heads)
    # The same by really deleting heads, in a layer that kept some.
    row = int(ticket.heads.any(1).nonzero()[-1])
    small = shrunk(model, ticket).model
    assert isinstance(small, PreTrainedModel)
    with torch.no_grad():
        kept = small(**given, output_attentions=True).attentions
    alive = ticket.heads[row]
    if len(kept) == len(found.classes["raw"]) and kept[row].shape[1] == alive.sum():
        values = features(kept[row], torch.zeros(1).bool())[..., FEATURES.index("entropy")].mean(0)
        torch.testing.assert_close(found.means["raw"]["entropy"][row, alive], values)
    assert torch.equal(computed(model, given), before)


def test_under_a_ticket_of_weights() -> None:
    model = classifier()
    given = ZOO["bert"].given(padded=False)
    ticket = some_weights(model, seed=1)
    found = attention_patterns(model, [batch(given)], ticket=ticket)
    direct = masked(model, ticket).model
    assert isinstance(direct, PreTrainedModel)
    same(found, attention_patterns(direct, [batch(given)]))
    assert found.working.all()


def test_what_is_written_is_read_again(tmp_path: Path, task: Exact) -> None:
    model = classifier()
    model.config.id2label = {0: "bad", 1: "good"}
    ticket = some_sites(model, seed=1)
    found = attention_patterns(model, task, ticket=ticket)
    found.write(tmp_path / "attention.json")
    read = AttentionPatterns.read(tmp_path / "attention.json")
    same(found, read, 1e-5)
    assert read.entry() == found.entry()
    assert read.example_maps == found.example_maps
    json.dumps(found.entry(), allow_nan=False)


def test_example_maps_show_real_tokens_and_maps(task: Exact) -> None:
    model = classifier()
    model.config.id2label = {0: "bad", 1: "good"}
    found = attention_patterns(model, task, example_maps=1)
    assert found.example_maps
    words = task.tokenizer
    for picture in found.example_maps:
        text = task.corpus.splits["dev"].first[picture.input]
        assert picture.tokens == ["[CLS]", *words.tokenize(text), "[SEP]"]
        assert np.sum(picture.map, axis=1) == pytest.approx(1, abs=0.02)
        maps = torch.tensor(picture.map)
        assert CLASSES[int(classify(maps / maps.sum(-1, keepdim=True)).labels)] == picture.pattern
    shown = [(picture.weighting, picture.pattern) for picture in found.example_maps]
    assert len(set(shown)) == len(shown)
    assert not attention_patterns(model, task, example_maps=0).example_maps


def test_training_mode_and_parameters_are_left_as_they_were(task: Exact) -> None:
    model = classifier(dropout=0.5)
    model.config.id2label = {0: "bad", 1: "good"}
    model.train()
    expected = attention_patterns(model, task).entry()
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert attention_patterns(model.eval(), task).entry() == expected


def test_what_is_not_finite_is_refused() -> None:
    model = classifier()
    with torch.no_grad():
        model.get_parameter("bert.encoder.layer.1.attention.self.query.weight")[0, 0] = torch.nan
    with pytest.raises(TombolaError, match="not finite"):
        attention_patterns(model, [batch(ZOO["bert"].given(padded=False))])


def test_bad_input(tmp_path: Path) -> None:
    model = classifier()
    given = ZOO["bert"].given(padded=False)
    with pytest.raises(TombolaError, match="no inputs"):
        attention_patterns(model, [])
    with pytest.raises(TombolaError, match="says nothing"):
        attention_patterns(model, synthetic(), SampleOptions(sample=0))
    with pytest.raises(TombolaError, match="padding alone"):
        attention_patterns(model, [batch({**given, "attention_mask": torch.zeros_like(given["input_ids"])})])
    with pytest.raises(TombolaError, match="another model"):
        attention_patterns(model, [batch(given)], ticket=sites(classifier(layers=2), torch.ones(2, 4), torch.ones(2)))
    with pytest.raises(TombolaError, match="not a transformers model"):
        attention_patterns(nn.Linear(2, 2), [batch(given)])
    found = attention_patterns(model, [batch(given)], tokenizer=tokenizer())
    with pytest.raises(TombolaError, match="unknown weighting"):
        found.shares("heavy")
    (tmp_path / "bad.json").write_text('{"format": 1, "inputs": [0]}')
    with pytest.raises(TombolaError, match=r"bad\.json: 'architecture' is missing; delete it"):
        AttentionPatterns.read(tmp_path / "bad.json")
    (tmp_path / "new.json").write_text(json.dumps({**found.entry(), "format": 2}))
    with pytest.raises(TombolaError, match="'format' should be 1, but found 2"):
        AttentionPatterns.read(tmp_path / "new.json")


def peak(call: Callable[[], object], trace: Path) -> int:
    """Most bytes that PyTorch has allocated at once during a call."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    profiler.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text())["traceEvents"]
    totals = [event["args"]["Total Allocated"] for event in events if event["name"] == "[memory]"]
    sizes = [event["args"]["Bytes"] for event in events if event["name"] == "[memory]"]
    # What was there before the call began.
    return int(max(totals) - (totals[0] - sizes[0]))


@pytest.mark.slow
def test_memory_stays_near_that_of_a_plain_forward_pass(tmp_path: Path) -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    sizes: dict[str, Any] = {**SIZES, "num_hidden_layers": 5, "max_position_embeddings": 192}
    wide = type(model)(type(model.config)(**sizes))
    wide.set_attn_implementation("eager")
    wide.eval()
    ids = torch.randint(5, 60, (48, 192), generator=torch.Generator().manual_seed(0))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    given["attention_mask"][::2, 150:] = 0
    with torch.no_grad():
        plain = peak(lambda: wide(**given), tmp_path / "plain.json")
        every = peak(lambda: wide(**given, output_attentions=True), tmp_path / "every.json")
    stream = peak(lambda: attention_patterns(wide, [batch(given)]), tmp_path / "stream.json")
    assert stream < 1.5 * plain < every
