"""Ways to rank sites, by name: Tombola's, those of installed packages, and what `register_importance` adds.

PyTorch is not imported here: settings name these, and a list of settings should not wait for it.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from tombola.foundations.errors import TombolaError
from tombola.foundations.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from tombola.pruning.importance import RankedSites

SiteRanking = Callable[["RankedSites"], "Mapping[str, Tensor]"]
"""Callable that ranks sites: it gives, for each kind of site in `sites.kinds`, a number for every site, in the shape
of `sites.ticket.masks[kind]`; those of least go first. What it says of pruned sites is not heeded, and kinds that
were not asked for are not either. Sites that go together count by the sum of what it says of them, unless it says the
same of all."""
ENTRY_POINTS = "tombola.importances"
"""Group of the entry points by which an installed package brings rankings of its own."""


def _ranking(name: str, value: object) -> SiteRanking:
    if not callable(value):
        raise TombolaError(f"the importance {name} is {value!r:.80}; give a function of the sites to rank")
    return cast(SiteRanking, value)


IMPORTANCES: Registry[SiteRanking] = Registry(
    "importance",
    ENTRY_POINTS,
    {name: f"tombola.pruning.importance:{name.replace('-', '_')}" for name in ("per-example", "accumulated")},
    _ranking,
)
"""Rankings by name; the first is what a search takes unless it is told otherwise."""
BY_BATCH = frozenset({"accumulated"})
"""Rankings that depend on which examples are in a batch together."""


def register_importance(name: str, ranking: SiteRanking) -> None:
    """Add a way to rank sites: `importance=name` in a study or a search goes by it from now on, in this process.

    A package that declares it as an entry point of the group `tombola.importances` has it in every process, and by
    `--importance NAME` on the command line. A name that was registered here before now means the new ranking; studies
    know it by its name and its code, see [`code_fingerprint`][tombola.foundations.fingerprint.code_fingerprint]: give a
    ranking that changes in what does not count there, such as a package that it calls, a new name.

    Args:
        name: small letters, digits and dashes.
        ranking: see [`SiteRanking`][tombola.pruning.importance_methods.SiteRanking].

    Raises:
        TombolaError: the name is not fit or taken, or `ranking` cannot be called.
    """
    IMPORTANCES.register(name, ranking)
