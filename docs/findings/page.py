"""Write the tables of docs/findings.md from the results beside this file, between their marks; the prose is ours."""

import argparse
import itertools
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tombola.analysis.retention_profile import Fall
from tombola.tickets.pruning_methods import METHODS

HERE = Path(__file__).parent
PAGE = HERE.parent / "findings.md"
TASKS = {"rotten-tomatoes": "Rotten Tomatoes", "sst2": "SST-2", "cola": "CoLA"}
METHOD_WORDS = {"heads+mlps": "heads and MLPs", "weights": "weights"}
TICKETS = {
    "good": "good",
    "random": "random",
    "layer-matched": "layer-matched random",
    "bad": "bad",
    "super-survivors": "super-survivors",
    "super-random": "super-random",
    "super-bad": "super-bad",
}
KINDS = {"heads": "heads", "mlps": "MLPs", "weights": "weights"}
Line = Sequence[str]


def scores() -> Iterator[Line]:
    """Score of every ticket, pruned and retrained: mean and deviation over seeds."""
    yield ("", *(f"{title} {stage}" for title in TASKS.values() for stage in ("pruned", "retrained")))
    full = []
    for task in TASKS:
        full += ["", _spread(row["score"] for row in _rows(task) if row["ticket"] == "full")]
    yield ("full model", *full)
    yield ("guessing", *itertools.chain(*(("", _spread(_of(task, "none", "guessing", "none"))) for task in TASKS)))
    for method, title in METHOD_WORDS.items():
        yield (f"*{title}*", *[""] * 2 * len(TASKS))
        for ticket, name in TICKETS.items():
            cells = [_spread(_of(task, method, ticket, stage)) for task in TASKS for stage in ("pruned", "retrained")]
            if any(cells):
                yield (name, *cells)


def sizes() -> Iterator[Line]:
    """Sizes of the good tickets."""
    yield ("good ticket", *TASKS.values())
    for method, field, name in (
        ("heads+mlps", "heads", "heads of 72"),
        ("heads+mlps", "mlps", "MLPs of 6"),
        ("heads+mlps", "sparsity", "weights removed with them, %"),
        ("weights", "sparsity", "weights removed, %"),
    ):
        cells = []
        for task in TASKS:
            values = [row[field] for row in _rows(task) if _is(row, method, "good", "pruned")]
            scale = 100 if field == "sparsity" else 1
            cells.append(_spread([scale * value for value in values], digits=1))
        yield (name, *cells)


def verdicts() -> Iterator[Line]:
    """Difference of every retrained ticket to the full model, with its 95 % interval."""
    yield ("retrained, minus full", *TASKS.values())
    found = {task: _json(f"{task}/verdicts.json")["verdicts"] for task in TASKS}
    for method, title in METHOD_WORDS.items():
        for ticket, name in TICKETS.items():
            cells = []
            for task in TASKS:
                known = [one for one in found[task] if (one["method"], one["ticket"]) == (method, ticket)]
                cells.append("".join(_difference(one) for one in known))
            if any(cells):
                yield (f"{title}: {name}", *cells)


def agreement() -> Iterator[Line]:
    """Agreement of two seeds, beside random tickets of the same sizes."""
    yield (
        "good tickets",
        "seeds",
        "survivors",
        "in every seed (random)",
        "Jaccard",
        "random [95 %]",
        "layer-matched [95 %]",
        "Fleiss' kappa",
        "Cochran's Q, p",
    )
    for task, title in TASKS.items():
        kinds = _json(f"{task}/comparison.json")["kinds"]
        for comparison in kinds.values():
            (name,) = comparison["tasks"]
            for kind in KINDS:
                block = comparison["tasks"][name]["agreement"].get(kind)
                if block is None:
                    continue
                always = block["null_distribution"]["random"]["super_survivors"]
                yield (
                    f"{title}: {KINDS[kind]}",
                    str(block["n"]),
                    f"{_count(block['mean_survivors'])} of {_count(block['sites'])}",
                    f"{_count(block['super_survivors'])} ({_count(always['mean'])})",
                    _number(block["jaccard"]),
                    *(_chance((block["null_distribution"].get(control) or {}).get("jaccard")) for control in CONTROLS),
                    _number(block["fleiss_kappa"]),
                    _p(block["cochran_q_p"]),
                )


CONTROLS = ("random", "layer-matched")


def between() -> Iterator[Line]:
    """Overlap of the tickets of two tasks."""
    yield ("pairs of tasks", "heads", "MLPs", "weights")
    kinds = _json("comparison.json")["kinds"]
    overlaps = {site: one for of_kind in kinds.values() for site, one in of_kind["overlap"].items()}
    names = overlaps["heads"]["tasks"]
    for i, j in itertools.combinations_with_replacement(range(len(names)), 2):
        what = f"{TASKS[names[i]]}, its own seeds" if i == j else f"{TASKS[names[i]]} and {TASKS[names[j]]}"
        yield (what, *(_overlap(overlaps[kind], i, j) for kind in KINDS))


def attention() -> Iterator[Line]:
    """Classes of attention maps, and whether they tell who survives."""
    yield ("norm-weighted, share of maps", *TASKS.values())
    found = {task: _json(f"{task}/attention.json")["norm"] for task in TASKS}
    for group in ("all heads", "survivors", "pruned heads", "super-survivors", "survivors, retrained"):
        for name in ("heterogeneous", "diagonal", "vertical", "block"):
            cells = []
            for task in TASKS:
                share = found[task]["groups"].get(group, {}).get(name)
                cells.append("" if share is None else _interval(share))
            if any(cells):
                yield (f"{group}: {name}", *cells)
    yield (
        "survivors minus pruned heads of all seeds pooled, heterogeneous",
        *(_interval(found[task]["difference"]) for task in TASKS),
    )
    yield ("Spearman's correlation with survival", *(_interval(found[task]["correlation"]) for task in TASKS))


def transfer() -> Iterator[Line]:
    """Tickets of one task retrained on another."""
    yield ("retrained on", "ticket of", "method", "score", "beyond random", "beyond its own", "sparsity (own)")
    for cell in _json("transfer.json")["cells"]:
        yield (
            TASKS[cell["target"]],
            TASKS[cell["source"]],
            METHOD_WORDS[cell["method"]],
            f"{cell['score']:.3f}",
            _interval([cell[f"beyond_random{end}"] for end in ("", "_low", "_high")], sign=True),
            _interval([cell[f"beyond_own{end}"] for end in ("", "_low", "_high")], sign=True),
            f"{cell['sparsity']:.2f} ({cell['own_sparsity']:.2f})",
        )


def random() -> Iterator[Line]:
    """Number of random tickets that win."""
    yield ("method", "seed", "sparsity", "stage", "draws", "random, mean (best)", "searched", "hold the threshold")
    for path in sorted(HERE.glob("*/seed-*/*/random-tickets.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        for size in found["sizes"]:
            values = size["scores"]
            yield (
                f"{TASKS[path.parts[-4]]}: {METHOD_WORDS[found['kind']]}",
                path.parts[-3].removeprefix("seed-"),
                f"{size['sparsity']:.2f}",
                size["stage"],
                str(len(values)),
                f"{statistics.fmean(values):.3f} ({max(values):.3f})",
                f"{size['searched']:.3f}",
                f"{sum(value >= found['bound'] for value in values)}" if size["stage"] == "pruned" else "",
            )


def interactions() -> Iterator[Line]:
    """Interactions: who backs up whom, in numbers."""
    found = {path.parts[-3:-1]: json.loads(path.read_text()) for path in sorted(HERE.glob("*/*/interactions.json"))}
    yield ("", *(f"{TASKS[task]}, {seed.replace('-', ' ')}" for task, seed in found))
    lines: list[tuple[str, Callable[[Any], str]]] = [
        ("pairs told apart from 0", lambda one: f"{one['significant']} of {one['pairs']:,}"),
        ("of these backing each other up", lambda one: str(one["backing_up"])),
        ("share of single sites in the second-order picture", lambda one: f"{one['share_of_single_sites']:.2f}"),
        ("correlation with pairs really deleted", lambda one: f"{one['correlation_with_deleted_pairs']:.2f}"),
        ("loss of deleting a tenth at random", lambda one: f"{one['cost_of_subsets']:.3f}"),
        ("the same, sum of what each site costs alone", lambda one: f"{one['sum_of_single_costs']:.3f}"),
        ("explained by what each site costs alone", lambda one: f"{one['explained_by_single_sites']:.2f}"),
        ("explained by the second-order picture", lambda one: f"{one['explained_by_second_order']:.2f}"),
    ]
    for title, value in lines:
        yield (title, *(value(one) for one in found.values()))


def representations() -> Iterator[Line]:
    """Likeness to the full model and probes after the last layer, mean over seeds."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for path in sorted(HERE.glob("*/seed-*/*/representations.json")):
        groups.setdefault((path.parts[-4], path.parts[-2]), []).append(json.loads(path.read_text(encoding="utf-8")))
    yield (
        "after the last layer",
        *(f"{TASKS[task]}, {METHOD_WORDS[p]}: {w}" for task, p in groups for w in ("CKA", "probe")),
    )
    for name in ("full", *(f"{ticket} pruned" for ticket in list(TICKETS)[:4]), "good retrained"):
        cells = []
        for several in groups.values():
            last = [one["models"][name][-1] for one in several if name in one["models"]]
            cells += [
                "" if name == "full" else _spread(one["cka"] for one in last),
                _spread(one["probe"] for one in last),
            ]
        yield (name, *cells)


def falls() -> Iterator[Line]:
    """Sparsity at which each ability of the language model falls, by every method."""
    profiles = _profiles()
    curves = next(iter(profiles.values()))["curves"]
    yield ("removed, %", *(curve["title"] for curve in curves))
    for profile in profiles.values():
        yield (METHODS[profile["method"]].words, *(_fall(curve) for curve in profile["curves"]))


def abilities() -> Iterator[Line]:
    """Raw scores of every ability along every search."""
    profiles = _profiles()
    curves = next(iter(profiles.values()))["curves"]
    yield ("", "removed, %", *(f"{curve['title']}, {curve['measure']}" for curve in curves))
    yield ("full model", "0", *(f"{_ends(curve, 'full')}" for curve in curves))
    yield ("guessing", "", *(f"{curve['chance']:.3f}" for curve in curves))
    for profile in profiles.values():
        for number, point in enumerate(profile["curves"][0]["points"]):
            kept = [_ends(curve["points"][number]["retained"], "raw") for curve in profile["curves"]]
            yield (METHODS[profile["method"]].words, f"{100 * point['sparsity']:.1f}", *kept)


def drawn() -> Iterator[Line]:
    """Scores of denoisers: every ticket of digits, pruned and retrained."""
    rows = [json.loads(line) for line in (HERE / "digits/results.jsonl").read_text(encoding="utf-8").splitlines()]
    floor = _json("digits/study.json")["task"]["floor"]["scores"]["frechet_distance"]
    heads = ("parameters", "weights removed, %", "pruned", "retrained", "loss, retrained")
    yield ("", *heads)
    yield ("real images", "", "", "", f"{floor[0]:.3f} ± {floor[1]:.3f}", "")
    for name, ticket in (("full model", "full"), ("guessing", "guessing")):
        own = [row for row in rows if row["ticket"] == ticket]
        size = f"{statistics.fmean(row['parameters'] for row in own):,.0f}" if ticket == "full" else ""
        loss = _spread((row["loss"] for row in own if row["loss"] is not None), 4)
        yield (name, size, "0" if ticket == "full" else "", "", _spread(row["score"] for row in own), loss)
    for method in ("heads+channels", "weights"):
        yield (f"*{METHODS[method].words}*", *[""] * len(heads))
        for ticket, name in list(TICKETS.items())[:4]:
            stages = [[row for row in rows if _is(row, method, ticket, stage)] for stage in ("pruned", "retrained")]
            if not all(stages):
                continue
            yield (
                name,
                f"{statistics.fmean(row['parameters'] for row in stages[1]):,.0f}",
                _spread((100 * row["sparsity"] for row in stages[1]), 1),
                *(_spread(row["score"] for row in stage) for stage in stages),
                _spread((row["loss"] for row in stages[1]), 4),
            )


def curve() -> Iterator[Line]:
    """Iterative pruning of digits' denoisers beside random tickets of the same sizes."""
    yield ("", "weights removed, %", "found", "layer-matched random", "seeds")
    for method, points in _json("digits/curves.json").items():
        for point in points:
            removed = f"{100 * statistics.fmean(point['sparsity']):.1f}"
            seeds = str(len(point["found"]))
            yield (METHODS[method].words, removed, _spread(point["found"]), _spread(point["random"]), seeds)


TABLES: dict[str, Callable[[], Iterator[Line]]] = {
    one.__name__: one
    for one in (
        sizes,
        scores,
        verdicts,
        agreement,
        between,
        attention,
        transfer,
        random,
        interactions,
        representations,
        falls,
        abilities,
        drawn,
        curve,
    )
}


def filled(page: str) -> str:
    """The page with every marked table made anew.

    Raises:
        KeyError: it marks a table that is not known.
    """

    def table(match: re.Match[str]) -> str:
        head, *lines = TABLES[match[1]]()
        rows = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
        text = "\n".join(f"| {' | '.join(row)} |".replace("  ", " ") for row in rows)
        return f"<!-- table: {match[1]} -->\n{text}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->\n.*?<!-- end -->", table, page, flags=re.DOTALL)


def _profiles() -> dict[str, Any]:
    """The retention profiles, in the order of the methods."""
    return {
        name: _json(f"understanding/{name}.json") for name in METHODS if (HERE / f"understanding/{name}.json").is_file()
    }


def _fall(curve: dict[str, Any]) -> str:
    return Fall(**curve["fall"]).in_words("{} [{}, {}]") if curve["learned"] else "the full model is at chance"


def _ends(values: dict[str, Any], name: str) -> str:
    return f"{values[name]:.3f} [{values[f'{name}_low']:.3f}, {values[f'{name}_high']:.3f}]"


def _json(name: str) -> Any:
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def _rows(task: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / task / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def _is(row: dict[str, Any], method: str, ticket: str, stage: str) -> bool:
    return (row["method"], row["ticket"], row["stage"]) == (method, ticket, stage)


def _of(task: str, method: str, ticket: str, stage: str) -> list[float]:
    return [row["score"] for row in _rows(task) if _is(row, method, ticket, stage)]


def _spread(values: Any, digits: int = 3) -> str:
    known = list(values)
    if not known:
        return ""
    std = f" ± {statistics.stdev(known):.{digits}f}" if len(set(known)) > 1 else ""
    return f"{statistics.fmean(known):.{digits}f}{std}"


def _difference(verdict: dict[str, Any]) -> str:
    text = _interval([verdict["difference"], verdict["low"], verdict["high"]], sign=True)
    return f"**{text}**" if verdict["matches"] else text


def _interval(values: Sequence[float | None] | None, sign: bool = False) -> str:
    if values is None or values[0] is None:
        return "undefined"
    value, low, high = (f"{one:{'+' if sign else ''}.3f}" for one in values if one is not None)
    return f"{value} [{low}, {high}]"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _p(value: float | None) -> str:
    return "undefined" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _count(value: float) -> str:
    return f"{value / 1e6:.2f} M" if value >= 1e5 else f"{value:.1f}".removesuffix(".0")


def _chance(drawn: dict[str, float] | None) -> str:
    return "–" if drawn is None else f"{drawn['mean']:.3f} [{drawn['low']:.3f}, {drawn['high']:.3f}]"


def _overlap(overlap: dict[str, Any], i: int, j: int) -> str:
    value = overlap["jaccard"][i][j]
    drawn = overlap["null_distribution"]["random"]["jaccard"][i][j]
    return f"{_number(value)} ({_chance(drawn)})"


def main() -> int:
    """Write the page, or with --check only say whether it is what the results give."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the page differs")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    made = filled(page)
    if options.check:
        return int(made != page)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
