"""`tombola memory`: what a pipeline and smaller tickets of its denoiser would need, before anything is downloaded."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tombola.cli.argument_types import names, numbers, seeds
from tombola.cli.command import Command
from tombola.foundations.plain_table import PlainTable

if TYPE_CHECKING:
    from torch import nn

    from tombola.profiling.denoiser_memory import Need
    from tombola.profiling.pipeline_memory import PartNeed, Parts, Runs


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    from tombola.profiling.denoiser_memory import DTYPES
    from tombola.profiling.known_pipelines import KNOWN_PIPELINES

    parser.add_argument(
        "model",
        help=f"a diffusers model or pipeline (folder or hub id; its weights are not read), or one of "
        f"{', '.join(KNOWN_PIPELINES)}",
    )
    parser.add_argument(
        "--density",
        type=numbers,
        default=(1.0, 0.75, 0.5),
        metavar="1,0.75",
        help="shares of the sites that stay (1,0.75,0.5)",
    )
    parser.add_argument("--images", type=seeds, default=(1, 4), metavar="1,4", help="images at once (1,4)")
    parser.add_argument("--size", type=int, metavar="N", help="sides of the latent images (the configuration's)")
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="float16", help="of weights and activations")
    parser.add_argument(
        "--guidance",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="classifier-free guidance, which takes two passes an image, where the model draws from a text or class",
    )
    parser.add_argument(
        "--vae-slicing",
        action="store_true",
        help="the VAE decodes one image after the other, as after diffusers' enable_vae_slicing",
    )
    parser.add_argument(
        "--exclude",
        type=names,
        default=(),
        metavar="PART",
        help="parts that the pipeline is loaded without, as text_encoder_3 of Stable Diffusion 3",
    )
    parser.add_argument(
        "--gpu-memory", type=numbers, default=(4.0, 6.0, 8.0), metavar="4,6,8", help="memory of GPUs in GB (4,6,8)"
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.profiling.denoiser_memory import DTYPES, needs
    from tombola.profiling.pipeline_memory import need_of

    dtype = DTYPES[options.dtype]
    # A column for each number.
    options.images = tuple(dict.fromkeys(options.images))
    with Console(stderr=True).status("reckoning"):
        parts = _parts(options)
        found = needs(
            _builder(options.model),
            options.density,
            images=options.images,
            size=options.size,
            dtype=dtype,
            guidance=options.guidance,
        )
        around = tuple(
            need_of(part, options.images, found[0].size, dtype=dtype, slicing=options.vae_slicing)
            for part in (parts.counted if parts else ())
        )
    if not options.json:
        _print(found, around, parts, options)
    return {
        "model": options.model,
        "dtype": options.dtype,
        "needs": [_entry(one) | _together(one, around, options.gpu_memory) for one in found],
        "parts": [_part_entry(one) for one in around],
        "not_counted": dict(_uncounted(parts)),
    }


def _builder(model: str) -> "Callable[[], nn.Module]":
    from tombola.checkpoints import denoisers
    from tombola.profiling.known_pipelines import KNOWN_PIPELINES

    if model in KNOWN_PIPELINES:
        return KNOWN_PIPELINES[model].denoiser.make
    return lambda: denoisers.load(model, weights=False)


def _parts(options: argparse.Namespace) -> "Parts | None":
    """Parts around the denoiser; None for a denoiser by itself."""
    from tombola.profiling.known_pipelines import KNOWN_PIPELINES
    from tombola.profiling.pipeline_memory import Parts, known_parts, parts_of

    model = options.model
    pipeline = KNOWN_PIPELINES.get(model)
    found = parts_of(model) if pipeline is None else known_parts(pipeline)
    if options.exclude:
        found = (found or Parts()).excluding(options.exclude)
    return found


def _entry(need: "Need") -> dict[str, Any]:
    return {
        "density": need.density,
        "parameters": need.parameters,
        "size": need.size,
        **_memory(need),
        "peak": {str(count): one.peak for count, one in need.passes.items()},
        "multiply_adds": {str(count): one.multiply_adds for count, one in need.passes.items()},
    }


def _part_entry(need: "PartNeed") -> dict[str, Any]:
    return {
        "part": need.part.name,
        "class": need.part.kind,
        "parameters": need.parameters,
        **_memory(need),
        "weights_running": next(iter(need.passes.values())).weights,
        "tokens": need.part.tokens or None,
    }


def _memory(need: "Runs") -> dict[str, Any]:
    return {
        "weights": need.weights,
        "activations": {str(count): one.activations for count, one in need.passes.items()},
    }


def _together(need: "Need", around: "Sequence[PartNeed]", gpu_memory: Sequence[float]) -> dict[str, Any]:
    """The two figures of a whole pipeline, and the most images at once that fit on each GPU."""
    from tombola.profiling.pipeline_memory import all_on_gpu, one_at_a_time

    figures = {"all_on_gpu": all_on_gpu([need, *around]), "one_part_at_a_time": one_at_a_time([need, *around])}
    return {
        name: {
            "peak": {str(count): size for count, size in peaks.items()},
            "fits": {f"{size:g}": _most(peaks, size) for size in gpu_memory},
        }
        for name, peaks in figures.items()
    }


def _most(peaks: Mapping[int, int], gpu_memory: float) -> int | None:
    """The most images at once that fit on a GPU of so many GB; None where not even the fewest do."""
    return max((count for count, peak in peaks.items() if peak <= gpu_memory * 2**30), default=None)


def _uncounted(parts: "Parts | None") -> Mapping[str, str]:
    return parts.uncounted if parts else {}


def _print(
    found: "Sequence[Need]", around: "Sequence[PartNeed]", parts: "Parts | None", options: argparse.Namespace
) -> None:
    console = Console()
    fitting = "" if around else ", images that fit on a GPU"
    _show(
        console,
        f"{options.model}, {options.dtype}: MiB, GMACs of a pass{fitting}",
        _denoisers(found, options, not around),
    )
    said = []
    if around:
        console.print()
        _show(console, "around the denoiser, never pruned: MiB", _surroundings(around, options))
        console.print()
        title = "the whole pipeline: MiB at its peak, images that fit on a GPU"
        _show(console, title, _whole(found, around, options))
        said.append(
            "All on the GPU: every part's weights, and the largest activations of any. One at a time: the largest "
            "part with its activations (enable_model_cpu_offload)."
        )
    elif parts is None:
        said.append(
            "The denoiser alone: text encoders and the image decoder come on top, unless they leave the GPU meanwhile."
        )
    else:
        said.append("The denoiser alone." if parts.uncounted or options.exclude else "The pipeline has no other part.")
    said += [f"Not counted: {name} ({why})." for name, why in _uncounted(parts).items()]
    if any(one.part.upcast and one.passes[options.images[0]].weights > one.weights for one in around):
        said.append("The vae decodes in float32, as its pipeline does (force_upcast).")
    said.append("Workspaces of convolutions on a GPU, and what its driver takes, are not reckoned with.")
    console.print()
    console.print("\n".join(said), highlight=False, markup=False)


def _denoisers(found: "Sequence[Need]", options: argparse.Namespace, fits: bool) -> Table:
    table = PlainTable(gap=2)
    _columns(table, "density", "parameters", "weights", *_counts("+ ", options), "GMACs")
    if fits:
        _columns(table, *_gpus(options))
    for need in found:
        cells = [f"{100 * need.density:g} %", f"{need.parameters / 1e6:,.1f} M", _mib(need.weights)]
        cells += [_mib(one.activations) for one in need.passes.values()]
        first, one = next(iter(need.passes.items()))
        cells.append(f"{one.multiply_adds / first / 1e9:,.1f}")
        if fits:
            cells += _fits({count: memory.peak for count, memory in need.passes.items()}, options)
        table.add_row(*cells)
    return table


def _surroundings(around: "Sequence[PartNeed]", options: argparse.Namespace) -> Table:
    table = PlainTable(gap=2)
    table.add_column("part", no_wrap=True)
    _columns(table, "parameters", "weights", *_counts("+ ", options))
    for need in around:
        cells = [need.part.name, f"{need.parameters / 1e6:,.1f} M", _mib(need.weights)]
        # What it takes while it runs beyond what it takes while it waits.
        cells += [_mib(one.peak - need.weights) for one in need.passes.values()]
        table.add_row(*cells)
    return table


def _whole(found: "Sequence[Need]", around: "Sequence[PartNeed]", options: argparse.Namespace) -> Table:
    from tombola.profiling.pipeline_memory import all_on_gpu, one_at_a_time

    table = PlainTable(gap=2)
    _columns(table, "density")
    table.add_column("parts", no_wrap=True)
    _columns(table, *_counts("", options), *_gpus(options))
    for need in found:
        both = {"all on the GPU": all_on_gpu, "one at a time": one_at_a_time}
        for number, (name, figure) in enumerate(both.items()):
            peaks = figure([need, *around])
            density = f"{100 * need.density:g} %" if number == 0 else ""
            table.add_row(density, name, *map(_mib, peaks.values()), *_fits(peaks, options))
    return table


def _show(console: Console, title: str, table: Table) -> None:
    # A title of the table's own is broken where the table ends.
    console.print(title, style="italic", highlight=False, markup=False)
    console.print(table)


def _columns(table: Table, *headers: str) -> None:
    for name in headers:
        table.add_column(name, justify="right", no_wrap=True)


def _counts(before: str, options: argparse.Namespace) -> list[str]:
    return [f"{before}{count} image{'s' if count > 1 else ''}" for count in options.images]


def _gpus(options: argparse.Namespace) -> list[str]:
    return [f"{size:g} GB" for size in options.gpu_memory]


def _fits(peaks: Mapping[int, int], options: argparse.Namespace) -> list[str]:
    return [str(_most(peaks, size) or "none") for size in options.gpu_memory]


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f}"


COMMAND = Command(
    name="memory",
    what="what a pipeline and smaller tickets of its denoiser would need, without weights or a GPU",
    add_arguments=_add_arguments,
    run=_run,
)
