"""Ways to prune as data: what goes, and by what it is chosen. A study's searches are named after them."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tombola.foundations.errors import TombolaError
from tombola.tickets.ticket import PRUNINGS, Pruning, kinds_in_words

Grouping = Literal["kv-groups", "blocks"]
"""Sites that go together: the heads that share keys and values, or all of a layer."""


@dataclass(frozen=True)
class Way:
    """A way to prune.

    Attributes:
        name: of its search: in settings, rows and folders.
        pruning: what kind of ticket it finds.
        words: for people.
        site_groups: which sites go together; None where each goes alone.
        method: of weights, by what they are chosen, of `weight_methods.METHODS`; empty for sites, which go by
            first-order importance.
        scope: of weights, over what they are compared; None for the method's own.
        pattern: of weights, N:M; then there is one cut, to its own sparsity.
    """

    name: str
    pruning: Pruning
    words: str
    site_groups: Grouping | None = None
    method: str = ""
    scope: str | None = None
    pattern: str | None = None

    @property
    def title(self) -> str:
        """The words, as a heading."""
        return f"{self.words[:1].upper()}{self.words[1:]}"

    @property
    def iterative(self) -> bool:
        """Whether weights that went stay away: magnitudes of the whole model, the m-pruning of the paper."""
        return self.name == "weights"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of sites that are pruned; none where weights are."""
        return () if self.pruning == "weights" else tuple(self.pruning.split("+"))


_PATTERNS = {"magnitude": "magnitude", "wanda": "Wanda", "sparsegpt": "SparseGPT"}


def _ways() -> Iterator[Way]:
    for pruning in PRUNINGS:
        if pruning != "weights":
            yield Way(pruning, pruning, kinds_in_words(pruning))
    yield Way("kv-groups", "heads", "groups of heads that share keys and values", site_groups="kv-groups")
    yield Way("blocks", "heads+mlps", "whole layers", site_groups="blocks")
    yield Way("weights", "weights", "weights", method="magnitude")
    yield Way(
        "magnitude-matrix", "weights", "weights by magnitude, each matrix alike", method="magnitude", scope="matrix"
    )
    yield Way("wanda", "weights", "weights by Wanda", method="wanda")
    yield Way("sparsegpt", "weights", "weights by SparseGPT", method="sparsegpt")
    yield Way("random-weights", "weights", "weights at random", method="random")
    for pattern, (method, title) in itertools.product(("2:4", "4:8"), _PATTERNS.items()):
        name = f"{method}-{pattern.replace(':', 'of')}"
        yield Way(name, "weights", f"weights by {title}, {pattern}", method=method, pattern=pattern)


WAYS: Mapping[str, Way] = MappingProxyType({way.name: way for way in _ways()})
"""Every way by name, in the order of tables: sites first."""


def way(name: str) -> Way:
    """The way of a name.

    Args:
        name: as in `WAYS`; `wanda-2:4` is `wanda-2of4`, as a colon has no place in the name of a folder.

    Raises:
        TombolaError: there is none.
    """
    found = WAYS.get(name.replace(":", "of"))
    if found is None:
        raise TombolaError(f"unknown pruning {name!r}; known: {', '.join(WAYS)}")
    return found


def in_words(name: str) -> str:
    """A way, or a single kind of site, for people: `heads and MLPs`."""
    return WAYS[name].words if name in WAYS else kinds_in_words(name)
