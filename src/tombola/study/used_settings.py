"""Settings that a study goes by: of all that its configuration holds, those that its regime and methods use."""

from collections.abc import Iterator, Mapping
from typing import Any

from tombola.foundations.errors import TombolaError
from tombola.foundations.settings import setting_fields
from tombola.tasks.registry import regime_of
from tombola.tickets.pruning_methods import pruning_method
from tombola.training.recipe import Recipe

_OF_ROWS = ("train_rows", "max_length")
"""Settings of texts, or rows, to train on."""
_UNCALIBRATED = ("", "magnitude", "random")
"""Criteria that read no calibration text."""


def used_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a configuration, as `study.json` holds it, without those that nothing in it uses, in their order."""
    unused = {*_unused(config)}
    return {name: value for name, value in config.items() if name not in unused}


def _unused(config: Mapping[str, Any]) -> Iterator[str]:
    regime = regime_of(str(config.get("task")))
    names = [one.name for one in setting_fields(regime.settings)]
    # Own data and columns that are not named.
    yield from (name for name in names if config.get(name) in (None, False, []))
    own = regime.settings(**{name: config[name] for name in names if name in config})
    if not (regime.trains or own.retrains):
        yield from (one.name for one in setting_fields(Recipe))
        yield from (*_OF_ROWS, "recovery_tokens", "lora_rank")
    if not regime.trains:
        yield from ("iterative", "rewind")
    if own.adapter is None:
        yield from ("lora_rank", "lora_learning_rate")
    yield from regime.unused
    if config.get("search_split") == "dev":
        yield "search_rows"
    yield from _of_controls(config)
    yield from _of_searches(config)


def _of_controls(config: Mapping[str, Any]) -> Iterator[str]:
    controls, analyses = _names(config, "controls"), _names(config, "analyses")
    if not {"random", "layer-matched"} & {*controls} and not any("random" in one for one in analyses):
        yield "random_draw"
    if "bad" not in controls:
        yield "bad_draw"
    if "survivors" not in analyses:
        yield "super_random"


def _of_searches(config: Mapping[str, Any]) -> Iterator[str]:
    try:
        methods = [pruning_method(name) for name in _names(config, "methods")]
    except TombolaError:
        # Of a package that is not here: whatever it uses stands.
        return
    sites = {site for one in methods for site in one.sites}
    blocks = bool(sites & {"neurons", "channels"})
    # Groups have steps of their own, and nothing is refined.
    alone = [one for one in methods if one.sites and one.grouping is None]
    refined = bool(alone) and config.get("refine", True)
    weights = [one for one in methods if one.kind == "weights"]
    searched = [one for one in weights if one.pattern is None]
    listed = bool(config.get("sparsities"))
    used = {
        "heads_step": "heads" in sites,
        "mlps_step": "mlps" in sites,
        "neurons_step": blocks,
        "neuron_block": "neurons" in sites,
        "refine": bool(alone),
        "refine_heads_step": refined and "heads" in sites,
        "refine_neurons_step": refined and blocks,
        "weights_step": bool(searched) and not listed,
        "weights_cuts": bool(searched) and not listed,
        "sparsities": bool(searched) and listed,
        "importance": bool(sites),
        **dict.fromkeys(("normalise_layers", "normalise_over", "emptied_attention"), "heads" in sites),
        **dict.fromkeys(
            ("calibration_samples", "sequence_length"), any(one.criterion not in _UNCALIBRATED for one in weights)
        ),
    }
    yield from (name for name, heeded in used.items() if not heeded)


def _names(config: Mapping[str, Any], setting: str) -> list[str]:
    """Names that a setting lists; a file may hold anything."""
    listed = config.get(setting)
    return [str(one) for one in listed] if isinstance(listed, list | tuple) else []
