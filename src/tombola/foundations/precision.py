"""Floating point format of forward passes, and the device they run on."""

import contextlib
import os
from collections.abc import Iterator
from typing import Literal, cast, get_args

import torch

from tombola.foundations.errors import TombolaError, check_choice, one_line
from tombola.foundations.launcher import local_rank, process_count

Precision = Literal["fp32", "bf16", "fp16"]
"""`fp32`: everything in 32 bits. `bf16`: matrix products in bfloat16 under autocast, parameters in 32 bits. `fp16`: in
half precision, on a GPU; training scales the loss, as its small gradients would be lost."""
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """`auto` → CUDA, then Apple's MPS, then the CPU; anything else is PyTorch's own name of a device.

    Of several processes that a launcher started each has a GPU of its own.

    Raises:
        TombolaError: this machine has no such device.
    """
    if process_count() > 1 and torch.cuda.is_available():
        torch.cuda.set_device(local_rank())
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    with one_line(f"device {name!r} cannot be used here", "try --device auto"):
        device = torch.device(name)
        # Some hold no values: meta.
        torch.zeros(1, device=device).item()
    return device


def resolve_precision(name: str, device: torch.device) -> Precision:
    """`auto` → bf16 where the processor computes it natively, else fp32.

    Raises:
        TombolaError: `name` is none of auto, fp32, bf16, fp16, or fp16 on a CPU.
    """
    if name == "auto":
        if device.type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
        # The public torch.cpu.get_capabilities() came after our lower bound of PyTorch.
        native = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
        return "bf16" if native else "fp32"
    check_choice("precision", name, ("auto", *get_args(Precision)))
    if name == "fp16" and device.type == "cpu":
        raise TombolaError("precision fp16 is for GPUs: a CPU is slower in it; take bf16, fp32 or auto")
    return cast(Precision, name)


@contextlib.contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Ask a GPU for kernels that give the same result every time; where one has none, PyTorch warns.

    On a CPU the same machine and number of threads give the same result anyway.
    """
    if device.type != "cuda":
        yield
        return
    # cuBLAS reads it when it is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """The autocast context of a forward pass.

    Raises:
        TombolaError: as in `resolve_precision`.
    """
    dtype = _DTYPES.get(resolve_precision(precision, device))
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)
