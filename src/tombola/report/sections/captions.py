"""A sentence or two for each picture, computed from the study's numbers and no bolder than they allow."""

import math
from collections.abc import Callable, Mapping, Sequence

from tombola.analysis.agreement.survival import Density, SiteSurvival
from tombola.analysis.locality.random_curve import RandomPoint
from tombola.architectures.anatomy import Places
from tombola.report import number_format
from tombola.report.labels import MATRIX_TITLES, SITE_NAMES, TICKET_TITLES, and_words
from tombola.report.published import PublishedRow
from tombola.report.study_data import Record
from tombola.report.summary import Summary
from tombola.report.trajectory import Trajectory
from tombola.tickets.pruning_methods import METHODS, in_words
from tombola.tickets.ticket import SUPER_TICKETS, TICKETS


def about_search(record: Record, searches: Sequence[Trajectory]) -> str:
    """Caption of the searches of one method: how far they went before the score fell."""
    sparsities = [search.good.sparsity for search in searches]
    kept = [search.good.score / search.full.score for search in searches if search.full.score]
    what = in_words(searches[0].method)
    seeds = "" if len(searches) == 1 else f" (over {len(searches)} seeds)"
    text = f"Pruning {what} could go on until {_range(sparsities)} of the prunable weights were gone{seeds}"
    text += f"; the last state that held stood at {_range(kept)} of the full score" if kept else ""
    unfinished = [search for search in searches if all(search_pass.holds for search_pass in search.passes)]
    failed = [
        [index for index, search_pass in enumerate(search.passes) if not search_pass.holds] for search in searches
    ]
    drops = [
        search.before(last[-1]).score - search.passes[last[-1]].score
        for search, last in zip(searches, failed, strict=True)
        if last
    ]
    if unfinished:
        where = number_format.plural(len(unfinished), "search", "searches")
        return f"{text}. In {where} no pass fell below the line (yet), so more may be possible."
    worst = max((abs(drop), drop) for drop in drops)[1]
    return (
        f"{text}. The last pass that fell below moved the score by {number_format.score(-worst)} at once"
        f"{'' if len(searches) == 1 else ' (the largest move of all seeds)'} and was taken back."
    )


def about_random_curve(record: Record, searches: Sequence[Trajectory], random: Sequence[RandomPoint]) -> str:
    """From where on random tickets of the same size do worse; a sentence that begins with a space, or nothing."""
    if not random:
        return ""
    seeds = {search.seed: search for search in searches}
    pairs = [
        (point, min(seeds[point.seed].passes, key=lambda search_pass: abs(search_pass.sparsity - point.sparsity)))
        for point in random
        if point.seed in seeds
    ]
    above = sum(search_pass.score > point.score_high for point, search_pass in pairs)
    below = sum(search_pass.score < point.score_low for point, search_pass in pairs)
    worse, better = (above, below) if record.higher_is_better else (below, above)
    if not worse and not better:
        return " Random tickets with as many weights in every matrix cannot be told from those found."
    text = f" Random tickets with as many weights in every matrix do worse in {worse} of {len(pairs)} comparisons"
    text += f", and better in {better}" if better else ""
    return f"{text}: the found score lies outside their 95 % interval."


def about_tickets(record: Record, method: str) -> str:
    """Caption of the bars of one method: good against random and bad."""
    good = record.summary(method, "good", "retrained") or record.summary(method, "good", "pruned")
    if good is None:
        return "The good ticket has no score yet."
    stage = "Retrained" if good.stage == "retrained" else "Pruned and not retrained"
    text = f"{stage}, the good ticket scores {_scored(good)}"
    if record.full is not None:
        text += f", {_compared(good.score, record.full.score)} the full model"
    parts = [f"{text}."]
    controls = [
        summary for ticket in TICKETS[1:] if (summary := record.summary(method, ticket, good.stage)) is not None
    ]
    apart, close = [], []
    ranges = "the 95 % intervals" if record.seeds == 1 else "the ranges of one standard deviation"
    for control in controls:
        worse = control.score < good.score if record.higher_is_better else control.score > good.score
        if control.overlaps(good):
            close.append(f"{TICKET_TITLES[control.ticket]} ({_scored(control)})")
        else:
            apart.append(f"{TICKET_TITLES[control.ticket]} ({_scored(control)}, {'worse' if worse else 'better'})")
    if apart:
        parts.append(f"At the same size it is set apart from {and_words(apart)}: {ranges} do not overlap.")
    if close:
        parts.append(f"From {and_words(close)} this study does not clearly tell it apart: {ranges} overlap.")
    cut = record.summary(method, "good", "pruned")
    random = record.summary(method, "random", "pruned")
    if good.stage == "retrained" and cut is not None and random is not None:
        before = f"{number_format.score(cut.score)} for good and {number_format.score(random.score)} for random"
        parts.append(f"Before retraining it was {before}.")
    if record.seeds == 1:
        parts.append("With one seed, chance in training is not measured.")
    elif record.seeds < 5:
        parts.append(f"With {record.seeds} seeds this is a strong hint at most.")
    return " ".join(parts)


def about_survival(survival: SiteSurvival, places: Places) -> str:
    """Caption of survival: how many sites survive, and where; for several seeds which always do."""
    seeds, kinds = survival.seeds, survival.sites
    parts = []
    for kind, one in kinds.items():
        if kind == "neurons":
            parts.append(f"{number_format.share(one.mean / one.total)} of the neurons")
        else:
            parts.append(f"{number_format.count(round(one.mean, 1))} of {_sites(kind, one.total)}")
    text = f"{and_words(parts)} survive{' on average' if seeds > 1 else ''}"
    text = text[:1].upper() + text[1:]
    if "heads" in kinds:
        text += _most_and_least(
            [sum(row) for row in kinds["heads"].rows], "heads", places.attention, number_format.count
        )
    if "neurons" in kinds:
        shares = [sum(row) / len(row) for row in kinds["neurons"].rows]
        text += _most_and_least(shares, "neurons", places.layer, number_format.share)
    if "channels" in kinds and "heads" not in kinds:
        text += _most_and_least(
            [sum(row) for row in kinds["channels"].rows], "groups", places.residual, number_format.count
        )
    if seeds == 1:
        other = and_words(["blocks of neurons" if kind == "neurons" else in_words(kind) for kind in kinds])
        return f"{text}. One seed shows one ticket: others may well pick other {other}."
    always = [
        f"{one.everywhere} of {_sites(kind, one.total)} (by chance {one.expected_by_chance:.1f})"
        for kind, one in kinds.items()
    ]
    text += (
        f". Super-survivors, which survive in every one of {seeds} seeds, are {and_words(always)}; chance is what "
        "independent random tickets of these sizes would share."
    )
    overlaps = [
        f"{number_format.share(one.overlap)} of their {SITE_NAMES[kind][1]}"
        for kind, one in kinds.items()
        if one.overlap is not None
    ]
    return f"{text} Two seeds' tickets share {and_words(overlaps)} on average (Jaccard)." if overlaps else text


def about_super_survivors(record: Record, method: str) -> str:
    """Caption of super-survivors: what they keep of the score, against tickets of their size."""
    found = {
        ticket: record.summary(method, ticket, "retrained") or record.summary(method, ticket, "pruned")
        for ticket in SUPER_TICKETS
    }
    good = found["super-survivors"]
    if good is None:
        return "They have no score yet."
    size = good.rows[0]
    words = {**SITE_NAMES, "neurons": ("neuron", "neurons")}
    many = and_words([number_format.plural(getattr(size, kind), *words[kind]) for kind in METHODS[method].sites])
    stage = "retrained" if good.stage == "retrained" else "cut out of the full models"
    text = f"The super-survivors, {many}, score {_scored(good)} when {stage}"
    if record.full is not None:
        text += f", {_compared(good.score, record.full.score)} the full model"
    parts = []
    for ticket, name in (("super-random", "random"), ("super-bad", "bad")):
        other = found[ticket]
        if other is not None:
            difference = _compared(good.score, other.score)
            apart = "" if not good.overlaps(other) else ", though the ranges of one standard deviation overlap"
            parts.append(f"{difference} {name} sites of that number{apart}")
    return f"{text}; {and_words(parts)}." if parts else f"{text}."


def _sites(kind: str, total: int) -> str:
    return number_format.plural(total, *SITE_NAMES[kind])


def _most_and_least(
    values: Sequence[float], what: str, name: Callable[[int], str], written: Callable[[float], str]
) -> str:
    """Sentence on the rows that keep most and fewest; nothing where all keep equally many."""
    most, least = _extremes(values)
    if most == least:
        return ""
    high, low = (written(round(values[row], 4)) for row in (most, least))
    return f"; {_row(name(most))} keeps most {what} ({high}), {_row(name(least))} fewest ({low})"


def _row(name: str) -> str:
    """`layer 3`; a name that is no number stands for itself."""
    return f"layer {name}" if name.isdecimal() else name


def about_density(density: Sequence[Density], places: Places) -> str:
    """Caption of density: where the surviving weights lie."""
    most = max(density, key=lambda one: one.share)
    least = min(density, key=lambda one: one.share)
    kinds = {kind: _mean([one.share for one in density if one.kind == kind]) for kind in {one.kind for one in density}}
    best = max(kinds, key=lambda kind: kinds[kind])
    worst = min(kinds, key=lambda kind: kinds[kind])
    return (
        f"The {_matrix(most, places)} keeps most of its weights ({number_format.share(most.share)}), "
        f"the {_matrix(least, places)} fewest "
        f"({number_format.share(least.share)}). By kind, {MATRIX_TITLES.get(best, best)} matrices are densest "
        f"({number_format.share(kinds[best])}), {MATRIX_TITLES.get(worst, worst)} sparsest "
        f"({number_format.share(kinds[worst])}). "
        "One threshold cuts the whole model, so this shows where large weights lie, not by itself what the task needs."
    )


def about_importance(kinds: Mapping[str, Sequence[Sequence[float | None]]], seeds: int, places: Places) -> str:
    """Caption of importance: how unevenly it is spread before anything is pruned, by rows of sites for each kind."""
    parts = []
    heads, mlps, neurons, channels = (_flat(kinds.get(kind, ())) for kind in ("heads", "mlps", "neurons", "channels"))
    if spread := _spread(heads, "heads"):
        row, head = max(heads, key=lambda site: heads[site])
        parts.append(f"Before pruning, importance looks {spread}. Head {places.attention(row)}.{head} ranks first")
    if mlps:
        first, last = max(mlps, key=lambda site: mlps[site])[0], min(mlps, key=lambda site: mlps[site])[0]
        parts.append(f"among MLPs {_row(places.layer(first))} ranks first and {_row(places.layer(last))} last")
    if spread := _spread(neurons, "neurons"):
        layer, _ = max(neurons, key=lambda site: neurons[site])
        where = _row(places.layer(layer))
        parts.append(f"among blocks of neurons importance looks {spread}, and the first of them belongs to {where}")
    if spread := _spread(channels, "channels"):
        row, _ = max(channels, key=lambda site: channels[site])
        where = _row(places.residual(row))
        parts.append(f"among groups of channels importance looks {spread}, and the first of them belongs to {where}")
    text = "; ".join(parts)
    notes = ["head scores are divided by their layer's norm"] if heads else []
    notes.append("each kind of site is scaled to 0–1: compare ranks, not one kind with another")
    note = ", ".join(notes)
    boxes = " A bar spans the middle half of an MLP's blocks of neurons, its line the least to the most important."
    source = "" if seeds == 1 else f" Means over {seeds} seeds."
    return f"{text[:1].upper()}{text[1:]}. {note[:1].upper()}{note[1:]}.{boxes if neurons else ''}{source}"


def _flat(rows: Sequence[Sequence[float | None]]) -> dict[tuple[int, int], float]:
    return {
        (row, site): value for row, values in enumerate(rows) for site, value in enumerate(values) if value is not None
    }


def _spread(sites: Mapping[tuple[int, int], float], kind: str) -> str:
    """Sentence on how uneven importance is, with the share that the top tenth holds; nothing where there is none."""
    one, many = SITE_NAMES[kind]
    total = math.fsum(sites.values())
    if not total:
        return ""
    top = sorted(sites.values(), reverse=True)[: max(1, round(len(sites) / 10))]
    share, even = math.fsum(top) / total, len(top) / len(sites)
    shape = (
        f"concentrated in few {many}"
        if share > 3 * even
        else "somewhat uneven"
        if share > 1.6 * even
        else "spread rather evenly"
    )
    count, held = number_format.plural(len(top), one, many), number_format.share(share)
    return f"{shape}: the top {count} of {len(sites)} hold {held} of the sum"


def about_published(record: Record, pairs: Sequence[tuple[Summary, PublishedRow]], model: str) -> str:
    """Caption beside the paper: what retraining keeps of the full score here and there."""
    by_ticket = {(summary.ticket, summary.stage): (summary, row) for summary, row in pairs}
    text = ""
    if ("full", "none") in by_ticket and ("good", "retrained") in by_ticket:
        full, paper_full = by_ticket["full", "none"]
        good, paper_good = by_ticket["good", "retrained"]
        text = (
            f"The retrained good ticket stands {_compared(good.score, full.score)} the full model here, "
            f"{_compared(paper_good.mean, paper_full.mean, 2)} it in the paper. "
        )
    metrics = {row.metric for _, row in pairs}
    other = "" if metrics == {record.metric} else f" The paper's metric is {', '.join(sorted(metrics))}."
    same = (
        ""
        if record.model == model
        else f" This study's model is {record.model}, the paper's {model}: compare the pattern, not the level."
    )
    return f"{text}Tickets differ in size too, as each search stops where its score falls.{same}{other}"


def _compared(value: float, other: float, places: int = 3) -> str:
    difference = round(value - other, places)
    if difference == 0:
        return "level with"
    return f"{abs(difference):.{places}f} {'above' if difference > 0 else 'below'}"


def _scored(summary: Summary) -> str:
    spread = f" {summary.spread}" if summary.spread.startswith("±") else ""
    return f"{number_format.score(summary.score)}{spread}"


def _matrix(density: Density, places: Places) -> str:
    return f"{MATRIX_TITLES.get(density.kind, density.kind)} matrix of {_row(places.layer(density.layer))}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _range(shares: Sequence[float]) -> str:
    low, high = number_format.share(min(shares)), number_format.share(max(shares))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def _extremes(values: Sequence[float]) -> tuple[int, int]:
    """Index of the largest and of the smallest value; the same index when all are equal."""
    if max(values) == min(values):
        return 0, 0
    return values.index(max(values)), values.index(min(values))
