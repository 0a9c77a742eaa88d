"""Cost of running a model: dense, masked and shrunk, measured side by side in one run."""

import functools
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from typing_extensions import override

from tombola.architectures.dummy_inputs import dummy_inputs
from tombola.architectures.parameters import count_parameters, device_of, dtype_of, evaluating
from tombola.checkpoints.checkpoint import save_shrunk
from tombola.checkpoints.loading import quiet
from tombola.checkpoints.model_card import bytes_on_disk
from tombola.checkpoints.model_libraries import library_of
from tombola.foundations.atomic_files import temporary_folder
from tombola.foundations.figures import decimals
from tombola.foundations.json_dataclasses import JsonRecord
from tombola.foundations.plain_table import PlainTable
from tombola.foundations.plurals import plural
from tombola.profiling import peak_memory, tensor_memory
from tombola.profiling.tensor_memory import multiply_adds
from tombola.subnetworks.gates import Variant, forward, module_of
from tombola.subnetworks.subnetwork import masked, shrunk
from tombola.tickets.ticket import Ticket

_ROUNDS = 50
ENOUGH = 0.5
"""Seconds within which quick passes are repeated, `_ROUNDS` times at most."""


def latencies(
    variants: Mapping[str, Variant], given: Mapping[int, Mapping[str, Any]], repeats: int
) -> dict[str, dict[int, tuple[float, float]]]:
    """Seconds of the fastest pass of each variant, for each batch size: by the clock, and of all processors."""
    found: dict[str, dict[int, tuple[float, float]]] = {name: {} for name in variants}
    for batch, inputs in given.items():
        # The first round warms up, and says how many there is time for.
        first = sum(_time(variant, inputs)[0] for variant in variants.values())
        rounds = max(repeats, min(_ROUNDS, int(ENOUGH / first)))
        fastest = np.min(passes(variants, inputs, rounds), axis=0).tolist()
        for name, (wall, processor) in zip(variants, fastest, strict=True):
            found[name][batch] = wall, processor
    return found


def passes(variants: Mapping[str, Variant], inputs: Mapping[str, Any], rounds: int) -> list[list[tuple[float, float]]]:
    """Seconds of a pass of each variant [rounds, variants], which take turns: by the clock, and of all processors."""
    return [[_time(variant, inputs) for variant in variants.values()] for _ in range(rounds)]


def _time(variant: Variant, given: Mapping[str, Any]) -> tuple[float, float]:
    device = device_of(module_of(variant))
    with forward(variant, given) as run:
        _wait(device)
        started, worked = time.perf_counter(), time.process_time()
        output = run()
        _wait(device)
        # Freed outside of the time.
        seconds = time.perf_counter() - started, time.process_time() - worked
        del output
    return seconds


def _wait(device: torch.device) -> None:
    """Wait until the device has done what it was asked: a GPU's work goes on after the call."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


STEPS = 25
"""Passes of a denoiser that an image takes, unless the user says otherwise: those of the samples of a search."""


@dataclass(frozen=True)
class Cost:
    """Cost of one variant of a model.

    Attributes:
        parameters: distinct parameters of the whole model; masked ones are still there.
        disk: bytes of its files of weights (safetensors), a ticket's masks included where the model needs them.
        multiply_adds: of a forward pass of one example: every matrix product and convolution of the model, its output
            layer included. Looking up embeddings takes none; sums, norms and activations are not counted.
        seconds: batch size → wall time of a forward pass, the fastest of the repeats; of a denoiser, of one step.
        processor_seconds: the same of the time that processors worked on it, all threads together: of use where other
            processes take their share of the machine, which it hardly feels; not for a GPU.
        memory: bytes at the peak of a process that loads the model and runs the largest batch, see
            [`peak_memory.measure`][tombola.profiling.peak_memory.measure]; None where it was not measured.
        weights: bytes of parameters and buffers in memory.
        activations: batch size → the most bytes beyond the weights that live at one time of a pass, see
            [`memory.measure`][tombola.profiling.tensor_memory.measure]. Sampling keeps nothing from step to step but
            the images; with guidance each image is two of a batch.
    """

    parameters: int
    disk: int
    multiply_adds: int
    seconds: Mapping[int, float]
    processor_seconds: Mapping[int, float]
    memory: int | None
    weights: int = 0
    activations: Mapping[int, int] = field(default_factory=dict)

    @property
    def throughput(self) -> float:
        """Examples a second, at the largest batch."""
        batch = max(self.seconds)
        return batch / self.seconds[batch]


@dataclass(frozen=True)
class Costs(JsonRecord):
    """Variants of one model side by side.

    Attributes:
        variants: `dense`, `masked` and, where there is one, `shrunk`.
        length: tokens of an example; None for images.
        dtype, device, threads: what it was measured in, and on.
        steps: of a denoiser, the passes that an image takes; None for other models.
    """

    variants: Mapping[str, Cost]
    length: int | None
    dtype: str
    device: str
    threads: int
    steps: int | None = None

    def theoretical_speedup(self, variant: str = "shrunk") -> float:
        """Speed-up over the dense model that its share of the multiply-adds would give."""
        return self.variants["dense"].multiply_adds / self.variants[variant].multiply_adds

    def measured_speedup(self, variant: str = "shrunk", *, processor: bool = False) -> float:
        """Speed-up over the dense model at the largest batch, by the clock or in processor time."""
        dense, other = (
            cost.processor_seconds if processor else cost.seconds
            for cost in (self.variants["dense"], self.variants[variant])
        )
        return dense[max(dense)] / other[max(other)]

    def share(self, variant: str = "shrunk", *, processor: bool = False) -> float:
        """Share of the theoretical speed-up that is measured: 1 is all of it."""
        return self.measured_speedup(variant, processor=processor) / self.theoretical_speedup(variant)

    def seconds_per_image(self, variant: str) -> dict[int, float]:
        """Batch size → seconds of all steps of one image."""
        return {batch: second * (self.steps or 1) / batch for batch, second in self.variants[variant].seconds.items()}

    @override
    def entry(self) -> dict[str, Any]:
        """The fields as a JSON object, and what follows from them for each variant."""
        found = super().entry()
        for name, cost in self.variants.items():
            found["variants"][name] |= {
                **({} if self.steps is None else {"seconds_per_image": self.seconds_per_image(name)}),
                "throughput": cost.throughput,
                "theoretical_speedup": self.theoretical_speedup(name),
                "measured_speedup": self.measured_speedup(name),
                "share": self.share(name),
                "processor_share": self.share(name, processor=True),
            }
        return found


@dataclass(frozen=True)
class CostOptions:
    """Options of a measurement: on which inputs, how often, and what beside time.

    Attributes:
        length: tokens of an example, where the model takes tokens.
        batches: batch sizes; by default 1 and 32, of images 1, 4 and 16 as far as that takes seconds.
        steps: of a denoiser, passes that an image takes.
        repeats: passes of each variant and batch size, at least; quick ones are repeated more often.
        activations: also measure how much memory a pass takes beyond the weights, in one more pass of each.
        memory: also measure the peak of a process of its own for each variant, which takes some seconds each.
    """

    length: int = 128
    batches: Sequence[int] | None = None
    steps: int = STEPS
    repeats: int = 5
    activations: bool = True
    memory: bool = False


def compare(
    model: nn.Module,
    ticket: Ticket,
    options: CostOptions | None = None,
    *,
    folder: Path | str | None = None,
    beside: bool = False,
) -> Costs:
    """Measure a model whole, under a ticket's mask, and shrunk, on the device and in the dtype that it has.

    The variants take turns, so that whatever else the machine does hits all alike, and of each the fastest pass counts.
    Masked means gates at zero, where sites are pruned, and zeros in the matrices, where weights are. The model is not
    changed, but saved to a temporary folder, for its size on disk.

    Args:
        model: whole, of transformers or diffusers.
        ticket: what survives.
        options: what is measured, and on which inputs.
        folder: what `save_shrunk` wrote of the two; without it, a ticket of sites is shrunk in a temporary folder, and
            one of weights has no variant `shrunk`.
        beside: put temporary models beside `folder`, as a study does, which clears what a killed process leaves there.

    Raises:
        TombolaError: the ticket is for another model, or the model is of neither library.
    """
    options = options or CostOptions()
    library = library_of(model)
    variants: dict[str, Variant] = {"dense": model, "masked": masked(model, ticket)}
    if ticket.kind != "weights" or folder is not None:
        variants["shrunk"] = shrunk(model, ticket)
    training = model.training
    try:
        for variant in variants.values():
            module_of(variant).eval()
        # Beside a study's model, where the next start clears what a killed process left.
        home = None if folder is None or not beside else Path(folder).parent
        with temporary_folder(".draft-cost-" if beside else "tombola-cost-", home) as temporary:
            costs = _costs(
                variants, _written(model, ticket, variants, temporary, folder), temporary / "ticket", options
            )
    finally:
        model.train(training)
    tokens = dummy_inputs(model, 1, options.length).get("input_ids")
    return Costs(
        costs,
        length=None if tokens is None else tokens.shape[-1],
        dtype=str(dtype_of(model)).removeprefix("torch."),
        device=str(device_of(model)),
        threads=torch.get_num_threads(),
        steps=options.steps if library.iterative else None,
    )


_PROCESS = 8.0
"""Seconds that a process takes to import PyTorch and load a model, roughly."""


def expected_seconds(model: nn.Module, options: CostOptions) -> float:
    """Seconds that `compare` takes, roughly: the variants are reckoned as slow as the model, which makes one pass."""
    with evaluating(model):
        given = dummy_inputs(model, 1, options.length)
        batches = options.batches or library_of(model).batch_sizes(multiply_adds(model, given))
        seconds = _time(model, given)[0]
    total = 3 * _PROCESS if options.memory else 0.0
    for batch in {*batches}:
        first = 3 * batch * seconds
        total += first * (2 + max(options.repeats, min(_ROUNDS, int(ENOUGH / first))))
    return total


def _costs(
    variants: Mapping[str, Variant], homes: Mapping[str, Path], masks: Path, options: CostOptions
) -> dict[str, Cost]:
    """The cost of each variant, which lies in its home; `masks` is the folder of the ticket."""
    model, length = module_of(variants["dense"]), options.length
    example = dummy_inputs(model, 1, length)
    operations = {name: multiply_adds(variant, example) for name, variant in variants.items()}
    batches = library_of(model).batch_sizes(operations["dense"]) if options.batches is None else options.batches
    given = {batch: dummy_inputs(model, batch, length) for batch in sorted({*batches})}
    seconds = latencies(variants, given, options.repeats)
    device, threads = str(device_of(model)), torch.get_num_threads()
    peak_of = functools.partial(peak_memory.measure, batch=max(given), length=length, device=device, threads=threads)
    measured = given if options.activations else {}
    return {
        name: Cost(
            parameters=count_parameters(module_of(variant)),
            disk=bytes_on_disk(homes[name]),
            multiply_adds=operations[name],
            seconds={batch: wall for batch, (wall, _) in seconds[name].items()},
            processor_seconds={batch: processor for batch, (_, processor) in seconds[name].items()},
            memory=peak_of(homes[name], ticket=masks if name == "masked" else None) if options.memory else None,
            weights=tensor_memory.bytes_of(module_of(variant)),
            activations={batch: _activations(variant, one) for batch, one in measured.items()},
        )
        for name, variant in variants.items()
    }


def _written(
    model: nn.Module, ticket: Ticket, variants: Collection[str], temporary: Path, folder: Path | str | None
) -> Mapping[str, Path]:
    """Folders of the variants, written into a temporary one where they are not there yet, with the ticket beside."""
    whole, small = temporary / "whole", temporary / "shrunk" if folder is None else Path(folder)
    with quiet():
        whole.mkdir()
        library_of(model).save(model, whole)
        if folder is None and "shrunk" in variants:
            save_shrunk(model, ticket, small, force=True)
    ticket.save(temporary / "ticket")
    return {"dense": whole, "masked": whole, "shrunk": small}


def _activations(variant: Variant, given: Mapping[str, Any]) -> int:
    with forward(variant, given) as run:
        return tensor_memory.measure(run, device_of(module_of(variant)))


def table(costs: Costs) -> PlainTable:
    """The variants side by side with their ratios to the dense model, for `rich.console.Console.print`."""
    size = "images" if costs.length is None else plural(costs.length, "token")
    if costs.steps is not None:
        size = f"images of {plural(costs.steps, 'step')}"
    found = PlainTable(f"{size}, {costs.dtype}, {costs.device}, {plural(costs.threads, 'thread')}")
    found.add_column("", no_wrap=True)
    for name in costs.variants:
        found.add_column(name, justify="right", no_wrap=True)
        if name != "dense":
            found.add_column("ratio", justify="right", no_wrap=True)
    for title, shown, values in _rows(costs):
        if all(value is None for value in values):
            continue
        cells = [title]
        for name, value in zip(costs.variants, values, strict=True):
            cells.append("" if value is None else format(value, shown))
            if name != "dense":
                cells.append(f"{value / values[0]:.2f}" if value is not None and values[0] else "")
        found.add_row(*cells)
    return found


def _rows(costs: Costs) -> Iterator[tuple[str, str, list[float | None]]]:
    """Title, format and values of each row of the table, a value for each variant."""
    several, steps = costs.variants.values(), costs.steps
    batches = costs.variants["dense"].seconds
    largest = max(batches)
    yield "parameters, M", *_millions([one.parameters for one in several])
    yield "parameters on disk, MB", *_millions([one.disk for one in several])
    yield "multiply-adds, M", *_millions([one.multiply_adds for one in several])
    for batch in batches:
        title = f"{'latency' if steps is None else 'step'}, batch {batch}, ms"
        yield title, ",.1f", [one.seconds[batch] * 1e3 for one in several]
    yield f"processor time, batch {largest}, ms", ",.1f", [one.processor_seconds[largest] * 1e3 for one in several]
    if steps is None:
        yield f"examples/s, batch {largest}", ",.1f", [one.throughput for one in several]
    else:
        yield f"images/s, batch {largest}", ",.2f", [one.throughput / steps for one in several]
    yield "parameters in memory, MB", *_millions([one.weights for one in several])
    for batch in batches:
        yield f"activations, batch {batch}, MB", *_millions([one.activations.get(batch) for one in several])
    yield f"peak of the process, batch {largest}, MB", *_millions([one.memory for one in several])


def _millions(sizes: Sequence[int | None]) -> tuple[str, list[float | None]]:
    """Format of counts and sizes in millions, in which the largest has three figures, and the numbers."""
    found = [None if size is None else size / 1e6 for size in sizes]
    return f",.{decimals(max((one for one in found if one is not None), default=0))}f", found


def sentence(costs: Costs) -> str:
    """Theoretical and measured speed-up of the shrunk model, in words."""
    batch = max(costs.variants["dense"].seconds)
    return (
        f"The shrunk model's theoretical speed-up, by its multiply-adds, is {costs.theoretical_speedup():.2f}; "
        f"at batch {batch} {costs.measured_speedup():.2f} is measured: {100 * costs.share():.0f} % of it "
        f"({100 * costs.share(processor=True):.0f} % in processor time)."
    )
