"""Agreement of several tickets on what survives: Jaccard, Fleiss' kappa, Krippendorff's alpha, Cochran's Q."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import krippendorff
import numpy as np
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.inter_rater import fleiss_kappa

from tombola.analysis.agreement.pairwise_overlap import LEVEL, Array, PairwiseOverlap, all_pairs

STATISTICS = (
    "super_survivors",
    "jaccard",
    "fleiss_kappa",
    "krippendorff_alpha",
    "cochran_q_p",
    "pairs_not_rejected",
)
"""Statistics that are compared with random tickets: fields of an `Agreement`."""

ONE_TICKET = "a single ticket agrees with nothing"
ONE_VALUE = "every site survives in every ticket or none does in any, so that chance alone would agree too"
EQUAL = "all tickets are equal, so that there is no difference to test"
EMPTY = "two tickets have no survivors, so that the union that Jaccard divides by is empty"


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


def agreement(masks: Array, pairs: Array | None = None) -> Agreement:
    """The agreement of tickets.

    Args:
        masks: bool [tickets, sites], True survives.
        pairs: int [pairs, 2], the tickets to hold against each other, for Jaccard and the tests of pairs; without,
            every two of them. Kappa, alpha and Q over all take all tickets.

    Raises:
        ValueError: there are no tickets or no sites.
    """
    n, sites = masks.shape
    if not n or not sites:
        raise ValueError(f"no agreement among {n} tickets of {sites} sites")
    pairs = all_pairs(n) if pairs is None else pairs
    shared, times = PairwiseOverlap.of(masks), masks.sum(axis=0)
    table = np.stack([n - times, times], axis=-1)

    def not_rejected() -> float:
        differing = shared.differing(pairs) > 0
        ps = [float(cochrans_q(masks[pair].T).pvalue) for pair in pairs[differing]]
        return sum(p >= LEVEL for p in ps) + int((~differing).sum())

    return _agreement(
        shared,
        int((times == n).sum()),
        pairs,
        {
            "jaccard": lambda: shared.jaccard(pairs),
            "fleiss_kappa": lambda: fleiss_kappa(table),
            "krippendorff_alpha": lambda: krippendorff.alpha(value_counts=table, level_of_measurement="nominal"),
            "cochran_q_p": lambda: cochrans_q(masks.T).pvalue,
            "pairs_not_rejected": not_rejected,
        },
    )


def agreement_by_counts(shared: PairwiseOverlap, super_survivors: int, pairs: Array) -> Agreement:
    """Agreement from counts of shared survivors, for so many sites that the libraries' tables would fill the memory.

    Args:
        shared: of the tickets.
        super_survivors: what survives in every one.
        pairs: as in `agreement`.
    """
    return _agreement(
        shared,
        super_survivors,
        pairs,
        {
            "jaccard": lambda: shared.jaccard(pairs),
            "fleiss_kappa": shared.fleiss_kappa,
            "krippendorff_alpha": shared.krippendorff_alpha,
            "cochran_q_p": shared.cochran_q_p,
            "pairs_not_rejected": lambda: shared.pairs_not_rejected(pairs),
        },
    )


def _agreement(
    shared: PairwiseOverlap, super_survivors: int, pairs: Array, values: Mapping[str, Callable[[], Array | float]]
) -> Agreement:
    """Agreement from the values that are defined: libraries answer the others with NaN and a warning."""
    equal = int((shared.differing(pairs) == 0).sum())
    undefined = dict(_undefined(shared, pairs, equal))
    known = {name: None if name in undefined else float(value()) for name, value in values.items()}
    not_rejected = known.pop("pairs_not_rejected")
    return Agreement(
        n=shared.tickets,
        sites=shared.sites,
        mean_survivors=float(shared.sizes.mean()),
        deviation=float(shared.sizes.std(ddof=1)) if shared.tickets > 1 else None,
        super_survivors=super_survivors,
        pairs=len(pairs),
        pairs_equal=equal,
        pairs_not_rejected=None if not_rejected is None else int(not_rejected),
        undefined=undefined,
        **known,
    )


def _undefined(shared: PairwiseOverlap, pairs: Array, equal: int) -> Iterator[tuple[str, str]]:
    """The statistics that these tickets do not have, each with the reason."""
    if shared.tickets == 1:
        for name in STATISTICS[1:]:
            yield name, ONE_TICKET
        return
    if not 0 < shared.counts.sum() < shared.sites * shared.tickets**2:
        yield "fleiss_kappa", ONE_VALUE
        yield "krippendorff_alpha", ONE_VALUE
    if np.isnan(shared.jaccard(pairs)):
        yield "jaccard", EMPTY
    if np.isnan(shared.cochran_q_p()):
        yield "cochran_q_p", EQUAL
    if equal == len(pairs):
        yield "pairs_not_rejected", EQUAL
