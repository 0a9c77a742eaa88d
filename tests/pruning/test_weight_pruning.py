"""Pruning of weights against brute force: whole passes with hooks, rows sorted one by one, families by hand."""

import copy
import hashlib
import itertools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from builders.families import ZOO, Kind, computed, sampled
from tombola.architectures.dissect import dissect
from tombola.architectures.sites import Matrix, outputs_first
from tombola.checkpoints.semi_structured import not_semi_structured, prune_semi_structured
from tombola.foundations.errors import TombolaError
from tombola.pruning.calibration import calibration_inputs
from tombola.pruning.magnitude import keep_largest
from tombola.pruning.one_shot import one_shot
from tombola.pruning.weight_criteria import CRITERIA, WeightCut
from tombola.pruning.weight_pruning import prune_weights
from tombola.subnetworks.subnetwork import masked
from tombola.tasks.base import Batch
from tombola.tickets.nm_sparsity import WeightPattern

PADDED = ("bert", "llama", "opt", "gpt2", "t5", "t5's encoder", "modernbert")


def text(kind: Kind, *, padded: bool = False, dtype: torch.dtype = torch.float64) -> list[dict[str, Tensor]]:
    """Two batches of different sizes."""
    given = {k: v.to(dtype) if v.is_floating_point() else v for k, v in kind.given(padded).items()}
    return [given, {name: tensor.flip(1)[:2] if tensor.ndim == 2 else tensor[:2] for name, tensor in given.items()}]


def by_hand(
    model: PreTrainedModel, batches: list[dict[str, Tensor]], removed: float, *, sequential: bool
) -> dict[str, np.ndarray]:
    """Wanda by whole passes of the whole model, a layer at a time, and a sort of every row."""
    model = copy.deepcopy(model)
    anatomy = dissect(model)
    masks: dict[str, np.ndarray] = {}
    layers = sorted({matrix.layer for matrix in anatomy.matrices})
    for layer in layers:
        matrices = [matrix for matrix in anatomy.matrices if matrix.layer == layer]
        scores = {matrix.name: weighed(model, matrix, batches) for matrix in matrices}
        for matrix in matrices:
            mask = np.ones(scores[matrix.name].shape, dtype=bool)
            for row, values in enumerate(scores[matrix.name]):
                mask[row, np.argsort(values, kind="stable")[: round(removed * len(values))]] = False
            masks[matrix.name] = outputs_first(model, matrix, torch.from_numpy(mask)).numpy()
            if sequential:
                with torch.no_grad():
                    model.get_parameter(matrix.parameter).mul_(torch.from_numpy(masks[matrix.name]))
    return masks


def weighed(model: PreTrainedModel, matrix: Matrix, batches: list[dict[str, Tensor]]) -> np.ndarray:
    """|W| times the norms of all inputs of a matrix, [out, in]."""
    seen: list[Tensor] = []
    module = model.get_submodule(matrix.module)
    handle = module.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].detach().flatten(0, -2)))
    with torch.no_grad():
        for given in batches:
            model(**given)
    handle.remove()
    weight = outputs_first(model, matrix, model.get_parameter(matrix.parameter).detach()).numpy()
    scores: np.ndarray = np.abs(weight) * np.linalg.norm(torch.cat(seen).numpy(), axis=0)
    return scores


@pytest.mark.parametrize("sequential", [True, False])
@pytest.mark.parametrize("name", sampled())
def test_wanda_is_that_of_whole_passes_and_sorted_rows(name: str, sequential: bool) -> None:
    model, batches = ZOO[name].make(), text(ZOO[name])
    found = prune_weights(model, WeightCut("wanda", 0.4, sequential=sequential), calibration=batches).ticket
    expected = by_hand(model, batches, 0.4, sequential=sequential)
    assert list(found.masks) == [matrix.name for matrix in dissect(model).matrices]
    for matrix, mask in found.masks.items():
        assert np.array_equal(mask.numpy(), expected[matrix]), matrix


def test_sequential_and_dense_differ_from_the_second_layer_on() -> None:
    model, batches = ZOO["llama"].make(), text(ZOO["llama"])
    one, other = (
        prune_weights(model, WeightCut("wanda", 0.7, sequential=way), calibration=batches).ticket
        for way in (True, False)
    )
    differing = {name for name, mask in one.masks.items() if not torch.equal(mask, other.masks[name])}
    assert differing
    assert all(name.startswith("1.") for name in differing)


@pytest.mark.parametrize("name", PADDED)
@pytest.mark.parametrize("criterion", ["wanda", "sparsegpt"])
def test_padding_does_not_count(name: str, criterion: str) -> None:
    model = ZOO[name].make()
    padded = ZOO[name].given(padded=True)
    if "decoder_input_ids" in padded:
        padded["decoder_attention_mask"] = torch.ones_like(padded["decoder_input_ids"])
        padded["decoder_attention_mask"][0, 3:] = 0
    apart = []
    for row in range(3):
        alone = {name: tensor[row : row + 1] for name, tensor in padded.items()}
        for ids, mask in (("input_ids", "attention_mask"), ("decoder_input_ids", "decoder_attention_mask")):
            if mask in alone:
                kept = alone[mask][0].bool()
                alone |= {ids: alone[ids][:, kept], mask: alone[mask][:, kept]}
        apart.append(alone)
    one, other = (prune_weights(model, WeightCut(criterion, 0.5), calibration=way).ticket for way in ([padded], apart))
    assert one == other


@pytest.mark.parametrize("name", sampled())
@pytest.mark.parametrize("criterion", CRITERIA)
def test_counts_are_exact_in_every_family(name: str, criterion: str) -> None:
    kind = ZOO[name]
    model, batches = kind.make(dtype=torch.float32), text(kind, dtype=torch.float32)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = prune_weights(model, WeightCut(criterion, 0.3), calibration=batches)
    anatomy = dissect(model)
    found.ticket.check(anatomy)
    assert found.ticket.provenance["ticket"] == criterion
    scope = CRITERIA[criterion].scopes[0]
    if scope == "global":
        assert len(found.ticket) == kind.weights - round(0.3 * kind.weights)
    for matrix in anatomy.matrices:
        mask = found.ticket.masks[matrix.name]
        if scope == "matrix":
            assert mask.sum() == matrix.size - round(0.3 * matrix.size)
        if scope == "row":
            rows = outputs_first(model, matrix, mask)
            assert set(rows.sum(1).tolist()) == {rows.shape[1] - round(0.3 * rows.shape[1])}
    # The model was left alone; what came out is zero exactly where the ticket says.
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any("forward" in vars(module) for module in found.model.modules())
    for matrix, parameter in anatomy.prunable(found.model):
        mask = found.ticket.masks[matrix.name]
        assert torch.equal(parameter != 0, mask), "no surviving weight is zero by chance"
        assert not torch.signbit(parameter[~mask]).any()
        if not CRITERIA[criterion].updates:
            assert torch.equal(parameter[mask], model.get_parameter(matrix.parameter)[mask])
    if not CRITERIA[criterion].updates:
        given = kind.given(padded=True)
        torch.testing.assert_close(computed(found.model, given), computed(masked(model, found.ticket), given))


@pytest.mark.parametrize("pattern", ["2:4", "4:8", "1:4"])
@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_patterns_hold_in_every_group(name: str, criterion: str, pattern: str) -> None:
    kind = ZOO[name]
    model = kind.make(dtype=torch.float32)
    found = prune_weights(model, WeightCut(criterion, pattern=pattern), calibration=text(kind)).ticket
    kept, group = map(int, pattern.split(":"))
    for matrix in dissect(model).matrices:
        rows = outputs_first(model, matrix, found.masks[matrix.name])
        assert set(rows.reshape(-1, group).sum(1).tolist()) == {kept}
    assert found.provenance["pattern"] == pattern
    if pattern == "2:4":
        assert not_semi_structured(model, found) == ()
        if criterion == "magnitude":
            assert found == prune_semi_structured(model)


def test_a_pattern_keeps_the_highest_of_each_group_and_among_equals_the_later() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 4, (13, 24), generator=generator).float()
    for kept, group in ((2, 4), (4, 8), (1, 3), (5, 6), (11, 12)):
        mask = WeightPattern(kept, group).largest(scores)
        for row, start in itertools.product(range(13), range(0, 24, group)):
            part = scores[row, start : start + group].tolist()
            best = sorted(range(group), key=lambda place: (part[place], place))[group - kept :]
            assert torch.nonzero(mask[row, start : start + group]).flatten().tolist() == sorted(best)
        assert WeightPattern(kept, group).holds(mask)
        assert not WeightPattern(kept, group).holds(mask | (torch.arange(24) < group))
        assert not WeightPattern(kept, group).holds(mask[:, 1:])


@pytest.mark.parametrize("scope", ["global", "matrix", "row"])
def test_magnitude_by_scope(scope: str) -> None:
    model = ZOO["gpt2"].make(dtype=torch.bfloat16)  # of so few bits there are ties
    found = prune_weights(model, WeightCut("magnitude", 0.37, scope=scope)).ticket
    weights = {name: parameter.detach() for name, parameter in dissect(model).weights_of(model).items()}
    total = sum(weight.numel() for weight in weights.values())
    if scope == "global":
        expected = keep_largest(weights, total - round(0.37 * total))
    elif scope == "matrix":
        sizes = {name: weight.numel() for name, weight in weights.items()}
        expected = {
            name: keep_largest({"": weight}, sizes[name] - round(0.37 * sizes[name]))[""]
            for name, weight in weights.items()
        }
    else:
        expected = {}
        for name, weight in weights.items():
            # Its rows are the columns of a Conv1D.
            columns = weight.float().abs().T.numpy()
            mask = np.ones(columns.shape, dtype=bool)
            for row, values in enumerate(columns):
                mask[row, np.argsort(values, kind="stable")[: round(0.37 * len(values))]] = False
            expected[name] = torch.from_numpy(mask.T)
    for name in weights:
        assert torch.equal(found.masks[name], expected[name])


def test_global_magnitude_is_the_one_shot_ticket(task: Any) -> None:
    model = ZOO["bert"].make(dtype=torch.float32)
    assert prune_weights(model, WeightCut("magnitude", 0.25)).ticket == one_shot(model, task, {"weights": 0.75})


def test_random_is_reproducible_and_uniform() -> None:
    model = ZOO["llama"].make(dtype=torch.float32)
    one, again, other = (prune_weights(model, WeightCut("random", 0.5, seed=seed)).ticket for seed in (3, 3, 4))
    assert one == again
    assert one != other
    # Two draws of a half share a third of their union.
    assert abs(len(one & other) / len(one | other) - 1 / 3) < 0.02
    # Each matrix loses about its share, and matrices of one shape not the same weights.
    assert all(abs(float(mask.float().mean()) - 0.5) < 0.06 for mask in one.masks.values())
    assert not torch.equal(one.masks["0.query"], one.masks["1.query"])


def test_conv1d_and_linear_are_pruned_alike() -> None:
    """GPT-2 as it is, and with every transposed matrix turned into an ordinary one: the same function."""
    model = ZOO["gpt2"].make()
    turned = copy.deepcopy(model)
    for matrix in dissect(model).matrices:
        old: Any = turned.get_submodule(matrix.module)
        linear = nn.Linear(1, 1)
        linear.weight, linear.bias = nn.Parameter(old.weight.detach().T.contiguous()), old.bias
        turned.set_submodule(matrix.module, linear)
    batches = text(ZOO["gpt2"])
    torch.testing.assert_close(computed(turned, batches[0]), computed(model, batches[0]))
    for how in ({"sparsity": 0.5}, {"pattern": "2:4"}):
        for criterion in ("wanda", "sparsegpt"):
            one, other = (
                prune_weights(each, WeightCut(criterion, **how), calibration=batches) for each in (model, turned)
            )
            for name, mask in one.ticket.masks.items():
                assert torch.equal(mask.T, other.ticket.masks[name])
            torch.testing.assert_close(computed(one.model, batches[0]), computed(other.model, batches[0]))


def test_batches_of_a_task_tensors_and_keywords_are_the_same_text() -> None:
    model, given = ZOO["llama"].make(), ZOO["llama"].given(padded=False)
    ids = given["input_ids"]
    ways: list[Any] = [[Batch(np.arange(3), given, ids)], [given], [ids], iter([ids]), ids, [ids[:1], ids[1:]]]
    first, *others = [prune_weights(model, WeightCut("wanda", 0.5), calibration=way).ticket for way in ways]
    assert all(ticket == first for ticket in others)
    # The same text, however it is batched; little-endian int64.
    digest = hashlib.sha256(b"".join(int(one).to_bytes(8, "little") for one in ids.flatten())).hexdigest()
    stated = {"examples": 3, "tokens": 21, "window": 7, "first_token": None, "sha256": digest}
    assert first.provenance["calibration"] == {"batches": 1, **stated}
    assert others[-1].provenance["calibration"] == {"batches": 2, **stated}
    begun = torch.cat([torch.full((3, 1), 5), ids], 1)
    ticket = prune_weights(model, WeightCut("sparsegpt", 0.5), calibration=[begun]).ticket
    found = cast(dict[str, object], ticket.provenance["calibration"])
    assert (found["first_token"], found["window"]) == (5, 8)


def test_modes_and_settings_are_as_before() -> None:
    model = ZOO["llama"].make()
    model.train()
    model.get_submodule("model.layers.0").eval()
    found = prune_weights(model, WeightCut("wanda", 0.5), calibration=text(ZOO["llama"]))
    for one, other in zip(model.modules(), found.model.modules(), strict=True):
        assert one.training == other.training
        assert not other._forward_pre_hooks
    copied: Any = found.model
    assert copied.config.use_cache is True
    assert all(parameter.requires_grad for parameter in found.model.parameters())


Spoil = Callable[[PreTrainedModel], Any]


def ignore(_: PreTrainedModel) -> None:
    pass


def not_a_number(model: PreTrainedModel) -> None:
    with torch.no_grad():
        dissect(model).weights_of(model)["1.mlp_out"][3, 4] = torch.nan


def infinite_embedding(model: PreTrainedModel) -> None:
    with torch.no_grad():
        model.get_parameter("model.embed_tokens.weight")[7] = torch.inf


def quantised(model: PreTrainedModel) -> None:
    linear: Any = model.get_submodule("model.layers.0.self_attn.q_proj")
    linear.weight = nn.Parameter(torch.zeros(48, 48, dtype=torch.int8), requires_grad=False)


def replaced_by_a_quantiser(model: PreTrainedModel) -> None:
    model.set_submodule("model.layers.0.self_attn.q_proj", nn.Identity())
    model.config.quantization_config = {"quant_method": "gptq"}


IDS = torch.arange(10, 30).reshape(2, 10)


@pytest.mark.parametrize(
    ("spoil", "settings", "says"),
    [
        (ignore, {"criterion": "obs"}, "unknown criterion 'obs'; known: magnitude, random, "),
        (ignore, {"sparsity": 1.0}, "between 0 and below 1, not 1.0"),
        (ignore, {"sparsity": -0.1}, "a number from 0 to 1, not -0.1"),
        (ignore, {"sparsity": float("nan")}, "a number from 0 to 1, not nan"),
        (ignore, {"sparsity": "0.5"}, "a number from 0 to 1, not '0.5'"),
        (ignore, {"seed": 0.5}, "the seed must be a whole number from 0 to"),
        (ignore, {"block": 0}, "must be a whole number from 1, not 0"),
        (ignore, {"sparsity": None}, "between 0 and below 1, not None"),
        (ignore, {"pattern": "4:2", "sparsity": None}, "'4:2' is no pattern of weights"),
        (ignore, {"pattern": "half", "sparsity": None}, "'half' is no pattern of weights"),
        (ignore, {"pattern": "2:4", "sparsity": 0.6}, "2:4 removes 0.5 of the weights, not 0.6"),
        (ignore, {"pattern": "2:4", "scope": "row"}, "leave the scope out"),
        (ignore, {"pattern": "2:5", "sparsity": None}, "2:5 does not divide the 48 inputs of 0.query"),
        (ignore, {"scope": "global"}, "wanda compares weights of a row or matrix, not 'global'"),
        (ignore, {"criterion": "sparsegpt", "damping": 0.0}, "damping above 0"),
        (ignore, {"calibration": None}, "give it calibration text"),
        (ignore, {"calibration": []}, "calibration text is empty"),
        (ignore, {"calibration": [torch.zeros(1, 0, dtype=torch.int64)]}, "calibration text is empty"),
        (ignore, {"calibration": [IDS + 60]}, "token id 89, and the model knows 0 to 63"),
        (ignore, {"calibration": [IDS.float()]}, "must be whole numbers"),
        (ignore, {"calibration": [IDS[0]]}, "must be whole numbers"),
        (ignore, {"calibration": [{"words": IDS}]}, "does not take the calibration batches"),
        (not_a_number, {}, "the matrix 1.mlp_out holds NaN or infinity"),
        (not_a_number, {"criterion": "magnitude"}, "the matrix 1.mlp_out holds NaN or infinity"),
        (infinite_embedding, {"calibration": [IDS % 9]}, "0.* multiplies on the calibration text is not finite"),
        (infinite_embedding, {"criterion": "sparsegpt", "calibration": [IDS % 9]}, "is not finite"),
        (quantised, {}, "this model is quantised"),
        (replaced_by_a_quantiser, {}, "this model is quantised"),
    ],
)
def test_refusals_are_one_clear_line(spoil: Spoil, settings: Mapping[str, Any], says: str) -> None:
    model = ZOO["llama"].make(dtype=torch.float32)
    spoil(model)
    given = {"criterion": "wanda", "sparsity": 0.5, "calibration": [IDS], **settings}
    calibration = given.pop("calibration")
    with pytest.raises(TombolaError, match=says) as raised:
        prune_weights(model, WeightCut(**given), calibration=calibration)
    assert "\n" not in str(raised.value)


def test_encoder_decoders_say_what_they_miss() -> None:
    with pytest.raises(TombolaError, match="calibrated on decoder_input_ids too"):
        prune_weights(ZOO["t5"].make(), WeightCut("wanda", 0.5), calibration=[IDS])


def test_positions_beyond_the_models_are_named() -> None:
    with pytest.raises(TombolaError, match="position that the model does not know"):
        prune_weights(
            ZOO["gpt2"].make(), WeightCut("wanda", 0.5), calibration=[IDS, torch.zeros(1, 60, dtype=torch.int64)]
        )


def test_calibration_on_one_token_is_said() -> None:
    with pytest.warns(UserWarning, match="one token again and again"):
        calibration_inputs([torch.full((2, 5), 7), torch.full((1, 3), 7)], nn.Linear(1, 1))
    with warnings.catch_warnings(action="error"):
        calibration_inputs([torch.full((2, 5), 7), torch.full((1, 3), 8)], nn.Linear(1, 1))


@pytest.mark.parametrize("given", ["a text", ["a text", "another"]])
def test_strings_are_no_calibration_yet(given: Any) -> None:
    with pytest.raises(TombolaError, match="batches of token ids, not strings; encode it first"):
        calibration_inputs(given, nn.Linear(2, 2))


def test_padding_beside_one_token_is_not_taken_for_text() -> None:
    given = {"input_ids": torch.tensor([[7, 7, 0, 0]]), "attention_mask": torch.tensor([[1, 1, 0, 0]])}
    model = ZOO["bert"].make()
    with pytest.warns(UserWarning, match="one token again and again"):
        prune_weights(model, WeightCut("wanda", 0.5), calibration=[given])
    with pytest.raises(TombolaError, match="the calibration text is padding alone"):
        prune_weights(
            model, WeightCut("wanda", 0.5), calibration=[{**given, "attention_mask": 0 * given["attention_mask"]}]
        )
