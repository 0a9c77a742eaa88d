"""Interactions of sites: second derivatives of the loss by pairs of gates, as values with their errors.

A gate ξ at 1 leaves a site as it is, at 0 deletes it. Around ξ = 1 the loss is

    L(ξ) ≈ L + g·δ + ½ δᵀ H δ,    δ = ξ - 1,    g_i = E ∂L/∂ξ_i,    H_ij = E ∂²L/∂ξ_i∂ξ_j,

so that deleting i and j together costs H_ij more than deleting each alone costs in sum. H_ij > 0: they back each other
up, and the second deletion hurts more than the first. H_ij < 0: they work together, and with one gone the other is
worth less. The derivatives are exact, but what they say of a deletion, a change of 1, is an expansion: real deletions
stand beside it (`tombola.analysis.locality.gate_hessian`). A derivative does not see the kinks of ReLU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, norm

from tombola.foundations.atomic_files import read_json, write_json
from tombola.foundations.errors import TombolaError
from tombola.metrics.statistics import LEVEL

FORMAT = 2

_ARRAYS = ("gradients", "hessians", "errors", "alone")

Site = tuple[str, int, int]
"""A kind of site, the row of its mask, and its place there; an MLP is the only one of its row."""
Floats = NDArray[np.float64]


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
class Interactions:
    """First and second derivatives of the mean loss by the gates of sites.

    Attributes:
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
        found: Floats = (halves[0] * (self.examples - second) + halves[1] * second) / self.examples
        return found

    def significant(self, level: float = 1 - LEVEL) -> NDArray[np.bool_]:
        """Pairs that differ significantly from 0, bool [sites, sites]: Benjamini & Hochberg (1995) over all pairs."""
        upper = np.triu_indices(len(self.sites), 1)
        errors = self.errors[upper]
        z = np.divide(self.hessian[upper], errors, out=np.zeros_like(errors), where=errors > 0)
        found = np.zeros_like(self.hessian, dtype=bool)
        if z.size:
            found[upper] = false_discovery_control(2 * norm.sf(np.abs(z))) <= level
        either: NDArray[np.bool_] = found | found.T
        return either

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

    def strongest(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The pairs with the largest and with the smallest H_ij: who back each other up, who work together."""
        rows, columns = np.triu_indices(len(self.sites), 1)
        order = np.argsort(self.hessian[rows, columns], kind="stable")
        ranked = [(int(rows[at]), int(columns[at])) for at in order]
        return (
            [two for two in ranked[::-1][:count] if self.hessian[two] > 0],
            [two for two in ranked[:count] if self.hessian[two] < 0],
        )

    def write(self, path: Path) -> None:
        """Write a JSON file, atomically."""
        write_json(
            path,
            {
                "format": FORMAT,
                "architecture": self.architecture,
                "sites": [list(site) for site in self.sites],
                "examples": self.examples,
                "loss": self.loss,
                **{name: _lists(getattr(self, name)) for name in _ARRAYS},
                **{name: _deletions(getattr(self, name)) for name in ("pairs", "subsets")},
            },
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote; numbers come back with seven digits.

        Raises:
            TombolaError: the file is missing or damaged.
        """
        values = read_json(path)
        try:
            if values["format"] != FORMAT:
                raise TombolaError(f"{path} has format {values['format']}; this version of Tombola reads {FORMAT}")
            arrays = {name: np.array(values[name], float) for name in _ARRAYS}
            n = len(values["sites"])
            shapes = ((2, n), (2, n, n), (n, n), (n,))
            if any(array.shape != shape for array, shape in zip(arrays.values(), shapes, strict=True)):
                raise ValueError("its arrays do not have a number for each site")
            # JSON has no infinity, and what is no number was written as null.
            arrays["errors"] = np.nan_to_num(arrays["errors"], nan=np.inf)
            return cls(
                architecture=values["architecture"],
                sites=tuple((str(kind), int(row), int(site)) for kind, row, site in values["sites"]),
                examples=int(values["examples"]),
                loss=float(values["loss"]),
                pairs=_read_deletions(values["pairs"]),
                subsets=_read_deletions(values["subsets"]),
                **arrays,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise TombolaError(f"{path} is damaged ({error!r}); delete it and start again") from None


def explained(deletions: Deletions, by: Sequence[float] | Floats) -> float | None:
    """Share of the variance of real deletions' costs that is explained by as many predictions: squared correlation.

    0 where they are anti-correlated; None for fewer than three deletions, or where one side does not vary.
    """
    x, y = np.asarray(by, dtype=float), deletions.cost
    if len(x) < 3 or not np.ptp(x) or not np.ptp(y):
        return None
    return max(0.0, float(np.corrcoef(x, y)[0, 1])) ** 2


def _lists(values: Floats) -> list[Any]:
    """Nested lists of seven significant digits; null for what is not finite."""
    return [
        _lists(value) if isinstance(value, np.ndarray) else float(f"{value:.7g}") if np.isfinite(value) else None
        for value in values
    ]


def _deletions(deletions: Deletions) -> dict[str, Any]:
    return {
        "sites": [list(sites) for sites in deletions.sites],
        **{name: _lists(getattr(deletions, name)) for name in ("cost", "predicted", "apart")},
    }


def _read_deletions(values: Mapping[str, Any]) -> Deletions:
    arrays = {name: np.array(values[name], float) for name in ("cost", "predicted", "apart")}
    sites = tuple(tuple(int(site) for site in one) for one in values["sites"])
    if any(array.shape != (len(sites),) for array in arrays.values()):
        raise ValueError("its deletions do not have a number each")
    return Deletions(sites, **arrays)
