"""Names of kinds of sites, one and several, and counts of them in words; without PyTorch."""

from collections.abc import Mapping
from types import MappingProxyType

from tombola.foundations.plurals import plural

SITE_NAMES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "heads": ("head", "heads"),
        "mlps": ("MLP", "MLPs"),
        "neurons": ("block of neurons", "blocks of neurons"),
        "channels": ("group of channels", "groups of channels"),
    }
)
"""Kind of site → what one of a mask, and several, are called."""
_SINGLE = {**SITE_NAMES, "neurons": ("neuron", "neurons"), "weights": ("weight", "weights")}


def counted(number: int, kind: str) -> str:
    """Sites of a kind, neurons one by one, or weights, in words: `1 MLP`, `12 heads`."""
    return plural(number, *_SINGLE[kind])
