"""Fine-tuning, and training again under a ticket: one loop, one recipe."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from tombola.architectures.dissect import dissect
from tombola.architectures.parameters import device_of
from tombola.foundations.errors import TombolaError, memory_errors
from tombola.foundations.plurals import plural
from tombola.foundations.precision import Precision, autocast
from tombola.foundations.progress import SILENT, Progress, shown
from tombola.pruning.evaluation import on_device
from tombola.subnetworks.pruned_model import keep_sparse, sparse_ticket
from tombola.subnetworks.subnetwork import Subnetwork, shrunk
from tombola.tasks.base import Batch, Task
from tombola.tickets.ticket import Ticket
from tombola.training.lora import LowRank, adapters
from tombola.training.recipe import Recipe


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
    progress: Progress | bool = SILENT,
) -> None:
    """Train a model in place on the task's training split.

    Order of examples and dropout come from `seed` alone, whatever ran before.

    Args:
        model: the model, on its device.
        task: gives data and loss.
        recipe: how.
        seed: of order and dropout.
        first_step: optimizer steps of the recipe to skip, for weights rewound to that step.
        at_step: (k, callback): call back with the model as it is after k steps.
        precision: of the forward passes.
        progress: counts examples; True for a bar on stderr.

    Raises:
        TombolaError: the loss is no longer finite, or there is nothing to train.
    """
    recipe = recipe or Recipe()
    total = recipe.steps(task.size("train"))
    _check_reached("rewind to", first_step, total)
    _check_reached("save", 0 if at_step is None else at_step[0], total)
    device = device_of(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, factor = _optimizer(parameters, recipe, device), _linear(recipe, total, first_step)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    training = model.training
    model.train()
    devices = [device] if device.type == "cuda" else []
    with shown(progress, "training", task.size("train") * recipe.epochs) as counted, torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        for step, batch in enumerate(_batches(task, recipe, seed)):
            if at_step is not None and step == at_step[0]:
                at_step[1](model)
            if step < first_step:
                continue
            with autocast(device, precision):
                loss = task.output(model, on_device(batch, model)).losses.mean()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(parameters, recipe.max_grad_norm)
            _check_finite(norm, f"step {step + 1} of {total}", recipe)
            counted.measured(step + 1, {"loss": loss.item(), "learning rate": float(schedule.get_last_lr()[0])})
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
            counted.advance(len(batch.indices))
    model.train(training)


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
    train_part = functools.partial(
        train, part.model, task, seed=seed, first_step=first_step, precision=precision, progress=progress
    )
    if low_rank is None:
        with contextlib.nullcontext() if mask_ticket is None else _zeros_kept(part.model, mask_ticket):
            train_part(recipe)
        return part
    with adapters(part.model, part.anatomy, low_rank.rank, mask_ticket=mask_ticket, seed=seed):
        train_part(replace(recipe, learning_rate=low_rank.learning_rate))
    return part


@contextlib.contextmanager
def _zeros_kept(model: nn.Module, ticket: Ticket) -> Iterator[None]:
    """Keep the pruned weights of a ticket, which are zero already, exactly zero while a model is trained."""
    with contextlib.ExitStack() as stack:
        for matrix, parameter in dissect(model).prunable(model):
            mask = ticket.masks[matrix.name].to(parameter.device, parameter.dtype)
            hook = parameter.register_post_accumulate_grad_hook(functools.partial(_masked_gradient, mask))
            stack.callback(hook.remove)
        yield


def _masked_gradient(mask: Tensor, parameter: Tensor) -> None:
    # Zero weights with zero gradients have zero moments and zero decay: AdamW leaves them at zero.
    assert parameter.grad is not None
    parameter.grad.mul_(mask)


def _optimizer(parameters: Sequence[nn.Parameter], recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # The fused kernel takes a third of the time on a CPU and computes the same.
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=device.type in ("cpu", "cuda", "mps"))


def _linear(recipe: Recipe, total: int, first_step: int) -> Callable[[int], float]:
    warmup = round(recipe.warmup_ratio * total)

    def factor(done: int) -> float:
        step = done + first_step
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return max(0.0, (total - step) / max(1, total - warmup))

    return factor
