"""Tables of what the tickets of denoisers draw."""

import statistics
from collections.abc import Iterator

from paired import OverSeeds, over_seeds, p_words
from stored import HERE, TICKETS, Line, lines, mean, read, scores, spread
from tombola.tickets.pruning_methods import METHODS


def drawn() -> Iterator[Line]:
    """Scores of denoisers: every ticket of digits, pruned and retrained."""
    floor = read("digits/study.json")["task"]["floor"]["scores"]["frechet_distance"]
    heads = ("parameters", "weights removed, %", "pruned", "retrained", "loss, retrained")
    yield ("", *heads)
    yield ("real images", "", "", "", f"{floor[0]:.3f} ± {floor[1]:.3f}", "")
    size = f"{mean('digits', 'none', 'full', 'none', 'parameters'):,.0f}"
    yield ("full model", size, "0", "", *(spread(scores(*FULL, field), digits) for field, digits in SHOWN))
    yield ("guessing", "", "", "", spread(scores("digits", "none", "guessing", "none")), "")
    for method in ("heads+channels", "weights"):
        yield (f"*{METHODS[method].words}*", *[""] * len(heads))
        for ticket, name in list(TICKETS.items())[:4]:
            place = ("digits", method, ticket)
            yield (
                name,
                f"{mean(*place, 'retrained', 'parameters'):,.0f}",
                spread([100 * one for one in scores(*place, "retrained", "sparsity")], 1),
                spread(scores(*place, "pruned")),
                *(spread(scores(*place, "retrained", field), digits) for field, digits in SHOWN),
            )


FULL = ("digits", "none", "full", "none")
SHOWN = (("score", 3), ("loss", 4))


def curve() -> Iterator[Line]:
    """Iterative pruning of digits' denoisers beside random tickets of the same sizes, and differences over seeds."""
    yield (
        *("", "weights removed, %", "found", "layer-matched random", "found minus full [95 %]"),
        *("random minus found [95 %]", "seeds"),
    )
    own = scores(*FULL)
    for method, points in read("digits/curves.json").items():
        for place, point in enumerate(points):
            yield (
                METHODS[method].words,
                f"{100 * statistics.fmean(point['sparsity']):.1f}",
                spread(point["found"]),
                spread(point["random"]),
                over_seeds(point["found"], own).words if place else "",
                over_seeds(point["random"], point["found"]).words if point["random"] else "",
                str(len(point["found"])),
            )


def rewound() -> Iterator[Line]:
    """Scores along the search of weights, rewound to the beginning and to step 100, and their difference over seeds."""
    yield (
        "weights removed, %",
        "to the beginning",
        "to step 100",
        "step 100 minus beginning [95 %]",
        "p",
        "smaller in",
    )
    for early, late in rewindings():
        found = over_seeds(late["found"], early["found"])
        yield (
            f"{100 * statistics.fmean(early['sparsity']):.0f}",
            spread(early["found"]),
            spread(late["found"]),
            found.words,
            p_words(found.t_p),
            f"{found.seeds - found.positive} of {found.seeds}",
        )


def rewindings() -> list[tuple[dict[str, list[float]], dict[str, list[float]]]]:
    """Points of the search of weights under either rewinding, after the full model."""
    both = [read(f"{name}/curves.json")["weights"][1:] for name in ("digits", "digits-step-100")]
    return list(zip(*both, strict=True))


RANKINGS = {
    "full model, trained on": "full model, trained on",
    "first order": "first order",
    "first order, a weight": "first order, a weight",
    "first order, block by block": "first order, the same share of each block",
    "Fisher": "squared gradients (Fisher)",
    "deletion": "deletion of each site alone, exact",
    "norm": "norm of what a site writes",
    "norm, block by block": "norm, the same share of each block",
    "random": "random",
    "random, block by block": "random, the same share of each block",
    "random, layer-matched": "random, with as many of each block as first order keeps",
    "first order, gradually": "first order, gradually",
    "first order, block by block, gradually": "first order, the same share of each block, gradually",
    "random, gradually": "random, gradually",
    "random, block by block, gradually": "random, the same share of each block, gradually",
}
EPOCHS = tuple(epochs for epochs in (4, 16) if (HERE / f"benchmarks/denoiser_rankings_{epochs}.jsonl").is_file())


def ranked(epochs: int, name: str, field: str = "score") -> list[float]:
    """Numbers of a ranking, one a seed: the mean of its draws."""
    _, *kept = lines(f"benchmarks/denoiser_rankings_{epochs}.jsonl")
    draws: dict[int, list[float]] = {}
    for line in kept:
        if line["ranking"].removesuffix(" 0").removesuffix(" 1") == name:
            draws.setdefault(line["seed"], []).append(line[field])
    return [statistics.fmean(draws[seed]) for seed in sorted(draws)]


def against_random(epochs: int, name: str) -> OverSeeds:
    """A ranking's distance minus that of random tickets that were cut as it was, over seeds."""
    return over_seeds(ranked(epochs, name), ranked(epochs, "random, gradually" if "gradually" in name else "random"))


def rankings() -> Iterator[Line]:
    """Rankings of heads and channels, and how they compare with random tickets over seeds."""
    yield ("", *(head.format(epochs) for epochs in EPOCHS for head in ("{} epochs", "minus random [95 %]", "p")))
    for name, title in RANKINGS.items():
        cells = []
        for epochs in EPOCHS:
            known = ranked(epochs, name)
            cells.append(spread(known))
            if not known or name in ("random", "random, gradually", "full model, trained on"):
                cells += ["", ""]
            else:
                found = against_random(epochs, name)
                cells += [found.words, p_words(found.t_p)]
        yield (title, *cells)


def same_tickets(epochs: int, one: str, other: str) -> int:
    """Seeds in which two rankings keep the same sites."""
    _, *kept = lines(f"benchmarks/denoiser_rankings_{epochs}.jsonl")
    masks = {(line["seed"], line["ranking"]): line["masks"] for line in kept}
    return sum(masks[seed, one] == masks[seed, other] for seed in {line["seed"] for line in kept})
