"""Statements of docs/findings.md about MiniLM's tickets."""

import statistics
from collections.abc import Iterator
from typing import Any

from scipy.stats import binomtest

from classifier_tables import PAIRS, QUICK, compared, figures
from paired import holm, p_words, words
from stored import (
    CONTROLS,
    TASKS,
    agreement,
    attention,
    full,
    guessing,
    overlap,
    read,
    scores,
    span,
    spread,
    verdict,
)

SITES = "heads+mlps"
ROTTEN, SST, COLA = TASKS


# Long: a section's sentences in their order on the page, each beside the figures that it rests on.
def the_papers_findings() -> Iterator[str]:
    """The table of what holds, sentence by sentence."""
    whole = {title: figures(title, "none", "full", "none") for title in ("SST-2", "CoLA")}

    def published(method: str, ticket: str) -> tuple[float, float]:
        return figures("SST-2", method, ticket).mean, figures("CoLA", method, ticket).mean

    good, random = published("weights", "good"), published("weights", "random")
    yield (
        f"good tickets of weights train back to the full score (SST-2 {good[0]:.2f} of {whole['SST-2'].mean:.2f}, CoLA "
        f"{good[1]:.2f} of {whole['CoLA'].mean:.2f}), random ones do not ({random[0]:.2f}, {random[1]:.2f})"
    )
    apart = {task: compared(task, "weights", "good", "full") for task in TASKS}
    assert not apart[COLA].apart
    assert all(apart[task].high < 0 and not apart[task].positive for task in (ROTTEN, SST))
    lost = [compared(task, "weights", ticket, "full") for task in TASKS for ticket in CONTROLS]
    assert all(one.high < 0 for one in lost)
    yield (
        f"**nearly**: on CoLA no difference to the full model is seen ({apart[COLA].words}), on SST-2 and Rotten "
        f"Tomatoes they stay {-apart[SST].difference:.3f} and {-apart[ROTTEN].difference:.3f} below it, in every seed; "
        f"random ones lose {span([-one.difference for one in lost])}"
    )
    good, random = published(SITES, "good"), published(SITES, "random")
    yield (
        f"good tickets of heads and MLPs train close to it, random ones too (SST-2 {good[0]:.2f} and {random[0]:.2f} "
        "of "
        f"{whole['SST-2'].mean:.2f}, CoLA {good[1]:.2f} and {random[1]:.2f} of {whole['CoLA'].mean:.2f})"
    )
    apart = {task: compared(task, SITES, "good", "full") for task in TASKS}
    beyond = {task: compared(task, SITES, "good", "random") for task in TASKS}
    assert [apart[task].apart for task in TASKS] == [True, False, False]
    assert [beyond[task].apart for task in TASKS] == [True, False, False]
    assert not any(compared(task, SITES, "good", "layer-matched").apart for task in TASKS)
    yield (
        f"**in part**: good ones end {-apart[ROTTEN].difference:.3f} (Rotten Tomatoes), {-apart[SST].difference:.3f} "
        f"(SST-2) and {-apart[COLA].difference:.3f} (CoLA) below the full model, random ones another "
        f"{span([one.difference for one in beyond.values()], 3)}; over seeds either is told apart from 0 on Rotten "
        "Tomatoes alone, and good ones from layer-matched random ones nowhere"
    )
    bad = published(SITES, "bad")
    yield f"bad tickets of heads and MLPs can still be trained, to less (SST-2 {bad[0]:.2f}, CoLA {bad[1]:.2f})"
    above = [compared(task, SITES, "bad", "guessing") for task in TASKS]
    below = {task: compared(task, SITES, "random", "bad") for task in TASKS}
    assert all(one.low > 0 and one.positive == one.seeds for one in above)
    assert [below[task].apart for task in TASKS] == [True, False, True]
    yield (
        f"**holds**: above guessing in every seed, by {span([one.difference for one in above])} on average; below "
        f"random ones by {below[ROTTEN].difference:.3f} on Rotten Tomatoes and {below[COLA].difference:.3f} on CoLA, "
        f"not told apart from them on SST-2 ({below[SST].words})"
    )
    bad = published("weights", "bad")
    guess = [figures(title, "none", "guessing", "none").mean for title in ("SST-2", "CoLA")]
    yield (
        f"bad tickets of weights train to {bad[0]:.2f} on SST-2 and {bad[1]:.2f} on CoLA, where guessing gets "
        f"{guess[0]:.2f} and {guess[1]:.2f}"
    )
    assert all({*scores(task, "weights", "bad", "retrained")} == {guessing(task)} for task in (ROTTEN, SST))
    chance = compared(COLA, "weights", "bad", "guessing")
    assert chance.low > 0
    assert chance.positive == chance.seeds
    yield (
        f"**worse here**: exactly as good as guessing on Rotten Tomatoes and SST-2 in every seed, a little above it on "
        f"CoLA ({chance.words}), where the full model has {full(COLA):.3f}"
    )
    of_heads, of_weights = ([agreement(task, kind) for task in TASKS] for kind in ("heads", "weights"))
    for found in (*of_heads, *of_weights):
        assert all(found["jaccard"] > found["null_distribution"][name]["jaccard"]["high"] for name in CONTROLS)
    drawn = [found["null_distribution"]["random"]["jaccard"]["mean"] for found in of_heads]
    # Halves are written down, as 0.845 is 0.8450 and a little less or more.
    assert span([one["jaccard"] for one in of_weights], 3) == "0.845 to 0.950"
    yield (
        f"**holds, yet they share more than random tickets do**: two seeds' heads overlap by "
        f"{span([one['jaccard'] for one in of_heads])} (random tickets {span(drawn)}), weights by "
        f"{span([one['jaccard'] for one in of_weights])}, all above the 95 % ranges of random tickets"
    )
    related = [attention(task)["correlation"] for task in TASKS]
    assert all(low < 0 < high for _, low, high in related)
    readable = [1 - attention(task)["groups"]["super-survivors"]["heterogeneous"][0] for task in TASKS]
    yield (
        f"**not refuted**: no correlation of heterogeneity with survival is seen ({related[0][0]:.2f}, "
        f"{related[1][0]:.2f} and {related[2][0]:.2f}), and what the intervals leave out is one below "
        f"{min(one[1] for one in related):.2f} or above {max(one[2] for one in related):.2f}, not a weak one; of the "
        f"super-survivors' maps {span(readable)} are readable"
    )


def beside_the_paper() -> Iterator[str]:
    """Comparison of the figures side by side, and its limits."""
    lower = [
        figures(title, "none", "full", "none").mean - full(task) for task, title in ((SST, "SST-2"), (COLA, "CoLA"))
    ]
    yield (
        f"Our full models are {lower[0]:.2f} and {lower[1]:.2f} below the paper's (a smaller model, fewer examples), "
        "so "
        "that only what happens within a column can be compared"
    )
    beyond = figures("SST-2", SITES, "random").mean - figures("SST-2", SITES, "good").mean
    yield f"in the paper's SST-2 random tickets even end {beyond:.2f} above good ones"


def how_it_was_made() -> Iterator[str]:
    """Rows, seeds and settings of the studies."""
    about = {task: read(f"{task}/study.json") for task in TASKS}
    rows = {task: (one["task"]["rows"], one["task"]["available"]) for task, one in about.items()}
    assert all(one["seeds"] == [0, 1, 2, 3, 4] for one in about.values())
    assert [one["config"]["epochs"] for one in about.values()] == [1, 1, 3]
    used, all_ = rows[ROTTEN]
    yield (
        f"{used['train']:,} of {all_['train']:,} training sentences, one epoch, judged on {used['dev']:,}; "
        "seeds 0 to 4."
    )
    used, all_ = rows[SST]
    assert used["dev"] == all_["dev"]
    yield (
        f"{used['train']:,} of {all_['train']:,} training rows, one epoch, judged on all {used['dev']} dev rows; "
        "seeds 0 to 4."
    )
    yield f"its full models get {full(SST):.3f}"
    used, all_ = rows[COLA]
    assert used["dev"] == all_["dev"]
    yield (
        f"{used['train']:,} of {all_['train']:,} training rows, three epochs, judged on all {used['dev']:,} dev rows; "
        "seeds 0 to 4."
    )
    ends = (scores(COLA, "none", "full", "none", end) for end in ("score_low", "score_high"))
    widths = [(high - low) / 2 for low, high in zip(*ends, strict=True)]
    yield (
        f"(Matthews correlation {full(COLA):.3f}), and with that few examples a score is uncertain by "
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
    """Sizes of the good tickets."""
    removed = {
        method: [scores(task, method, "good", "pruned", "sparsity") for task in TASKS] for method in (SITES, "weights")
    }
    for one in removed.values():
        assert max(one[2]) < min(*one[0], *one[1])
    yield "Less can go from CoLA than from either other task, in every seed and by both searches."
    heads = scores(SST, SITES, "good", "pruned", "heads")
    yield f"How many heads are left varies from seed to seed (SST-2: {min(heads):.0f} to {max(heads):.0f} of 72)."


# Long: a section's sentences in their order on the page, each beside the figures that it rests on.
def good_tickets_against_others() -> Iterator[str]:
    """Differences over examples and over seeds."""
    matching = [
        (task, one["method"], one["ticket"])
        for task in TASKS
        for one in read(f"{task}/verdicts.json")["verdicts"]
        if one["matches"]
    ]
    assert {task for task, *_ in matching} == {COLA}
    yield "Only CoLA has tickets that match"
    yield f"whose full models vary by {statistics.stdev(scores(COLA, 'none', 'full', 'none')):.3f} from seed to seed"
    pairs = [(task, method, *pair) for method, several in PAIRS.items() for pair in several for task in TASKS]
    found = {pair: compared(*pair) for pair in pairs}
    seeds = {one.seeds for one in found.values()}
    assert seeds == {5}
    yield (
        f"With five seeds the permutation test of signs, which assumes least, cannot give less than {2 / 2**5:.3f}, "
        "as it "
        "does where all five agree; p is that of the paired t-test"
    )
    good = [found[task, SITES, "good", "random"] for task in TASKS]
    assert good[0].positive == good[0].seeds
    corrected = holm([one.t_p for one in good])
    assert min(corrected) > 0.05
    yield (
        "**Among heads and MLPs a good ticket, once retrained, is told apart from a random one on one task of "
        "three**: on "
        f"Rotten Tomatoes it is better in all five seeds, by {good[0].difference:.3f} (p = {p_words(good[0].t_p)}; "
        f"{p_words(corrected[0])} "
        f"after Holm's correction for three tasks), on the others intervals reach from "
        f"{min(one.low for one in good[1:]):+.3f} to {max(one.high for one in good[1:]):+.3f}"
    )
    matched = [found[task, SITES, "good", "layer-matched"] for task in TASKS]
    assert not any(one.apart for one in matched)
    yield (
        f"Against random ones with as many sites in every layer it is told apart on no task ({matched[0].words} on "
        "Rotten "
        "Tomatoes)"
    )
    weights = [found[task, "weights", "good", other] for task in TASKS for other in CONTROLS]
    assert all(one.low > 0 and one.positive == one.seeds for one in weights)
    assert max(holm([one.t_p for one in weights])) < 0.05
    yield (
        f"**Among weights it is**: by {span([one.difference for one in weights])}, in every seed of every task, "
        "against "
        "random and layer-matched ones"
    )
    left = {task: [found[task, SITES, "super-survivors", "super-random"]] for task in TASKS}
    (rotten,), (sst,), (cola,) = left.values()
    assert rotten.low > 0 < sst.low
    assert not cola.apart
    counts = [int(scores(ROTTEN, SITES, "super-survivors", "pruned", kind)[0]) for kind in ("heads", "mlps")]
    assert counts[1] == 1
    ours, chance = (scores(ROTTEN, SITES, ticket, "retrained") for ticket in ("super-survivors", "super-random"))
    yield (
        f"**Where very few sites are left, which ones matters on two tasks of three**: the super-survivors of Rotten "
        f"Tomatoes, {counts[0]} heads and one MLP, train to {spread(ours)} where random ones of that number reach "
        f"{spread(chance)} ({rotten.words}); on SST-2 the difference is {sst.words}, on CoLA, where "
        f"{agreement(COLA, 'heads')['super_survivors']:.0f} heads are left, {cola.words}"
    )
    assert compared(SST, SITES, "super-survivors", "super-random").difference > 0
    closest = {
        task: verdict(task, "weights", "good")["difference"] - verdict(task, SITES, "good")["difference"]
        for task in TASKS
    }
    assert min(closest.values()) > 0


def is_it_the_same_in_every_seed() -> Iterator[str]:
    """Agreement of seeds, beside random tickets."""
    yield (
        "Beyond the range of random tickets, also of those with as many in each layer, lie the heads and the weights "
        "of "
        "all three tasks; MLPs of Rotten Tomatoes and SST-2 too, not those of CoLA"
    )
    for task in TASKS:
        for kind in ("heads", "weights"):
            found = agreement(task, kind)
            assert all(found["jaccard"] > found["null_distribution"][name]["jaccard"]["high"] for name in CONTROLS)
    beyond = []
    for task in TASKS:
        found = agreement(task, "mlps")
        beyond.append(found["jaccard"] > found["null_distribution"]["random"]["jaccard"]["high"] + 1e-9)
    assert beyond == [True, True, False]
    ratios = [
        found["jaccard"] / found["null_distribution"]["random"]["jaccard"]["mean"]
        for found in (agreement(task, "heads") for task in TASKS)
    ]
    yield (
        f"two seeds' heads overlap {ratios[0]:.1f} (Rotten Tomatoes), {ratios[1]:.1f} (SST-2) and {ratios[2]:.1f} "
        "(CoLA) "
        "times as much as random tickets do"
    )
    for measure in ("jaccard", "fleiss_kappa"):
        for task in TASKS:
            assert agreement(task, "weights")[measure] > agreement(task, "heads")[measure]
    yield "Weights agree more than heads on every task, by Jaccard and by kappa"
    null = [agreement(task, "heads")["null_distribution"]["random"]["cochran_q_p"]["high"] for task in TASKS]
    assert max(null) < 0.05
    yield "Cochran's Q rejects random tickets of these sizes as it does ours, and so says nothing here"


def is_it_the_same_for_every_task() -> Iterator[str]:
    """Overlap of tasks, beside random tickets."""
    found = {kind: overlap(kind) for kind in ("heads", "mlps", "weights")}
    names = found["heads"]["tasks"]

    def shared(kind: str, a: str, b: str) -> float:
        return float(found[kind]["jaccard"][names.index(a)][names.index(b)])

    def drawn(kind: str, a: str, b: str) -> dict[str, Any]:
        return dict(found[kind]["null_distribution"]["random"]["jaccard"][names.index(a)][names.index(b)])

    own = [shared("heads", task, task) for task in (ROTTEN, SST)]
    assert min(own) < shared("heads", ROTTEN, SST) < max(own)
    yield (
        f"Rotten Tomatoes and SST-2, both sentiment, share their heads ({shared('heads', ROTTEN, SST):.3f}) as two "
        "seeds "
        f"of one task do ({own[0]:.3f} and {own[1]:.3f})"
    )
    others = [(COLA, ROTTEN), (COLA, SST)]
    beyond = [shared("heads", *pair) - drawn("heads", *pair)["high"] for pair in others]
    assert all(one > 0 for one in beyond)
    yield (
        f"CoLA shares less with either: {shared('heads', *others[0]):.3f} and {shared('heads', *others[1]):.3f}, "
        f"{beyond[0]:.3f} and {beyond[1]:.3f} above the random ranges"
    )
    outside = [shared("mlps", *pair) > drawn("mlps", *pair)["high"] for pair in (*others, (ROTTEN, SST))]
    assert outside == [True, False, False]
    yield "MLPs are shared beyond the random range by CoLA and Rotten Tomatoes alone"
    weights = [shared("weights", task, task) for task in (ROTTEN, SST)]
    assert min(weights) < shared("weights", ROTTEN, SST) < max(weights)
    yield (
        f"Weights of the sentiment tasks overlap as those of two seeds do ({shared('weights', ROTTEN, SST):.3f}); "
        "CoLA's, "
        f"whose tickets are about twice as large, by {shared('weights', *others[0]):.3f} and "
        f"{shared('weights', *others[1]):.3f} with them, where random tickets do by "
        f"{drawn('weights', *others[0])['mean']:.3f} and {drawn('weights', *others[1])['mean']:.3f}"
    )
    sizes = [agreement(task, "weights")["mean_survivors"] for task in TASKS]
    assert all(1.9 < sizes[2] / one < 2.1 for one in sizes[:2])


def what_do_the_survivors_attend_to() -> Iterator[str]:
    """Classes of attention maps, and survival."""
    differences, related = ([attention(task)[name] for task in TASKS] for name in ("difference", "correlation"))
    assert all(low < 0 < high for _, low, high in (*differences, *related))
    yield (
        f"No difference in heterogeneity is seen between survivors and pruned heads, and no correlation with survival. "
        f"The intervals leave out differences of more than {max(max(-low, high) for _, low, high in differences):.2f} "
        f"and correlations of more than {max(max(-low, high) for _, low, high in related):.2f} either way; smaller "
        "ones "
        "they do not"
    )
    groups = [attention(task)["groups"] for task in TASKS]
    inside, everybody = ([one[name]["heterogeneous"] for one in groups] for name in ("super-survivors", "all heads"))
    assert all(one[2] < other[1] for one, other in zip(inside, everybody, strict=True))
    numbers = [agreement(task, "heads")["super_survivors"] for task in TASKS]
    yield (
        f"The super-survivors' maps are less often heterogeneous ({span([one[0] for one in inside])} against "
        f"{span([one[0] for one in everybody])} of all heads), on other inputs too; but they are {min(numbers):.0f} to "
        f"{max(numbers):.0f} heads, and whether other heads would show it these intervals, over inputs, do not say"
    )


# Long: a section's sentences in their order on the page, each beside the figures that it rests on.
def is_knowledge_local_or_spread() -> Iterator[str]:
    """Random tickets, interactions, representations of one seed."""
    found = read("rotten-tomatoes/seed-0/heads+mlps/random-tickets.json")
    (draws,) = {len(size["scores"]) for size in found["sizes"]}
    holding = [sum(score >= found["bound"] for score in size["scores"]) for size in found["sizes"]]
    sparsities = [f"{100 * size['sparsity']:.0f} %" for size in found["sizes"]]
    exact = [binomtest(count, draws).proportion_ci(method="exact") for count in holding]
    ends = [f"{100 * one.low:.0f} to {100 * one.high:.0f} %" for one in exact]
    assert exact[2].high < exact[1].low
    yield (
        f"**Many random tickets win, until few sites are left**: of {draws} random tickets each, {holding[0]} hold the "
        f"threshold at {sparsities[0]} sparsity (exact 95 % interval of the share {ends[0]}), {holding[1]} at "
        f"{sparsities[1]} ({ends[1]}) and {holding[2]} at {sparsities[2]}, where the search stopped ({ends[2]})"
    )
    pairs = read("rotten-tomatoes/seed-0/interactions.json")
    yield (
        f"**Few pairs interact measurably**: {pairs['significant']} of {pairs['pairs']:,} on {pairs['examples']} "
        f"examples, {pairs['backing_up']} of them backing each other up"
    )
    yield (
        f"in {pairs['deleted_pairs']} pairs that were really deleted, the second derivative ranks the measured "
        f"interaction with a correlation of {pairs['correlation_with_deleted_pairs']:.2f}"
    )
    assert pairs["share_of_single_sites"] == 0
    yield (
        f"deleting {pairs['sites_in_a_subset']} of 78 sites at random costs {pairs['cost_of_subsets']:.3f} in loss on "
        f"average, over {pairs['deleted_subsets']} draws. What single sites cost explains "
        f"{pairs['explained_by_single_sites']:.2f} of how much these deletions cost, the second-order picture "
        f"{pairs['explained_by_second_order']:.2f}; how far other draws would move these, no interval says. A share of "
        f"single sites of {pairs['share_of_single_sites']:.2f} means that their part was not told apart from 0"
    )
    assert pairs["pairs"] == 78 * 77 / 2
    of = {
        method: read(f"rotten-tomatoes/seed-0/{method}/representations.json")["models"] for method in (SITES, "weights")
    }
    last = {method: {name: layers[-1] for name, layers in one.items()} for method, one in of.items()}
    lost = [one[f"{ticket} pruned"] for one in last.values() for ticket in (*CONTROLS, "bad")]
    sites, weights = last[SITES], last["weights"]
    for one in last.values():
        assert all(one["good pruned"]["cka_low"] > one[f"{ticket} pruned"]["cka_high"] for ticket in (*CONTROLS, "bad"))
        assert one["good retrained"]["cka_low"] > one["good pruned"]["cka_high"]
    yield (
        f"**Cut out, the good ticket stays nearer to the full model's geometry than random and bad ones**: CKA of "
        f"{weights['good pruned']['cka']:.2f} (weights) and {sites['good pruned']['cka']:.2f} (heads and MLPs) against "
        f"{span([one['cka'] for one in lost])}, all intervals apart; retrained, it has "
        f"{weights['good retrained']['cka']:.2f} "
        f"and {sites['good retrained']['cka']:.2f}"
    )
    embedding = of[SITES]["full"][0]
    assert all(abs(one["full"][0]["probe"] - embedding["probe"]) < 1e-9 for one in of.values())
    assert all(one["probe"] < embedding["probe"] for one in lost)
    examples = read("rotten-tomatoes/seed-0/weights/representations.json")["examples"]
    gain, before, after = weights["full"]["probe"] - embedding["probe"], embedding["probe"], weights["full"]["probe"]
    half = 1.96 * ((before * (1 - before) + after * (1 - after)) / examples) ** 0.5
    assert gain > half
    yield (
        "**A linear probe finds nothing in random and bad tickets that the embedding layer has not**: it reads the "
        "label "
        f"from the embedding layer, which no cut touches, at {before:.3f}, after the full model's last layer at "
        f"{after:.3f} ({words(gain, gain - half, gain + half)} more, taken as if on other examples), and after the "
        "last "
        f"layer of random and bad tickets at {span([one['probe'] for one in lost], 3)}: nothing of what the layers "
        "added is seen"
    )
    assert weights["good pruned"]["probe_low"] > embedding["probe"]
    assert sites["good pruned"]["probe_low"] < embedding["probe"] < sites["good pruned"]["probe"]
    yield (
        f"The good ticket of weights still has it ({weights['good pruned']['probe']:.3f}); of that of heads and MLPs "
        f"({sites['good pruned']['probe']:.3f}) it cannot be said"
    )
    outputs = [scores(ROTTEN, method, ticket, "pruned")[0] for method in of for ticket in (*CONTROLS, "bad")]
    assert max(outputs) < min(one["probe"] for one in lost)
    yield (
        f"The full model's output layer, which they still have, gets {span(outputs)} out of random and bad tickets, "
        "less "
        f"than the probe, on all {read(f'{ROTTEN}/study.json')['task']['rows']['dev']:,} dev sentences"
    )


def two_weightings() -> Iterator[str]:
    """Statements of docs/explanation/attention.md about MiniLM."""
    study, found = read(f"{ROTTEN}/study.json"), read(f"{ROTTEN}/attention.json")
    assert len(study["seeds"]) == 5
    vertical = [found[weighting]["groups"]["all heads"]["vertical"] for weighting in ("raw", "norm")]
    assert vertical[0][1] > vertical[1][2]
    yield (
        f"the norms change the picture: the share of maps that are vertical is {vertical[0][0]:.2f} raw and "
        f"{vertical[1][0]:.2f} weighted by them"
    )


def one_seed() -> Iterator[str]:
    """Statements of docs/getting-started.md about the study with the defaults."""
    study = read(f"{QUICK}/study.json")
    assert study["seeds"] == [0]
    yield f"MiniLM fine-tuned on {study['task']['rows']['train']:,} Rotten Tomatoes sentences"
    weights, sites = (verdict(QUICK, method, "good") for method in ("weights", SITES))
    assert weights["low"] < 0 < weights["high"]
    assert all(low > 0 for _, low, _ in weights["against"].values())
    assert all(verdict(QUICK, "weights", ticket)["high"] < 0 for ticket in (*CONTROLS, "bad"))
    apart = words(weights["difference"], weights["low"], weights["high"])
    yield (
        f"of the good ticket of weights no loss can be shown (the difference to the full model is {apart}), of every "
        "other "
        "ticket of its size it can"
    )
    assert sites["high"] < 0
    assert [sites["against"][one][1] > 0 for one in ("random", "layer-matched", "bad")] == [True, False, True]
    yield (
        f"The good ticket of heads and MLPs falls short of it, by {-sites['difference']:.3f}; it is better than the "
        "random "
        f"one ({words(*sites['against']['random'])}) and the bad one ({words(*sites['against']['bad'])}), not told "
        "apart "
        f"from the layer-matched one ({words(*sites['against']['layer-matched'])})"
    )
    yield f"Guessing gets {guessing(QUICK):.3f}"
