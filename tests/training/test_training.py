"""Training against loops written out by hand: order, schedule, masks, rewinding."""

import copy
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import BertForSequenceClassification
from typing_extensions import override

from builders.encoders import (
    HEAD_SIZE,
    Exact,
    classifier,
    config,
    parts,
    sites,
    some_sites,
    some_weights,
    synthetic,
    tokenizer,
)
from tombola.architectures.dissect import dissect
from tombola.foundations.errors import TombolaError
from tombola.pruning.evaluation import evaluate, score
from tombola.subnetworks.subnetwork import masked, shrunk, whole
from tombola.tasks.base import Batch, Output
from tombola.training.loop import retrain, train
from tombola.training.recipe import Recipe

RECIPE = Recipe(epochs=2, learning_rate=3e-3, batch_size=16, weight_decay=0.3, warmup_ratio=0.25, max_grad_norm=0.5)
STEPS = 8


@pytest.fixture
def small() -> Exact:
    """Four batches an epoch, the last one smaller."""
    return synthetic(train=60, dev=40)


def plain(seed: int = 0, *, dropout: float = 0.0) -> nn.Module:
    return classifier(seed=seed, dropout=dropout)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def by_hand(
    model: nn.Module, task: Exact, order: list[list[int]], masks: dict[str, Tensor], *, skipped: int = 0
) -> list[float]:
    """The recipe, written out: AdamW in its textbook form, linear warm-up and decay, clipping over all gradients."""
    examples = {int(i): batch for batch in task.batches("train", 1) for i in batch.indices}
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    first = {name: torch.zeros_like(p) for name, p in named.items()}
    second = {name: torch.zeros_like(p) for name, p in named.items()}
    rates = []
    for done, indices in enumerate(order):
        step = skipped + done
        # Two steps of eight warm up.
        rates.append(RECIPE.learning_rate * ((step + 1) / 3 if step < 2 else (8 - step) / 6))
        loss = torch.stack([task.output(model, examples[i]).losses[0] for i in indices]).mean()
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            gradients = {
                name: (torch.zeros_like(p) if p.grad is None else p.grad) * masks.get(name, torch.ones(()))
                for name, p in named.items()
            }
            norm = math.sqrt(sum(float((g * g).sum()) for g in gradients.values()))
            for name, p in named.items():
                g = gradients[name] * min(1.0, RECIPE.max_grad_norm / (norm + 1e-6))
                if p.ndim > 1:
                    p.mul_(1 - rates[-1] * RECIPE.weight_decay)
                first[name] = 0.9 * first[name] + 0.1 * g
                second[name] = 0.999 * second[name] + 0.001 * g * g
                unbiased = second[name] / (1 - 0.999 ** (done + 1))
                p.sub_(rates[-1] * first[name] / (1 - 0.9 ** (done + 1)) / (unbiased.sqrt() + 1e-8))
    return rates


def assert_same(model: nn.Module, other: nn.Module) -> None:
    a, b = model.state_dict(), other.state_dict()
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        torch.testing.assert_close(tensor, b[name], rtol=0, atol=1e-8, msg=name)


def test_training_is_the_recipe_written_out(small: Exact) -> None:
    model, reference = plain(), plain()
    before = weights_of(model)
    train(model, small, RECIPE, seed=3)
    order = small.order
    assert len(order) == STEPS == RECIPE.steps(60)
    rates = by_hand(reference, small, order, {})
    assert_same(model, reference)
    assert max(float((model.state_dict()[name] - before[name]).abs().max()) for name in before) > 1e-3
    assert np.argmax(rates) == 2
    assert rates[2] == RECIPE.learning_rate
    assert min(rates) > 0


def test_every_epoch_has_every_example_once_in_another_order(small: Exact) -> None:
    orders = []
    for seed in (0, 0, 1):
        small.order = []
        train(plain(), small, RECIPE, seed=seed)
        orders.append(small.order)
        for epoch in (small.order[:4], small.order[4:]):
            assert sorted(i for batch in epoch for i in batch) == list(range(60))
        assert small.order[:4] != small.order[4:]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_pruned_weights_are_exactly_zero_whatever_pulls_at_them(small: Exact) -> None:
    model = plain()
    ticket = some_weights(model, 0, 0.3)
    part = retrain(model, ticket, small, replace(RECIPE, weight_decay=0.5, max_grad_norm=1e-3), seed=0)
    anatomy = dissect(model)
    for (matrix, trained), (_, original) in zip(anatomy.prunable(part.model), anatomy.prunable(model), strict=True):
        mask = ticket.masks[f"{matrix.layer}.{matrix.role}"]
        assert not trained[~mask].any()
        assert bool((trained[mask] != original[mask]).all())
    assert part.ticket == ticket
    assert not part.gated


def test_training_weights_under_a_ticket_is_training_with_masked_gradients(small: Exact) -> None:
    model = plain()
    ticket = some_weights(model, 1, 0.5)
    part = retrain(model, ticket, small, RECIPE, seed=0)
    reference = copy.deepcopy(masked(model, ticket).model)
    masks = {m.parameter: ticket.masks[f"{m.layer}.{m.role}"].double() for m in dissect(model).matrices}
    by_hand(reference, small, small.order, masks)
    assert_same(part.model, reference)


@pytest.mark.parametrize("seed", range(2))
def test_retraining_the_shrunk_network_is_training_the_whole_under_zeros(seed: int, small: Exact) -> None:
    model = plain()
    ticket = some_sites(model, seed) if seed else sites(model, [[0] * 4, [1, 0, 1, 0], [0, 1, 0, 0]], [1, 0, 1])
    before = weights_of(model)
    part = retrain(model, ticket, small, RECIPE, seed=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    reference = copy.deepcopy(model)
    masks: dict[str, Tensor] = {}
    names = {id(p): name for name, p in reference.named_parameters()}
    for layer in range(3):
        _, out, mlp = parts(reference, "bert", layer)
        kept = ticket.heads[layer].double().repeat_interleave(HEAD_SIZE)
        masks[names[id(out.weight)]] = kept.expand(32, 32)
        for parameter in (mlp.weight, mlp.bias):
            masks[names[id(parameter)]] = torch.full_like(parameter, float(ticket.mlps[layer]))
    # What feeds nothing but zeros has no gradient; its decay is nobody's concern.
    with torch.no_grad():
        for name, mask in masks.items():
            reference.get_parameter(name).mul_(mask)
    by_hand(reference, small, small.order, masks)
    found = evaluate(part, small)
    expected = evaluate(whole(reference), small)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-6)
    # Most of all, what survives has the same weights.
    after, same = part.model.state_dict(), reference.state_dict()
    for name in ("classifier.weight", "bert.embeddings.word_embeddings.weight", "bert.pooler.dense.bias"):
        torch.testing.assert_close(after[name], same[name], rtol=0, atol=1e-8)
    again = shrunk(reference, ticket).model.state_dict()
    for name, tensor in after.items():
        torch.testing.assert_close(tensor, again[name], rtol=0, atol=1e-8, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 1, 3, 7])
def test_training_from_a_kept_step_resumes_order_and_schedule_with_a_fresh_optimizer(step: int, small: Exact) -> None:
    kept: list[nn.Module] = []
    train(plain(), small, RECIPE, seed=5, at_step=(step, lambda model: kept.append(copy.deepcopy(model))))
    order, small.order = small.order, []
    assert len(kept) == 1
    partly = plain()
    by_hand(partly, small, order[:step], {})
    assert_same(kept[0], partly)
    resumed, reference = copy.deepcopy(kept[0]), copy.deepcopy(kept[0])
    small.order = []
    train(resumed, small, RECIPE, seed=5, first_step=step)
    assert small.order == order[step:]
    by_hand(reference, small, order[step:], {}, skipped=step)
    assert_same(resumed, reference)


@pytest.mark.parametrize("step", [8, 100])
def test_a_step_that_training_never_reaches_is_refused(step: int, small: Exact) -> None:
    with pytest.raises(TombolaError, match="8 steps"):
        train(plain(), small, RECIPE, first_step=step)
    with pytest.raises(TombolaError, match="8 steps"):
        train(plain(), small, RECIPE, at_step=(step, lambda _: None))


def test_dropout_and_order_come_from_the_seed_alone(small: Exact) -> None:
    found = []
    for state, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(state)
        np.random.seed(state)  # the global state must not matter
        model = plain(dropout=0.3)
        torch.manual_seed(state)
        before = torch.get_rng_state()
        train(model, small, RECIPE, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        found.append(weights_of(model))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert any(not torch.equal(found[0][name], found[2][name]) for name in found[0])


def test_dropout_is_on_in_training_and_the_mode_is_as_before(small: Exact) -> None:
    dropped, kept = plain(dropout=0.5), plain(dropout=0.0)
    train(dropped, small, RECIPE, seed=0)
    train(kept.train(), small, RECIPE, seed=0)
    assert not dropped.training
    assert kept.training
    assert not torch.equal(dropped.state_dict()["classifier.weight"], kept.state_dict()["classifier.weight"])


def test_frozen_parameters_stay(small: Exact) -> None:
    model = plain()
    for parameter in model.get_submodule("bert.embeddings").parameters():
        parameter.requires_grad_(False)
    before = weights_of(model)
    train(model, small, RECIPE)
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) == (".embeddings." in name) for name in after)


class Broken(Exact):
    factor = math.inf

    @override
    def output(self, model: nn.Module, batch: Batch) -> Output:
        found = super().output(model, batch)
        return replace(found, losses=found.losses * self.factor) if len(self.order) > 2 else found


@pytest.mark.parametrize("factor", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_stops_training_in_one_line(factor: float) -> None:
    made = [{"text": "fine0", "label": "a"}, {"text": "poor0", "label": "b"}] * 20
    task = Broken.from_rows(made, made, tokenizer())
    task.factor = factor
    with pytest.raises(TombolaError, match=r"diverged at step 3 of 6.*learning rate") as caught:
        train(plain(), task, RECIPE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(2))
def test_training_learns(seed: int, task: Exact) -> None:
    torch.manual_seed(seed)
    model = BertForSequenceClassification(config("bert"))
    before = score(model, task).score
    train(model, task, Recipe(epochs=8, learning_rate=3e-3, batch_size=16), seed=seed)
    assert before < 0.75
    assert score(model, task).score > 0.9


def test_training_runs_in_bf16_on_emptied_layers(small: Exact) -> None:
    model = plain().float()
    ticket = sites(model, [[0] * 4, [1, 0, 0, 0], [0] * 4], [0, 1, 0])
    part = retrain(model, ticket, small, RECIPE, precision="bf16")
    assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in part.model.parameters())
    assert all(
        not torch.equal(p, q)
        for p, q in zip(part.model.parameters(), shrunk(model, ticket).model.parameters(), strict=True)
        if p.numel() and p.ndim == 2
    )


def test_a_ticket_for_another_model_is_refused(small: Exact) -> None:
    for make in (some_sites, some_weights):
        with pytest.raises(TombolaError, match="another model"):
            retrain(plain(), make(classifier(mlp=40), 0), small, RECIPE)


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": -1.0},
        {"learning_rate": math.nan},
        {"learning_rate": math.inf},
        {"weight_decay": -0.1},
        {"weight_decay": math.nan},
        {"warmup_ratio": -0.1},
        {"warmup_ratio": 1.5},
        {"max_grad_norm": 0.0},
        {"max_grad_norm": -1.0},
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused_in_one_line(options: dict[str, float]) -> None:
    with pytest.raises(TombolaError) as caught:
        replace(Recipe(), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_steps_count_the_last_smaller_batch() -> None:
    assert Recipe(epochs=3, batch_size=32).steps(65) == 9
    assert Recipe(epochs=1, batch_size=32).steps(64) == 2
    assert Recipe(epochs=1, batch_size=32).steps(1) == 1


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc")
def test_freed_memory_is_used_again_where_the_command_line_asks_for_it() -> None:
    # In a process of its own, as it is for the whole process. Otherwise 40 MB are 10,000 page faults each time.
    script = """
import resource
import torch
from tombola.foundations.resources import keep_freed_memory
print(keep_freed_memory())
# glibc before 2.38 takes a freed block for an aligned one of the same size only once it lies beside another.
for _ in range(30):
    torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 30_000)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    if done.stdout.startswith("False"):
        pytest.skip("the C library is none that can be asked")
    assert done.stdout.split() == ["True", "True"]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc")
def test_what_lies_free_between_what_is_used_goes_back_where_checkpoints_stream() -> None:
    script = """
import psutil
import torch
from tombola.foundations.resources import keep_freed_memory, return_freed_memory
print(keep_freed_memory())
held = [(torch.ones(5_000_000), torch.ones(100)) for _ in range(20)]
held = [small for large, small in held]
before = psutil.Process().memory_info().rss
print(return_freed_memory())
print(before - psutil.Process().memory_info().rss > 200_000_000)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    if done.stdout.startswith("False"):
        pytest.skip("the C library is none that can be asked")
    assert done.stdout.split() == ["True"] * 3
