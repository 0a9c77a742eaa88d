"""Copy from finished studies what docs/findings.md is made of: small files only, and the pictures of their reports."""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from tombola.analysis.attention.attention_maps import WEIGHTINGS
from tombola.analysis.attention.attention_summary import (
    Distribution,
    class_distribution,
    survival_correlation,
    survivors_against_pruned,
)
from tombola.analysis.attention.patterns import AttentionPatterns
from tombola.analysis.locality.interactions import Interactions, explained
from tombola.foundations.atomic_files import read_json, write_json
from tombola.report.export import export
from tombola.report.study_data import StudyData, read_study
from tombola.study.folder_layout import CrossSeedFolder
from tombola.tickets.ticket import Ticket

HERE = Path(__file__).parent
SITES = "heads+mlps"
ABOUT = ("name", "hash", "seeds", "versions", "machine", "task", "seconds")
LOCAL = ("data",)
"""Settings that are places on somebody's machine."""
DRAWN = (
    "full",
    *(f"{method}/{ticket}/retrained" for method in ("weights", "heads+channels") for ticket in ("good", "random")),
)
"""The drawings that are worth keeping."""
FIGURES = (
    "tickets-*",
    "survivors-*",
    "agreement-*",
    "super-survivors-*",
    "attention-classes-norm",
    "density",
    "random-tickets-*",
    "interactions-pairs",
    "cka-*",
    "probes-*",
    "overlap*",
    "transfer-*",
    "retention-*",
)
"""The pictures that are worth keeping."""


def study(folder: Path, name: str | None = None) -> None:
    """The rows, verdicts and comparison of a study, its attention in short, and its pictures.

    Args:
        folder: of the study.
        name: of the folder here; None for the task's. Of a further study of a task, whose name is given, the pictures
            are left out.
    """
    record = read_study(folder)
    out = HERE / (name or record.home.name)
    profiles = {method: record.seed_folders[0].analysis("retention", method) for method in record.methods}
    for file in ("results.jsonl", "verdicts.json"):
        _copy(folder / file, out / file)
    facts = read_json(folder / "study.json")
    settings = {name: value for name, value in facts["config"].items() if name not in LOCAL}
    write_json(out / "study.json", {**{name: facts[name] for name in ABOUT}, "config": settings})
    if any(path.is_file() for path in profiles.values()):
        # A language model: what is left of its abilities is all that there is to tell.
        for method, path in profiles.items():
            _copy(path, out / f"{method}.json")
        if name is None:
            _pictures(folder, out, ("retention-*",))
        return
    if record.floors:
        # Images: how far the searches went beside random tickets, and what is drawn.
        write_json(out / "curves.json", _curves(record))
        if name is not None:
            return
        for drawn, place in {"real": "guessing", **{name: name for name in DRAWN}}.items():
            if (drawing := record.image_grid(place)) is not None:
                _copy(drawing, out / "drawn" / f"{drawn.replace('/', '-').replace('+', '-')}.png")
        _pictures(folder, out, ("search-*", "tickets-*", "survivors-*", "density"))
        return
    if name is not None:
        return
    comparison = CrossSeedFolder.compared(record.home).comparison
    _copy(comparison, out / "comparison.json")
    write_json(out / "attention.json", _attention(record))
    for seed_folder in record.seed_folders:
        for method in record.methods:
            for analysis in ("random-tickets", "representations"):
                if (path := seed_folder.analysis(analysis, method)).is_file():
                    _copy(path, out / f"seed-{seed_folder.seed}" / method / path.name)
        if (path := seed_folder.analysis("interactions")).is_file():
            write_json(out / f"seed-{seed_folder.seed}" / "interactions.json", _in_short(Interactions.read(path)))
    _pictures(folder, out)


def _attention(record: StudyData) -> dict[str, Any]:
    """Classes of attention of all heads and of survivors, and how the two differ, by each weighting."""
    seeds = [seed_folder for seed_folder in record.seed_folders if seed_folder.analysis("attention").is_file()]
    full = [AttentionPatterns.read(seed_folder.analysis("attention")) for seed_folder in seeds]
    masks = [Ticket.load(seed_folder.ticket(SITES, "good")).heads for seed_folder in seeds]
    again = [
        AttentionPatterns.read(path)
        for seed_folder in seeds
        if (path := seed_folder.analysis("attention", SITES)).is_file()
    ]
    always = [mask & all_masks for mask in masks] if (all_masks := _all(masks)) is not None else []
    found: dict[str, Any] = {}
    for weighting in WEIGHTINGS:
        groups = {
            "all heads": class_distribution(full, [None] * len(full), weighting=weighting),
            "survivors": class_distribution(full, masks, weighting=weighting),
            "pruned heads": class_distribution(full, [~mask for mask in masks], weighting=weighting),
            "super-survivors": class_distribution(full, always, weighting=weighting),
            "survivors, retrained": class_distribution(again, [None] * len(again), weighting=weighting),
        }
        difference = survivors_against_pruned(full, masks, weighting=weighting)
        correlation = survival_correlation(full, masks, weighting=weighting)
        found[weighting] = {
            "groups": {name: _shares(one) for name, one in groups.items()},
            "difference": [difference.value, difference.low, difference.high],
            "correlation": [correlation.value, correlation.low, correlation.high],
        }
    return found


def _curves(record: StudyData) -> dict[str, Any]:
    """Scores along each method's search, and those of random tickets of the same sizes, seed by seed."""
    found: dict[str, Any] = {}
    for method in record.methods:
        points: dict[int, dict[str, Any]] = {}
        for search in record.searches(method):
            for step in search.passes:
                point = points.setdefault(step.iteration, {"sparsity": [], "found": [], "random": []})
                point["sparsity"].append(step.sparsity)
                point["found"].append(step.score)
                point["random"] += [
                    random.score
                    for random in record.random_curve(method)
                    if random.seed == search.seed and abs(random.sparsity - step.sparsity) < 1e-6
                ]
        found[method] = list(points.values())
    return found


def other(folder: Path, name: str, out: Path) -> None:
    """A comparison or a transfer: its file and its pictures."""
    _copy(folder / f"{name}.json", HERE / f"{name}.json")
    _pictures(folder, out)


def _in_short(found: Interactions) -> dict[str, Any]:
    """Thousands of derivatives in the numbers that the page tells."""
    n, significant = len(found.sites), found.significant()
    at = np.array(found.pairs.sites)
    measured = found.pairs.cost - found.pairs.apart
    return {
        "examples": found.examples,
        "pairs": n * (n - 1) // 2,
        "significant": int(significant.sum()) // 2,
        "backing_up": int((significant & (found.hessian > 0)).sum()) // 2,
        "share_of_single_sites": found.share_of_single_sites(),
        "deleted_pairs": len(at),
        "correlation_with_deleted_pairs": float(spearmanr(found.hessian[at[:, 0], at[:, 1]], measured).statistic),
        "deleted_subsets": len(found.subsets.sites),
        "sites_in_a_subset": len(found.subsets.sites[0]),
        "cost_of_subsets": float(found.subsets.cost.mean()),
        "sum_of_single_costs": float(found.subsets.apart.mean()),
        "explained_by_single_sites": explained(found.subsets, found.subsets.apart),
        "explained_by_second_order": explained(found.subsets, found.subsets.predicted),
    }


def _all(masks: list[Any]) -> Any:
    first, *others = masks
    for mask in others:
        first = first & mask
    return first


def _shares(found: Distribution) -> dict[str, Any]:
    return {"heads": found.heads, **found.shares}


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _pictures(folder: Path, out: Path, wanted: Sequence[str] = FIGURES) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        export(folder, Path(scratch) / "export")
        shutil.rmtree(out / "figures", ignore_errors=True)
        for pattern in wanted:
            for picture in sorted((Path(scratch) / "export" / "figures").glob(f"{pattern}.svg")):
                _copy(picture, out / "figures" / picture.name)


def main() -> None:
    """Collect."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--as", dest="name", help="name of the folder here, of a further study of a task")
    parser.add_argument("--compared", type=Path, help="what `tombola compare --out` wrote")
    parser.add_argument("--transfer", type=Path, help="what `tombola transfer --out` wrote")
    options = parser.parse_args()
    if options.name is not None and len(options.studies) > 1:
        parser.error("--as names one study")
    for folder in options.studies:
        study(folder, options.name)
    if options.compared:
        other(options.compared, "comparison", HERE / "tasks")
    if options.transfer:
        other(options.transfer, "transfer", HERE / "transfer")


if __name__ == "__main__":
    main()
