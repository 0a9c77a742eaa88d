"""Statements of the pages about the tickets of a denoiser of digits."""

import statistics
from collections.abc import Iterator

from denoiser_tables import RANKINGS, against_random, ranked, same_tickets
from paired import OverSeeds, holm, over_seeds, p_words
from stored import full, lines, mean, read, scores

POINTS = (0, 50, 74, 83, 89, 95)


def points(study: str = "digits") -> dict[int, dict[str, list[float]]]:
    """Percent of the weights that are gone → what was found there, and random tickets."""
    found = {round(100 * statistics.fmean(one["sparsity"])): one for one in read(f"{study}/curves.json")["weights"]}
    assert tuple(found) == POINTS
    return found


def against(method: str, one: str, other: str, field: str = "score") -> OverSeeds:
    """Retrained tickets, or the full model, over seeds."""
    places = [("none", "full", "none") if name == "full" else (method, name, "retrained") for name in (one, other)]
    return over_seeds(*(scores("digits", *place, field) for place in places))


# Long: a section's sentences in their order on the page, each beside the figures that it rests on.
def what_tickets_of_a_denoiser_draw() -> Iterator[str]:
    """Limits of weights and of channels."""
    about = read("digits/study.json")
    assert about["seeds"] == [0, 1, 2]
    yield (
        f"a U-net of {mean('digits', 'none', 'full', 'none', 'parameters') / 1000:.0f} thousand parameters, trained "
        "for a "
        f"thousand steps on {about['task']['rows']['train']:,} of scikit-learn's digits"
    )
    dev = about["task"]["rows"]["dev"]
    yield f"between {dev} drawn and {dev} held-out images"
    yield (
        f"with three seeds a test of signs cannot give less than p = {2 / 2**3:.2f}, so that what holds in every "
        "seed is "
        "said as just that, and intervals are Student's t's with two degrees of freedom"
    )
    curve, own = points(), scores("digits", "none", "full", "none")
    apart = {gone: over_seeds(one["found"], own) for gone, one in curve.items() if gone}
    assert all(apart[gone].positive == 0 for gone in (50, 74, 83))
    assert apart[50].high < 0 > apart[74].high
    assert not apart[83].apart
    assert all(apart[gone].positive == 3 for gone in (89, 95))
    yield (
        f"**Tickets of weights train to a smaller distance than the full model without 50 and 74 % of them**, by "
        f"{-apart[50].difference:.3f} and {-apart[74].difference:.3f} (p = {p_words(apart[50].t_p)} and "
        f"{p_words(apart[74].t_p)}), rewound to their initial values; without 83 % it is smaller in all three seeds "
        "too, "
        f"but by how much is uncertain ({apart[83].words}), and without 89 % larger in all three ({apart[89].words})"
    )
    chance = {gone: over_seeds(one["random"], one["found"]) for gone, one in curve.items() if gone}
    assert [gone for gone, one in chance.items() if one.low > 0] == [74, 83, 95]
    assert all(one.positive == 3 for one in chance.values())
    yield (
        "Random tickets with as many weights in every matrix end above found ones in every seed and at every "
        "sparsity, "
        f"told apart at 74 % ({chance[74].words}), 83 % ({chance[83].words}) and 95 %"
    )
    last = statistics.fmean(curve[95]["found"])
    yield f"at 95 % the distance is {last / full('digits'):.1f} times the full model's"
    kept = [scores("digits", "heads+channels", "good", "pruned", kind) for kind in ("heads", "channels")]
    (heads,), (channels,) = ({*one} for one in kept)
    removed = mean("digits", "heads+channels", "good", "pruned", "sparsity")
    good = against("heads+channels", "good", "full")
    assert not good.apart
    yield (
        f"**Without {16 - heads:.0f} of 16 heads and {64 - channels:.0f} of 64 groups of channels, "
        f"{100 * removed:.0f} % of the weights, no difference to the full model is seen**: {good.words}, which "
        "leaves out "
        f"only differences of more than {max(-good.low, good.high):.2f}"
    )
    others = [against("heads+channels", other, "good") for other in ("random", "layer-matched")]
    bad = against("heads+channels", "bad", "good")
    assert not any(one.apart for one in others)
    assert bad.low > 0
    more = (1 - mean("digits", "heads+channels", "bad", "pruned", "sparsity")) / (1 - removed) - 1
    yield (
        f"Nor is one seen between it and random tickets ({others[0].words}) or layer-matched ones "
        f"({others[1].words}); bad "
        f"ones end {bad.difference:.3f} above it (p = {p_words(bad.t_p)}), though they keep {100 * more:.0f} % more "
        "weights"
    )
    loss, distance = (
        [mean("digits", "weights", ticket, "retrained", field) for ticket in ("good", "layer-matched")]
        for field in ("loss", "score")
    )
    ranked = [against("weights", "layer-matched", "good", field) for field in ("loss", "score")]
    assert all(one.low > 0 for one in ranked)
    yield (
        f"**The loss moves less than the distance**: between good tickets of weights and layer-matched ones by "
        f"{100 * (loss[1] / loss[0] - 1):.0f} % ({loss[0]:.3f}, {loss[1]:.3f}), the distance by "
        f"{100 * (distance[1] / distance[0] - 1):.0f} %; both are told apart over seeds"
    )
    floor = about["task"]["floor"]["scores"]["frechet_distance"]
    assert min(min(one["found"]) for one in curve.values()) > floor[0] + 3 * floor[1]
    yield (
        f"Nothing of this draws as well as real images do: the least distance of any seed is "
        f"{min(min(one['found']) for one in curve.values()):.2f}, that of real images {floor[0]:.2f}"
    )


def rewound() -> Iterator[str]:
    """Rewinding to step 100, beside the beginning."""
    about = read("digits-step-100/study.json")
    assert about["seeds"] == [0, 1, 2]
    assert about["config"]["rewind"] == "step-100"
    # Both columns are of one training: the full models are the same to the last digit.
    assert points("digits-step-100")[0]["found"] == points()[0]["found"]
    yield "the same three seeds, and the same full models"
    found = {gone: over_seeds(points("digits-step-100")[gone]["found"], points()[gone]["found"]) for gone in POINTS[1:]}
    assert [gone for gone, one in found.items() if one.apart] == [74]
    corrected = holm([one.t_p for one in found.values()])
    sure, later = found[74], [found[gone] for gone in (89, 95)]
    assert sure.high < 0
    assert all(one.positive == 0 for one in later)
    yield (
        f"At 74 % step 100 is told apart as the better one ({sure.words}; p = {p_words(sure.t_p)}, "
        f"{p_words(corrected[1])} after Holm's correction for five points). At 89 and 95 % it is better in all three "
        "seeds, "
        f"which for a test of signs is p = {2 / 2**3:.2f}, and the intervals reach to {later[0].high:+.3f} and "
        f"{later[1].high:+.3f}; at 50 and 83 % no difference is seen"
    )


def which_ranking() -> Iterator[str]:
    """Rankings of heads and channels, beside random tickets."""
    settings, *kept = lines("benchmarks/denoiser_rankings_4.jsonl")
    assert (settings["density"], settings["rewind"]) == (0.5, "final")
    assert {line["seed"] for line in kept} == {0, 1, 2}
    yield "half of the prunable weights"
    yield "seeds 0 to 2"
    sizes = [line["weights"] / 1000 for line in kept if line["ranking"] != "full model, trained on"]
    yield (
        f"all but the full model with {min(sizes):.0f} to {max(sizes):.0f} thousand of "
        f"{kept[0]['weights'] / 1000:.0f} thousand weights"
    )
    once = {name: against_random(4, name) for name in RANKINGS if name not in NO_RANKING}
    at_once = {name: one for name, one in once.items() if "gradually" not in name}
    assert [name for name, one in at_once.items() if one.high < 0] == []
    first = at_once["first order"]
    assert first.positive == 0
    yield (
        "**After a cut at once and four epochs no ranking is told apart from random tickets as the better one**: first "
        f"order ends below them in all three seeds, by an uncertain amount ({first.words}, p = {p_words(first.t_p)})"
    )
    matched = over_seeds(ranked(4, "first order"), ranked(4, "random, layer-matched"))
    assert not matched.apart
    yield f"random tickets with as many of each block do not differ from it visibly ({matched.words})"
    worse = [name for name, one in at_once.items() if one.low > 0]
    assert worse == ["norm"]
    yield f"the norm of what a site writes is worse than random ({at_once['norm'].words})"
    slow = once["first order, gradually"]
    assert slow.high < 0
    yield (
        f"**Gradually, first order beats random cuts** ({slow.words}, p = {p_words(slow.t_p)}), with a single epoch of "
        "training after each of its four cuts"
    )
    deletion = over_seeds(ranked(4, "deletion"), ranked(4, "first order"))
    assert not deletion.apart
    yield (
        f"The exact rise of the loss when a site is deleted is not seen to rank better than its first-order estimate "
        f"({deletion.words}); squared gradients (Fisher) give the same ticket in "
        f"{same_tickets(4, 'Fisher', 'first order')}"
        " seeds of three"
    )


NO_RANKING = ("random", "random, gradually", "full model, trained on")


def from_one_study() -> Iterator[str]:
    """Statements of docs/explanation/diffusion.md about the first seed."""
    rows = {
        (row["method"], row["ticket"], row["stage"]): row for row in lines("digits/results.jsonl") if row["seed"] == 0
    }

    def told(method: str, ticket: str, stage: str) -> str:
        row = rows[method, ticket, stage]
        return f"{row['score']:.3f} [{row['score_low']:.3f}, {row['score_high']:.3f}]"

    floor = read("digits/study.json")["task"]["floor"]["scores"]["frechet_distance"]
    yield f"real images against real ones {floor[0]:.3f} ± {floor[1]:.3f}"
    good, whole, chance = (
        told(*place)
        for place in (
            *(("weights", "good", "retrained"), ("none", "full", "none")),
            *(("weights", "layer-matched", "retrained"),),
        )
    )
    assert round(100 * rows["weights", "good", "retrained"]["sparsity"]) == 83
    yield (
        f"With 83 % of the weights gone the ticket's distance is {good}, the full model's {whole}, that of a random "
        "one "
        f"with as many weights in every matrix {chance}"
    )
    found = rows["heads+channels", "good", "retrained"]
    assert (found["heads"], found["channels"]) == (10, 40)
    yield (
        f"Without 6 of 16 heads and 24 of 64 groups of channels the network has {100 * found['sparsity']:.0f} % fewer "
        f"prunable weights and stands at {told('heads+channels', 'good', 'retrained')}, random ones of its size at "
        f"{told('heads+channels', 'random', 'retrained')}"
    )
