"""Pruning methods: what is removed, by what it is chosen, which sites go together. Searches bear their names."""

import itertools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tombola.foundations.errors import TombolaError, unknown
from tombola.foundations.registry import check_name, installed
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
            which go by their importance.
        scope: of weights, over what they are compared; None for the criterion's own.
        pattern: of weights, N:M; then there is one cut, to its own sparsity.
        iterative: weights that went stay away, and the next cut goes by those that are left, over the whole model: the
            m-pruning of the paper. Otherwise each cut begins with the full model.
    """

    name: str
    kind: TicketKind
    words: str
    grouping: Grouping | None = None
    criterion: str = ""
    scope: str | None = None
    pattern: str | None = None
    iterative: bool = False

    @property
    def title(self) -> str:
        """The words, as a heading."""
        return f"{self.words[:1].upper()}{self.words[1:]}"

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


CRITERIA_ENTRY_POINTS = "tombola.criteria"
"""Group of the entry points by which an installed package brings criteria of weights of its own."""
_PATTERNS = {"magnitude": "magnitude", "wanda": "Wanda", "sparsegpt": "SparseGPT"}


def _methods() -> Iterator[PruningMethod]:
    for kind in TICKET_KINDS:
        if kind != "weights":
            yield PruningMethod(kind, kind, kinds_in_words(kind))
    yield PruningMethod("kv-groups", "heads", "groups of heads that share keys and values", grouping="kv-groups")
    yield PruningMethod("layers", "heads+mlps", "whole layers", grouping="layers")
    yield PruningMethod("weights", "weights", "weights", criterion="magnitude", iterative=True)
    yield PruningMethod(
        "magnitude-matrix", "weights", "weights by magnitude, each matrix alike", criterion="magnitude", scope="matrix"
    )
    yield PruningMethod("wanda", "weights", "weights by Wanda", criterion="wanda")
    yield PruningMethod("sparsegpt", "weights", "weights by SparseGPT", criterion="sparsegpt")
    yield PruningMethod("random-weights", "weights", "weights at random", criterion="random")
    yield from _of_patterns(_PATTERNS)


def _of_patterns(criteria: Mapping[str, str]) -> Iterator[PruningMethod]:
    for pattern, (criterion, title) in itertools.product(("2:4", "4:8"), criteria.items()):
        name = f"{criterion}-{pattern.replace(':', 'of')}"
        yield PruningMethod(name, "weights", f"weights by {title}, {pattern}", criterion=criterion, pattern=pattern)


_known = {method.name: method for method in _methods()}
_ours = {*_known, *(method.criterion for method in _known.values())}
METHODS: Mapping[str, PruningMethod] = MappingProxyType(_known)
"""Every method by name, in the order of tables: sites first, what others registered last."""


def add_criterion(name: str) -> None:
    """Add the methods of a criterion of weights: one of its name, and one for each pattern N:M.

    Raises:
        TombolaError: the name is not fit, or that of a method that Tombola or an installed package brings.
    """
    made = [PruningMethod(name, "weights", f"weights by {name}", criterion=name), *_of_patterns({name: name})]
    for one in made:
        check_name("criterion", one.name, _ours | {known.name for known in _known.values() if known.criterion != name})
    _known.update({one.name: one for one in made})


def forget_criterion(name: str) -> None:
    """Take away what `add_criterion` added."""
    for one in [one.name for one in METHODS.values() if one.criterion == name]:
        del _known[one]


def _add_installed() -> None:
    for name in installed(CRITERIA_ENTRY_POINTS):
        try:
            add_criterion(name)
        except TombolaError as error:
            warnings.warn(f"a criterion of an installed package is left out: {error}", stacklevel=2)


_add_installed()


def pruning_method(name: str) -> PruningMethod:
    """The method of a name.

    Args:
        name: as in `METHODS`; `wanda-2:4` is `wanda-2of4`, as a colon has no place in the name of a folder.

    Raises:
        TombolaError: there is none.
    """
    found = METHODS.get(name.replace(":", "of"))
    if found is None:
        raise TombolaError(unknown("pruning method", name, METHODS))
    return found


def in_words(name: str) -> str:
    """A method, or a single kind of site, for people: `heads and MLPs`."""
    return METHODS[name].words if name in METHODS else kinds_in_words(name)
