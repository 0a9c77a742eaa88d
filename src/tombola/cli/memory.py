"""`tombola memory`: what a denoiser and smaller tickets of it would need, before anything is downloaded or run."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tombola.cli.command import Command
from tombola.cli.lists import numbers, seeds

if TYPE_CHECKING:
    from torch import nn

    from tombola.memory_plan import Need


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    from tombola.known_denoisers import DENOISERS
    from tombola.memory_plan import DTYPES

    parser.add_argument(
        "model",
        help=f"a diffusers model or pipeline (folder or hub id; its weights are not read), or one of "
        f"{', '.join(DENOISERS)}",
    )
    parser.add_argument(
        "--keep", type=numbers, default=(1.0, 0.75, 0.5), metavar="1,0.75", help="shares of the sites (1,0.75,0.5)"
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
    parser.add_argument("--cards", type=numbers, default=(4.0, 6.0, 8.0), metavar="4,6,8", help="memory of cards in GB")


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from tombola.memory_plan import DTYPES, needs

    with Console(stderr=True).status("reckoning"):
        found = needs(
            _builder(options.model),
            options.keep,
            images=options.images,
            size=options.size,
            dtype=DTYPES[options.dtype],
            guidance=options.guidance,
        )
    if not options.json:
        console = Console()
        console.print(_table(found, options))
        console.print(
            "The denoiser alone: text encoders and the image decoder come on top, unless they leave the card "
            "meanwhile. Workspaces of a card's convolutions are not reckoned with.",
            highlight=False,
        )
    return {"model": options.model, "dtype": options.dtype, "needs": [_entry(one) for one in found]}


def _builder(model: str) -> "Callable[[], nn.Module]":
    from tombola import denoisers
    from tombola.known_denoisers import DENOISERS

    if model in DENOISERS:
        return DENOISERS[model].make
    return lambda: denoisers.load(model, weights=False)


def _entry(need: "Need") -> dict[str, Any]:
    return {
        "keep": need.keep,
        "parameters": need.parameters,
        "weights": need.weights,
        "activations": {str(count): one.activations for count, one in need.passes.items()},
        "peak": {str(count): one.peak for count, one in need.passes.items()},
        "multiply_adds": {str(count): one.multiply_adds for count, one in need.passes.items()},
    }


def _table(found: "tuple[Need, ...]", options: argparse.Namespace) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title_justify="left")
    table.title = f"{options.model}, {options.dtype}: MiB, GMACs of a pass, images that fit on a card"
    for name in ("keep", "parameters", "weights"):
        table.add_column(name, justify="right", no_wrap=True)
    for count in options.images:
        table.add_column(f"+ {count} image{'s' if count > 1 else ''}", justify="right", no_wrap=True)
    table.add_column("GMACs", justify="right", no_wrap=True)
    for card in options.cards:
        table.add_column(f"{card:g} GB", justify="right", no_wrap=True)
    for need in found:
        cells = [f"{100 * need.keep:g} %", f"{need.parameters / 1e6:,.1f} M", f"{need.weights / 2**20:,.0f}"]
        cells += [f"{one.activations / 2**20:,.0f}" for one in need.passes.values()]
        first, one = next(iter(need.passes.items()))
        cells.append(f"{one.multiply_adds / first / 1e9:,.1f}")
        for card in options.cards:
            fitting = [count for count, memory in need.passes.items() if memory.peak <= card * 2**30]
            cells.append(str(max(fitting)) if fitting else "none")
        table.add_row(*cells)
    return table


COMMAND = Command(
    name="memory",
    what="what a denoiser and smaller tickets of it would need, without weights or a GPU",
    add_arguments=_add_arguments,
    run=_run,
)
