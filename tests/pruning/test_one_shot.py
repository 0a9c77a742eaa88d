"""One-shot tickets against a ranking written out in plain Python, with importances that are made up and real."""

import copy
import hashlib
import importlib
import math
import pkgutil
import subprocess
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import tombola
from builders import language_models
from builders.encoders import LAYERS, MLP, Exact, classifier, synthetic
from builders.made_up_scores import Fake, least
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.metrics.scores import metric
from tombola.pruning.evaluation import EvaluationOptions, evaluate
from tombola.pruning.one_shot import one_shot, single_cut
from tombola.pruning.search.options import SearchOptions
from tombola.subnetworks.subnetwork import shrunk, whole
from tombola.tasks.base import Task
from tombola.tickets.kinds import TICKET_KINDS
from tombola.tickets.ticket import Ticket

BLOCK = 8
# Models of text have no channels.
OF_TEXT = [kind for kind in TICKET_KINDS if "channels" not in kind]
SITES = [kind for kind in OF_TEXT if kind != "weights"]
MODEL = classifier(layers=3, heads=10, hidden=40)
ANATOMY = dissect(MODEL)


def stub() -> Task:
    facts = {"importance_split": None, "normalise_layers": True, "text_facts": lambda split: {"text": split}}
    labels = {"references": lambda split: np.arange(2), "misread": lambda predictions, split: None}
    return cast(Task, SimpleNamespace(metric=metric("accuracy"), name="made-up", **facts, **labels))


def cut(fake: Fake, densities: float | Mapping[str, float], **options: Any) -> Ticket:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tombola.pruning.one_shot.evaluate", fake)
        return one_shot(MODEL, stub(), densities, block=BLOCK, **options)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def unchanged(model: nn.Module, before: Mapping[str, Tensor]) -> bool:
    after = model.state_dict()
    return after.keys() == before.keys() and all(torch.equal(after[name], tensor) for name, tensor in before.items())


shares = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.25, 0.5, 1.0]))


@given(kind=st.sampled_from(SITES), seed=st.integers(0, 10**6), data=st.data())
def test_the_least_important_go_and_among_equals_the_first(kind: Any, seed: int, data: st.DataObject) -> None:
    everything = Ticket.full(ANATOMY, kind, BLOCK)
    densities = {kind: data.draw(shares, kind) for kind in everything.sites}
    found = cut(Fake(lambda _: 0.5, seed), densities)
    assert found.kind == kind
    found.check(ANATOMY)
    for kind, ranked in least(everything, seed).items():
        survivors = round(densities[kind] * len(ranked))
        gone = {site if kind == "mlps" else tuple(site) for site in ranked[: len(ranked) - survivors]}
        mask = found.masks[kind]
        pruned = {one[0] if kind == "mlps" else one for one in map(tuple, (~mask).nonzero().tolist())}
        assert pruned == gone
        assert found.counts()[kind] == survivors


@pytest.mark.parametrize(("share", "kept"), [(0.5, 15), (0.516, 15), (0.517, 16), (1 / 60, 0), (0.05, 2), (0.98, 29)])
def test_the_count_is_rounded_to_the_nearest_and_of_halves_to_the_even(share: float, kept: int) -> None:
    assert cut(Fake(lambda _: 0.5), {"heads": share}).counts() == {"heads": kept}


@pytest.mark.parametrize("kind", OF_TEXT)
@pytest.mark.parametrize("share", [0, 1])
def test_nothing_and_everything_can_be_kept(kind: Any, share: int) -> None:
    found = cut(Fake(lambda _: 0.5), dict.fromkeys(kind.split("+"), share))
    everything = Ticket.full(ANATOMY, kind, BLOCK)
    assert found == (everything if share else ~everything)
    assert len(found) == share * found.total


def test_kinds_do_not_touch_each_other_and_their_order_is_nothing() -> None:
    both = cut(Fake(lambda _: 0.5, 3), {"neurons": 0.5, "heads": 0.2})
    assert both == cut(Fake(lambda _: 0.5, 3), {"heads": 0.2, "neurons": 0.5})
    assert both.counts() == {"heads": 6, "neurons": 9}
    assert cut(Fake(lambda _: 0.5, 3), {"heads": 0.2, "neurons": 1.0}).masks["heads"].equal(both.heads)


def test_one_share_is_that_of_heads_and_mlps() -> None:
    assert cut(Fake(lambda _: 0.5), 0.5) == cut(Fake(lambda _: 0.5), {"heads": 0.5, "mlps": 0.5})


def test_importance_is_asked_for_once_on_training_rows_of_the_whole_model() -> None:
    fake = Fake(lambda _: 0.5)
    found = cut(fake, {"neurons": 0.5}, evaluation=EvaluationOptions("train", batch_size=7, precision="bf16"))
    ((part, options, more),) = fake.asked
    assert options.split == "train"
    assert part.model is MODEL
    assert part.ticket == Ticket.full(ANATOMY, "neurons", BLOCK)
    assert (more["importance"], options.batch_size, options.precision) == (True, 7, "bf16")
    assert found.provenance == {
        "ticket": "good",
        "density": {"neurons": 0.5},
        "task": "made-up",
        "split": "train",
        "importance": {"text": "train"},
    }
    cut(fake, {"heads": 0.5})
    assert fake.asked[1][1].split == "train"
    cut(fake, {"heads": 0.5}, evaluation=EvaluationOptions("dev"))
    assert fake.asked[2][1].split == "dev"


@given(share=shares, ties=st.booleans(), seed=st.integers(0, 5))
def test_the_largest_weights_of_the_whole_model_stay_and_no_data_is_read(share: float, ties: bool, seed: int) -> None:
    model = classifier(layers=1, heads=2, hidden=8, mlp=8, seed=seed)
    if ties:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(4).round_().div_(4)
    anatomy, fake = dissect(model), Fake(lambda _: 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tombola.pruning.one_shot.evaluate", fake)
        found = one_shot(model, stub(), {"weights": share})
    weights = anatomy.weights_of(model)
    magnitudes = np.concatenate([weight.detach().abs().flatten().numpy() for weight in weights.values()])
    order = sorted(range(len(magnitudes)), key=lambda index: (magnitudes[index], index))
    kept = {*order[len(order) - round(share * len(order)) :]}
    masks = torch.cat([found.masks[name].flatten() for name in weights])
    assert masks.nonzero().flatten().tolist() == sorted(kept)
    assert not fake.asked
    assert found.provenance == {"ticket": "good", "density": {"weights": share}, "task": "made-up"}


@pytest.mark.parametrize(
    "densities",
    [
        *({}, {"layers": 0.5}, {"heads": 0.5, "weights": 0.5}, {"mlps": 0.5, "neurons": 0.5}),
        {"heads": 0.5, "mlps": 0.5, "neurons": 0.5},
    ],
)
def test_kinds_that_cannot_be_pruned_together_are_named(densities: dict[str, float]) -> None:
    with pytest.raises(
        TombolaError, match=f"cannot prune {' and '.join(densities) or 'nothing'} at once; choose of heads"
    ):
        cut(Fake(lambda _: 0.5), densities)


@pytest.mark.parametrize("share", [-0.1, 1.1, 50, math.nan, math.inf])
@pytest.mark.parametrize("kind", ["heads", "weights"])
def test_a_share_that_is_none_is_named(kind: str, share: float) -> None:
    with pytest.raises(TombolaError, match=f"the density of {kind} must be a number from 0 to 1, not {share}"):
        cut(Fake(lambda _: 0.5), {kind: share})


def test_a_block_that_does_not_fit_is_named() -> None:
    with pytest.raises(TombolaError, match="cannot be divided into blocks of 7; blocks of 6 or 8 can"):
        one_shot(MODEL, stub(), {"neurons": 0.5}, block=7)


def test_neurons_are_single_unless_one_says_otherwise(trained: nn.Module, task: Exact) -> None:
    assert one_shot(trained, task, {"neurons": 0.3}).neurons.shape == (LAYERS, MLP)


@pytest.mark.parametrize("kind", OF_TEXT)
def test_a_trained_model_keeps_its_most_important_and_is_not_changed(
    kind: Any, trained: nn.Module, task: Exact
) -> None:
    before, random = state(trained), torch.get_rng_state()
    requires = [parameter.requires_grad for parameter in trained.parameters()]
    trained.train()
    kinds = kind.split("+")
    found = one_shot(trained, task, dict.fromkeys(kinds, 0.5), block=4)
    assert unchanged(trained, before)
    assert trained.training
    assert [parameter.requires_grad for parameter in trained.parameters()] == requires
    assert all(parameter.grad is None for parameter in trained.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert found.provenance["task"] == "synthetic"
    if kind == "weights":
        assert len(found) == round(found.total / 2)
        return
    measured = evaluate(whole(trained, kind, 4), task, EvaluationOptions("train"), importance=True).importance
    assert measured is not None
    for kind in kinds:
        values = measured[kind]
        if kind == "heads":
            values = values / values.norm(dim=1, keepdim=True)
        mask = found.masks[kind]
        assert int(mask.sum()) == round(mask.numel() / 2)
        assert values[mask].min() >= values[~mask].max()
    assert one_shot(trained, task, dict.fromkeys(kinds, 0.5), block=4) == found


def test_a_cut_model_does_better_than_its_complement(trained: nn.Module, task: Exact) -> None:
    found = one_shot(trained, task, {"heads": 0.5, "neurons": 0.5}, block=1)
    better = evaluate(shrunk(trained, found), task).losses.mean()
    assert better < evaluate(shrunk(trained, ~found), task).losses.mean()
    assert evaluate(whole(copy.deepcopy(trained)), task).score > 0.9


def test_no_module_hides_a_public_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(tombola.__path__)}
    assert not modules & {*tombola.__all__}


@pytest.mark.exhaustive
def test_the_public_name_is_the_function_whatever_was_imported_before() -> None:
    code = "import tombola, importlib; {}; assert callable(tombola.one_shot), tombola.one_shot"
    module = "tombola.pruning.one_shot"
    for before in (f"import {module}", f"from {module} import one_shot", f"tombola.one_shot; import {module}"):
        subprocess.run([sys.executable, "-c", code.format(before)], check=True, timeout=120)
    assert tombola.one_shot is importlib.import_module(module).one_shot


def test_the_provenance_says_what_was_read() -> None:
    language = language_models.task()
    model = language_models.llama(dtype=torch.float32)
    ranked = one_shot(model, language, {"heads": 0.5})
    text = {"text": "training text of understanding", "bos_token": "<s>"}
    assert ranked.provenance["importance"] == {**text, "examples": 6, "window": 8}
    groups, _ = single_cut(model, language, "kv-groups", 0.5)
    assert groups.provenance["importance"] == ranked.provenance["importance"]
    options = SearchOptions(calibration_samples=4, sequence_length=12)
    pruned, _ = single_cut(model, language, "wanda", 0.5, options=options, seed=3)
    found = dict(cast(dict[str, Any], pruned.provenance["calibration"]))
    drawn = torch.cat(language.calibration_text(4, 12, 3)).numpy().astype("<i8")
    assert found.pop("sha256") == hashlib.sha256(drawn.tobytes()).hexdigest()
    found.pop("first_token")
    assert found == {**text, "batches": 4, "examples": 4, "tokens": 48, "window": 12, "seed": 3}
    labelled = one_shot(classifier(dtype=torch.float32), synthetic(), {"heads": 0.5})
    assert labelled.provenance["importance"] == {"text": "train split of synthetic"}
    assert labelled.provenance["split"] == "train"
