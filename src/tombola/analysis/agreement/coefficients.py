"""Agreement of several tickets on what survives: Jaccard, Fleiss' kappa, Krippendorff's alpha, Cochran's Q."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tombola.analysis.agreement.pairwise_overlap import Array, PairwiseOverlap

ONE_TICKET = "a single ticket agrees with nothing"
ONE_VALUE = "every site survives in every ticket or none does in any, so that chance alone would agree too"
EQUAL = "all tickets are equal, so that there is no difference to test"
EMPTY = "two tickets have no survivors, so that the union that Jaccard divides by is empty"

_UNDEFINED = {
    "jaccard": EMPTY,
    "fleiss_kappa": ONE_VALUE,
    "krippendorff_alpha": ONE_VALUE,
    "cochran_q_p": EQUAL,
    "pairs_not_rejected": EQUAL,
}
STATISTICS = ("super_survivors", *_UNDEFINED)
"""Statistics that are compared with random tickets: fields of an `Agreement`."""


@dataclass(frozen=True)
class Group:
    """Some of the tickets, as numbers: `members` [n], and the `pairs` [pairs, 2] of them to hold against each other."""

    members: Array
    pairs: Array


@dataclass(frozen=True)
class Agreement:
    """Agreement of n tickets on one kind of site, or on weights.

    Attributes:
        n: number of tickets.
        sites: number of sites (weights), surviving or not.
        mean_survivors: sites that survive, mean over tickets.
        deviation: its sample standard deviation; None for one ticket.
        super_survivors: sites that survive in every ticket.
        jaccard: of two tickets' survivors, mean over pairs.
        fleiss_kappa: tickets are raters, sites are subjects, survival is the category.
        krippendorff_alpha: the same, nominal.
        cochran_q_p: p value of the hypothesis that every ticket keeps the same share of the sites.
        pairs: number of pairs.
        pairs_equal: pairs of equal tickets: they have no difference to test, and count as not rejected.
        pairs_not_rejected: pairs for which the same test, of two tickets, does not reject at 0.05.
        undefined: field → why it is None.

    Q tests the tickets' sizes, given where they differ, and not whether they keep the same sites: two disjoint tickets
    of one size have p = 1. It is here because the literature has it.
    """

    n: int
    sites: int
    mean_survivors: float
    deviation: float | None
    super_survivors: int
    jaccard: float | None
    fleiss_kappa: float | None
    krippendorff_alpha: float | None
    cochran_q_p: float | None
    pairs: int
    pairs_equal: int
    pairs_not_rejected: int | None
    undefined: Mapping[str, str] = field(default_factory=dict)


def agreement(shared: PairwiseOverlap, super_survivors: int, group: Group) -> Agreement:
    """The agreement of a group of tickets.

    Args:
        shared: survivors that all tickets share, in and out of the group.
        super_survivors: what survives in every ticket of the group.
        group: its pairs count for Jaccard and the tests of pairs; kappa, alpha and Q over all take all its members.

    Raises:
        ValueError: there are no tickets or no sites.
    """
    among = shared.among(group.members)
    if not among.tickets or not among.sites:
        raise ValueError(f"no agreement among {among.tickets} tickets of {among.sites} sites")
    found = statistics(shared, np.asarray(super_survivors), group)
    undefined = [name for name, value in found.items() if np.isnan(value)]
    values: dict[str, Any] = {name: None if name in undefined else value.item() for name, value in found.items()}
    not_rejected = values.pop("pairs_not_rejected")
    return Agreement(
        n=among.tickets,
        sites=among.sites,
        mean_survivors=float(among.sizes.mean()),
        deviation=float(among.sizes.std(ddof=1)) if among.tickets > 1 else None,
        pairs=len(group.pairs),
        pairs_equal=int((shared.differing(group.pairs) == 0).sum()),
        pairs_not_rejected=None if not_rejected is None else int(not_rejected),
        undefined={name: ONE_TICKET if among.tickets == 1 else _UNDEFINED[name] for name in undefined},
        **values,
    )


def statistics(shared: PairwiseOverlap, super_survivors: Array, group: Group) -> dict[str, Array]:
    """The `STATISTICS` of a group of tickets, or of many draws [draws] of such tickets; NaN where undefined."""
    among = shared.among(group.members)
    return {
        "super_survivors": super_survivors,
        "jaccard": shared.jaccard(group.pairs),
        "fleiss_kappa": among.fleiss_kappa(),
        "krippendorff_alpha": among.krippendorff_alpha(),
        "cochran_q_p": among.cochran_q_p(),
        "pairs_not_rejected": shared.pairs_not_rejected(group.pairs),
    }
