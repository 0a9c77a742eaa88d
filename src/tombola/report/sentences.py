"""A sentence or two for each picture, computed from the study's numbers and no bolder than they allow."""

import math
from collections.abc import Sequence

from tombola.report import figures
from tombola.report.names import MATRIX_TITLES, PRUNING_TITLES, TICKET_TITLES
from tombola.report.published import PublishedRow
from tombola.report.record import Record
from tombola.report.rows import Summary
from tombola.report.survival import Density, SiteSurvival
from tombola.report.trajectory import Trajectory
from tombola.ticket import TICKETS


def about_search(record: Record, searches: Sequence[Trajectory]) -> str:
    """How far the searches of one pruning went before the score fell."""
    sparsities = [search.good.sparsity for search in searches]
    kept = [search.good.score / search.full.score for search in searches if search.full.score]
    what = PRUNING_TITLES[searches[0].pruning].lower().replace("mlps", "MLPs")
    seeds = "" if len(searches) == 1 else f" (over {len(searches)} seeds)"
    text = f"Pruning {what} could go on until {_range(sparsities)} of the prunable weights were gone{seeds}"
    text += f"; the last state that held stood at {_range(kept)} of the full score" if kept else ""
    unfinished = [search for search in searches if all(step.holds for step in search.steps)]
    failed = [[index for index, step in enumerate(search.steps) if not step.holds] for search in searches]
    drops = [
        search.before(last[-1]).score - search.steps[last[-1]].score
        for search, last in zip(searches, failed, strict=True)
        if last
    ]
    if unfinished:
        where = figures.plural(len(unfinished), "search", "searches")
        return f"{text}. In {where} no pass fell below the line (yet), so more may be possible."
    worst = max((abs(drop), drop) for drop in drops)[1]
    return (
        f"{text}. The last pass that fell below moved the score by {figures.score(-worst)} at once"
        f"{'' if len(searches) == 1 else ' (the largest move of all seeds)'} and was taken back."
    )


def about_tickets(record: Record, pruning: str) -> str:
    """What the bars of one pruning say about good against random and bad."""
    good = record.summary(pruning, "good", "retrained") or record.summary(pruning, "good", "pruned")
    if good is None:
        return "The good ticket has no score yet."
    stage = "Retrained" if good.stage == "retrained" else "Pruned and not retrained"
    text = f"{stage}, the good ticket scores {_scored(good)}"
    if record.full is not None:
        text += f", {_compared(good.score, record.full.score)} the full model"
    parts = [f"{text}."]
    controls = [
        summary for ticket in TICKETS[1:] if (summary := record.summary(pruning, ticket, good.stage)) is not None
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
        parts.append(f"At the same size it is set apart from {_and(apart)}: {ranges} do not overlap.")
    if close:
        parts.append(f"From {_and(close)} this study does not clearly tell it apart: {ranges} overlap.")
    cut = record.summary(pruning, "good", "pruned")
    random = record.summary(pruning, "random", "pruned")
    if good.stage == "retrained" and cut is not None and random is not None:
        before = f"{figures.score(cut.score)} for good and {figures.score(random.score)} for random"
        parts.append(f"Before retraining it was {before}.")
    if record.seeds == 1:
        parts.append("With one seed, chance in training is not measured.")
    elif record.seeds < 5:
        parts.append(f"With {record.seeds} seeds this is a strong hint at most.")
    return " ".join(parts)


def about_survival(survival: SiteSurvival) -> str:
    """How many sites survive, and where."""
    heads = [sum(layer) for layer in survival.heads]
    total = len(survival.heads) * len(survival.heads[0])
    mlps = sum(survival.mlps)
    most, least = _extremes(heads)
    text = f"{figures.count(round(sum(heads), 1))} of {total} heads and {figures.count(round(mlps, 1))} of "
    text += f"{len(survival.mlps)} MLPs survive{' on average' if survival.seeds > 1 else ''}"
    if most != least:
        text += (
            f"; layer {most} keeps most heads ({figures.count(round(heads[most], 1))}), "
            f"layer {least} fewest ({figures.count(round(heads[least], 1))})"
        )
    if survival.seeds == 1:
        return f"{text}. One seed shows one ticket: others may well pick other heads."
    overlap = (
        ""
        if survival.overlap is None
        else f" Two seeds' tickets share {figures.share(survival.overlap)} of their sites on average (Jaccard)."
    )
    return (
        f"{text}. {figures.plural(survival.everywhere(), 'site')} of {total + len(survival.mlps)} survive in every one "
        f"of {survival.seeds} seeds (super-survivors); independent random tickets of these sizes would share about "
        f"{survival.by_chance:.1f}.{overlap}"
    )


def about_density(density: Sequence[Density]) -> str:
    """Where the surviving weights lie."""
    most = max(density, key=lambda one: one.share)
    least = min(density, key=lambda one: one.share)
    kinds = {kind: _mean([one.share for one in density if one.kind == kind]) for kind in {one.kind for one in density}}
    best = max(kinds, key=lambda kind: kinds[kind])
    worst = min(kinds, key=lambda kind: kinds[kind])
    return (
        f"The {_matrix(most)} keeps most of its weights ({figures.share(most.share)}), the {_matrix(least)} fewest "
        f"({figures.share(least.share)}). By kind, {MATRIX_TITLES.get(best, best)} matrices are densest "
        f"({figures.share(kinds[best])}), {MATRIX_TITLES.get(worst, worst)} sparsest ({figures.share(kinds[worst])}). "
        "One threshold cuts the whole model, so this shows where large weights lie, not by itself what the task needs."
    )


def about_importance(heads: Sequence[Sequence[float | None]], mlps: Sequence[float | None], seeds: int) -> str:
    """How unevenly importance is spread before anything is pruned: `heads` [layers][heads] and `mlps` [layers]."""
    by_head = {
        (layer, head): value for layer, row in enumerate(heads) for head, value in enumerate(row) if value is not None
    }
    by_mlp = {layer: value for layer, value in enumerate(mlps) if value is not None}
    parts = []
    total = math.fsum(by_head.values())
    if total:
        top = sorted(by_head.values(), reverse=True)[: max(1, round(len(by_head) / 10))]
        share = math.fsum(top) / total
        layer, head = max(by_head, key=lambda site: by_head[site])
        even = len(top) / len(by_head)
        shape = (
            "concentrated in few heads"
            if share > 3 * even
            else "somewhat uneven"
            if share > 1.6 * even
            else "spread rather evenly"
        )
        parts.append(
            f"Before pruning, importance looks {shape}: the top {figures.plural(len(top), 'head')} of {len(by_head)} "
            f"hold {figures.share(share)} of the sum. Head {layer}.{head} ranks first"
        )
    if by_mlp:
        first, last = max(by_mlp, key=lambda site: by_mlp[site]), min(by_mlp, key=lambda site: by_mlp[site])
        parts.append(f"among MLPs layer {first} ranks first and layer {last} last")
    text = "; ".join(parts)
    source = "" if seeds == 1 else f" Means over {seeds} seeds."
    return (
        f"{text[:1].upper()}{text[1:]}. Head scores are divided by their layer's norm, heads and MLPs each scaled to "
        f"0–1: compare ranks, not heads with MLPs.{source}"
    )


def about_published(record: Record, pairs: Sequence[tuple[Summary, PublishedRow]], model: str) -> str:
    """What retraining keeps of the full score here and in the paper."""
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
    return f"{figures.score(summary.score)}{spread}"


def _matrix(density: Density) -> str:
    return f"{MATRIX_TITLES.get(density.kind, density.kind)} matrix of layer {density.layer}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _range(shares: Sequence[float]) -> str:
    low, high = figures.share(min(shares)), figures.share(max(shares))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def _extremes(values: Sequence[float]) -> tuple[int, int]:
    """Index of the largest and of the smallest value; the same index when all are equal."""
    if max(values) == min(values):
        return 0, 0
    return values.index(max(values)), values.index(min(values))


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
