"""Pruning methods: what is removed, by what it is chosen, which sites go together. Searches bear their names."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from typing_extensions import override

from tombola.foundations.errors import TombolaError, unknown
from tombola.foundations.registry import check_name, take_installed
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
_words = {
    "magnitude": "weights by magnitude",
    "wanda": "weights by Wanda",
    "sparsegpt": "weights by SparseGPT",
    "random": "weights at random",
}
"""Criterion → what is pruned by it, in words."""
OUR_CRITERIA = frozenset(_words)
"""Criteria of Tombola's; others are those of installed packages and of callers."""
_LISTED = ((2, 4), (4, 8))
"""Patterns that every table and help lists; of those of other numbers the methods are made as they are named."""


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
    for (kept, group), criterion in itertools.product(_LISTED, ("magnitude", "wanda", "sparsegpt")):
        yield _of_pattern(criterion, kept, group)


def _of_pattern(criterion: str, kept: int, group: int) -> PruningMethod:
    name, pattern = f"{criterion}-{kept}of{group}", f"{kept}:{group}"
    return PruningMethod(name, "weights", f"{_words[criterion]}, {pattern}", criterion=criterion, pattern=pattern)


_known = {method.name: method for method in _methods()}
_ours = {*_known, *(method.criterion for method in _known.values())}


class _Methods(Mapping[str, PruningMethod]):
    """Methods by name: those that are listed, and those of any other pattern."""

    @override
    def __getitem__(self, name: str) -> PruningMethod:
        if name not in _known and (found := re.fullmatch(pattern_names(), name)) is not None:
            criterion, kept, group = found[1], int(found[2]), int(found[3])
            # A method has one name: folders have no colon.
            if kept < group and ":" not in name:
                return _of_pattern(criterion, kept, group)
        return _known[name]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(_known)

    @override
    def __len__(self) -> int:
        return len(_known)


METHODS: Mapping[str, PruningMethod] = _Methods()
"""Every method by name, in the order of tables: sites first, what others registered last.

Patterns of other numbers than 2:4 and 4:8 are in it by their names, but not listed.
"""


def pattern_names() -> str:
    """Regular expression of the names of methods of a pattern, of any numbers: criterion, N and M are its groups."""
    # No name of a criterion holds what would have to be escaped.
    return rf"({'|'.join(_words)})-([1-9][0-9]{{0,3}})(?:of|:)([1-9][0-9]{{0,3}})"


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Methods among some names, each once, in the order of tables; patterns that are not listed come last."""
    known, listed = {name for name in names if name in METHODS}, [*METHODS]
    return tuple(sorted(known, key=lambda name: (listed.index(name) if name in listed else len(listed), name)))


def add_criterion(name: str) -> None:
    """Add the methods of a criterion of weights: one of its name, and one for each pattern N:M.

    Raises:
        TombolaError: the name is not fit, or that of a method that Tombola or an installed package brings.
    """
    words = f"weights by {name}"
    for one in (name, *(f"{name}-{kept}of{group}" for kept, group in _LISTED)):
        check_name("criterion", one, _ours | {known.name for known in _known.values() if known.criterion != name})
    _words[name] = words
    made = [PruningMethod(name, "weights", words, criterion=name), *(_of_pattern(name, *pair) for pair in _LISTED)]
    _known.update({one.name: one for one in made})


def forget_criterion(name: str) -> None:
    """Take away what `add_criterion` added."""
    for one in [one.name for one in METHODS.values() if one.criterion == name]:
        del _known[one]
    _words.pop(name, None)


take_installed(CRITERIA_ENTRY_POINTS, "criterion", lambda name, _: add_criterion(name))


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
        if re.fullmatch(pattern_names(), name) is not None:
            raise TombolaError(f"{name!r} is no pattern of weights: of every M weights N survive, N below M, as in 2:4")
        if by := [one.name for one in METHODS.values() if name and name == one.criterion]:
            raise TombolaError(f"{name!r} is a criterion, no pruning method; by it go {', '.join(by)}")
        raise TombolaError(unknown("pruning method", name, METHODS))
    return found


def in_words(name: str) -> str:
    """A method, or a single kind of site, for people: `heads and MLPs`."""
    return METHODS[name].words if name in METHODS else kinds_in_words(name)
