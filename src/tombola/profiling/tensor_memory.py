"""Memory and multiply-adds that a network takes: estimated without weights or a GPU, or measured while it runs.

What counts is live bytes: of every tensor that exists at one time, each storage once. It is what an allocator is asked
for at least. The process's own size says something else: libraries, caches and freed memory are in it.
"""

import copy
import itertools
import os
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from transformers import PreTrainedModel
from typing_extensions import override

from tombola.subnetworks.gates import Variant, forward, module_of
from tombola.subnetworks.subnetwork import Subnetwork, structural_copy


@dataclass(frozen=True)
class Memory:
    """Memory of running a network, in bytes.

    Attributes:
        weights: parameters and buffers.
        activations: the most of everything else that lives at one time: inputs, hidden states, the result.
        multiply_adds: of the run: matrix products, convolutions and attention.
    """

    weights: int
    activations: int
    multiply_adds: int

    @property
    def peak(self) -> int:
        """Weights and activations together."""
        return self.weights + self.activations


@dataclass(frozen=True)
class Need:
    """Memory need of a network in a pipeline.

    Attributes:
        parameters: of all of it.
        weights: bytes of its weights while it waits; it may run in another dtype.
        passes: images → memory of its run.
    """

    parameters: int
    weights: int
    passes: Mapping[int, Memory]


class LiveBytes(TorchDispatchMode):
    """Count bytes of tensors made in the block for as long as they live: those of `now`, and the most, the `peak`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now, self.peak = 0, 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    @override
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = {id(leaf.untyped_storage()) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            # A view, or what an operation in place gives back, is no new memory.
            if isinstance(leaf, Tensor) and id(leaf.untyped_storage()) not in given:
                self._add(leaf.untyped_storage())
        return found

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._known:
            return

        def freed(_: object) -> None:
            self.now -= size
            del self._known[key]

        # PyTorch keeps one Python object for a storage for as long as the storage lives.
        self._known[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)


def blank_copy(model: nn.Module) -> nn.Module:
    """Copy of a network on `meta`, where no number takes memory."""
    # Both: moved, parameters that were on meta already would still be those of the network.
    return copy.deepcopy(nn.Module.to(structural_copy(model), "meta"))


def estimate(
    model: nn.Module,
    inputs: Callable[[nn.Module], Mapping[str, Any]],
    *,
    dtype: torch.dtype = torch.float16,
    keep_fp32: Collection[str] = (),
) -> Memory:
    """Memory of one forward pass without gradients, of a network that need not fit into this machine.

    No memory is ever allocated: shapes are computed, numbers are not. Attention is taken to be fused, as it is on GPUs
    and CPUs by default. Workspaces that a kernel asks for are not seen; convolutions of a GPU may take some, which
    differ between its libraries.

    Args:
        model: the network, which may be on `meta`; it is not changed.
        inputs: keyword arguments of its forward pass, of its dtype and on its device.
        dtype: of its parameters and floating-point buffers.
        keep_fp32: names of modules, wherever they are in it, that stay in fp32.
    """
    blank = blank_copy(model).eval()
    # Not the class's own way, which warns.
    nn.Module.to(blank, dtype)
    for name, module in blank.named_modules():
        if name.rpartition(".")[2] in keep_fp32:
            nn.Module.to(module, torch.float32)
    # Counted here, for what several layers share is no longer shared once it has left `meta`.
    weights = bytes_of(blank)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        blank = blank.to_empty(device="cpu")
        with counter() as operations, LiveBytes() as live:
            result = blank(**inputs(blank))
        del result
    return Memory(weights, live.peak, int(operations.get_total_flops()) // 2)


def measure(run: Callable[[], object], device: torch.device) -> int:
    """The most bytes that were allocated at one time while `run` ran, over what was before.

    It is what PyTorch's allocator says: on a GPU `max_memory_allocated`, on a CPU every allocation and release that the
    profiler saw. Unlike `LiveBytes`, workspaces inside of operations are in it: with 64 images of 8 x 8 they are 8 % of
    a small U-net's activations, with one image two thirds.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    # Its library reports to the terminal that it starts and stops, unless it is told before its first use.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        run()
    events = found.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    # Where two happen in one nanosecond, what is released comes first, and nothing is counted that never was.
    return int(max(itertools.accumulate((change for _, change in changes), initial=0)))


def counter() -> FlopCounterMode:
    """Counter of floating-point operations while it is entered: those of every product, in fused attention too."""
    return FlopCounterMode(display=False, custom_mapping=_ATTENTION)


def bytes_of(model: nn.Module) -> int:
    """Bytes of a network's parameters and buffers, each storage once."""
    tensors = [*model.parameters(), *model.buffers()]
    sizes = {id(tensor.untyped_storage()): tensor.untyped_storage().nbytes() for tensor in tensors}
    return int(sum(sizes.values()))


def _attention(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
"""Fused attention of the CPU, which the counter of operations does not know."""


def multiply_adds(variant: Variant, given: Mapping[str, Any]) -> int:
    """Multiply-adds of the matrix products and convolutions of one forward pass on `given`.

    Where it can be, attention is computed step by step for it, as fused kernels hide their products; else their inputs
    say how many there are.
    """
    copied = structural_copy(module_of(variant))
    if isinstance(copied, PreTrainedModel):
        copied.set_attn_implementation("eager")
    stepwise = replace(variant, model=copied) if isinstance(variant, Subnetwork) else copied
    trainable = [parameter for parameter in copied.parameters() if parameter.requires_grad]
    try:
        # The counter follows the gradients of whatever has some, even where none are computed.
        for parameter in trainable:
            parameter.requires_grad_(False)
        with forward(stepwise, given) as run, counter() as operations:
            run()
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
    return int(operations.get_total_flops()) // 2
