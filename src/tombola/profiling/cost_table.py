"""Costs of a model's variants, for people to read: a table, and a sentence."""

from collections.abc import Iterator, Mapping

from tombola.foundations.plain_table import PlainTable
from tombola.profiling.model_cost import Costs


def table(costs: Costs) -> PlainTable:
    """The variants side by side with their ratios to the dense model, for `rich.console.Console.print`."""
    size = "images" if costs.length is None else f"{costs.length} tokens"
    if costs.steps is not None:
        size = f"images of {costs.steps} steps"
    found = PlainTable(f"{size}, {costs.dtype}, {costs.device}, {costs.threads} threads")
    found.add_column("", no_wrap=True)
    for name in costs.variants:
        found.add_column(name, justify="right", no_wrap=True)
        if name != "dense":
            found.add_column("ratio", justify="right", no_wrap=True)
    for title, shown, values in _rows(costs):
        cells = [title]
        for name, value in values.items():
            whole = values["dense"]
            cells.append("" if value is None else format(value, shown))
            if name != "dense":
                cells.append(f"{value / whole:.2f}" if value is not None and whole else "")
        found.add_row(*cells)
    return found


def _rows(costs: Costs) -> Iterator[tuple[str, str, Mapping[str, float | None]]]:
    """Title, format and values of each row of the table."""
    variants = costs.variants
    batches = variants["dense"].seconds
    yield "parameters, M", ".2f", {name: cost.parameters / 1e6 for name, cost in variants.items()}
    yield "weights on disk, MB", ".1f", {name: cost.disk / 1e6 for name, cost in variants.items()}
    yield "multiply-adds, M", ",.0f", {name: cost.multiply_adds / 1e6 for name, cost in variants.items()}
    for batch in batches:
        yield (
            f"{'latency' if costs.steps is None else 'step'}, batch {batch}, ms",
            ",.1f",
            {name: cost.seconds[batch] * 1e3 for name, cost in variants.items()},
        )
    largest = {name: cost.processor_seconds[max(batches)] * 1e3 for name, cost in variants.items()}
    yield f"processor time, batch {max(batches)}, ms", ",.1f", largest
    if costs.steps is None:
        yield f"examples/s, batch {max(batches)}", ",.1f", {name: cost.throughput for name, cost in variants.items()}
    else:
        a_second = {name: cost.throughput / costs.steps for name, cost in variants.items()}
        yield f"images/s, batch {max(batches)}", ",.2f", a_second
    yield "weights in memory, MB", ",.1f", {name: cost.weights / 1e6 for name, cost in variants.items()}
    for batch in batches:
        sizes = {name: cost.activations.get(batch) for name, cost in variants.items()}
        if any(size is not None for size in sizes.values()):
            peaks = {name: None if size is None else size / 1e6 for name, size in sizes.items()}
            yield f"activations, batch {batch}, MB", ",.1f", peaks
    memory = {name: None if cost.memory is None else cost.memory / 1e6 for name, cost in variants.items()}
    if any(value is not None for value in memory.values()):
        yield f"peak of the process, batch {max(batches)}, MB", ",.0f", memory


def sentence(costs: Costs) -> str:
    """Theoretical and measured speed-up of the shrunk model, in words."""
    batch = max(costs.variants["dense"].seconds)
    return (
        f"The shrunk model's multiply-adds promise {costs.theoretical_speedup():.2f} times the speed of the dense one; "
        f"at batch {batch} it reaches {costs.measured_speedup():.2f}: {costs.share():.0%} of the promise "
        f"({costs.share(processor=True):.0%} in processor time)."
    )
