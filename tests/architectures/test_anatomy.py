"""Counts by hand, a signature that knows shapes and nothing else, and models that are refused."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertForMaskedLM,
    BertModel,
    XLNetConfig,
    XLNetModel,
)

from builders.encoders import FAMILIES, HEAD_SIZE, HEADS, HIDDEN, LAYERS, MLP, classifier, config, sites
from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import count_parameters
from tombola.foundations.errors import TombolaError
from tombola.subnetworks.subnetwork import shrunk
from tombola.tickets.ticket import Ticket


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_are_those_by_hand(family: str) -> None:
    model = classifier(family)
    anatomy = dissect(model)
    assert anatomy.model_type == family
    assert anatomy.heads == (LAYERS, HEADS) == (3, 4)
    assert anatomy.mlps == 3
    # A layer: four 32 x 32 projections and two 32 x 48 ones.
    assert anatomy.weights == 3 * (4 * 32 * 32 + 2 * 32 * 48) == 21504
    assert [row.head_weights + row.kv_weights for row in anatomy.attentions] == [4 * 32 * 8] * 3
    assert [row.neuron_weights * row.neurons for row in anatomy.feed_forwards] == [2 * 32 * 48] * 3


@pytest.mark.parametrize("family", FAMILIES)
def test_prunable_are_all_matrices_of_the_layers_and_no_others(family: str) -> None:
    model = classifier(family)
    anatomy = dissect(model)
    expected = {name for name, p in model.named_parameters() if p.ndim == 2 and ".layer." in name}
    assert {matrix.parameter for matrix in anatomy.matrices} == expected
    assert len(anatomy.matrices) == len(expected) == 18
    for matrix, parameter in anatomy.prunable(model):
        assert parameter is model.get_parameter(matrix.parameter)
        assert tuple(parameter.shape) == matrix.shape
        assert f".{matrix.layer}." in matrix.parameter
    wide = {m.role: m.shape for m in anatomy.matrices if m.layer == 1}
    assert wide["mlp_in"] == (MLP, HIDDEN)
    assert wide["mlp_out"] == (HIDDEN, MLP)


@pytest.mark.parametrize("family", FAMILIES)
def test_query_key_and_value_are_not_mixed_up(family: str) -> None:
    for matrix in dissect(classifier(family)).matrices:
        if matrix.role in ("query", "key", "value"):
            assert matrix.parameter.removesuffix(".weight").endswith((matrix.role, f"{matrix.role[0]}_lin"))


@pytest.mark.parametrize("family", FAMILIES)
def test_signature_is_equal_across_tasks_seeds_and_vocabularies(family: str) -> None:
    loaders = (AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoModelForTokenClassification)
    signatures = set()
    for seed, loader in enumerate(loaders):
        torch.manual_seed(seed)
        signatures.add(dissect(loader.from_config(config(family, vocabulary=60 + seed))).signature)
    assert signatures == {dissect(classifier(family)).signature}


def test_signature_differs_for_another_shape_or_family() -> None:
    models = [classifier(family) for family in FAMILIES]
    models += [
        # The same matrices, cut into other heads.
        classifier(heads=2),
        classifier(layers=2),
        classifier(mlp=40),
        classifier(hidden=40),
    ]
    assert len({dissect(model).signature for model in models}) == len(models)


def test_signature_stays_what_saved_tickets_have() -> None:
    assert dissect(classifier("bert")).signature == "bert-3x4-0c94dda0"


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(2, 2),
        XLNetModel(XLNetConfig(n_layer=1, n_head=2, d_model=8, d_inner=8, vocab_size=10)),
        BertModel(config("bert", layers=0)),
    ],
    ids=["no configuration", "unknown type", "no layers"],
)
def test_what_cannot_be_dissected_is_refused_in_one_line(model: nn.Module) -> None:
    with pytest.raises(TombolaError) as caught:
        dissect(model)
    assert "\n" not in str(caught.value)


def test_adapters_are_to_be_merged_first() -> None:
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(classifier(), peft.LoraConfig(target_modules=["query"]))
    for model in (adapted, adapted.base_model.model):
        with pytest.raises(TombolaError, match="merge them first"):
            dissect(model)
    assert dissect(adapted.merge_and_unload()) == dissect(classifier())


def test_an_unknown_type_is_told_what_is_known() -> None:
    with pytest.raises(TombolaError, match=r"xlnet.*albert, bert,.*tombola\.recognise.*families\.register adds"):
        dissect(XLNetModel(XLNetConfig(n_layer=1, n_head=2, d_model=8, d_inner=8, vocab_size=10)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lost", ["a head", "all heads of a layer", "an MLP"])
def test_a_shrunk_model_has_what_is_left_and_a_part_of_it_is_refused(family: str, lost: str) -> None:
    model = classifier(family)
    heads, mlps = torch.ones(LAYERS, HEADS), torch.ones(LAYERS)
    if lost == "a head":
        heads[1, 2] = 0
    elif lost == "an MLP":
        mlps[2] = 0
    else:
        heads[1] = 0
    small: Any = shrunk(model, sites(model, heads, mlps)).model
    found, whole = dissect(small), dissect(model)
    assert found.sizes("heads") == tuple(heads.sum(1).int().tolist())
    assert found.sizes("mlps") == tuple(mlps.int().tolist())
    per_head, per_mlp = 4 * HEAD_SIZE * HIDDEN, 2 * HIDDEN * MLP
    assert found.weights == int(heads.sum()) * per_head + int(mlps.sum()) * per_mlp
    assert found.signature != whole.signature
    assert found.signature == dissect(shrunk(model, sites(model, heads, mlps)).model).signature
    with pytest.raises(TombolaError, match="give the whole model, no part"):
        dissect(small.get_submodule(small.base_model_prefix))


def test_equal_shapes_that_lost_different_heads_are_different_architectures() -> None:
    model = classifier("bert")
    full = Ticket.full(dissect(model), "heads")
    one, other = (dissect(shrunk(model, full.without({"heads": [(0, head)]})).model) for head in (0, 1))
    assert one.sizes("heads") == other.sizes("heads")
    assert one.signature != other.signature
    with pytest.raises(TombolaError, match="cannot be combined"):
        Ticket.full(one, "heads") & Ticket.full(other, "heads")
    with pytest.raises(TombolaError, match=r"found on a shrunk model: give that one$"):
        Ticket.full(one, "heads").check(dissect(model))
    with pytest.raises(TombolaError, match=r"was shrunk since; give the one that it was shrunk from$"):
        full.check(one)


def test_tied_parameters_count_once() -> None:
    model = BertForMaskedLM(config("bert"))
    pointers = {p.data_ptr(): p.numel() for p in model.state_dict().values() if p.is_floating_point()}
    assert count_parameters(model) == sum(pointers.values())
