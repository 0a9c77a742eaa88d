"""For every family: a gate at zero is a deletion, by whichever form of the ticket and by hand."""

import copy
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertLMHeadModel, Gemma3Config, PreTrainedModel

from builders.encoders import sites
from builders.families import DECODERS, FIRST, GENERATORS, REPRESENTATIVE, ZOO, Kind, computed, sampled, tickets, under
from tombola.architectures.anatomy import Anatomy
from tombola.architectures.dissect import dissect
from tombola.architectures.families import FAMILIES
from tombola.foundations.errors import TombolaError
from tombola.pruning.importance import FirstOrder, Importance, checked, gate_gradients
from tombola.subnetworks.gates import attach
from tombola.subnetworks.subnetwork import Subnetwork, expanded, masked, shrunk
from tombola.tickets.ticket import Ticket


def cases(names: Iterable[str] = ZOO) -> list[Any]:
    """Families with each attention that they have; `make test` meets one of each family but the first."""
    found = []
    for name, one in zip(names, sampled(names), strict=True):
        for attention in ("eager", "sdpa") if ZOO[name].sdpa else ("eager",):
            left = name not in FIRST and ZOO[name].sdpa and attention == "eager"
            marks = pytest.mark.exhaustive if left else getattr(one, "marks", ())
            found.append(pytest.param(name, attention, id=f"{name}-{attention}", marks=marks))
    return found


def test_every_family_of_the_table_is_in_the_zoo() -> None:
    # Those of diffusers, which are called by their classes, have a zoo of their own.
    of_transformers = {name for name in FAMILIES if name[0].islower()}
    assert {kind.make().config.model_type for kind in ZOO.values()} == of_transformers


@pytest.mark.parametrize("name", ZOO)
def test_counts_and_signature_by_hand(name: str) -> None:
    kind = ZOO[name]
    model = kind.make()
    anatomy = dissect(model)
    assert anatomy.heads == (kind.rows, kind.heads)
    assert anatomy.mlps == kind.mlps
    assert anatomy.weights == kind.weights
    assert anatomy.signature == kind.signature
    assert [row.outputs[0] for row in anatomy.attentions] == list(kind.outputs)
    names = [matrix.name for matrix in anatomy.matrices]
    assert len(names) == len(set(names))
    for matrix, parameter in anatomy.prunable(model):
        assert tuple(parameter.shape) == matrix.shape
    everything = Ticket.full(anatomy, "heads+neurons", 12)
    assert anatomy.surviving_weights(everything.kept(anatomy)) == kind.weights


@pytest.mark.parametrize("name", ZOO)
def test_prunable_are_all_matrices_of_the_layers(name: str) -> None:
    kind = ZOO[name]
    model = kind.make()
    layers = ("encoder.layer.", "transformer.layer.", "albert_layers.", ".h.", "layers.", "block.")
    others = ("relative_attention_bias",)
    expected = {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and any(part in name for part in layers) and not any(part in name for part in others)
    }
    assert {matrix.parameter for matrix in dissect(model).matrices} == expected


def once_in_each(padded: bool) -> list[Any]:
    """As `cases`, but that `make test` meets every family, if only without padding and with eager attention."""
    found = []
    for case in cases():
        name, attention = case.values
        meets = name in REPRESENTATIVE or (attention == "eager" and not padded)
        marks = case.marks if name in FIRST else pytest.mark.slow if meets else pytest.mark.exhaustive
        found.append(pytest.param(name, attention, padded, id=f"{case.id}{'-padded' * padded}", marks=marks))
    return found


@pytest.mark.parametrize(("name", "attention", "padded"), [*once_in_each(False), *once_in_each(True)])
def test_masked_and_shrunk_compute_the_same(name: str, attention: str, padded: bool) -> None:
    kind = ZOO[name]
    # In fp64 the eager attention of decoders turns rows of padding into NaN, which spread: no padding on the left.
    model, given = kind.make(attention), kind.given(padded, left=attention == "sdpa")
    assert model.config._attn_implementation == attention
    seen = {Ticket.full(dissect(model), "heads+mlps"): computed(model, given)}
    for title, ticket in tickets(model).items():
        part = shrunk(model, ticket)
        assert not part.gated
        found = computed(part, given)
        torch.testing.assert_close(found, computed(masked(model, ticket), given), rtol=0, atol=1e-10, msg=title)
        seen[ticket] = found
    # Different tickets compute different things, so that equality above says something.
    assert min(float((a - b).abs().max()) for a, b in itertools.combinations(seen.values(), 2)) > 1e-4


def of_the_first() -> list[Any]:
    """As `cases`, but that `make test` meets the first families alone: how things round is no matter of structure."""
    beyond = {name for name in ZOO if name not in FIRST}
    return [
        pytest.param(*case.values, id=case.id, marks=pytest.mark.exhaustive) if case.values[0] in beyond else case
        for case in cases()
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "attention"), of_the_first())
def test_masked_and_shrunk_are_near_in_single_precision(name: str, attention: str) -> None:
    kind = ZOO[name]
    model, given = kind.make(attention, torch.float32), kind.given(padded=True, left=True)
    for title, ticket in tickets(model).items():
        found, expected = computed(shrunk(model, ticket), given), computed(masked(model, ticket), given)
        # Of the largest, because logits of about 10 have that much rounding themselves.
        tolerance = 1e-5 * max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance, msg=title)


@pytest.mark.parametrize("name", sampled())
def test_expanded_is_the_same_in_the_original_shapes_with_exact_zeros(name: str, tmp_path: Path) -> None:
    kind = ZOO[name]
    model, given = kind.make(), kind.given(padded=True)
    anatomy = dissect(model)
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    attributes = {key: _numbers(module) for key, module in model.named_modules()}
    for title, ticket in tickets(model).items():
        part = shrunk(model, ticket)
        back = expanded(part)
        assert {key: tensor.shape for key, tensor in back.state_dict().items()} == shapes, title
        assert {key: _numbers(module) for key, module in back.named_modules()} == attributes, title
        assert not any(module._forward_pre_hooks for module in back.modules())
        torch.testing.assert_close(computed(back, given), computed(part, given), rtol=0, atol=1e-10, msg=title)
        # The count of survivors, by brute force.
        kept = sum(int((parameter != 0).sum()) for _, parameter in dissect(back).prunable(back))
        assert kept == ticket.survivors(anatomy)["weights"], title
        assert ticket.sparsity(anatomy) == pytest.approx(1 - kept / kind.weights)
    assert isinstance(back, PreTrainedModel)
    back.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path, dtype=torch.float64, attn_implementation="eager").eval()
    # Not nearer, because Gemma scales its embeddings by a root taken in the precision that it is loaded in.
    torch.testing.assert_close(computed(again, given), computed(part, given), rtol=0, atol=1e-5)


def _numbers(module: nn.Module) -> dict[str, object]:
    return {name: value for name, value in vars(module).items() if isinstance(value, int | float) and name[0] != "_"}


@pytest.mark.parametrize("name", sampled())
def test_the_shrunk_model_has_no_weights_of_what_is_gone(name: str) -> None:
    model = ZOO[name].make()
    anatomy = dissect(model)
    for title, ticket in tickets(model).items():
        part = shrunk(model, ticket).model
        present = dict(part.named_parameters())
        left = sum(present[matrix.parameter].numel() for matrix in anatomy.matrices)
        # Where a sublayer does not run without heads, one of zeros stays.
        blanks = sum(
            row.head_weights + row.kv_weights
            for row, kept in zip(anatomy.attentions, ticket.kept(anatomy).heads, strict=True)
            if not kept.any() and not row.may_be_empty
        )
        assert left == ticket.survivors(anatomy)["weights"] + blanks, title


@pytest.mark.parametrize("name", sampled())
def test_the_original_is_left_alone_and_copies_of_the_shrunk_compute_the_same(name: str) -> None:
    kind = ZOO[name]
    model, given = kind.make(), kind.given(padded=True)
    before, expected = copy.deepcopy(model.state_dict()), computed(model, given)
    for title, ticket in tickets(model).items():
        part = shrunk(model, ticket)
        copied = copy.deepcopy(part.model)
        found = computed(part, given)
        assert torch.equal(computed(copied, given), found), title
        # By counting what is left, and by the modules that are there.
        assert dissect(part.model).weights == ticket.survivors(dissect(model))["weights"], title
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(computed(model, given), expected)


@pytest.mark.parametrize("name", sampled(name for name, kind in ZOO.items() if kind.sdpa))
def test_a_shrunk_model_follows_when_its_attention_implementation_is_changed(name: str) -> None:
    kind = ZOO[name]
    model, given = kind.make("eager"), kind.given(padded=False)
    ticket = tickets(model)["uneven groups"]
    part = shrunk(model, ticket)
    assert isinstance(part.model, PreTrainedModel)
    part.model.set_attn_implementation("sdpa")
    expected = computed(shrunk(kind.make("sdpa"), ticket), given)
    torch.testing.assert_close(computed(part, given), expected, rtol=0, atol=1e-10)
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize(("name", "attention"), cases(GENERATORS))
@pytest.mark.parametrize("padded", [False, True])
def test_greedy_generation_with_a_cache_is_the_same(name: str, attention: str, padded: bool) -> None:
    kind = ZOO[name]
    # See above: eager attention pads on the left in fp32 only.
    exact = attention == "sdpa" or not padded
    model = kind.make(attention, torch.float64 if exact else torch.float32)
    given = {key: tensor for key, tensor in kind.given(padded, left=True).items() if key != "decoder_input_ids"}
    chosen = tickets(model)
    for title in ("first layer emptied", "single heads", "uneven groups", "random 0"):
        part = shrunk(model, chosen[title])
        a = _generated(part, given)
        for other in (_generated(masked(model, chosen[title]), given), _generated(part, given, use_cache=False)):
            assert torch.equal(a.sequences, other.sequences), title
            near, far = torch.stack(a.logits), torch.stack(other.logits)
            tolerance = 1e-10 if exact else 1e-5 * max(1.0, float(far.abs().max()))
            torch.testing.assert_close(near, far, rtol=0, atol=tolerance)


def _generated(subnetwork: Subnetwork, given: dict[str, Tensor], *, use_cache: bool = True) -> Any:
    def call(model: Any) -> Any:
        return model.generate(
            **given,
            max_new_tokens=5,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            use_cache=use_cache,
        )

    return under(subnetwork, 3, call)


def _scale(model: nn.Module, kind: Kind, row: int, head: int, factor: float) -> None:
    """Multiply what a head hands to the output projection, by its columns: written without the anatomy's help."""
    weight = model.get_submodule(kind.outputs[row]).weight
    assert isinstance(weight, Tensor)
    columns = weight.detach() if kind.transposed else weight.detach().T
    size = len(columns) // kind.heads
    columns[head * size : (head + 1) * size] *= factor


@pytest.mark.parametrize(("name", "attention"), cases())
def test_a_head_gate_at_zero_is_its_columns_at_zero(name: str, attention: str) -> None:
    kind = ZOO[name]
    model, given = kind.make(attention), kind.given(padded=True)
    full = computed(model, given)
    for row in range(kind.rows):
        heads = torch.ones(kind.rows, kind.heads)
        by_hand = copy.deepcopy(model)
        for head in (1, kind.heads - 1):
            heads[row, head] = 0
            _scale(by_hand, kind, row, head, 0.0)
        found = computed(masked(model, sites(model, heads, torch.ones(kind.mlps))), given)
        assert not torch.allclose(found, full, atol=1e-4)
        torch.testing.assert_close(found, computed(by_hand, given), rtol=0, atol=1e-10)


MLP_OUT = {
    "bert": "bert.encoder.layer.1.output.dense",
    "albert": "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn_output",
    "gpt2": "transformer.h.1.mlp.c_proj",
    "gpt_neox": "gpt_neox.layers.1.mlp.dense_4h_to_h",
    "opt": "model.decoder.layers.1.fc2",
    "gemma2": "model.layers.1.mlp.down_proj",
    "phi3": "model.layers.1.mlp.down_proj",
    "t5": "decoder.block.1.layer.2.DenseReluDense.wo",
    "vit": "vit.layers.1.mlp.fc2",
}


@pytest.mark.parametrize("name", MLP_OUT)
def test_an_mlp_gate_at_zero_is_its_output_at_zero(name: str) -> None:
    kind = ZOO[name]
    model, given = kind.make(), kind.given(padded=True)
    mlps = torch.ones(kind.mlps)
    mlps[-1] = 0
    by_hand = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in by_hand.get_submodule(MLP_OUT[name]).parameters():
            parameter.zero_()
    found = computed(masked(model, sites(model, torch.ones(kind.rows, kind.heads), mlps)), given)
    assert not torch.allclose(found, computed(model, given), atol=1e-4)
    torch.testing.assert_close(found, computed(by_hand, given), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["gemma2", "gemma3"])
def test_an_mlp_gate_stands_after_the_norm_of_what_the_mlp_adds(name: str) -> None:
    kind = ZOO[name]
    model, given = kind.make(), kind.given(padded=True)
    anatomy = dissect(model)
    by_hand = copy.deepcopy(model)
    with torch.no_grad():
        norm = by_hand.get_parameter("model.layers.1.post_feedforward_layernorm.weight")
        # Gemma's norms multiply by 1 + weight; before the norm, a factor would be undone.
        norm.copy_((1 + norm) * 0.5 - 1)
    with torch.no_grad(), attach(model, anatomy, Ticket.full(anatomy, "heads+mlps")) as gates:
        gates.open(3, torch.device("cpu"), grad=False)
        gates.opened["mlps", 1].fill_(0.5)
        found = computed(model, given)
    torch.testing.assert_close(found, computed(by_hand, given), rtol=0, atol=1e-6)
    assert not torch.allclose(found, computed(model, given), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "attention"), cases())
def test_shrunk_models_run_under_bf16_autocast(name: str, attention: str) -> None:
    kind = ZOO[name]
    model, given = kind.make(attention, torch.float32), kind.given(padded=True, left=True)
    for title, ticket in tickets(model).items():
        part = shrunk(model, ticket)
        exact = computed(part, given)
        with torch.autocast("cpu", torch.bfloat16):
            near, gated = computed(part, given), computed(masked(model, ticket), given)
        for found in (near, gated):
            error = (found.float() - exact).abs().mean() / exact.abs().mean()
            assert error < 0.1, title


def _without(tensor: Tensor, start: int, stop: int, dim: int) -> nn.Parameter:
    size = tensor.shape[dim]
    return nn.Parameter(torch.cat([tensor.narrow(dim, 0, start), tensor.narrow(dim, stop, size - stop)], dim).detach())


def _delete(model: nn.Module, path: str, start: int, stop: int, *, side: str, transposed: bool = False) -> None:
    """Delete units `start` to `stop`; `side` is that of the weight's units: `out` (with the bias) or `in`."""
    module = model.get_submodule(path)
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    module.weight = _without(weight, start, stop, int((side == "in") != transposed))
    if side == "out" and isinstance(bias, Tensor):
        module.bias = _without(bias, start, stop, 0)
    if side == "out" and hasattr(module, "nf"):
        vars(module).update(nf=module.weight.shape[1])


def _delete_by_hand(name: str, model: nn.Module) -> list[int]:
    """Delete what stands second in layer 1, a head or (grouped) a group of three, and say which heads these are."""
    if name == "vit":
        for part in "qkv":
            _delete(model, f"vit.layers.1.attention.{part}_proj", 8, 16, side="out")
        _delete(model, "vit.layers.1.attention.o_proj", 8, 16, side="in")
        return [1]
    if name == "modernbert":
        for start in (72, 40, 8):
            _delete(model, "model.layers.1.attn.Wqkv", start, start + 8, side="out")
        _delete(model, "model.layers.1.attn.Wo", 8, 16, side="in")
        return [1]
    if name == "gpt_neox":
        _delete(model, "gpt_neox.layers.1.attention.query_key_value", 24, 48, side="out")
        _delete(model, "gpt_neox.layers.1.attention.dense", 8, 16, side="in")
        return [1]
    if name == "gpt2":
        for start in (72, 40, 8):
            _delete(model, "transformer.h.1.attn.c_attn", start, start + 8, side="out", transposed=True)
        _delete(model, "transformer.h.1.attn.c_proj", 8, 16, side="in", transposed=True)
        module = model.get_submodule("transformer.h.1.attn")
        vars(module).update(split_size=24, num_heads=3)
        return [1]
    module = model.get_submodule("model.layers.1.self_attn")
    if name == "llama":
        _delete(module, "q_proj", 24, 48, side="out")
        for part in "kv":
            _delete(module, f"{part}_proj", 8, 16, side="out")
    else:
        # 48 units of queries, then 16 of keys and 16 of values; from the back, so that the others stay in place.
        for start, stop in ((72, 80), (56, 64), (24, 48)):
            _delete(module, "qkv_proj", start, stop, side="out")
        config: Any = copy.copy(module.config)
        config.num_attention_heads = 3
        module.config = config
        vars(module).update(num_key_value_heads=1)
    _delete(module, "o_proj", 24, 48, side="in")
    return [3, 4, 5]


@pytest.mark.parametrize("name", ["vit", "modernbert", "gpt_neox", "gpt2", "llama", "phi3"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_head_deleted_by_hand_is_the_head_masked_and_shrunk(name: str, attention: str) -> None:
    kind = ZOO[name]
    model, given = kind.make(attention), kind.given(padded=True)
    cut = copy.deepcopy(model)
    heads = torch.ones(kind.rows, kind.heads)
    heads[1, _delete_by_hand(name, cut)] = 0
    ticket = sites(model, heads, torch.ones(kind.mlps))
    expected = computed(cut, given)
    assert not torch.allclose(computed(model, given), expected, atol=1e-4)
    torch.testing.assert_close(computed(masked(model, ticket), given), expected, rtol=0, atol=1e-10)
    part = shrunk(model, ticket)
    torch.testing.assert_close(computed(part, given), expected, rtol=0, atol=1e-10)
    by_hand = {key: tensor.shape for key, tensor in cut.state_dict().items()}
    assert {key: tensor.shape for key, tensor in part.model.state_dict().items()} == by_hand


def _losses(model: nn.Module, given: dict[str, Tensor]) -> Tensor:
    """Cross entropy of made-up targets, the mean over each example's tokens."""
    logits: Tensor = model(**given).logits
    targets = torch.arange(logits[..., 0].numel()).reshape(logits.shape[:-1]) % logits.shape[-1]
    losses = nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none")
    return losses.reshape(len(logits), -1).mean(1)


def _importance(model: nn.Module, anatomy: Anatomy, present: Ticket, given: dict[str, Tensor]) -> Importance:
    with attach(model, anatomy, present) as gates:
        measure = FirstOrder()
        gates.open(3, torch.device("cpu"), grad=True)
        measure.add(gate_gradients(gates, _losses(model, given)))
    return checked("per-example", measure.result(), present, present, None)


@pytest.mark.parametrize("name", ["llama", "gpt2", "albert", "t5 of version 1.1"])
def test_importance_is_the_slope_by_finite_differences(name: str) -> None:
    kind = ZOO[name]
    model, given = kind.make("sdpa"), kind.given(padded=True)
    anatomy = dissect(model)
    found = _importance(model, anatomy, Ticket.full(anatomy, "heads+mlps"), given)
    # Norms compute in fp32 even here, so that steps must not be too small.
    epsilon = 3e-3
    for row in range(kind.rows):
        for head in range(kind.heads):
            sides = []
            for factor in (1 + epsilon, 1 - epsilon):
                scaled = copy.deepcopy(model)
                _scale(scaled, kind, row, head, factor)
                with torch.no_grad():
                    sides.append(_losses(scaled, given))
            slope = float(((sides[0] - sides[1]) / (2 * epsilon)).abs().mean())
            assert found["heads"][row, head] == pytest.approx(slope, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(
    "name", sampled(name for name, kind in ZOO.items() if not kind.model.endswith(("Model", "Projection")))
)
def test_importance_is_the_same_masked_and_shrunk(name: str) -> None:
    kind = ZOO[name]
    model, given = kind.make(), kind.given(padded=True)
    for title in ("uneven groups", "random 1"):
        ticket = tickets(model)[title]
        part = shrunk(model, ticket)
        found = _importance(part.model, part.anatomy, ticket, given)
        with attach(model, part.anatomy, masked(model, ticket).present, ticket) as gates:
            measure = FirstOrder()
            gates.open(3, torch.device("cpu"), grad=True)
            measure.add(gate_gradients(gates, _losses(model, given)))
            expected = checked("per-example", measure.result(), ticket, gates.present, None)
        assert torch.equal(~found["heads"].isnan(), ticket.heads)
        torch.testing.assert_close(found["heads"], expected["heads"], rtol=1e-4, atol=1e-9, equal_nan=True)
        torch.testing.assert_close(found["mlps"], expected["mlps"], rtol=1e-4, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3", "phi3", "deberta", "t5"])
def test_after_training_it_is_still_the_ticket_and_expands_exactly(name: str) -> None:
    kind = ZOO[name]
    model, given = kind.make(), kind.given(padded=True)
    anatomy = dissect(model)
    for title in ("first layer emptied", "uneven groups", "random 1"):
        ticket = tickets(model)[title]
        part = shrunk(model, ticket)
        trained = copy.deepcopy(part.model)
        optimiser = torch.optim.AdamW(trained.parameters(), lr=1e-2, weight_decay=0.1)
        for _ in range(3):
            optimiser.zero_grad()
            _losses(trained, given).sum().backward()
            optimiser.step()
        back = expanded(type(part)(trained, part.anatomy, ticket, ticket))
        expected = computed(trained, given)
        assert not torch.allclose(expected, computed(part, given), atol=1e-2)
        torch.testing.assert_close(computed(back, given), expected, rtol=0, atol=1e-10, msg=title)
        kept = sum(int((parameter != 0).sum()) for _, parameter in dissect(back).prunable(back))
        assert kept <= ticket.survivors(anatomy)["weights"], title


def _without_memory(model: PreTrainedModel) -> PreTrainedModel:
    """A copy whose parameters, not buffers, are on the meta device, as loaders make them."""
    empty = {id(p): nn.Parameter(p.to("meta")) for p in model.parameters()}
    return copy.deepcopy(model, dict(empty))


@pytest.mark.parametrize("name", sampled())
def test_an_empty_model_can_be_shrunk_and_then_given_the_weights_of_the_shrunk(name: str) -> None:
    kind = ZOO[name]
    model, given = kind.make(), kind.given(padded=True)
    for title, ticket in tickets(model).items():
        part = shrunk(model, ticket)
        empty = shrunk(_without_memory(model), ticket).model
        empty.load_state_dict(part.model.state_dict(), assign=True)
        assert not any(tensor.is_meta for tensor in (*empty.parameters(), *empty.buffers())), title
        assert torch.equal(computed(empty, given), computed(part, given)), title


@pytest.mark.parametrize("name", ["gpt2", "phi3", "t5"])
def test_weights_are_masked_whatever_the_layout(name: str) -> None:
    kind = ZOO[name]
    model, given = kind.make(), kind.given(padded=True)
    anatomy = dissect(model)
    generator = torch.Generator().manual_seed(0)
    masks = {m.name: torch.rand(m.shape, generator=generator) < 0.5 for m in anatomy.matrices}
    by_hand = copy.deepcopy(model)
    with torch.no_grad():
        for matrix in anatomy.matrices:
            by_hand.get_parameter(matrix.parameter).mul_(masks[matrix.name])
    part = masked(model, Ticket("weights", anatomy.signature, masks))
    assert torch.equal(computed(part, given), computed(by_hand, given))


def test_decoders_keep_a_head_for_their_cache_and_encoders_none() -> None:
    for name, kind in ZOO.items():
        model = kind.make()
        rows = dissect(model).attentions
        expected = name in DECODERS or name.startswith(("t5", "deberta"))
        assert all(row.may_be_empty != expected for row in rows), name


def test_half_known_models_are_refused() -> None:
    bert = BertConfig(
        vocab_size=10,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        is_decoder=True,
        add_cross_attention=True,
    )
    with pytest.raises(TombolaError, match="cross-attention"):
        dissect(BertLMHeadModel(bert))

    class Multimodal(nn.Module):
        config = Gemma3Config()

    with pytest.raises(TombolaError, match=r"'gemma3'.*gemma3_text.*families.register adds an entry"):
        dissect(Multimodal())
