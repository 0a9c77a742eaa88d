"""Tables of what is left of language models."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from paired import over_items, words
from stored import HERE, Line, lines, read
from tombola.analysis.retention_profile import Fall
from tombola.tickets.pruning_methods import METHODS


def falls() -> Iterator[Line]:
    """Sparsity at which each ability of the language model falls, by every method."""
    profiles = _profiles()
    curves = next(iter(profiles.values()))["curves"]
    yield ("removed, %", *(curve["title"] for curve in curves))
    for profile in profiles.values():
        yield (METHODS[profile["method"]].words, *(_fall(curve) for curve in profile["curves"]))


def abilities() -> Iterator[Line]:
    """Raw scores of every ability along every search."""
    profiles = _profiles()
    curves = next(iter(profiles.values()))["curves"]
    yield ("", "removed, %", *(f"{curve['title']}, {curve['measure']}" for curve in curves))
    yield ("full model", "0", *(f"{_ends(curve, 'full')}" for curve in curves))
    yield ("guessing", "", *(f"{curve['chance']:.3f}" for curve in curves))
    for profile in profiles.values():
        for number, point in enumerate(profile["curves"][0]["points"]):
            kept = [_ends(curve["points"][number]["retained"], "raw") for curve in profile["curves"]]
            yield (METHODS[profile["method"]].words, f"{100 * point['sparsity']:.1f}", *kept)


RECOVERED = {"recovery": "all weights trained", "recovery-lora": "through adapters"}
"""Folder → how its tickets were trained again."""


def recovery_said() -> str:
    """Caption of `recovery`."""
    config = next(read(f"{name}/study.json")["config"] for name in RECOVERED if _recovered(name))
    return (
        "What training again brings back: the ticket that Wanda leaves, and a random one of its size, trained on "
        f"{config['recovery_tokens']:,} tokens of plot summaries, one seed; 95 % intervals over examples."
    )


def recovery() -> Iterator[Line]:
    """Abilities of tickets before and after they were trained again; nothing where that was not measured."""
    shown = False
    for name, how in RECOVERED.items():
        if (found := _recovered(name)) is None:
            continue
        curves = found["curves"]
        if not shown:
            yield ("", *(f"{curve['title']}, {curve['measure']}" for curve in curves))
            yield ("full model", *(_ends(curve, "full") for curve in curves))
        for number, one in enumerate(curves[0]["tickets"]):
            scored = one["scored"]
            if scored["stage"] == "retrained" or not shown:
                stage = how if scored["stage"] == "retrained" else scored["stage"]
                kept = [_ends(curve["tickets"][number]["retained"], "raw") for curve in curves]
                yield (f"{scored['ticket']}, {stage}", *kept)
        shown = True


def _recovered(name: str) -> dict[str, Any] | None:
    """The retention profile of a study whose tickets were trained again."""
    return dict(read(f"{name}/wanda.json")) if (HERE / f"{name}/wanda.json").is_file() else None


CUTS = {
    "full": "full model",
    "magnitude 0.3": "magnitude",
    "wanda 0.3": "Wanda",
    "magnitude 0.5": "magnitude",
    "magnitude 0.5 matrix": "magnitude, each matrix alike",
    "wanda 0.5": "Wanda",
    "sparsegpt 0.5": "SparseGPT",
    "wanda 0.6": "Wanda",
    "sparsegpt 0.6": "SparseGPT",
    "magnitude 2:4": "magnitude, 2:4",
    "wanda 2:4": "Wanda, 2:4",
    "sparsegpt 2:4": "SparseGPT, 2:4",
    "heads 0.100": "heads: 27 of 270",
    "heads 0.100 by layer": "27, divided by their layer's norm",
    "heads 0.200": "heads: 54 of 270",
    "heads 0.200 by layer": "54, divided by their layer's norm",
    "mlps 0.033": "MLPs: 1 of 30",
    "mlps 0.100": "MLPs: 3 of 30",
    "mlps 0.200": "MLPs: 6 of 30",
    "neurons 0.100": "neurons of MLPs: 10 %",
    "neurons 0.200": "neurons of MLPs: 20 %",
    "neurons 0.300": "neurons of MLPs: 30 %",
    "blocks 1": "layers: 1 of 30",
    "blocks 3": "layers: 3 of 30",
}
BENCHMARK = "benchmarks/language_methods.jsonl"
CHOICES = {"grammar": "BLiMP", "reasoning-piqa": "PIQA", "reasoning-arc_easy": "ARC-easy", "cloze": "LAMBADA"}
TEXTS = "language-modelling"


def cuts() -> dict[str, dict[str, Any]]:
    """Lines of benchmarks/language_methods.py by name, in the order of the table."""
    _, *kept = lines(BENCHMARK)
    known = {line["method"]: line for line in kept}
    return {name: known[name] for name in CUTS if name in known}


def right(name: str, ability: str) -> list[float]:
    """1 for each item that a cut model gets right, a half for a tie."""
    return [0.5 if one == "h" else float(one) for one in cuts()[name]["right"][ability]]


def bits(name: str) -> tuple[list[float], list[float]]:
    """Bits a token of each text, and its tokens."""
    return [one / np.log(2) for one in cuts()[name]["nats"][TEXTS]], lines(BENCHMARK)[0]["tokens"][0]


def apart(one: str, other: str, ability: str) -> tuple[float, float, float]:
    """Difference of two cut models on the same items: accuracy, or bits a token, with its interval."""
    if ability == TEXTS:
        return over_items(bits(one)[0], *bits(other))
    return over_items(right(one, ability), right(other, ability))


def methods() -> Iterator[Line]:
    """Every cut on the field's own tests, with intervals over items."""
    yield ("", "weights removed, %", "BLiMP", "perplexity", *list(CHOICES.values())[1:])
    for name, line in cuts().items():
        cells = [_ends_of(over_items(values := right(name, ability), [0.0] * len(values))) for ability in CHOICES]
        cells.insert(1, f"{line['perplexity'][TEXTS]:,.1f}")
        yield (CUTS[name], f"{100 * line['removed']:.1f}", *cells)


COMPARED = (
    *((f"sparsegpt {size}", f"wanda {size}") for size in ("0.5", "0.6", "2:4")),
    *((f"wanda {size}", f"magnitude {size}") for size in ("0.3", "0.5", "2:4")),
    *((f"heads {size} by layer", f"heads {size}") for size in ("0.100", "0.200")),
    *(("neurons 0.300", other) for other in ("mlps 0.100", "blocks 3")),
)
"""Cuts that are compared item by item."""


def comparisons() -> Iterator[Line]:
    """Cuts compared item by item."""
    yield ("difference on the same items", "BLiMP", "bits a token", *list(CHOICES.values())[1:])
    for one, other in available():
        cells = [words(*apart(one, other, ability)) for ability in CHOICES]
        cells.insert(1, words(*apart(one, other, TEXTS)))
        yield (f"{said(one)} minus {said(other)}", *cells)


def available() -> list[tuple[str, str]]:
    """Pairs of `COMPARED` of which both were measured."""
    return [pair for pair in COMPARED if {*pair} <= {*cuts()}]


def said(name: str) -> str:
    """Name of a cut, with its size."""
    kind = name.split()[0]
    size = {"0.3": ", 30 %", "0.5": ", 50 %", "0.6": ", 60 %"}.get(name.split()[1], "") if kind in WEIGHTED else ""
    return CUTS[name] + size


WEIGHTED = ("magnitude", "wanda", "sparsegpt")


def _ends_of(found: tuple[float, float, float]) -> str:
    value, low, high = found
    return f"{value:.3f} [{low:.3f}, {high:.3f}]" if high > low else f"{value:.3f}"


def _profiles() -> dict[str, Any]:
    """The retention profiles, in the order of the methods."""
    return {
        name: read(f"understanding/{name}.json") for name in METHODS if (HERE / f"understanding/{name}.json").is_file()
    }


def _fall(curve: dict[str, Any]) -> str:
    return Fall(**curve["fall"]).in_words("{} [{}, {}]") if curve["learned"] else "the full model is at chance"


def _ends(values: dict[str, Any], name: str) -> str:
    return f"{values[name]:.3f} [{values[f'{name}_low']:.3f}, {values[f'{name}_high']:.3f}]"
