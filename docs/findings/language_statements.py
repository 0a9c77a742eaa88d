"""Statements of the pages about SmolLM2 after pruning."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from language_tables import BENCHMARK, CHOICES, TEXTS, apart, available, right, said
from paired import words
from stored import lines, mean, read, verdict

METHODS = ("heads", "mlps", "weights", "wanda")
SHORT = {"language-modelling": "language modelling"}


def curves(method: str) -> dict[str, Any]:
    """The abilities along one search, by name."""
    return {curve["name"]: curve for curve in read(f"understanding/{method}.json")["curves"]}


def at(method: str, ability: str, percent: float) -> dict[str, float]:
    """Remains where so many percent of the weights are gone."""
    points = curves(method)[ability]["points"]
    (found,) = (point["retained"] for point in points if abs(100 * point["sparsity"] - percent) < 0.5)
    return dict(found)


def fall(method: str, ability: str) -> dict[str, float]:
    """Percent of the weights at which an ability falls, with its interval, endless where it has no end."""
    found = curves(method)[ability]["fall"]
    return {name: 100 * (np.inf if value is None else value) for name, value in found.items()}


def fell(method: str, ability: str) -> str:
    """Fall of an ability in words."""
    one = fall(method, ability)
    return f"{one['sparsity']:.0f} % [{one['low']:.0f}, {one['high']:.0f}]"


def earlier(method: str, one: str, other: str) -> bool:
    """True if one ability falls before another by a method, their intervals being apart."""
    return fall(method, one)["high"] < fall(method, other)["low"]


def share(method: str, ability: str, percent: float) -> str:
    """The share of an ability above chance that is left, with its interval."""
    kept = at(method, ability, percent)
    return f"{kept['share']:.2f} [{kept['low']:.2f}, {kept['high']:.2f}]"


# Long: a section's sentences in their order on the page, each beside the figures that it rests on.
def what_smollm2_still_understands() -> Iterator[str]:
    """Falls of the abilities, and what is left of them."""
    about = read("understanding/study.json")
    assert {one["examples"] for one in about["task"]["abilities"] if one["measure"] == "accuracy"} == {80}
    assert about["seeds"] == [0]
    yield "80 examples an ability"
    yield "one seed"
    yield "under 90 % of the full model's"
    assert {read(f"understanding/{method}.json")["threshold"] for method in METHODS} == {0.9}
    before = {(method, other) for method in METHODS for other in curves(method) if earlier(method, "knowledge", other)}
    assert before == {
        *((method, "language-modelling") for method in ("weights", "wanda")),
        *(("weights", "grammar"), ("mlps", "sentiment")),
    }
    yield (
        f"**Without single weights knowledge falls before language modelling**: at {fell('weights', 'knowledge')} "
        "against "
        f"{fell('weights', 'language-modelling')} by magnitude, at {fell('wanda', 'knowledge')} against "
        f"{fell('wanda', 'language-modelling')} by Wanda. It also falls before grammar by magnitude "
        f"({fell('weights', 'grammar')}) and, without MLPs, before sentiment; of all other pairs the intervals do "
        "not tell "
        "which goes first"
    )
    kept = at("wanda", "grammar", 50), at("wanda", "knowledge", 50)
    assert kept[0]["low"] > kept[1]["high"]
    yield (
        f"At 50 % Wanda keeps {share('wanda', 'grammar', 50)} of the grammar above chance and "
        f"{share('wanda', 'knowledge', 50)} of the knowledge"
    )
    for method in ("weights", "wanda"):
        assert mean("understanding", method, "good", "pruned") >= 0.9 * mean("understanding", "none", "full", "none")
        assert abs(read(f"understanding/{method}.json")["good"] - 0.3) < 0.005
    yield (
        f"A mean over abilities hides that: at 30 % it still holds, with {share('weights', 'knowledge', 30)} "
        "(magnitude) "
        f"and {share('wanda', 'knowledge', 30)} (Wanda) of the knowledge left"
    )
    far = [fall(method, "language-modelling") for method in ("wanda", "weights")]
    assert far[0]["low"] > far[1]["high"]
    yield (
        f"**Wanda takes {far[0]['sparsity'] / far[1]['sparsity']:.1f} times as many weights before language modelling "
        "falls**"
    )
    for ability in ("knowledge", "sentiment"):
        worst = at("weights", ability, 60)
        assert worst["raw_low"] <= curves("weights")[ability]["chance"] <= worst["raw_high"]
    worst, chance = at("weights", "language-modelling", 60), curves("weights")["language-modelling"]["chance"]
    assert worst["raw_low"] > chance
    grammar = at("weights", "grammar", 60)
    assert grammar["raw_low"] < 0.5 < grammar["raw_high"]
    yield (
        f"**At 60 % magnitude leaves nothing that is better than chance**: grammar {grammar['raw']:.3f} "
        f"[{grammar['raw_low']:.3f}, {grammar['raw_high']:.3f}], and text is predicted worse than by counting tokens "
        f"({worst['raw']:.3f} against {chance:.3f} bits); Wanda leaves {share('wanda', 'language-modelling', 60)} of "
        "the "
        f"language modelling and {share('wanda', 'grammar', 60)} of the grammar"
    )
    ends = {method: fall(method, "language-modelling") for method in METHODS}
    assert max(ends[method]["high"] for method in ("heads", "mlps")) < min(
        ends[method]["low"] for method in ("weights", "wanda")
    )
    yield (
        f"**Structure costs language modelling more than weights**: without heads it falls at "
        f"{fell('heads', 'language-modelling')}, without MLPs at {fell('mlps', 'language-modelling')} of the "
        "weights; but "
        "heads and MLPs are the only ones that make the model smaller when it runs"
    )
    lost = {method: verdict("understanding", method, "random") for method in METHODS}
    assert all(one["high"] < 0 for one in lost.values())
    assert all(lost[method]["high"] < lost["mlps"]["low"] for method in METHODS if method != "mlps")
    mlps = lost["mlps"]
    yield (
        f"Random tickets of the good ones' sizes lose {-mlps['difference']:.3f} [{-mlps['high']:.3f}, "
        f"{-mlps['low']:.3f}] "
        f"of the whole score ({mean('understanding', 'none', 'full', 'none'):.3f}) without two of 30 MLPs, and "
        f"{min(-lost[one]['difference'] for one in METHODS if one != 'mlps'):.2f} to "
        f"{max(-lost[one]['difference'] for one in METHODS):.2f} without as many heads or weights"
    )
    feeling = curves("weights")["sentiment"]
    yield (
        f"Sentiment is hardly there in the full model ({feeling['full']:.3f}, interval {feeling['full_low']:.3f} to "
        f"{feeling['full_high']:.3f}, chance {feeling['chance']:.1f}), so that its curve says little"
    )


def from_one_study() -> Iterator[str]:
    """Statements of docs/explanation/understanding.md about a run."""
    yield "80 examples an ability"
    assert earlier("weights", "knowledge", "language-modelling")
    assert earlier("wanda", "knowledge", "language-modelling")
    yield (
        f"Knowledge goes before language modelling: magnitude takes it under 90 % at {fell('weights', 'knowledge')} "
        "of the "
        f"weights, Wanda at {fell('wanda', 'knowledge')}, where language modelling falls at "
        f"{fell('weights', 'language-modelling')} and {fell('wanda', 'language-modelling')}; grammar lasts to "
        f"{fell('weights', 'grammar')} and {fell('wanda', 'grammar')}"
    )
    for method in ("weights", "wanda"):
        assert abs(read(f"understanding/{method}.json")["good"] - 0.3) < 0.005
    yield "A mean over abilities hides that: at 30 % it still holds"


def what_a_text_begins_with() -> Iterator[str]:
    """Nats a token of held-out text, by the BOS token."""
    nats = read("understanding/study.json")["task"]["bos_token_nats"]
    assert min(nats, key=nats.__getitem__) == "<|endoftext|>"
    yield (
        f"SmolLM2 needs {nats['<|endoftext|>']:.2f} nats a token of held-out text after `<|endoftext|>`, and "
        f"{nats['none']:.2f} after nothing"
    )


def one_cut() -> Iterator[str]:
    """Cuts of SmolLM2 on files in the field's formats."""
    settings, *_ = lines(BENCHMARK)
    items = {ability: len(right("full", ability)) for ability in CHOICES}
    assert len({items[ability] for ability in list(CHOICES)[1:]}) == 1
    count, length = settings["calibration"].split("x")
    yield f"{items['grammar'] // 34} of each of 34 of its 67 paradigms"
    yield f"the first {settings['tokens'][0][0]} tokens of {len(settings['tokens'][0])} held-out plot summaries"
    yield f"{items['cloze']} items each of PIQA, ARC-easy"
    yield f"{count} sequences of {length} tokens"
    for one, other in available():
        yield f"{said(one)} against {said(other)}: {compared(one, other)}"


def compared(one: str, other: str) -> str:
    """Measures in which a cut is better than another on the same items, and worse, and those that do not tell."""
    found: dict[str, list[str]] = {"better": [], "worse": [], "not told apart": []}
    for ability, title in (*CHOICES.items(), (TEXTS, "bits a token")):
        difference, low, high = apart(one, other, ability)
        better = difference < 0 if ability == TEXTS else difference > 0
        if low <= 0 <= high:
            found["not told apart"].append(title)
        else:
            found["better" if better else "worse"].append(f"{title} ({words(difference, low, high)})")
    return "; ".join(f"{how} in {listed(titles)}" for how, titles in found.items() if titles)


def listed(names: list[str]) -> str:
    """Names as a sentence lists them."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
