"""Pruning methods: what is removed, by what it is chosen, which sites go together. Searches bear their names."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from typing_extensions import override

from tombola.foundations.errors import TombolaError, unknown
from tombola.tickets.kinds import TICKET_KINDS, TicketKind, kinds_in_words

Grouping = Literal["kv-groups", "layers"]
"""Sites that go together: the heads that share keys and values, or all of a layer."""


@dataclass(frozen=True)
class PruningMethod:
    """A method to prune by.

    Attributes:
        name: of its search: in settings, rows and folders.
        kind: what its tickets remove.
        words: for people.
        grouping: which sites go together; None where each goes alone.
        criterion: of weights, by what they are chosen, of `tombola.pruning.weight_criteria.CRITERIA`; empty for sites,
            which go by first-order importance.
        scope: of weights, over what they are compared; None for the criterion's own.
        pattern: of weights, N:M; then there is one cut, to its own sparsity.
    """

    name: str
    kind: TicketKind
    words: str
    grouping: Grouping | None = None
    criterion: str = ""
    scope: str | None = None
    pattern: str | None = None

    @property
    def title(self) -> str:
        """The words, as a heading."""
        return f"{self.words[:1].upper()}{self.words[1:]}"

    @property
    def iterative(self) -> bool:
        """True if weights that went stay away: magnitudes of the whole model, the m-pruning of the paper."""
        return self.name == "weights"

    @property
    def standard(self) -> bool:
        """True if it is the standard method of its kind of ticket, and named as the kind.

        It removes site by site, or the smallest weights of the whole model. Tickets of a kind are compared across seeds
        and tasks where this method found them: another one finds the same kind by other means.
        """
        return self.name == self.kind

    @property
    def sites(self) -> tuple[str, ...]:
        """The kinds of sites that are pruned; none where weights are."""
        return () if self.kind == "weights" else tuple(self.kind.split("+"))


_PATTERNS = {"magnitude": "magnitude", "wanda": "Wanda", "sparsegpt": "SparseGPT"}
PATTERN_NAMES = rf"({'|'.join(_PATTERNS)}|random)-([1-9]\d{{0,3}})(?:of|:)([1-9]\d{{0,3}})"
"""Names of the methods of a pattern, of any numbers: a regular expression."""


def _methods() -> Iterator[PruningMethod]:
    for kind in TICKET_KINDS:
        if kind != "weights":
            yield PruningMethod(kind, kind, kinds_in_words(kind))
    yield PruningMethod("kv-groups", "heads", "groups of heads that share keys and values", grouping="kv-groups")
    yield PruningMethod("layers", "heads+mlps", "whole layers", grouping="layers")
    yield PruningMethod("weights", "weights", "weights", criterion="magnitude")
    yield PruningMethod(
        "magnitude-matrix", "weights", "weights by magnitude, each matrix alike", criterion="magnitude", scope="matrix"
    )
    yield PruningMethod("wanda", "weights", "weights by Wanda", criterion="wanda")
    yield PruningMethod("sparsegpt", "weights", "weights by SparseGPT", criterion="sparsegpt")
    yield PruningMethod("random-weights", "weights", "weights at random", criterion="random")
    for pattern, criterion in itertools.product(((2, 4), (4, 8)), _PATTERNS):
        yield _of_pattern(criterion, *pattern)


def _of_pattern(criterion: str, kept: int, group: int) -> PruningMethod:
    words = f"weights by {_PATTERNS[criterion]}" if criterion in _PATTERNS else "weights at random"
    name, pattern = f"{criterion}-{kept}of{group}", f"{kept}:{group}"
    return PruningMethod(name, "weights", f"{words}, {pattern}", criterion=criterion, pattern=pattern)


class _Methods(Mapping[str, PruningMethod]):
    """Methods by name: those of the tables, which it lists, and those of any other pattern."""

    def __init__(self) -> None:
        self._listed = {method.name: method for method in _methods()}

    @override
    def __getitem__(self, name: str) -> PruningMethod:
        if name not in self._listed and (found := re.fullmatch(PATTERN_NAMES, name)) is not None:
            kept, group = int(found[2]), int(found[3])
            if kept < group and ":" not in name:
                return _of_pattern(found[1], kept, group)
        return self._listed[name]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    @override
    def __len__(self) -> int:
        return len(self._listed)


METHODS: Mapping[str, PruningMethod] = _Methods()
"""Every method by name, in the order of tables: sites first. Patterns of other numbers are there, but not listed."""


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Methods among some names, each once, in the order of tables; patterns that are not listed come last."""
    known, listed = {name for name in names if name in METHODS}, [*METHODS]
    return tuple(sorted(known, key=lambda name: (listed.index(name) if name in listed else len(listed), name)))


def pruning_method(name: str) -> PruningMethod:
    """The method of a name.

    Args:
        name: as in `METHODS`; `wanda-2:4` is `wanda-2of4`, as a colon has no place in the name of a folder. Patterns
            may have other numbers: `wanda-1:4`, `magnitude-3:8`.

    Raises:
        TombolaError: there is none.
    """
    found = METHODS.get(name.replace(":", "of"))
    if found is None:
        if re.fullmatch(PATTERN_NAMES, name) is not None:
            raise TombolaError(f"{name!r} is no pattern of weights: of every M weights N survive, N below M, as in 2:4")
        raise TombolaError(unknown("pruning method", name, METHODS))
    return found


def in_words(name: str) -> str:
    """A method, or a single kind of site, for people: `heads and MLPs`."""
    return METHODS[name].words if name in METHODS else kinds_in_words(name)
