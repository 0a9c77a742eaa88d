"""Latency of forward passes, by the clock and in processor time: variants of a model take turns."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tombola.architectures.parameters import device_of
from tombola.subnetworks.forward import Variant, forward, module_of

_ROUNDS = 50
"""Most repeats of a pass that takes hardly any time; as many as fit into half a second."""


@dataclass(frozen=True)
class Seconds:
    """Seconds of one pass, by the clock and of all processors, or the least of several."""

    wall: float
    processor: float


def latencies(
    variants: Mapping[str, Variant], given: Mapping[int, Mapping[str, Any]], repeats: int
) -> dict[str, dict[int, Seconds]]:
    """The fastest pass of each variant, for each batch size."""
    found: dict[str, dict[int, Seconds]] = {name: {} for name in variants}
    for batch, inputs in given.items():
        # The first round warms up, and says how many there is time for.
        first = sum(_time(variant, inputs).wall for variant in variants.values())
        passes: dict[str, list[Seconds]] = {name: [] for name in variants}
        for _ in range(max(repeats, min(_ROUNDS, int(0.5 / first)))):
            for name, variant in variants.items():
                passes[name].append(_time(variant, inputs))
        for name, all_passes in passes.items():
            found[name][batch] = Seconds(min(one.wall for one in all_passes), min(one.processor for one in all_passes))
    return found


def _time(variant: Variant, given: Mapping[str, Any]) -> Seconds:
    device = device_of(module_of(variant))
    with forward(variant, given) as run:
        _wait(device)
        started, worked = time.perf_counter(), time.process_time()
        output = run()
        _wait(device)
        # Freed outside of the time.
        seconds = Seconds(time.perf_counter() - started, time.process_time() - worked)
        del output
    return seconds


def _wait(device: torch.device) -> None:
    """Wait until the device has done what it was asked: a GPU's work goes on after the call."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
