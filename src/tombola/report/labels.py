"""Titles of methods, kinds, sites, tickets and stages, in the order in which they are shown."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tombola.architectures.site_names import SITE_NAMES
from tombola.tickets.kinds import SUPER_TICKETS, TICKET_KINDS, TICKETS
from tombola.tickets.pruning_methods import METHODS

SCORED = ("full", "guessing", *TICKETS, *SUPER_TICKETS)
"""Tickets that a row may be about, in the order of tables."""

STAGES = ("none", "pruned", "retrained")

KIND_TITLES: Mapping[str, str] = MappingProxyType({kind: METHODS[kind].title for kind in TICKET_KINDS})
"""Kind of ticket → its heading, that of its standard method."""

TICKET_TITLES: Mapping[str, str] = MappingProxyType(
    {**{name: name for name in SCORED}, "full": "full model", "layer-matched": "layer-matched random"}
)
MATRIX_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "query": "query",
        "key": "key",
        "value": "value",
        "query_key_value": "query, key, value",
        "position_key": "position key",
        "position_query": "position query",
        "attention_output": "attention out",
        "cross_query": "cross query",
        "cross_key": "cross key",
        "cross_value": "cross value",
        "cross_attention_output": "cross attention out",
        "mlp_gate": "MLP gate",
        "mlp_in": "MLP in",
        "mlp_up": "MLP up",
        "mlp_out": "MLP out",
        "conv_in": "conv in",
        "conv_out": "conv out",
        "time": "timestep",
        "shortcut": "shortcut",
        "resample": "resample",
    }
)


def method_title(name: str) -> str:
    """Title of a pruning method: of one that nobody knows here its name, and of `none` nothing."""
    return METHODS[name].title if name in METHODS else "" if name == "none" else name


def kind_title(kind: str) -> str:
    """Title of several sites of a kind, or of weights."""
    return SITE_NAMES[kind][1] if kind in SITE_NAMES else kind


def and_words(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def row_title(name: str) -> str:
    """`layer 3`; a name that is no number stands for itself."""
    return f"layer {name}" if name.isdecimal() else name


def stage_title(stage: str) -> str:
    """Title of a stage; empty for models that have none."""
    return "" if stage == "none" else stage


def model_title(ticket: str, stage: str) -> str:
    """`good, retrained`; `full model`."""
    return TICKET_TITLES[ticket] if stage == "none" else f"{TICKET_TITLES[ticket]}, {stage}"


def capitalised(text: str) -> str:
    """Text with a capital at its beginning; capitals inside stay, which `str.capitalize` would take from a name."""
    return text[:1].upper() + text[1:]
