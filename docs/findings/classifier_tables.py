"""Tables of what is known of MiniLM's tickets."""

import itertools
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from paired import OverSeeds, over_seeds, p_words
from stored import (
    CONTROLS,
    HERE,
    TASKS,
    TICKETS,
    Line,
    agreement,
    attention,
    lines,
    overlap,
    read,
    scores,
    spread,
    verdict,
)
from tombola.report.published import PublishedRow, published

METHOD_WORDS = {"heads+mlps": "heads and MLPs", "weights": "weights"}
KINDS = {"heads": "heads", "mlps": "MLPs", "weights": "weights"}


def tickets() -> Iterator[Line]:
    """Score of every ticket, pruned and retrained: mean and deviation over seeds."""
    yield ("", *(f"{title} {stage}" for title in TASKS.values() for stage in ("pruned", "retrained")))
    for name, ticket in (("full model", "full"), ("guessing", "guessing")):
        yield (name, *itertools.chain(*(("", spread(scores(task, "none", ticket, "none"))) for task in TASKS)))
    for method, title in METHOD_WORDS.items():
        yield (f"*{title}*", *[""] * 2 * len(TASKS))
        for ticket, name in TICKETS.items():
            cells = [spread(scores(task, method, ticket, stage)) for task in TASKS for stage in ("pruned", "retrained")]
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
            values = scores(task, method, "good", "pruned", field)
            scale = 100 if field == "sparsity" else 1
            cells.append(spread([scale * value for value in values], digits=1))
        yield (name, *cells)


def verdicts() -> Iterator[Line]:
    """Difference of every retrained ticket to the full model, with its 95 % interval."""
    yield ("retrained, minus full", *TASKS.values())
    for method, title in METHOD_WORDS.items():
        for ticket, name in TICKETS.items():
            if scores("cola", method, ticket, "retrained"):
                yield (f"{title}: {name}", *(_difference(verdict(task, method, ticket)) for task in TASKS))


QUICK = "make-study"
"""Folder of the study with the defaults, of one seed."""


def quick() -> Iterator[Line]:
    """Scores of the study with the defaults, with their intervals over examples where they are of trained models."""
    dev = read(f"{QUICK}/study.json")["task"]["rows"]["dev"]
    yield (f"MiniLM on Rotten Tomatoes, accuracy on {dev:,} sentences", "pruned", "retrained")
    rows = {(row["method"], row["ticket"], row["stage"]): row for row in lines(f"{QUICK}/results.jsonl")}

    def told(place: tuple[str, str, str]) -> str:
        return _interval([rows[place][name] for name in ("score", "score_low", "score_high")])

    yield ("full model", "", told(("none", "full", "none")))
    for method in METHOD_WORDS:
        good = rows[method, "good", "pruned"]
        left = f"{100 * (1 - good['sparsity']):.0f} %"
        parts = f"{good['heads']} of 72 heads, {good['mlps']} of 6 MLPs, {left} of the weights"
        yield (f"*heads and MLPs: {parts}*" if method == "heads+mlps" else f"*weights: {left}*", "", "")
        for ticket in ("good", "random", "layer-matched", "bad"):
            pruned = f"{rows[method, ticket, 'pruned']['score']:.3f}"
            yield (TICKETS[ticket], pruned, told((method, ticket, "retrained")))


def seeds() -> Iterator[Line]:
    """Paired differences over seeds of retrained tickets."""
    yield ("retrained, seed by seed", *TASKS.values())
    for method, title in METHOD_WORDS.items():
        for one, other in PAIRS[method]:
            yield (
                f"{title}: {one} minus {other}",
                *(_over_seeds(compared(task, method, one, other)) for task in TASKS),
            )


def compared(task: str, method: str, one: str, other: str) -> OverSeeds:
    """Comparison over seeds of two tickets, retrained, or of one with the full model or guessing."""

    def of(ticket: str) -> list[float]:
        place = (method, ticket, "retrained") if ticket in TICKETS else ("none", ticket, "none")
        return scores(task, *place)

    return over_seeds(of(one), of(other))


PAIRS = {
    "heads+mlps": (
        *(("good", other) for other in ("full", "random", "layer-matched")),
        *(("random", "bad"), ("bad", "guessing"), ("super-survivors", "super-random")),
    ),
    "weights": (
        *(("good", other) for other in ("full", "random", "layer-matched")),
        *(("random", "bad"), ("bad", "guessing")),
    ),
}
"""Method → pairs of retrained tickets that are compared over seeds."""


def paper() -> Iterator[Line]:
    """Published scores of BERT-base beside ours: retrained, mean and sample deviation over five seeds."""
    both = [(task, title) for task, title in TASKS.items() if published().task(title)]
    yield ("retrained", *(f"{title}: {who}" for _, title in both for who in ("the paper, BERT-base", "MiniLM, here")))
    for name, ours, theirs in (
        ("full model", ("none", "full", "none"), ("none", "full", "none")),
        ("guessing", ("none", "guessing", "none"), ("none", "guessing", "none")),
        *(
            (f"{title}: {ticket}", (method, ticket, "retrained"), (method, ticket, "retrained"))
            for method, title in METHOD_WORDS.items()
            for ticket in ("good", "random", "bad")
        ),
        *(
            (f"heads and MLPs: {of}", ("heads+mlps", of, "retrained"), ("super-survivors", ticket, "retrained"))
            for of, ticket in (("super-survivors", "good"), ("super-random", "random"), ("super-bad", "bad"))
        ),
    ):
        yield (
            name,
            *itertools.chain(*((_published(title, *theirs), spread(scores(task, *ours))) for task, title in both)),
        )


def figures(title: str, method: str, ticket: str, stage: str = "retrained") -> PublishedRow:
    """Published figures of one ticket of a task."""
    (row,) = (one for one in published().task(title) if (one.method, one.ticket, one.stage) == (method, ticket, stage))
    return row


def _published(title: str, method: str, ticket: str, stage: str) -> str:
    row = figures(title, method, ticket, stage)
    return f"{row.mean:.2f} ± {row.std:.2f}" if row.std else f"{row.mean:.2f}"


def weightings() -> Iterator[Line]:
    """Classes of all heads' maps of Rotten Tomatoes, by either weighting."""
    found = read("rotten-tomatoes/attention.json")
    names = ("vertical", "diagonal", "vertical+diagonal", "block", "heterogeneous")
    yield ("", *names)
    for weighting in ("raw", "norm"):
        yield (weighting, *(_interval(found[weighting]["groups"]["all heads"][name]) for name in names))


def seeds_agree() -> Iterator[Line]:
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
        for kind, of_kind in KINDS.items():
            block = agreement(task, kind)
            always = block["null_distribution"]["random"]["super_survivors"]
            yield (
                f"{title}: {of_kind}",
                str(block["n"]),
                f"{_count(block['mean_survivors'])} of {_count(block['sites'])}",
                f"{_count(block['super_survivors'])} ({_count(always['mean'])})",
                _number(block["jaccard"]),
                *(_chance((block["null_distribution"].get(control) or {}).get("jaccard")) for control in CONTROLS),
                _number(block["fleiss_kappa"]),
                "undefined" if (p := block["cochran_q_p"]) is None else p_words(p),
            )


def between() -> Iterator[Line]:
    """Overlap of the tickets of two tasks."""
    yield ("pairs of tasks", "heads", "MLPs", "weights")
    overlaps = {kind: overlap(kind) for kind in KINDS}
    names = overlaps["heads"]["tasks"]
    for i, j in itertools.combinations_with_replacement(range(len(names)), 2):
        what = f"{TASKS[names[i]]}, its own seeds" if i == j else f"{TASKS[names[i]]} and {TASKS[names[j]]}"
        yield (what, *(_shared(overlaps[kind], i, j) for kind in KINDS))


def classes() -> Iterator[Line]:
    """Classes of attention maps, and whether they tell who survives."""
    yield ("norm-weighted, share of maps", *TASKS.values())
    found = {task: attention(task) for task in TASKS}
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
    for cell in read("transfer.json")["cells"]:
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
    """Likeness to the full model and probes after the last layer, of one seed."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for path in sorted(HERE.glob("*/seed-*/*/representations.json")):
        groups.setdefault((path.parts[-4], path.parts[-2]), []).append(json.loads(path.read_text(encoding="utf-8")))
    yield (
        "after the last layer",
        *(f"{TASKS[task]}, {METHOD_WORDS[p]}: {w}" for task, p in groups for w in ("CKA", "probe")),
    )
    first = [several[0]["models"]["full"][0] for several in groups.values()]
    yield ("embedding layer, of all of them cut", *itertools.chain(*(("", _interval(probed(one))) for one in first)))
    for name in ("full", *(f"{ticket} pruned" for ticket in list(TICKETS)[:4]), "good retrained"):
        cells = []
        for several in groups.values():
            (last,) = (one["models"][name][-1] for one in several)
            cells += [
                "" if name == "full" else _interval([last[f"cka{end}"] for end in ("", "_low", "_high")]),
                _interval(probed(last)),
            ]
        yield (name, *cells)


def probed(layer: dict[str, float]) -> list[float]:
    """Score of a linear probe of a layer, with its interval over examples."""
    return [layer[f"probe{end}"] for end in ("", "_low", "_high")]


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


def _count(value: float) -> str:
    return f"{value / 1e6:.2f} M" if value >= 1e5 else f"{value:.1f}".removesuffix(".0")


def _chance(drawn: dict[str, float] | None) -> str:
    return "–" if drawn is None else f"{drawn['mean']:.3f} [{drawn['low']:.3f}, {drawn['high']:.3f}]"


def _shared(overlap: dict[str, Any], i: int, j: int) -> str:
    value = overlap["jaccard"][i][j]
    drawn = overlap["null_distribution"]["random"]["jaccard"][i][j]
    return f"{_number(value)} ({_chance(drawn)})"


def _over_seeds(found: OverSeeds) -> str:
    if found.low == found.high:
        return f"{found.difference:.3f} in every seed"
    return f"{found.words}, p = {p_words(found.t_p)}, {found.positive} of {found.seeds}".replace("= <", "<")
