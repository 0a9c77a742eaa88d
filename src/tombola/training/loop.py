"""Fine-tuning, and training again under a ticket: one loop, one recipe."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace

import torch
from torch import Tensor, nn

from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import refuse_offloaded
from tombola.foundations.errors import TombolaError, check_type, memory_errors
from tombola.foundations.launcher import process_count
from tombola.foundations.plurals import plural
from tombola.foundations.precision import Precision, autocast
from tombola.foundations.progress import SILENT, Progress, shown
from tombola.subnetworks.pruned_model import keep_sparse, sparse_ticket
from tombola.subnetworks.subnetwork import Subnetwork, shrunk
from tombola.tasks.base import Batch, Task
from tombola.tickets.ticket import Ticket
from tombola.training.gradient_checkpointing import gradient_checkpointing
from tombola.training.kept_training import KeptTraining, TrainingFolder
from tombola.training.lora import LowRank, adapters
from tombola.training.recipe import Recipe
from tombola.training.replica import Replica


# Many parameters: those of a training, of which a tutorial names one or two.
@memory_errors()
def train(
    model: nn.Module,
    task: Task,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    first_step: int = 0,
    at_step: tuple[int, Callable[[nn.Module], None]] | None = None,
    precision: Precision = "fp32",
    keep: TrainingFolder | None = None,
    progress: Progress | bool = SILENT,
) -> None:
    """Train a model in place on the task's training split.

    Order of examples and dropout come from `seed` alone, whatever ran before. Of several processes that a launcher
    started (`accelerate launch`, `torchrun`) all call this with the same arguments: each passes its part of every
    batch, rank r with the dropout of seed `seed + r`, and all have the same model in the end.

    Args:
        model: the model, on its device; several processes train it on those that accelerate gives them.
        task: gives data and loss.
        recipe: how.
        seed: of order and dropout.
        first_step: optimizer steps of the recipe to skip, for weights rewound to that step.
        at_step: (k, callback): call back with the model as it is after k steps; not again where a kept training goes on
            after them.
        precision: of the forward passes.
        keep: folder that keeps a training of more than ten minutes: the next call with the same arguments goes on from
            there. Whoever has published what comes of it removes it.
        progress: counts examples; True for a bar on stderr.

    Raises:
        TombolaError: the loss is no longer finite, or there is nothing to train.
    """
    # A parameter's own hooks, which keep its zeros, are not those of its shards.
    masks = _masks(model, sparse_ticket(model)) if process_count() > 1 else {}
    check_type("the recipe", recipe or Recipe(), Recipe, "Recipe(epochs=3)")
    _train(model, task, recipe or Recipe(), masks, seed, first_step, at_step, precision, keep, progress)


# Many parameters: those of `train` and one more.
def _train(
    model: nn.Module,
    task: Task,
    recipe: Recipe,
    masks: Mapping[str, Tensor],
    seed: int,
    first_step: int,
    at_step: tuple[int, Callable[[nn.Module], None]] | None,
    precision: Precision,
    keep: TrainingFolder | None,
    progress: Progress | bool,
) -> None:
    """`train`, with gradients masked: name of the parameter → 1 where it has one."""
    refuse_offloaded(model)
    total = recipe.steps(task.size("train"))
    _check_reached("rewind to", first_step, total)
    _check_reached("save", 0 if at_step is None else at_step[0], total)
    with contextlib.ExitStack() as stack:
        stack.callback(model.train, model.training)
        model.train()
        replica = Replica(model, task, functools.partial(_optimizer, recipe), precision)
        stack.enter_context(gradient_checkpointing(replica.model, recipe.gradient_checkpointing))
        stack.enter_context(replica.brief_passes())
        device, masked = replica.device, replica.masks(masks)
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        counted = stack.enter_context(shown(progress, "training", task.size("train") * recipe.epochs))
        torch.manual_seed(seed + replica.rank)
        scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        facts = {"recipe": asdict(recipe), "seed": seed, "first step": first_step, "precision": precision}
        facts |= {"task": task.name, "examples": task.size("train")}
        kept = KeptTraining(keep, replica, scaler, facts, masks)
        done, rate = kept.resume(first_step), _linear(recipe, total)
        for step, batch in enumerate(_batches(task, recipe, seed)):
            if at_step is not None and step == at_step[0] and (step >= done or done == first_step):
                at_step[1](replica.gather())
            if step < done:
                if step >= first_step:
                    counted.advance(len(batch.indices))
                continue
            mean = _backward(replica, batch, recipe, scaler, precision)
            scaler.unscale_(replica.optimizer)
            for parameter, mask in masked:
                if parameter.grad is not None:
                    # Zero weights with zero gradients have zero moments and zero decay: AdamW leaves them at zero.
                    parameter.grad.mul_(mask)
            norm = replica.clip(recipe.max_grad_norm)
            # Of a loss that was scaled too far the step is left out, and the scale halved.
            if not scaler.is_enabled() or scaler.get_scale() < 1:
                _check_finite(norm, f"step {step + 1} of {total}", recipe)
            learning_rate = recipe.learning_rate * rate(step)
            counted.measured(step + 1, {"loss": mean, "learning rate": learning_rate})
            for group in replica.optimizer.param_groups:
                group["lr"] = learning_rate
            scaler.step(replica.optimizer)
            scaler.update()
            replica.optimizer.zero_grad(set_to_none=True)
            if step + 1 < total:
                kept.step(step + 1)
            counted.advance(len(batch.indices))
        replica.close()


def _backward(
    replica: Replica, batch: Batch, recipe: Recipe, scaler: torch.amp.GradScaler, precision: Precision
) -> float:
    """Add up the gradients of a batch, part by part; the mean loss."""
    parts, mean = replica.parts(batch, recipe.gradient_accumulation_steps), 0.0
    for number, (part, weight) in enumerate(parts, start=1):
        with replica.summing(number == len(parts)):
            with autocast(replica.device, precision):
                loss = replica.losses(part).mean() * weight
            scaler.scale(loss).backward()
        mean += loss.item()
    return mean


def _check_finite(norm: Tensor, at: str, recipe: Recipe) -> None:
    if not torch.isfinite(norm):
        raise TombolaError(
            f"training diverged at {at} (the gradient is not finite); "
            f"lower the learning rate ({recipe.learning_rate:g})"
        )


def _check_reached(purpose: str, step: int, total: int) -> None:
    if not 0 <= step < total:
        steps = plural(total, "step")
        raise TombolaError(f"cannot {purpose} step {step}: the recipe has {steps}; choose an earlier one")


def _batches(task: Task, recipe: Recipe, seed: int) -> Iterator[Batch]:
    for epoch in range(recipe.epochs):
        yield from task.batches("train", recipe.batch_size, shuffle=seed * 1009 + epoch)


# Many parameters: those of `train` but one, of which a tutorial names one or two, and two of its own.
@memory_errors()
def retrain(
    model: nn.Module,
    ticket: Ticket,
    task: Task,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    first_step: int = 0,
    low_rank: LowRank | None = None,
    precision: Precision = "fp32",
    keep: TrainingFolder | None = None,
    progress: Progress | bool = SILENT,
) -> Subnetwork:
    """Train the ticket's part of a rewound model, with the full model's recipe and seed.

    A ticket of sites is trained as the shrunk network: removed sites get no gradient under a mask either, so only
    the random numbers of dropout differ. A ticket of weights keeps every pruned weight at exactly zero.

    Args:
        model: the rewound whole model; it is not changed.
        ticket: what of it to train.
        low_rank: train adapters, with a learning rate of their own, and merge them; None to train all weights.

    Other arguments are those of `train`.

    Raises:
        TombolaError: the ticket is for another architecture, or training diverged.
    """
    part = shrunk(model, ticket)
    part = replace(part, model=copy.deepcopy(part.model))
    keep_sparse(part.model, sparse_ticket(part.model))
    mask_ticket = ticket if ticket.kind == "weights" else None
    recipe = recipe or Recipe()
    check_type("the recipe", recipe, Recipe, "Recipe(epochs=3)")
    if low_rank is None:
        masks = _masks(part.model, mask_ticket)
        for name, mask in _masks(part.model, sparse_ticket(part.model)).items():
            masks[name] = masks[name] & mask if name in masks else mask
        _train(part.model, task, recipe, masks, seed, first_step, None, precision, keep, progress)
        return part
    recipe = replace(recipe, learning_rate=low_rank.learning_rate)
    with adapters(part.model, part.anatomy, low_rank.rank, mask_ticket=mask_ticket, seed=seed):
        _train(part.model, task, recipe, {}, seed, first_step, None, precision, keep, progress)
    return part


def _masks(model: nn.Module, ticket: Ticket | None) -> dict[str, Tensor]:
    """Masks of the parameters that a ticket of weights prunes, whose pruned weights are zero already."""
    if ticket is None:
        return {}
    return {matrix.parameter: ticket.masks[matrix.name] for matrix in dissect(model).matrices}


def _optimizer(recipe: Recipe, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # The fused kernel takes a third of the time on a CPU and computes the same.
    fused = {parameter.device.type for parameter in parameters} <= {"cpu", "cuda", "mps"}
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=fused)


def _linear(recipe: Recipe, total: int) -> Callable[[int], float]:
    warmup = round(recipe.warmup_ratio * total)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return max(0.0, (total - step) / max(1, total - warmup))

    return factor
