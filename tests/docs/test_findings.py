"""The page of findings says what the results beside it say: its tables, and every number of its prose."""

import functools
import importlib.util
import json
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = DOCS / "findings"
PAGE = (DOCS / "findings.md").read_text(encoding="utf-8")
TASKS = ("rotten-tomatoes", "sst2", "cola")
CONTROLS = ("random", "layer-matched")


def test_every_table_is_made_from_the_results() -> None:
    spec = importlib.util.spec_from_file_location("page", RESULTS / "page.py")
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert page.filled(PAGE) == PAGE
    assert page.filled(PAGE.replace("| 0.811 ± 0.005 |", "| 0.812 ± 0.005 |")) == PAGE


@functools.cache
def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


@functools.cache
def scores(task: str, method: str, ticket: str, stage: str, field: str = "score") -> list[float]:
    """One number a seed, of `results.jsonl`."""
    lines = (RESULTS / task / "results.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    asked = (method, ticket, stage)
    return [float(row[field]) for row in rows if (row["method"], row["ticket"], row["stage"]) == asked]


def mean(task: str, method: str, ticket: str, stage: str, field: str = "score") -> float:
    return statistics.fmean(scores(task, method, ticket, stage, field))


def full(task: str) -> float:
    return mean(task, "none", "full", "none")


def verdict(task: str, method: str, ticket: str) -> dict[str, Any]:
    (found,) = (v for v in read(f"{task}/verdicts.json")["verdicts"] if (v["method"], v["ticket"]) == (method, ticket))
    assert found["difference"] == pytest.approx(mean(task, method, ticket, "retrained") - full(task))
    assert isinstance(found, dict)
    return found


def spread(values: Sequence[float], digits: int = 3) -> str:
    return f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def between(values: Sequence[float], digits: int = 2) -> str:
    """The least and the most, as the page writes a range."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def overlap(kind: str) -> dict[tuple[str, str], float]:
    """Jaccard similarity of two tasks' tickets; of one task's own seeds."""
    found = read("comparison.json")["kinds"]["weights" if kind == "weights" else "heads+mlps"]["overlap"][kind]
    names = found["tasks"]
    return {(a, b): found["jaccard"][i][j] for i, a in enumerate(names) for j, b in enumerate(names)}


def agreement(task: str, kind: str) -> dict[str, Any]:
    found = read(f"{task}/comparison.json")["kinds"]["weights" if kind == "weights" else "heads+mlps"]
    return dict(found["tasks"][task]["agreement"][kind])


def attention(task: str) -> dict[str, Any]:
    return dict(read(f"{task}/attention.json")["norm"])


def the_papers_findings() -> Iterator[str]:
    good, weights = ({t: verdict(t, p, "good") for t in TASKS} for p in ("heads+mlps", "weights"))
    assert [weights[task]["matches"] for task in TASKS] == [False, False, True]
    lost = [verdict(task, "weights", ticket)["difference"] for task in TASKS for ticket in CONTROLS]
    rotten, sst, cola = (weights[task]["difference"] for task in TASKS)
    yield (
        f"**nearly**: {cola:+.3f} on CoLA (matches), {sst:.3f} on SST-2 and {rotten:.3f} on Rotten Tomatoes, both just "
        f"below it; random ones lose {between([-one for one in lost])}"
    )
    assert [good[task]["matches"] for task in TASKS] == [False, False, True]
    assert [f"{-good[task]['difference']:.2f}" for task in TASKS[:2]] == ["0.03", "0.03"]
    below = [
        mean(task, "heads+mlps", "good", "retrained") - mean(task, "heads+mlps", "random", "retrained")
        for task in TASKS
    ]
    yield (
        f"{good['cola']['difference']:.3f} on CoLA (matches), 0.03 below on the others; random ones another "
        f"{between(below)} below on all three, where the ranges over seeds overlap"
    )
    for task in TASKS:
        one, other = (scores(task, "heads+mlps", ticket, "retrained") for ticket in ("good", "random"))
        assert statistics.fmean(one) - statistics.stdev(one) < statistics.fmean(other) + statistics.stdev(other)
    worse = [
        mean(task, "heads+mlps", "random", "retrained") - mean(task, "heads+mlps", "bad", "retrained") for task in TASKS
    ]
    yield f"{between(worse)} below random ones, and well above guessing"
    for task in TASKS:
        guess = mean(task, "none", "guessing", "none")
        assert mean(task, "heads+mlps", "bad", "retrained") > guess + 0.09
        assert mean(task, "weights", "bad", "retrained") < guess + 0.08
    yield "at or near guessing on all three"
    shared = [agreement(task, "heads")["jaccard"] for task in TASKS]
    drawn = [agreement(task, "heads")["null_distribution"]["random"]["jaccard"]["mean"] for task in TASKS]
    of_weights = [agreement(task, "weights")["jaccard"] for task in TASKS]
    # Halves are written down, as 0.845 is 0.8450 and a little less or more.
    assert between(of_weights, 3) == "0.845 to 0.950"
    yield (
        f"two seeds' heads overlap by {between(shared)} (random tickets {between(drawn)}), weights by "
        f"{between(of_weights)}"
    )
    related = [attention(task)["correlation"] for task in TASKS]
    assert all(low < 0 < high for _, low, high in related)
    least, most = min(one[0] for one in related), max(one[0] for one in related)
    readable = [1 - attention(task)["groups"]["super-survivors"]["heterogeneous"][0] for task in TASKS]
    assert all(0.7 < share < 0.8 for share in readable)
    yield (
        f"nothing of its survival (correlations of {least:.2f} to {abs(most):.2f}, intervals around 0), but three "
        "quarters of the super-survivors' maps are readable"
    )


def how_it_was_made() -> Iterator[str]:
    about = {task: read(f"{task}/study.json") for task in TASKS}
    rows = {task: (one["task"]["rows"], one["task"]["available"]) for task, one in about.items()}
    assert all(one["seeds"] == [0, 1, 2, 3, 4] for one in about.values())
    assert [one["config"]["epochs"] for one in about.values()] == [1, 1, 3]
    used, all_ = rows["rotten-tomatoes"]
    yield (
        f"{used['train']:,} of {all_['train']:,} training sentences, one epoch, judged on {used['dev']:,}; "
        "seeds 0 to 4."
    )
    used, all_ = rows["sst2"]
    assert used["dev"] == all_["dev"]
    yield (
        f"{used['train']:,} of {all_['train']:,} training rows, one epoch, judged on all {used['dev']} dev rows; "
        "seeds 0 to 4."
    )
    yield f"its full models ({full('sst2'):.3f})"
    used, all_ = rows["cola"]
    assert used["dev"] == all_["dev"]
    yield (
        f"{used['train']:,} of {all_['train']:,} training rows, three epochs, judged on all {used['dev']:,} dev rows; "
        "seeds 0 to 4."
    )
    widths = [
        (high - low) / 2
        for low, high in zip(
            *(scores("cola", "none", "full", "none", end) for end in ("score_low", "score_high")), strict=True
        )
    ]
    yield (
        f"(Matthews correlation {full('cola'):.3f}), and with that few examples a score is uncertain by "
        f"{statistics.fmean(widths):.2f}"
    )
    configs = [one["config"] for one in about.values()]
    assert {(c["learning_rate"], c["batch_size"], c["threshold"], c["search_split"]) for c in configs} == {
        (1e-4, 32, 0.9, "dev")
    }
    assert {one["machine"]["cores"] for one in about.values()} == {2}
    yield "Learning rate 1e-4, batches of 32"
    yield "threshold 90 %"


def how_far_each_search_could_go() -> Iterator[str]:
    heads = scores("sst2", "heads+mlps", "good", "pruned", "heads")
    yield f"(SST-2: ± {statistics.stdev(heads):.0f} of 72)"
    removed = [mean(task, "weights", "good", "pruned", "sparsity") for task in TASKS]
    assert removed[2] == min(removed)


def good_tickets_against_others() -> Iterator[str]:
    rotten, chance = (
        scores("rotten-tomatoes", "heads+mlps", ticket, "retrained") for ticket in ("super-survivors", "super-random")
    )
    (sizes,) = {
        tuple(int(scores("rotten-tomatoes", "heads+mlps", "super-survivors", "pruned", kind)[0]) for kind in kinds)
        for kinds in [("heads", "mlps")]
    }
    assert sizes == (9, 1)
    other = [mean("sst2", "heads+mlps", ticket, "retrained") for ticket in ("super-survivors", "super-random")]
    yield (
        f"the super-survivors of Rotten Tomatoes, {sizes[0]} heads and one MLP, train to {spread(rotten)} where random "
        f"ones of that number reach {spread(chance)}; on SST-2 it is {other[0]:.3f} against {other[1]:.3f}."
    )
    for task in TASKS:
        closest = max(one["difference"] for one in read(f"{task}/verdicts.json")["verdicts"])
        assert verdict(task, "weights", "good")["difference"] == closest
    yield "The good ticket of weights comes closest everywhere."


def is_it_the_same_in_every_seed() -> Iterator[str]:
    for task in TASKS[:2]:
        found = agreement(task, "heads")
        ratios = [found["jaccard"] / found["null_distribution"][name]["jaccard"]["mean"] for name in CONTROLS]
        assert all(1.6 < ratio < 2.1 for ratio in ratios)
    yield "seeds keep the same heads about twice as often as random tickets would"
    assert all(
        agreement(task, "weights")["jaccard"] == max(agreement(task, kind)["jaccard"] for kind in ("heads", "weights"))
        for task in TASKS
    )


def is_it_the_same_for_every_task() -> Iterator[str]:
    heads, weights = overlap("heads"), overlap("weights")
    rotten, sst, cola = TASKS
    yield (
        f"Rotten Tomatoes and SST-2, both sentiment, share their heads ({heads[rotten, sst]:.3f}) as two seeds of one "
        f"task do ({heads[rotten, rotten]:.3f} and {heads[sst, sst]:.3f}). CoLA shares less with either: "
        f"{heads[cola, rotten]:.3f} and {heads[cola, sst]:.3f}, just above the random ranges"
    )
    drawn = read("comparison.json")["kinds"]["heads+mlps"]["overlap"]["heads"]
    place = drawn["tasks"].index
    for other in (rotten, sst):
        chance = drawn["null_distribution"]["random"]["jaccard"][place(cola)][place(other)]
        assert chance["high"] < heads[cola, other] < chance["high"] + 0.05
    yield f"weights hardly ({weights[rotten, sst]:.3f} between the sentiment tasks, as between seeds)"


def what_do_the_survivors_attend_to() -> Iterator[str]:
    for task in TASKS:
        for name in ("difference", "correlation"):
            _, low, high = attention(task)[name]
            assert low < 0 < high
    yield "the intervals of the difference and of the correlation lie around 0 on all three tasks"
    groups = [attention(task)["groups"] for task in TASKS]
    inside, everybody = ([one[name]["heterogeneous"][0] for one in groups] for name in ("super-survivors", "all heads"))
    numbers = [agreement(task, "heads")["super_survivors"] for task in TASKS]
    yield (
        f"({between(inside)} against {between(everybody)} of all heads), but they are {min(numbers):.0f} to "
        f"{max(numbers):.0f} heads"
    )


def is_knowledge_local_or_spread() -> Iterator[str]:
    found = read("rotten-tomatoes/seed-0/heads+mlps/random-tickets.json")
    (draws,) = {len(size["scores"]) for size in found["sizes"]}
    holding = [sum(score >= found["bound"] for score in size["scores"]) for size in found["sizes"]]
    sparsities = [f"{100 * size['sparsity']:.0f} %" for size in found["sizes"]]
    exact = binomtest(holding[-1], draws).proportion_ci(method="exact")
    assert holding == [draws, 14, 1]
    yield (
        f"of {draws} random tickets each, all hold the threshold at {sparsities[0]} sparsity, {holding[1]} at "
        f"{sparsities[1]} and one at {sparsities[2]}, where the search stopped ({100 * holding[-1] / draws:.0f} %, "
        f"exact 95 % interval {100 * exact.low:.1f} to {100 * exact.high:.0f} %)"
    )
    pairs = read("rotten-tomatoes/seed-0/interactions.json")
    assert pairs["backing_up"] >= 0.9 * pairs["significant"]
    measured = f"{pairs['significant']} of {pairs['pairs']:,}"
    yield f"{measured} on {pairs['examples']} examples, nearly all backing each other up"
    yield f"the second derivative ranks the measured interaction well ({pairs['correlation_with_deleted_pairs']:.2f})"
    single, second = pairs["explained_by_single_sites"], pairs["explained_by_second_order"]
    yield (
        f"deleting {pairs['sites_in_a_subset']} of 78 at random costs {pairs['cost_of_subsets']:.3f} in loss on "
        f"average. Single sites explain a quarter of how much a deletion costs ({single:.2f}), the second-order "
        f"picture less ({second:.2f}): around ξ = 1 it knows little of what happens at 0. The share of single sites is "
        f"{pairs['share_of_single_sites']:.2f} because their part cannot be told apart from 0"
    )
    assert pairs["pairs"] == 78 * 77 / 2
    last = {
        method: {
            name: layers[-1]
            for name, layers in read(f"rotten-tomatoes/seed-0/{method}/representations.json")["models"].items()
        }
        for method in ("heads+mlps", "weights")
    }
    lost = [f"{ticket} pruned" for ticket in (*CONTROLS, "bad")]
    likeness = [one[name]["cka"] for one in last.values() for name in lost]
    sites, weights = last["heads+mlps"], last["weights"]
    cka = [one[f"good {stage}"]["cka"] for stage in ("pruned", "retrained") for one in (weights, sites)]
    yield (
        f"(CKA {cka[0]:.2f}, heads and MLPs {cka[1]:.2f}), random and bad ones lose it ({between(likeness)}), and "
        f"retraining brings it back ({cka[2]:.2f} and {cka[3]:.2f})"
    )
    probes = [one[name]["probe"] for one in last.values() for name in lost]
    outputs = [scores("rotten-tomatoes", p, ticket, "pruned")[0] for p in last for ticket in (*CONTROLS, "bad")]
    yield (
        f"random and bad tickets' last layers at {between(probes)}, where the output layer of the full model, which "
        f"they still have, gets {between(outputs)} out of them"
    )


def curves(method: str) -> dict[str, Any]:
    """The abilities along one search of SmolLM2, by name."""
    return {curve["name"]: curve for curve in read(f"understanding/{method}.json")["curves"]}


def at(method: str, ability: str, percent: float) -> dict[str, float]:
    """What is kept where so many percent of the weights are gone."""
    (found,) = (
        point["retained"] for point in curves(method)[ability]["points"] if abs(100 * point["sparsity"] - percent) < 0.5
    )
    return dict(found)


def whole_score(ticket: str, method: str = "none", stage: str = "none") -> float:
    return mean("understanding", method, ticket, stage)


def what_smollm2_still_understands() -> Iterator[str]:
    about = read("understanding/study.json")
    counted = {one["examples"] for one in about["task"]["abilities"] if one["measure"] == "accuracy"}
    minutes = about["seconds"]["total"] / 60
    assert counted == {80}
    assert 12 < minutes < 13
    yield "80 examples an ability"
    yield "thirteen minutes on two cores"
    yield "under 90 % of the full model's"
    methods = ("heads", "mlps", "weights", "wanda")
    assert {read(f"understanding/{method}.json")["threshold"] for method in methods} == {0.9}
    falls = {
        method: {name: 100 * (curve["fall"]["sparsity"] or np.nan) for name, curve in curves(method).items()}
        for method in methods
    }
    for method in methods[1:]:
        assert min(falls[method], key=falls[method].__getitem__) == "knowledge"
    yield (
        f"it is under 90 % when magnitude has taken {falls['weights']['knowledge']:.0f} % of the weights, and Wanda "
        f"{falls['wanda']['knowledge']:.0f} %"
    )
    # A third of the knowledge and nearly all of the grammar are shares above chance.
    assert 0.3 < at("wanda", "knowledge", 50)["share"] < 0.4
    assert at("wanda", "grammar", 50)["share"] > 0.95
    yield "at 50 % Wanda keeps nearly all of the grammar and a third of the knowledge"
    kept = [at(method, "knowledge", 30)["share"] for method in ("weights", "wanda")]
    assert 2 / 3 - 0.01 < min(kept) < max(kept) < 0.81
    for method in ("weights", "wanda"):
        assert whole_score("good", method, "pruned") >= 0.9 * whole_score("full")
        assert read(f"understanding/{method}.json")["good"] == pytest.approx(0.3, abs=0.005)
    yield "at 30 % it still holds, with two thirds to four fifths of the knowledge left"
    ends = [
        [f"{100 * curves(method)['language-modelling']['fall'][end]:.0f}" for end in ("sparsity", "low", "high")]
        for method in ("wanda", "weights")
    ]
    yield "{} % [{}, {}] against {} % [{}, {}] by magnitude".format(*ends[0], *ends[1])
    for ability in ("knowledge", "sentiment", "language-modelling"):
        worst = at("weights", ability, 60)
        chance = curves("weights")[ability]["chance"]
        assert worst["raw_low"] <= chance <= worst["raw_high"] or (worst["raw"] > chance) == (ability[0] == "l")
    assert 0.4 < at("wanda", "language-modelling", 60)["share"] < 0.6
    assert 0.55 < at("wanda", "grammar", 60)["share"] < 0.65
    yield (
        f"**At 60 % magnitude leaves nothing**: grammar {at('weights', 'grammar', 60)['raw']:.3f}, every other ability "
        "at chance; Wanda leaves half of the language modelling and three fifths of the grammar."
    )
    structure = [
        value
        for method in ("heads", "mlps")
        for name, value in falls[method].items()
        if (method, name) != ("mlps", "sentiment")
    ]
    yield f"heads and MLPs fall at {min(structure):.0f} to {max(structure):.0f} % of the weights"
    assert max(whole_score("random", method, "pruned") for method in ("heads", "weights", "wanda")) < 0.1
    yield (
        f"two MLPs of 30 at random cost little ({whole_score('random', 'mlps', 'pruned'):.3f} of "
        f"{whole_score('full'):.3f})"
    )
    feeling = curves("weights")["sentiment"]
    yield (
        f"Sentiment is hardly there in the full model ({feeling['full']:.3f}, interval {feeling['full_low']:.3f} to "
        f"{feeling['full_high']:.3f}, chance {feeling['chance']:.1f})"
    )


def what_tickets_of_a_denoiser_draw() -> Iterator[str]:
    about = read("digits/study.json")
    parameters = mean("digits", "none", "full", "none", "parameters")
    assert about["seeds"] == [0, 1, 2]
    yield (
        f"a U-net of {parameters / 1000:.0f} thousand parameters, trained for a thousand steps on "
        f"{about['task']['rows']['train']:,} of scikit-learn's digits"
    )
    dev = about["task"]["rows"]["dev"]
    yield f"between {dev} drawn and {dev} held-out images"
    points = read("digits/curves.json")["weights"]
    removed = [round(100 * statistics.fmean(point["sparsity"])) for point in points]
    assert removed == [0, 50, 74, 83, 89, 95]
    whole = full("digits")
    own = scores("digits", "none", "full", "none")
    better = [[one < ours for one, ours in zip(point["found"], own, strict=True)] for point in points]
    assert all(all(seeds) for seeds in better[1:4])
    assert not any(any(seeds) for seeds in better[4:])
    held = [statistics.fmean(point["found"]) for point in points[1:4]]
    yield "**The lottery ticket hypothesis holds for this denoiser, up to 83 % of the weights** in every seed"
    yield f"train to a smaller distance than the full model ({between(held)} against {whole:.2f})"
    (held_by_one,) = ((found, ours) for found, ours in zip(points[4]["found"], own, strict=True) if found <= ours / 0.9)
    yield (
        "without 89 % one seed stays within the tenth that the search allows "
        f"({held_by_one[0]:.3f} against {held_by_one[1]:.3f})"
    )
    drawn = [statistics.fmean(point["random"]) for point in points[1:]]
    assert drawn[2] / held[2] == pytest.approx(2, abs=0.2)
    assert min(*points[2]["random"]) > whole
    yield (
        "Random tickets with as many weights in every matrix fall behind from 74 % on, and at 83 % their distance is "
        "twice as large. At 95 % neither draws digits."
    )
    assert mean("digits", "none", "guessing", "none") > statistics.fmean(points[5]["found"]) > 4 * whole
    good, bad = (mean("digits", "heads+channels", ticket, "pruned", "sparsity") for ticket in ("good", "bad"))
    assert good == pytest.approx(2 / 5, abs=0.03)
    assert (1 - bad) / (1 - good) == pytest.approx(4 / 3, abs=0.03)
    kept = [scores("digits", "heads+channels", "good", "pruned", kind) for kind in ("heads", "channels")]
    (heads,), (channels,) = ({*one} for one in kept)
    yield f"without {16 - heads:.0f} of 16 heads and {64 - channels:.0f} of 64 groups of channels"
    losses = [mean("digits", "weights", ticket, "retrained", "loss") for ticket in ("good", "layer-matched")]
    assert losses[1] / losses[0] - 1 == pytest.approx(1 / 7, abs=0.01)
    distances = [mean("digits", "weights", ticket, "retrained") for ticket in ("good", "layer-matched")]
    assert distances[1] / distances[0] == pytest.approx(2, abs=0.25)
    yield f"it moves by a seventh ({losses[0]:.3f}, {losses[1]:.3f}), the distance by a factor of two"
    assert losses[0] > mean("digits", "none", "full", "none", "loss")


def rewound_to_the_beginning() -> Iterator[str]:
    """The left column of the table beside step 100, whose own results are not kept."""
    for point in read("digits/curves.json")["weights"][1:]:
        yield f"| {100 * statistics.fmean(point['sparsity']):.0f} | {spread(point['found'])} |"


SECTIONS: dict[str, Callable[[], Iterator[str]]] = {
    "What the tickets of MiniLM say": the_papers_findings,
    "How it was made": how_it_was_made,
    "How far each search could go": how_far_each_search_could_go,
    "Good tickets against random and bad ones": good_tickets_against_others,
    "Is it the same in every seed?": is_it_the_same_in_every_seed,
    "Is it the same for every task?": is_it_the_same_for_every_task,
    "What do the survivors attend to?": what_do_the_survivors_attend_to,
    "Is knowledge local, or spread?": is_knowledge_local_or_spread,
    "What SmolLM2 still understands": what_smollm2_still_understands,
    "What tickets of a denoiser draw": what_tickets_of_a_denoiser_draw,
    "Rewound to step 100 instead": rewound_to_the_beginning,
}
"""Title of a section → what its prose says, word by word, with numbers that are computed here."""

WITHOUT_RESULTS = {
    "What is not here yet": "no numbers",
    "One cut, on the field's own tests": "printed by benchmarks/language_methods.py, which keeps no file",
    "What training again brings back": "of a study that was not collected",
    "Which ranking beats random tickets": "printed by benchmarks/denoiser_rankings.py, which keeps no file",
}
"""Sections whose numbers no stored result can be asked for, and why."""

OF_THE_SET_UP = {
    "What the tickets of MiniLM say": ("6 layers x 12 heads, 22.7 M parameters, 10.6 M of them prunable", "(2020)"),
    "How it was made": ("95 % intervals", "bf16"),
    "Good tickets against random and bad ones": ("95 % interval", "is told apart from 0"),
    "Is it the same for every task?": ("95 % range",),
    "What do the survivors attend to?": ("500 dev inputs",),
    "What SmolLM2 still understands": (
        *("SmolLM2-135M, its 4-bit weights made fp32, bf16", "3,000 tokens of text", "95 % intervals"),
    ),
    "What tickets of a denoiser draw": ("--seeds 0,1,2",),
    "Rewound to step 100 instead": (
        *("--rewind step-100", "after 100 of the thousand steps", "| to step 100 |", "2020"),
        # Of a study that was not collected.
        *("0.627 ± 0.041", "0.604 ± 0.023", "0.678 ± 0.051", "0.856 ± 0.076", "2.323 ± 0.525"),
        "Up to 83 % the two lie within each other's deviations; at 89 and 95 % step 100 is better in all three seeds",
        "At 95 % neither draws digits",
    ),
}
"""Numbers that are no results: names, options, and how large a model or a text is."""


def prose() -> dict[str, str]:
    """Title → text of a section on one line, without the tables that page.py makes, pictures and links."""
    text = re.sub(r"<!-- table: \w+ -->\n.*?<!-- end -->", "", PAGE, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text))
    parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {title: " ".join(body.split()) for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_section_is_known() -> None:
    assert set(prose()) == {*SECTIONS, *WITHOUT_RESULTS}
    assert {*OF_THE_SET_UP} <= {*SECTIONS}


@pytest.mark.parametrize("title", SECTIONS)
def test_every_number_of_the_prose_is_that_of_the_results(title: str) -> None:
    left = prose()[title]
    for statement in SECTIONS[title]():
        assert statement in prose()[title]
        left = left.replace(statement, "")
    for known in OF_THE_SET_UP.get(title, ()):
        left = left.replace(known, "")
    names = r"MiniLM|SmolLM2|SST-2|seed-0|step-100|step 100"
    unasked = re.findall(r"\S*\d\S*", re.sub(names, "", left))
    assert not unasked, f"numbers that no statement computes: {unasked}"
