"""Section on interactions of sites, and how much of the loss single sites explain."""

import itertools
from collections.abc import Iterable
from statistics import fmean

import numpy as np
from scipy.stats import spearmanr

from tombola.analysis.array_record import Floats
from tombola.analysis.locality.interactions import Interactions, Site, explained, mean_hessian
from tombola.architectures.anatomy import Places
from tombola.foundations.plurals import plural
from tombola.report import number_format
from tombola.report.charts.interactions import interaction_grid, pair_bars
from tombola.report.html.elements import Html, figure, section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.study_data import StudyData

_STRONGEST = 6


def interactions(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None where no seed asked for it."""
    several, places = list(study.analyses(Interactions, "interactions").values()), study.places
    if not several:
        return None
    order = sorted(range(len(several[0].sites)), key=lambda at: _depth(several[0].sites[at]))
    names = [_name(several[0].sites[at], places) for at in order]
    hessian, reach = (values[np.ix_(order, order)] for values in mean_hessian(several))
    upper = np.triu_indices(len(names), 1)
    ranked = np.argsort(hessian[upper], kind="stable")
    ends = [*ranked[::-1][:_STRONGEST], *ranked[:_STRONGEST][::-1]]
    strongest = [
        (f"{names[i]} and {names[j]}", float(hessian[i, j]), float(reach[i, j]))
        for i, j in ((upper[0][at], upper[1][at]) for at in ends)
    ]
    grid = registry.plot(interaction_grid(names, hessian), "interactions", "Second derivatives by pairs of gates")
    bars = registry.plot(pair_bars(strongest), "interactions-pairs", "The pairs that interact most")
    examples = several[0].examples
    lead = (
        f"Second derivatives of the loss by pairs of gates on {plural(examples, 'example')}: above 0 two "
        "sites back each other up (deleting both costs more than each alone in sum), below 0 they work together. Sites "
        "stand in the order of depth."
    )
    return section(
        "Local or spread: who backs up whom",
        figure("All pairs", _about_all(several, strongest), grid),
        figure("The strongest pairs", _about_deletions(several), bars),
        lead=lead,
    )


def _depth(site: Site) -> tuple[int, bool, int]:
    kind, row, place = site
    return row, kind == "mlps", place


def _name(site: Site, places: Places) -> str:
    kind, row, place = site
    return f"MLP {places.layer(row)}" if kind == "mlps" else f"{places.attention(row)}.{place}"


def _about_all(several: list[Interactions], strongest: list[tuple[str, float, float]]) -> str:
    n = len(several[0].sites)
    total = n * (n - 1) // 2
    counts = [int(one.significant().sum()) // 2 for one in several]
    upward = [int((one.significant() & (one.hessian > 0)).sum()) // 2 for one in several]
    mean, up = sum(counts) / len(counts), sum(upward) / max(1, sum(counts))
    text = (
        f"Of {number_format.count(total)} pairs {number_format.count(round(mean))} "
        f"({number_format.share(mean / total)}) are told apart "
        f"from 0{' in a seed, on average' if len(several) > 1 else ''} (Benjamini & Hochberg, 5 %), "
        f"{number_format.share(up)} of them backing each other up; the strongest are {strongest[0][0]}."
    )
    shares = [share for one in several if (share := one.share_of_single_sites()) is not None]
    if shares:
        text += (
            " Where a tenth of the sites is deleted at random, a sum over single sites explains "
            f"{number_format.share(fmean(shares))} of the variance of this second-order picture; the rest "
            "is in pairs."
        )
    if len(several) > 1:
        upper = np.triu_indices(n, 1)
        stable = _mean_spearman(itertools.combinations([one.hessian[upper] for one in several], 2))
        if stable is not None:
            text += f" Two seeds' maps correlate by {stable} (Spearman, mean over pairs of seeds)."
    return text


def _mean_spearman(pairs: Iterable[tuple[Floats, Floats]]) -> str | None:
    """Spearman's correlation, mean over pairs; None where all have under three values, or a side without spread."""
    known = [float(spearmanr(x, y).statistic) for x, y in pairs if len(x) > 2 and np.ptp(x) and np.ptp(y)]
    return number_format.minus(f"{fmean(known):.2f}") if known else None


def _about_deletions(several: list[Interactions]) -> str:
    parts = []
    with_pairs = [one for one in several if len(one.pairs.sites) > 2]
    correlation = _mean_spearman(
        (one.hessian[tuple(np.transpose(one.pairs.sites))], one.pairs.cost - one.pairs.apart) for one in with_pairs
    )
    if correlation is not None:
        pairs = sum(len(one.pairs.sites) for one in with_pairs)
        parts.append(
            f"Checked on {number_format.count(pairs)} pairs that were really deleted, the second derivative and the "
            f"interaction that was measured correlate by {correlation} (Spearman)."
        )
    with_subsets = [one for one in several if explained(one.subsets, one.subsets.apart) is not None]
    if with_subsets:
        apart = [explained(one.subsets, one.subsets.apart) or 0.0 for one in with_subsets]
        local = [explained(one.subsets, one.subsets.predicted) or 0.0 for one in with_subsets]
        cost = float(np.mean([one.subsets.cost.mean() for one in with_subsets]))
        total = float(np.mean([one.subsets.apart.mean() for one in with_subsets]))
        lost = len(with_subsets[0].subsets.sites[0])
        deletions = plural(sum(len(one.subsets.sites) for one in with_subsets), "deletion")
        parts.append(
            f"Deleting {plural(lost, 'site')} at random costs {number_format.score(cost)} in loss, what each "
            f"costs alone adds up to {number_format.score(total)}; how much a deletion costs is explained to "
            f"{number_format.share(fmean(apart))} by what each costs alone and {number_format.share(fmean(local))} by "
            f"the second-order picture (squared correlation over {deletions})."
        )
    return " ".join(parts)
