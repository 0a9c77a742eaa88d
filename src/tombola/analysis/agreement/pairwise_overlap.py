"""Counts of survivors that each two of several tickets share, and the statistics that follow from them alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

LEVEL = 0.05
"""A test rejects below this p value."""

Array = NDArray[Any]


def all_pairs(tickets: int) -> Array:
    """Every two of so many tickets, int [pairs, 2]."""
    return np.stack(np.triu_indices(tickets, 1), axis=-1)


@dataclass(frozen=True)
class PairwiseOverlap:
    """Shared survivors of n tickets, for one set of tickets or, in leading dimensions, for many.

    Attributes:
        counts: [..., n, n]: survivors that two tickets share; on the diagonal, survivors of each.
        sites: number of sites, surviving or not.

    Every statistic is an array of the leading dimensions, with NaN where it is undefined. The sum of all counts is
    the sum over sites of the squared number of tickets in which a site survives, and so kappa, alpha and Q need no
    more than the counts: a thousand draws are as cheap as one, and masks of a billion weights need not be in memory
    together, as statsmodels and krippendorff would have it.
    """

    counts: Array
    sites: int

    @classmethod
    def of(cls, masks: Array) -> "PairwiseOverlap":
        """Counts from masks [..., n, sites]."""
        # Floating point goes through BLAS; whole numbers are exact in it up to 2**53.
        values = masks.astype(np.float32 if masks.shape[-1] < 2**24 else np.float64)
        counts: Array = np.matmul(values, values.swapaxes(-1, -2))
        return cls(counts.astype(np.float64), masks.shape[-1])

    def among(self, members: Sequence[int] | Array) -> "PairwiseOverlap":
        """Counts among some of the tickets only."""
        return PairwiseOverlap(self.counts[..., np.asarray(members)[:, None], np.asarray(members)], self.sites)

    @property
    def tickets(self) -> int:
        """Number of tickets."""
        return int(self.counts.shape[-1])

    @property
    def sizes(self) -> Array:
        """Survivors of every ticket, [..., n]."""
        return np.diagonal(self.counts, axis1=-2, axis2=-1)

    def jaccard(self, pairs: Array) -> Array:
        """Shared survivors as a share of those that either ticket has, mean over pairs, [...]; NaN if any has none."""
        both = self._both(pairs)
        return _mean(_ratio(both, self.sizes[..., pairs].sum(axis=-1) - both))

    def shared(self, pairs: Array) -> Array:
        """Survivors that two tickets share, mean over pairs, [...]; NaN if there is no pair."""
        return _mean(self._both(pairs))

    def fleiss_kappa(self) -> Array:
        """Fleiss' kappa (1971): tickets are raters, sites are subjects, survival is the category."""
        n, total = self.tickets, self.sizes.sum(axis=-1)
        agreeing = self.sites * n * n - 2 * self._disagreements() - self.sites * n
        observed = _ratio(agreeing, np.asarray(float(self.sites * n * (n - 1))))
        share = total / (self.sites * n)
        # 1 minus the agreement by chance, share² + (1 - share)².
        return 1 - _ratio(1 - observed, 2 * share * (1 - share))

    def krippendorff_alpha(self) -> Array:
        """Krippendorff's alpha for nominal data."""
        n, total = self.tickets, self.sizes.sum(axis=-1)
        ratings = self.sites * n
        return 1 - _ratio((ratings - 1) * self._disagreements(), (n - 1) * total * (ratings - total))

    def cochran_q_p(self) -> Array:
        """The p value of Cochran's Q (1950): that every ticket keeps the same share of the sites."""
        n, total = self.tickets, self.sizes.sum(axis=-1)
        # The textbook has a difference of squares, which loses its digits where weights are counted.
        spread = (n - 1) * n * ((self.sizes - total[..., None] / n) ** 2).sum(axis=-1)
        return np.asarray(chi2.sf(_ratio(spread, self._disagreements()), max(n - 1, 1)))

    def differing(self, pairs: Array) -> Array:
        """Sites in which one ticket of a pair survives and the other does not, [..., pairs]."""
        return np.asarray(self.sizes[..., pairs].sum(axis=-1) - 2 * self._both(pairs))

    def pairs_not_rejected(self, pairs: Array) -> Array:
        """Pairs for which Cochran's Q rejects nothing, equal ones included; NaN if all are equal or there is none."""
        differing, (one, other) = self.differing(pairs), pairs.T
        q = _ratio((self.sizes[..., one] - self.sizes[..., other]) ** 2, differing)
        rejected = (chi2.sf(q, 1) < LEVEL).sum(axis=-1)
        return np.where((differing > 0).any(axis=-1), len(pairs) - rejected, np.nan)

    def _both(self, pairs: Array) -> Array:
        return np.asarray(self.counts[..., pairs[:, 0], pairs[:, 1]])

    def _disagreements(self) -> Array:
        """Sum over sites of (tickets that keep it) x (tickets that do not), [...]; 0 for equal tickets."""
        return np.asarray(self.tickets * self.sizes.sum(axis=-1) - self.counts.sum(axis=(-2, -1)))


def _mean(values: Array) -> Array:
    """Mean over pairs; NaN, without a warning, where there are none."""
    return np.asarray(values.mean(axis=-1)) if values.shape[-1] else np.full(values.shape[:-1], np.nan)


def _ratio(part: Array, whole: Array) -> Array:
    """Element-wise quotient; NaN, without a warning, where there is nothing to divide by."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0))
