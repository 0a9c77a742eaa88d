"""`tombola memory`: what a pipeline and smaller tickets of its denoiser would need, before anything is downloaded."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tombola.checkpoints.sources import CONFIG, check_diffusers, check_source
from tombola.cli.command import Command, counts, names, numbers
from tombola.foundations.errors import TombolaError, printable, unknown
from tombola.foundations.figures import figures, short_count
from tombola.foundations.plain_table import PlainTable

if TYPE_CHECKING:
    from tombola.profiling.denoiser_memory import DenoiserNeed
    from tombola.profiling.pipeline_memory import PartNeed, Parts


_DTYPES = ("float16", "bfloat16", "float32")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    from tombola.profiling.known_pipelines import KNOWN_PIPELINES

    parser.add_argument(
        "model",
        nargs="?",
        help=f"a diffusers model or pipeline (folder or hub id; its weights are not read), or one of "
        f"{', '.join(KNOWN_PIPELINES)}",
    )
    parser.add_argument("--list", action="store_true", help="list the pipelines that it knows by name, and stop")
    shares = "shares of the sites that stay (1,0.75,0.5)"
    parser.add_argument("--density", type=numbers, metavar="1,0.75", help=shares)
    parser.add_argument("--images", type=counts, default=(1, 4), metavar="1,4", help="images at once (1,4)")
    parser.add_argument("--size", type=int, metavar="N", help="sides of the latent images (the configuration's)")
    parser.add_argument("--dtype", choices=_DTYPES, default="float16", help="of weights and activations")
    guidance = "classifier-free guidance, which takes two passes an image, where the model draws from a text or class"
    parser.add_argument("--guidance", action=argparse.BooleanOptionalAction, default=True, help=guidance)
    slicing = "the VAE decodes one image after the other, as after diffusers' enable_vae_slicing"
    parser.add_argument("--vae-slicing", action="store_true", help=slicing)
    without = "parts that the pipeline is loaded without, as text_encoder_3 of Stable Diffusion 3"
    parser.add_argument("--exclude", type=names, default=(), metavar="PART", help=without)
    parser.add_argument(
        "--gpu-memory", type=numbers, default=(4.0, 6.0, 8.0), metavar="4,6,8", help="memory of GPUs in GB (4,6,8)"
    )


def _run(options: argparse.Namespace) -> dict[str, Any]:

    if options.list:
        return _listed(options)
    _check(options.model)
    for share in options.density or ():
        if not 0 < share <= 1:
            raise TombolaError(f"the density must lie above 0 and at most at 1, not {share:g}")
    import torch

    from tombola.profiling.pipeline_memory import reckon

    dtype = getattr(torch, options.dtype)
    # A column for each number.
    options.images = tuple(dict.fromkeys(options.images))
    with Console(stderr=True, markup=False, emoji=False).status("reckoning"):
        found, around, parts = reckon(
            options.model,
            options.density,
            images=options.images,
            size=options.size,
            dtype=dtype,
            guidance=options.guidance,
            exclude=options.exclude,
            slicing=options.vae_slicing,
        )
    if not options.json:
        _print(found, around, parts, options)
    return {
        "model": options.model,
        "dtype": options.dtype,
        "needs": [_entry(one) | _together(one, around, options.gpu_memory) for one in found],
        "parts": [_part_entry(one) for one in around],
        "never_pruned": dict(found[0].without_sites),
        "not_counted": dict(parts.uncounted) if parts else {},
    }


def _listed(options: argparse.Namespace) -> dict[str, Any]:
    """Pipelines that are known by name."""
    from tombola.profiling.known_pipelines import KNOWN_PIPELINES

    if not options.json:
        table = PlainTable(gap=2)
        table.heads("name", "pipeline", "denoiser")
        for name, one in KNOWN_PIPELINES.items():
            table.line(name, one.pipeline, one.denoiser.kind)
        Console(markup=False, emoji=False).print(table)
    return {
        "known": {
            name: {"pipeline": one.pipeline, "denoiser": one.denoiser.kind} for name, one in KNOWN_PIPELINES.items()
        }
    }


def _check(model: str | None) -> None:
    """Raise a TombolaError for a name that is nobody's, before PyTorch is imported."""
    from tombola.profiling.known_pipelines import KNOWN_PIPELINES

    others = "or the folder or hub id (owner/name) of one"
    if model is None:
        raise TombolaError(f"name a pipeline: {', '.join(KNOWN_PIPELINES)}, {others}")
    if model not in KNOWN_PIPELINES and not Path(model).expanduser().exists():
        if "/" not in model:
            raise TombolaError(f"{unknown('pipeline', model, KNOWN_PIPELINES)}, {others}")
        check_source(model)
    if (Path(model).expanduser() / CONFIG).is_file():
        check_diffusers(model)


def _entry(need: "DenoiserNeed") -> dict[str, Any]:
    return {
        "density": need.density,
        "parameters": need.parameters,
        "size": need.size,
        "weights": need.weights,
        **{
            figure: {str(count): getattr(one, figure) for count, one in need.passes.items()}
            for figure in ("activations", "peak", "multiply_adds")
        },
    }


def _part_entry(need: "PartNeed") -> dict[str, Any]:
    return {
        "part": need.part.name,
        "class": need.part.kind,
        "parameters": need.parameters,
        "weights": need.weights,
        "activations": {str(count): one.activations for count, one in need.passes.items()},
        "weights_running": next(iter(need.passes.values())).weights,
        "tokens": need.part.tokens or None,
    }


def _together(need: "DenoiserNeed", around: "Sequence[PartNeed]", gpu_memory: Sequence[float]) -> dict[str, Any]:
    """The two figures of a whole pipeline, and the most images at once that fit on each GPU."""
    return {
        name: {
            "peak": {str(count): size for count, size in peaks.items()},
            "fits": {f"{size:g}": _most(peaks, size) for size in gpu_memory},
        }
        for name, peaks in zip(("all_on_gpu", "one_part_at_a_time"), _figures(need, around), strict=True)
    }


def _figures(need: "DenoiserNeed", around: "Sequence[PartNeed]") -> tuple[dict[int, int], dict[int, int]]:
    from tombola.profiling.pipeline_memory import all_on_gpu, one_at_a_time

    return all_on_gpu([need, *around]), one_at_a_time([need, *around])


def _most(peaks: Mapping[int, int], gpu_memory: float) -> int | None:
    """The most images at once that fit on a GPU of so many GB; None where not even the fewest do."""
    return max((count for count, peak in peaks.items() if peak <= gpu_memory * 2**30), default=None)


def _print(
    found: "Sequence[DenoiserNeed]", around: "Sequence[PartNeed]", parts: "Parts | None", options: argparse.Namespace
) -> None:
    console = Console(markup=False, emoji=False)
    fitting = "" if around else ", images that fit on a GPU"
    title = f"{options.model}, {options.dtype}: MiB, GMACs of a pass{fitting}"
    tables = {title: _denoisers(found, options, fits=not around)}
    said = []
    if around:
        tables["around the denoiser, never pruned: MiB"] = _surroundings(around, options)
        tables["the whole pipeline: MiB at its peak, images that fit on a GPU"] = _whole(found, around, options)
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
    said += [f"Never pruned: {name} ({why})." for name, why in found[0].without_sites.items()]
    said += [f"Not counted: {name} ({why})." for name, why in (parts.uncounted if parts else {}).items()]
    if any(one.part.upcast and one.passes[options.images[0]].weights > one.weights for one in around):
        said.append("The vae decodes in float32, as its pipeline does (force_upcast).")
    said.append("Workspaces of convolutions on a GPU, and what its driver takes, are not reckoned with.")
    for title, table in tables.items():
        # A title of the table's own is broken where the table ends.
        console.print(printable(title), style="italic", highlight=False)
        console.print(table)
        console.print()
    console.print("\n".join(map(printable, said)), highlight=False)


def _denoisers(found: "Sequence[DenoiserNeed]", options: argparse.Namespace, *, fits: bool) -> PlainTable:
    table = PlainTable(gap=2)
    gpus = _gpus(options) if fits else []
    table.heads(numbers=("density", "parameters", "weights", *_counts("+ ", options), "GMACs", *gpus))
    for need in found:
        cells = [f"{100 * need.density:g} %", short_count(need.parameters), _mib(need.weights)]
        cells += [_mib(one.activations) for one in need.passes.values()]
        first, one = next(iter(need.passes.items()))
        cells.append(figures(one.multiply_adds / first / 1e9, 1))
        if fits:
            cells += _fits({count: memory.peak for count, memory in need.passes.items()}, options)
        table.line(*cells)
    return table


def _surroundings(around: "Sequence[PartNeed]", options: argparse.Namespace) -> PlainTable:
    table = PlainTable(gap=2)
    table.heads("part", numbers=("parameters", "weights", *_counts("+ ", options)))
    for need in around:
        # What it takes while it runs beyond what it takes while it waits.
        runs = [_mib(one.peak - need.weights) for one in need.passes.values()]
        table.line(need.part.name, short_count(need.parameters), _mib(need.weights), *runs)
    return table


def _whole(found: "Sequence[DenoiserNeed]", around: "Sequence[PartNeed]", options: argparse.Namespace) -> PlainTable:
    table = PlainTable(gap=2)
    table.heads(numbers=("density",))
    table.heads("parts", numbers=(*_counts("", options), *_gpus(options)))
    for need in found:
        heads = ((f"{100 * need.density:g} %", "all on the GPU"), ("", "one at a time"))
        for head, peaks in zip(heads, _figures(need, around), strict=True):
            table.line(*head, *map(_mib, peaks.values()), *_fits(peaks, options))
    return table


def _counts(before: str, options: argparse.Namespace) -> list[str]:
    return [f"{before}{count} image{'s' if count > 1 else ''}" for count in options.images]


def _gpus(options: argparse.Namespace) -> list[str]:
    return [f"{size:g} GB" for size in options.gpu_memory]


def _fits(peaks: Mapping[int, int], options: argparse.Namespace) -> list[str]:
    return [str(_most(peaks, size) or "none") for size in options.gpu_memory]


def _mib(size: int) -> str:
    return figures(size / 2**20)


COMMAND = Command(
    "memory",
    "what a pipeline and smaller tickets of its denoiser would need, without weights or a GPU",
    _add_arguments,
    _run,
)
