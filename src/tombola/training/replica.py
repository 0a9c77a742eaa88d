"""Replica of a model that a process trains, alone or beside those of others that a launcher started.

[accelerate](https://huggingface.co/docs/accelerate) spreads the work: every process has a part of each batch, and
gradients are summed over all (data parallel). With FSDP (`fully_shard`) each holds a part of the weights, gradients and
moments, too.
"""

import contextlib
import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from typing_extensions import override

from tombola.architectures.parameters import device_of
from tombola.foundations.errors import TombolaError
from tombola.foundations.launcher import process_count
from tombola.foundations.precision import Precision
from tombola.pruning.evaluation import on_device
from tombola.tasks.base import Batch, Task
from tombola.training.used_rows import UsedRows, with_used_rows

Optimize = Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer]
"""Function that makes the optimizer of parameters, on the device that they are on."""


class Replica:
    """Replica of a model as this process trains it.

    Args:
        model: the caller's, which is trained in place; where its weights are spread (FSDP), or its vocabulary is
            trained row by row, a copy over the same weights is, and `gather` brings the others back.
        task: gives the loss.
        optimize: makes the optimizer.
        precision: of the forward passes.

    Attributes:
        model: what is trained.
        optimizer: of its parameters.
        device: where passes run.
        count, rank: number of processes, and which of them this one is.

    Raises:
        TombolaError: accelerate was told to train in a way that Tombola does not know, or in another precision.
    """

    def __init__(self, model: nn.Module, task: Task, optimize: Optimize, precision: Precision) -> None:
        self._whole, self._accelerator = model, _accelerator(precision) if process_count() > 1 else None
        self.count, self.rank, self._home = 1, 0, device_of(model)
        self._rows: UsedRows | None = None
        if self._accelerator is None:
            self.model, self._rows = with_used_rows(model)
        else:
            self.model = _over_same_weights(model) if self.sharded else model
        self._task = task
        self._losses: Any = _Losses(self.model, task)
        self.optimizer = optimize(_trained(self.model))
        if self._rows is not None:
            self._rows.optimizer = self.optimizer
        if self._accelerator is not None:
            self.count, self.rank = self._accelerator.num_processes, self._accelerator.process_index
            self._losses, prepared = self._accelerator.prepare(self._losses, self.optimizer)
            self.optimizer = prepared.optimizer
        self.device = self._home if self._accelerator is None else self._accelerator.device
        self._parameters = _trained(self.model)

    @property
    def sharded(self) -> bool:
        """True if the weights are spread over the processes."""
        return self._accelerator is not None and bool(self._accelerator.is_fsdp2)

    def parts(self, batch: Batch, steps: int) -> list[tuple[Batch, float]]:
        """Parts of a batch that this process passes one after another, and the weight of the mean loss of each.

        The examples are dealt out in turn, so that all have texts of like length. Every process passes as many parts,
        as each waits for the others: one for which nothing is left has an example that weighs nothing.
        """
        # On a CPU more of them than were asked for, so that the activations of each are few; gradients and moments of
        # the weights are there too.
        needed, examples = batch.parts_for(self.model, self.device), len(batch.indices)
        hands = self.count * max(steps, -(-3 * needed // (2 * self.count)) if needed > 1 else 1)
        if hands == 1:
            return [(batch, 1.0)]
        dealt = [np.arange(hand, examples, hands) for hand in range(self.rank, hands, self.count)]
        # Data parallel takes the mean of the processes' gradients.
        return [
            (batch.take(places if len(places) else np.zeros(1, np.int64)), self.count * len(places) / examples)
            for places in dealt
        ]

    def brief_passes(self) -> contextlib.AbstractContextManager[object]:
        """Context in which passes leave out what losses do not read; of several processes none does."""
        return self._task.brief_passes(self.model) if self._accelerator is None else contextlib.nullcontext()

    def losses(self, batch: Batch) -> Tensor:
        """Losses of a batch [examples] with their graph."""
        return cast(Tensor, self._losses(batch))

    def summing(self, last: bool) -> contextlib.AbstractContextManager[object]:
        """The context of a part's passes: gradients are summed over the processes after the `last` alone."""
        if last or self._accelerator is None:
            return contextlib.nullcontext()
        return cast(contextlib.AbstractContextManager[object], self._accelerator.no_sync(self._losses))

    def clip(self, most: float) -> Tensor:
        """Clip the gradients of all parameters together, and return their norm before."""
        return whole(nn.utils.clip_grad_norm_(self._parameters, most))

    def masks(self, masks: Mapping[str, Tensor]) -> list[tuple[nn.Parameter, Tensor]]:
        """Parameters by their names with the masks of their gradients, laid out as they are."""
        found = ((self.model.get_parameter(name), mask) for name, mask in masks.items())
        return [(parameter, laid_out(mask.to(parameter.dtype), parameter)) for parameter, mask in found]

    def agreed(self, value: int) -> int:
        """The main process's value, for all."""
        return int(self.each(torch.tensor([value]))[0])

    def each(self, tensor: Tensor) -> list[Tensor]:
        """Tensors of all processes, on the CPU; they have the same shape."""
        if self._accelerator is None:
            return [tensor]
        return list(self._accelerator.gather(tensor[None].to(self.device)).cpu())

    def gather(self) -> nn.Module:
        """The caller's model with the weights of now."""
        if self._rows is not None:
            self._rows.write()
        if self.sharded:
            tensors = (
                itertools.chain(one.named_parameters(), one.named_buffers()) for one in (self._whole, self.model)
            )
            with torch.no_grad():
                for (_, target), (_, source) in zip(*tensors, strict=True):
                    target.copy_(whole(source))
        return self._whole

    def close(self) -> None:
        """Bring the weights back to the caller's model, and that to where it was."""
        self.gather()
        if self._accelerator is not None:
            self._whole.to(self._home)
            self._accelerator.free_memory()


class _Losses(nn.Module):
    """Losses of a task as the output of a module, which is what accelerate spreads: tasks ask models for more."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model, self._task = model, task
        # By these accelerate finds the layers that it spreads one by one.
        self._no_split_modules = getattr(model, "_no_split_modules", None)

    def tie_weights(self) -> None:
        """Tie the model's weights again, where it has any that are tied: accelerate asks for it."""
        getattr(self.model, "tie_weights", lambda: None)()

    @override
    def forward(self, batch: Batch) -> Tensor:
        return self._task.output(self.model, on_device(batch, self.model)).losses


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be spread over processes, which all have to ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor that every process has, on the device of another and spread as that one is."""
    moved = tensor.to(like.device)
    if not isinstance(like, DTensor):
        return moved
    return distribute_tensor(moved, like.device_mesh, like.placements, src_data_rank=None)


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _over_same_weights(model: nn.Module) -> nn.Module:
    """A copy of a model whose parameters are others over the same memory; fully_shard reduces no empty gradients."""
    shared: dict[int, Any] = {
        id(one): nn.Parameter(one.detach(), requires_grad=one.requires_grad and one.numel() > 0)
        for one in model.parameters()
    }
    return copy.deepcopy(model, shared)


def _accelerator(precision: Precision) -> Any:
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.utils import DistributedType

    # Emptied layers, and poolers that a task does not ask for, have no gradient.
    found = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    if found.mixed_precision not in ("no", precision.replace("fp32", "no")):
        raise TombolaError(
            f"accelerate was told mixed_precision {found.mixed_precision}, and Tombola {precision}; leave the first out"
        )
    if found.distributed_type == DistributedType.FSDP and not found.is_fsdp2:
        raise TombolaError("Tombola shards models by fully_shard alone; add --fsdp_version 2 to accelerate's settings")
    plain = found.distributed_type.startswith("MULTI_") or found.distributed_type == DistributedType.FSDP
    if not plain:
        raise TombolaError(
            f"Tombola trains data parallel or with FSDP, not with {found.distributed_type}; tell accelerate so"
        )
    if found.is_fsdp2 and precision == "fp16":
        raise TombolaError("precision fp16 does not go with FSDP; take bf16")
    return found
