"""Interactions of sites: second derivatives of the loss by pairs of gates, as values with their errors.

A gate ξ at 1 leaves a site as it is, at 0 deletes it. Around ξ = 1 the loss is

    L(ξ) ≈ L + g·δ + ½ δᵀ H δ,    δ = ξ - 1,    g_i = E ∂L/∂ξ_i,    H_ij = E ∂²L/∂ξ_i∂ξ_j,

so that deleting i and j together costs H_ij more than deleting each alone costs in sum. H_ij > 0: they back each other
up, and the second deletion hurts more than the first. H_ij < 0: they work together, and with one gone the other is
worth less. The derivatives are exact, but what they say of a deletion, a change of 1, is an expansion: real deletions
stand beside it (`tombola.analysis.locality.gate_hessian`). A derivative does not see the kinks of ReLU.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, t
from typing_extensions import override

from tombola.analysis.array_record import ArrayRecord, Floats
from tombola.foundations.errors import TombolaError
from tombola.metrics.resampling import LEVEL

Site = tuple[str, int, int]
"""A kind of site, the row of its mask, and its place there; an MLP is the only one of its row."""


@dataclass(frozen=True, eq=False)
class Deletions:
    """Measured cost of deletions, beside what first and second derivatives of the loss predict.

    Attributes:
        sites: numbers of the deleted sites, for each deletion.
        cost: mean loss with them deleted, minus that of the model, float64 [deletions].
        predicted: the second-order expansion's answer, [deletions].
        apart: the sum of what each of them costs alone, measured, [deletions].
    """

    sites: tuple[tuple[int, ...], ...]
    cost: Floats
    predicted: Floats
    apart: Floats


NOTHING = Deletions((), np.empty(0), np.empty(0), np.empty(0))


@dataclass(frozen=True, eq=False)
class Interactions(ArrayRecord):
    """First and second derivatives of the mean loss by the gates of sites.

    Attributes:
        format: of the file.
        architecture: `Anatomy.signature` of the model.
        sites: the sites, in the order of everything below.
        examples: how many were looked at.
        loss: mean over them.
        gradients: ∂L/∂ξ_i, mean over either half of the examples, float64 [2, sites].
        hessians: ∂²L/∂ξ_i∂ξ_j, mean over either half of the examples, float64 [2, sites, sites], symmetric.
        errors: standard errors of the whole Hessian over examples, [sites, sites]; infinite for one example.
        alone: what deleting each site alone costs, measured, [sites].
        pairs, subsets: real deletions of two sites, and of many at random; empty where they were not asked for.
    """

    format: Literal[2] = field(default=2, kw_only=True)
    architecture: str
    sites: tuple[Site, ...]
    examples: int
    loss: float
    gradients: Floats
    hessians: Floats
    errors: Floats
    alone: Floats
    pairs: Deletions
    subsets: Deletions

    def __post_init__(self) -> None:
        # JSON has no infinity: a missing error was one.
        object.__setattr__(self, "errors", np.nan_to_num(self.errors, nan=np.inf, posinf=np.inf))

    @override
    def check(self) -> None:
        n = len(self.sites)
        arrays = (self.gradients, self.hessians, self.errors, self.alone)
        if [array.shape for array in arrays] != [(2, n), (2, n, n), (n, n), (n,)]:
            raise ValueError("its arrays do not have a number for each site")
        for one in (self.pairs, self.subsets):
            if any(array.shape != (len(one.sites),) for array in (one.cost, one.predicted, one.apart)):
                raise ValueError("its deletions do not have a number each")

    @property
    def gradient(self) -> Floats:
        """E ∂L/∂ξ_i over all examples, [sites]."""
        return self._mean(self.gradients)

    @property
    def hessian(self) -> Floats:
        """E ∂²L/∂ξ_i∂ξ_j over all examples, [sites, sites]."""
        return self._mean(self.hessians)

    def _mean(self, halves: Floats) -> Floats:
        # The first half has one example more if their number is odd.
        second = self.examples // 2
        return np.asarray((halves[0] * (self.examples - second) + halves[1] * second) / self.examples)

    def significant(self, level: float = 1 - LEVEL) -> NDArray[np.bool_]:
        """Pairs that differ significantly from 0, bool [sites, sites]: Benjamini & Hochberg (1995) over all pairs.

        Each by Student's t over the examples, as its error is estimated from them.
        """
        upper = np.triu_indices(len(self.sites), 1)
        errors = self.errors[upper]
        apart = np.abs(np.divide(self.hessian[upper], errors, out=np.zeros_like(errors), where=errors > 0))
        found = np.zeros_like(self.hessian, dtype=bool)
        if apart.size:
            found[upper] = false_discovery_control(2 * t.sf(apart, max(1, self.examples - 1))) <= level
        return np.asarray(found | found.T)

    def share_of_single_sites(self, deleted: float = 0.1) -> float | None:
        """Share of the surrogate's variance, over random deletions, that a sum over single sites explains.

        Each site is deleted with probability p, independently. Then the second-order expansion falls into a part that
        is a sum over sites and one that is a sum over pairs, uncorrelated (the functional ANOVA of Hoeffding 1948 and
        Sobol 1993), with variances p(1-p) Σ_i (a_i + p Σ_{j≠i} H_ij)² and p²(1-p)² Σ_{i<j} H_ij², where
        a_i = -g_i + ½ H_ii is what the expansion says that i costs alone.

        The square of an estimate is too large by its variance, and a sum over thousands of pairs may be mostly that. So
        each square is the product of the two halves' estimates, whose errors are independent: no bias is left.

        Args:
            deleted: p, above 0 and below 1.

        Returns:
            From 0, all is in pairs, to 1, all is in single sites; None where nothing is told apart from 0, or of one
            example.
        """
        if not 0 < deleted < 1:
            raise TombolaError(
                f"a share of {deleted} of the sites cannot be deleted at random; choose one between 0 and 1"
            )
        if self.examples < 2:
            return None
        diagonals = np.diagonal(self.hessians, axis1=1, axis2=2)
        off = self.hessians - np.eye(len(self.sites)) * diagonals[:, None]
        one, other = -self.gradients + diagonals / 2 + deleted * off.sum(2)
        spread = deleted * (1 - deleted)
        single = max(0.0, spread * float((one * other).sum()))
        pairs = max(0.0, spread**2 * float(np.triu(off[0] * off[1], 1).sum()))
        return single / (single + pairs) if single + pairs else None


def explained(deletions: Deletions, by: Sequence[float] | Floats) -> float | None:
    """Share of the variance of real deletions' costs that is explained by as many predictions: squared correlation.

    0 where they are anti-correlated; None for fewer than three deletions, or where one side does not vary.
    """
    x, y = np.asarray(by, dtype=float), deletions.cost
    if len(x) < 3 or not np.ptp(x) or not np.ptp(y):
        return None
    return max(0.0, float(np.corrcoef(x, y)[0, 1])) ** 2


def mean_hessian(several: Sequence[Interactions]) -> tuple[Floats, Floats]:
    """Mean of the seeds' Hessians, and how far its 95 % interval reaches either way, both [sites, sites].

    By Student's t over the examples, which all seeds share, so that their error does not shrink with the number of
    seeds, and over the seeds, in squares: as `tombola.metrics.statistics.paired_difference`.
    """
    quantile, seeds = (1 + LEVEL) / 2, len(several)
    hessians = [one.hessian for one in several]
    over_examples = np.sqrt(np.mean([one.errors**2 for one in several], axis=0))
    reach = t.ppf(quantile, max(1, several[0].examples - 1)) * over_examples
    if seeds > 1:
        reach = np.hypot(reach, t.ppf(quantile, seeds - 1) * np.std(hessians, axis=0, ddof=1) / np.sqrt(seeds))
    return np.mean(hessians, axis=0), np.asarray(reach)
