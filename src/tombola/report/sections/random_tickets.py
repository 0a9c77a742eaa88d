"""The section on how many tickets win: random ones of the sizes that a search passed through."""

from collections.abc import Sequence
from statistics import fmean

from tombola.analysis.locality.random_tickets import RandomTickets, Share, SizeScores, above, winning
from tombola.report import number_format
from tombola.report.charts.dots import random_dots
from tombola.report.html.elements import Html, figure, figures_section
from tombola.report.html.figure_registry import FigureRegistry
from tombola.report.labels import and_words, kind_title, method_title
from tombola.report.study_data import StudyData
from tombola.tickets.pruning_methods import in_words

Sizes = list[tuple[str, list[tuple[RandomTickets, SizeScores]]]]


def random_tickets(study: StudyData, registry: FigureRegistry) -> Html | None:
    """The section; None where no seed asked for it."""
    figures = []
    for method in study.methods:
        if seeds := list(study.analyses(RandomTickets, "random-tickets", method).values()):
            sizes = _sizes(seeds)
            chart = random_dots(sizes, study.metric_title)
            label = f"{study.metric_title} of random tickets of {in_words(method)} at several sizes"
            plot = registry.plot(chart, f"random-tickets-{method}", label)
            figures.append(figure(method_title(method), _sentences(sizes), plot))
    lead = (
        "Random tickets of the sizes that the search passed through, beside the state that it had found there. Dots "
        "are random tickets, diamonds the searched one of each seed."
    )
    return figures_section("How many tickets win", figures, lead)


def _sizes(seeds: Sequence[RandomTickets]) -> Sizes:
    """Sizes of all seeds by their place in the search, where they are about the same."""
    sizes: dict[str, list[tuple[RandomTickets, SizeScores]]] = {}
    for number in range(max(len(seed.sizes) for seed in seeds)):
        several = [(seed, seed.sizes[number]) for seed in seeds if number < len(seed.sizes)]
        # A search of few iterations passed through fewer sizes; retrained ones are the last everywhere.
        for stage in dict.fromkeys(size.stage for _, size in several):
            of_stage = [(seed, size) for seed, size in several if size.stage == stage]
            sizes.setdefault(_label([size for _, size in of_stage]), []).extend(of_stage)
    return sorted(sizes.items(), key=lambda one: one[1][0][1].stage == "retrained")


def _label(sizes: Sequence[SizeScores]) -> str:
    kinds = []
    for kind in sizes[0].kept:
        mean = fmean(size.kept[kind] for size in sizes)
        kinds.append(f"{number_format.short_count(round(mean, 1))} {kind_title(kind)}")
    return f"{', '.join(kinds)}~{sizes[0].stage}"


def _sentences(sizes: Sizes) -> str:
    parts = []
    pruned = [one for label, one in sizes if one[0][1].stage == "pruned"]
    retrained = [one for label, one in sizes if one[0][1].stage == "retrained"]
    if pruned:
        wins, better = winning(pruned[-1]), above(pruned[-1])
        parts.append(
            f"Of {number_format.count(wins.n)} random tickets of the good ticket\u2019s size, cut out of the full "
            f"model, {_share(wins)} hold the threshold and {_share(better)} do as well as the searched one of their "
            "seed."
        )
        larger = [
            f"{number_format.share(winning(one).value)} at a sparsity of "
            f"{number_format.share(fmean(size.sparsity for _, size in one))}"
            for one in pruned[:-1]
        ]
        if larger:
            parts.append(f"Of larger ones, {and_words(larger)} hold it.")
    if retrained:
        better = above(retrained[-1])
        parts.append(f"Retrained, {_share(better)} of {better.n} do as well as the good ticket.")
        if better.interval[0] <= 0.5 <= better.interval[1]:
            parts.append("So many draws cannot tell it from a middling random ticket.")
    return " ".join(parts)


def _share(share: Share) -> str:
    ends = number_format.interval(*share.interval, number_format.share)
    return f"{number_format.share(share.value)} (95 % interval {ends})"
